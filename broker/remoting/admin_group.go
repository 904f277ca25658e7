package remoting

import (
	"context"
	"errors"
	"strings"

	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

// maxGroupList bounds the groups of one UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST.
const maxGroupList = 4096

// groupOf is a group's configuration as the metadata store has it.
func groupOf(c *wire.SubscriptionGroupConfig) metadata.Group {
	return metadata.Group{
		Name: c.GroupName, ConsumeEnable: c.ConsumeEnable, ConsumeFromMinEnable: c.ConsumeFromMinEnable,
		ConsumeBroadcastEnable: c.ConsumeBroadcastEnable, ConsumeMessageOrderly: c.ConsumeMessageOrderly,
		RetryQueueNums: c.RetryQueueNums, RetryMaxTimes: c.RetryMaxTimes, BrokerID: c.BrokerID,
		WhichBrokerWhenConsumeSlowly:   c.WhichBrokerWhenConsumeSlowly,
		NotifyConsumerIDsChangedEnable: c.NotifyConsumerIDsChangedEnable,
		GroupSysFlag:                   c.GroupSysFlag, ConsumeTimeoutMinute: c.ConsumeTimeoutMinute, Attributes: groupAttributes(c.Attributes),
	}
}

// groupAttributes takes the signs off "+key": a new configuration replaces the old one as a whole.
func groupAttributes(in map[string]string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for key, value := range in {
		if !strings.HasPrefix(key, "-") {
			out[strings.TrimPrefix(key, "+")] = value
		}
	}
	return out
}

// groupConfigOf is a group's configuration as the protocol has it.
func groupConfigOf(g *metadata.Group) wire.SubscriptionGroupConfig {
	return wire.SubscriptionGroupConfig{
		Attributes: g.Attributes, BrokerID: g.BrokerID, ConsumeBroadcastEnable: g.ConsumeBroadcastEnable, ConsumeEnable: g.ConsumeEnable,
		ConsumeFromMinEnable: g.ConsumeFromMinEnable, ConsumeMessageOrderly: g.ConsumeMessageOrderly,
		ConsumeTimeoutMinute: g.ConsumeTimeoutMinute, GroupName: g.Name, GroupSysFlag: g.GroupSysFlag,
		NotifyConsumerIDsChangedEnable: g.NotifyConsumerIDsChangedEnable, RetryMaxTimes: g.RetryMaxTimes,
		RetryQueueNums: g.RetryQueueNums, WhichBrokerWhenConsumeSlowly: g.WhichBrokerWhenConsumeSlowly,
	}
}

// updateGroup serves UPDATE_AND_CREATE_SUBSCRIPTIONGROUP.
func (s *Server) updateGroup(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error) {
	var cfg wire.SubscriptionGroupConfig
	if err := wire.DecodeBody(req.Body, &cfg); err != nil {
		return nil, err
	}
	return nil, s.putGroups(ctx, c, []wire.SubscriptionGroupConfig{cfg})
}

// groupListBody is the body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST.
type groupListBody struct {
	GroupConfigList []wire.SubscriptionGroupConfig `json:"groupConfigList"`
}

// updateGroups serves UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST.
func (s *Server) updateGroups(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error) {
	var list groupListBody
	if err := wire.DecodeBody(req.Body, &list); err != nil {
		return nil, err
	}
	return nil, s.putGroups(ctx, c, list.GroupConfigList)
}

func (s *Server) putGroups(ctx context.Context, c *conn, list []wire.SubscriptionGroupConfig) error {
	if len(list) > maxGroupList {
		return status(wire.RespInvalidParameter, "%d groups, over %d", len(list), maxGroupList)
	}
	for i := range list {
		if err := message.ValidateGroup(list[i].GroupName); err != nil {
			return status(wire.RespInvalidParameter, "%v", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	for i := range list {
		if _, err := s.deps.Metadata.PutGroup(ctx, groupOf(&list[i])); err != nil {
			return err
		}
		c.log.Info("consumer group put by an administrator", "group", list[i].GroupName)
	}
	return nil
}

// allGroupConfig serves GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
func (s *Server) allGroupConfig(context.Context, *conn, *wire.Command) (*wire.Command, error) {
	groups := s.deps.Metadata.ListGroups()
	table := wire.SubscriptionGroupTable{
		ForbiddenTable:         map[string]map[string]int32{},
		SubscriptionGroupTable: make(map[string]wire.SubscriptionGroupConfig, len(groups)),
	}
	for _, g := range groups {
		table.SubscriptionGroupTable[g.Name] = groupConfigOf(g)
		table.DataVersion.Counter = max(table.DataVersion.Counter, g.Revision)
	}
	table.DataVersion.Timestamp = s.started.UnixMilli()
	resp, err := bodyResponse(&table)
	if err == nil {
		resp.Ext.AddInt("totalGroupNum", int64(len(groups)))
	}
	return resp, err
}

// groupConfig serves GET_SUBSCRIPTIONGROUP_CONFIG.
func (s *Server) groupConfig(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("group")
	if err != nil {
		return nil, err
	}
	g, ok := s.deps.Metadata.Group(name)
	if !ok {
		return nil, status(wire.RespSubscriptionGroupNotExist, "No group in this broker")
	}
	return bodyResponse(groupConfigOf(g))
}

// deleteGroup serves DELETE_SUBSCRIPTIONGROUP: the configuration and the locks go, with cleanOffset the progress too. A group that has live members
// comes back with their next heartbeat, as in RocketMQ.
func (s *Server) deleteGroup(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("groupName")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	clean := req.Ext.Bool("cleanOffset", false)
	if err := s.deps.Metadata.DeleteGroup(ctx, name, clean); err != nil && !errors.Is(err, metadata.ErrGroupNotFound) {
		return nil, err
	}
	if clean { // what the committer has in memory
		if err := s.deps.Offsets.Delete(ctx, name); err != nil {
			return nil, err
		}
	}
	s.resets.forgetGroup(name)
	s.deps.Locks.Forget(name)
	c.log.Info("consumer group deleted by an administrator", "group", name, "with_offsets", clean)
	return nil, nil
}
