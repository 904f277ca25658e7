package remoting

import (
	"context"

	"github.com/varvemq/varve/broker/group"
	"github.com/varvemq/varve/internal/filter"
	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

// maxHeartbeatGroups bounds what one heartbeat may make the broker create and keep.
const maxHeartbeatGroups = 4096

// heartbeat serves HEART_BEAT. (ClientManageProcessor in RocketMQ's broker.) A heartbeat of groups that are known is taken in at once, so that what
// the client sends next finds it; one that makes a group or its retry topic waits for etcd.
func (s *Server) heartbeat(ctx context.Context, c *conn, req *wire.Command) {
	beat, err := decodeHeartbeat(req)
	if err != nil {
		c.respondError(replyTo(req), err)
		return
	}
	for i := range beat.ConsumerDataSet {
		if s.needsCreation(beat.ConsumerDataSet[i].GroupName) {
			c.runSlow(ctx, handler{slow: s.heartbeatOfNewGroups}, req)
			return
		}
	}
	s.register(c, beat)
	c.respondStatus(replyTo(req), wire.RespSuccess, "")
}

// heartbeatOfNewGroups is the slow path of a heartbeat.
func (s *Server) heartbeatOfNewGroups(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error) {
	beat, err := decodeHeartbeat(req)
	if err != nil {
		return nil, err
	}
	for i := range beat.ConsumerDataSet {
		if err := s.createGroup(ctx, beat.ConsumerDataSet[i].GroupName); err != nil {
			return nil, err
		}
	}
	s.register(c, beat)
	if !s.connected(c) { // it closed while etcd was busy, and its closing did not end what came after it
		s.deps.Groups.Disconnected(c)
	}
	return nil, nil
}

// decodeHeartbeat reads a heartbeat. Consumer groups with a name that no group can have are left out, as RocketMQ does.
func decodeHeartbeat(req *wire.Command) (*wire.HeartbeatData, error) {
	var beat wire.HeartbeatData
	if err := wire.DecodeBody(req.Body, &beat); err != nil {
		return nil, err
	}
	if beat.ClientID == "" {
		return nil, status(wire.RespInvalidParameter, "the heartbeat has no clientID")
	}
	if n := len(beat.ConsumerDataSet) + len(beat.ProducerDataSet); n > maxHeartbeatGroups {
		return nil, status(wire.RespInvalidParameter, "the heartbeat has %d groups, over %d", n, maxHeartbeatGroups)
	}
	valid := beat.ConsumerDataSet[:0]
	for _, d := range beat.ConsumerDataSet {
		if message.ValidateGroup(d.GroupName) == nil {
			valid = append(valid, d)
		}
	}
	beat.ConsumerDataSet = valid
	return &beat, nil
}

func (s *Server) needsCreation(groupName string) bool {
	if _, ok := s.deps.Metadata.Group(groupName); !ok {
		return true
	}
	_, ok := s.topics.lookup([]byte(message.RetryTopic(groupName)))
	return !ok
}

// createGroup makes a group's configuration and its retry topic where they are missing.
func (s *Server) createGroup(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	g, ok := s.deps.Metadata.Group(name)
	if !ok {
		cfg := wire.DefaultSubscriptionGroup(name)
		made, err := s.deps.Metadata.PutGroup(ctx, groupOf(&cfg))
		if err != nil {
			return err
		}
		s.log.Info("consumer group created by its first heartbeat or pull", "group", name)
		g = made
	}
	_, err := s.retryTopic(ctx, g)
	return err
}

// retryTopic returns a group's retry topic, which it makes if it is missing.
func (s *Server) retryTopic(ctx context.Context, g *metadata.Group) (*topicInfo, error) {
	return s.internalTopic(ctx, message.RetryTopic(g.Name), max(1, g.RetryQueueNums))
}

// internalTopic returns a topic that the broker itself needs, which it makes if it is missing.
func (s *Server) internalTopic(ctx context.Context, name string, queues int32) (*topicInfo, error) {
	if info, ok := s.topics.lookup([]byte(name)); ok {
		return info, nil
	}
	return s.createTopic(ctx, metadata.Topic{
		Name: name, ReadQueues: queues, WriteQueues: queues, Perm: permRead | permWrite, FilterType: wire.SingleTag,
	})
}

// register tells the group manager what the client says of itself.
func (s *Server) register(c *conn, beat *wire.HeartbeatData) {
	producers := make([]string, 0, len(beat.ProducerDataSet))
	for _, p := range beat.ProducerDataSet {
		if message.ValidateGroup(p.GroupName) == nil {
			producers = append(producers, p.GroupName)
		}
	}
	consumers := make([]group.ConsumerData, 0, len(beat.ConsumerDataSet))
	for i := range beat.ConsumerDataSet {
		d := &beat.ConsumerDataSet[i]
		g, ok := s.deps.Metadata.Group(d.GroupName)
		consumers = append(consumers, group.ConsumerData{
			Group: d.GroupName, ConsumeType: d.ConsumeType, MessageModel: d.MessageModel, ConsumeFromWhere: d.ConsumeFromWhere,
			Subscriptions: s.subscriptions(c, d), KeepSubscriptions: beat.WithoutSub,
			Quiet: ok && !g.NotifyConsumerIDsChangedEnable,
		})
	}
	s.deps.Groups.Heartbeat(group.Identity{
		ClientID: beat.ClientID, Language: wire.Language(c.language.Load()).String(), Version: c.version.Load(), Conn: c,
	}, producers, consumers)
}

// subscriptions translates a group's subscriptions. A tag expression that cannot be parsed subscribes to nothing.
func (s *Server) subscriptions(c *conn, d *wire.ConsumerData) []group.Subscription {
	subs := make([]group.Subscription, 0, len(d.SubscriptionDataSet))
	for i := range d.SubscriptionDataSet {
		in := &d.SubscriptionDataSet[i]
		sub := group.Subscription{
			Topic: in.Topic, Expression: in.SubString, ExpressionType: in.ExpressionType, Version: in.SubVersion, ClassFilter: in.ClassFilterMode,
		}
		if isTagExpression(in.ExpressionType) {
			tags, err := filter.ParseTags(in.SubString)
			if err != nil {
				c.log.Warn("a subscription cannot be parsed", "group", d.GroupName, "topic", in.Topic, "err", err)
			}
			sub.Tags = tags
		}
		subs = append(subs, sub)
	}
	return subs
}

func isTagExpression(expressionType string) bool {
	return expressionType == "" || expressionType == wire.ExpressionTag
}

// connected says whether a connection is among the open ones.
func (s *Server) connected(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.conns[c]
	return ok
}

// unregisterClient serves UNREGISTER_CLIENT.
func (s *Server) unregisterClient(_ *conn, req *wire.Command) (*wire.Command, error) {
	id, err := req.Ext.RequireString("clientID")
	if err != nil {
		return nil, err
	}
	s.deps.Groups.Unregister(id, req.Ext.String("producerGroup"), req.Ext.String("consumerGroup"))
	return nil, nil
}

// checkClientBody is the body of CHECK_CLIENT_CONFIG.
type checkClientBody struct {
	ClientID         string                 `json:"clientId"`
	Group            string                 `json:"group"`
	SubscriptionData *wire.SubscriptionData `json:"subscriptionData"`
}

// checkClientConfig serves CHECK_CLIENT_CONFIG: a client asks whether the broker understands its subscription.
func (s *Server) checkClientConfig(_ *conn, req *wire.Command) (*wire.Command, error) {
	var body checkClientBody
	if len(req.Body) == 0 {
		return nil, nil
	}
	if err := wire.DecodeBody(req.Body, &body); err != nil {
		return nil, err
	}
	sub := body.SubscriptionData
	if sub == nil {
		return nil, nil
	}
	if !isTagExpression(sub.ExpressionType) {
		return nil, status(wire.RespSystemError, "the broker does not support consumer to filter message by %s", sub.ExpressionType)
	}
	if _, err := filter.ParseTags(sub.SubString); err != nil {
		return nil, status(wire.RespSubscriptionParseFailed, "%v", err)
	}
	return nil, nil
}
