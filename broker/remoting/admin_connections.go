package remoting

import (
	"context"

	"github.com/varvemq/varve/broker/group"
	wire "github.com/varvemq/varve/internal/remoting"
)

// consumerConnections serves GET_CONSUMER_CONNECTION_LIST.
func (s *Server) consumerConnections(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("consumerGroup")
	if err != nil {
		return nil, err
	}
	info, ok := s.deps.Groups.Info(name)
	if !ok {
		return nil, status(wire.RespConsumerNotOnline, "the consumer group[%s] not online", name)
	}
	body := wire.ConsumerConnection{
		ConnectionSet: connections(info.Members), ConsumeFromWhere: info.ConsumeFromWhere, ConsumeType: info.ConsumeType,
		MessageModel: info.MessageModel, SubscriptionTable: make(map[string]wire.SubscriptionData, len(info.Subscriptions)),
	}
	for i := range info.Subscriptions {
		sub := &info.Subscriptions[i]
		data := wire.SubscriptionData{
			ClassFilterMode: sub.ClassFilter, CodeSet: []int32{}, ExpressionType: sub.ExpressionType, SubString: sub.Expression,
			SubVersion: sub.Version, TagsSet: []string{}, Topic: sub.Topic,
		}
		if isTagExpression(sub.ExpressionType) && !sub.Tags.All() {
			data.TagsSet = sub.Tags.Names()
			for _, h := range sub.Tags.Hashes() {
				data.CodeSet = append(data.CodeSet, int32(h))
			}
		}
		body.SubscriptionTable[sub.Topic] = data
	}
	return bodyResponse(&body)
}

// producerConnections serves GET_PRODUCER_CONNECTION_LIST.
func (s *Server) producerConnections(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("producerGroup")
	if err != nil {
		return nil, err
	}
	members := s.deps.Groups.Producers(name)
	if len(members) == 0 {
		return nil, status(wire.RespSystemError, "the producer group[%s] not exist", name)
	}
	return bodyResponse(&wire.ProducerConnection{ConnectionSet: connections(members)})
}

func connections(members []group.Member) []wire.Connection {
	out := make([]wire.Connection, 0, len(members))
	for i := range members {
		m := &members[i]
		out = append(out, wire.Connection{ClientAddr: m.Conn.RemoteAddr(), ClientID: m.ClientID, Language: m.Language, Version: m.Version})
	}
	return out
}
