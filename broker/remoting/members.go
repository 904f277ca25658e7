package remoting

import (
	wire "github.com/varvemq/varve/internal/remoting"
)

// consumerList serves GET_CONSUMER_LIST_BY_GROUP: the list that the members of a group divide the queues by.
func (s *Server) consumerList(_ *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("consumerGroup")
	if err != nil {
		return nil, err
	}
	ids := s.deps.Groups.MemberIDs(name)
	if len(ids) == 0 {
		return nil, status(wire.RespSystemError, "no consumer for this group, %s", name)
	}
	return bodyResponse(&wire.ConsumerListBody{ConsumerIDList: ids})
}
