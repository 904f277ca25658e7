package remoting

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

// attributeFlush is an attribute of our own: a topic's flush mode, "sync" or "async".
const attributeFlush = "varve.flush"

// topicAttribute is a topic attribute that can be set.
type topicAttribute struct {
	values  []string // nil: metadata checks it
	mutable bool     // may be changed on a topic that is there
}

// topicAttributes are RocketMQ's, with the values we serve, and our own.
func topicAttributes() map[string]topicAttribute {
	return map[string]topicAttribute{
		"message.type":   {values: []string{"UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"}, mutable: true},
		"cleanup.policy": {values: []string{"DELETE"}},
		"queue.type":     {values: []string{"SimpleCQ"}},
		attributeFlush:   {values: []string{metadata.FlushSync, metadata.FlushAsync}, mutable: true},

		metadata.AttributeRetentionMs:    {mutable: true},
		metadata.AttributeRetentionBytes: {mutable: true},
		metadata.AttributeCompression:    {mutable: true},
		metadata.AttributeIndexKeys:      {mutable: true},
		metadata.AttributeDurability:     {mutable: true},
	}
}

// updateTopic serves UPDATE_AND_CREATE_TOPIC. (AdminBrokerProcessor in RocketMQ's broker.)
func (s *Server) updateTopic(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error) {
	want, changes, err := topicRequest(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	if _, ok := s.deps.Metadata.Topic(want.Name); !ok {
		made := want.Clone()
		if err := applyAttributes(made, changes, true); err != nil {
			return nil, err
		}
		created, err := s.deps.Metadata.CreateTopic(ctx, *made)
		if err == nil {
			c.log.Info("topic created by an administrator", "topic", created.Name, "read_queues", created.ReadQueues, "write_queues", created.WriteQueues)
			return nil, nil
		}
		if !errors.Is(err, metadata.ErrTopicExists) {
			return nil, err
		}
	}
	next, err := s.deps.Metadata.UpdateTopic(ctx, want.Name, func(t *metadata.Topic) error {
		t.ReadQueues, t.WriteQueues, t.Perm = want.ReadQueues, want.WriteQueues, want.Perm
		t.Order, t.SysFlag, t.FilterType = want.Order, want.SysFlag, want.FilterType
		return applyAttributes(t, changes, false)
	})
	if err != nil {
		return nil, err
	}
	c.log.Info("topic changed by an administrator", "topic", next.Name, "read_queues", next.ReadQueues, "write_queues", next.WriteQueues, "perm", next.Perm)
	return nil, nil
}

// topicRequest decodes and checks what UPDATE_AND_CREATE_TOPIC asks for.
func topicRequest(req *wire.Command) (*metadata.Topic, map[string]string, error) {
	e := &req.Ext
	t := &metadata.Topic{Order: e.Bool("order", false), FilterType: e.String("topicFilterType")}
	var err error
	if t.Name, err = e.RequireString("topic"); err != nil {
		return nil, nil, err
	}
	for _, f := range []struct {
		name string
		dst  *int32
	}{{"readQueueNums", &t.ReadQueues}, {"writeQueueNums", &t.WriteQueues}, {"perm", &t.Perm}} {
		if *f.dst, err = e.RequireInt32(f.name); err != nil {
			return nil, nil, err
		}
	}
	if t.SysFlag, err = e.Int32("topicSysFlag", 0); err != nil {
		return nil, nil, err
	}
	if t.FilterType == "" {
		t.FilterType = wire.SingleTag
	}
	switch {
	case t.FilterType != wire.SingleTag && t.FilterType != wire.MultiTag:
		return nil, nil, status(wire.RespInvalidParameter, "topicFilterType %q is illegal", t.FilterType)
	case t.Perm < 0 || t.Perm > permRead|permWrite|wire.PermInherit:
		return nil, nil, status(wire.RespInvalidParameter, "perm %d is illegal", t.Perm)
	}
	if err := message.ValidateTopic(t.Name); err != nil {
		return nil, nil, status(wire.RespInvalidParameter, "%v", err)
	}
	if message.IsSystemTopic(t.Name) {
		return nil, nil, status(wire.RespInvalidParameter, "The topic[%s] is conflict with system topic.", t.Name)
	}
	if err := t.Validate(); err != nil {
		return nil, nil, err
	}
	changes, err := parseAttributes(e.String("attributes"))
	return t, changes, err
}

// parseAttributes reads "+key=value,-key". The sign stays part of the key.
func parseAttributes(in string) (map[string]string, error) {
	changes := map[string]string{}
	for item := range strings.SplitSeq(in, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		key, value, set := strings.Cut(item, "=")
		if sign := key[:min(1, len(key))]; (set && sign != "+") || (!set && sign != "-") || len(key) < 2 {
			return nil, status(wire.RespInvalidParameter, "attribute %q: want +key=value or -key", item)
		}
		if _, twice := changes[key]; twice {
			return nil, status(wire.RespInvalidParameter, "attribute %q is there twice", key)
		}
		changes[key] = value
	}
	return changes, nil
}

// applyAttributes changes a topic's attributes.
func applyAttributes(t *metadata.Topic, changes map[string]string, creating bool) error {
	known := topicAttributes()
	for signed, value := range changes {
		key := signed[1:]
		a, ok := known[key]
		switch {
		case !ok:
			return status(wire.RespInvalidParameter, "unsupported key: %s", key)
		case !creating && !a.mutable:
			return status(wire.RespInvalidParameter, "attribute %s cannot be changed", key)
		case creating && signed[0] == '-':
			return status(wire.RespInvalidParameter, "attribute %s cannot be deleted: the topic is new", key)
		case signed[0] == '+' && a.values == nil:
			if _, err := metadata.CheckPolicyAttribute(key, value); err != nil {
				return status(wire.RespInvalidParameter, "attribute %v", err)
			}
		case signed[0] == '+' && !slices.Contains(a.values, value):
			return status(wire.RespInvalidParameter, "attribute %s: %q is not one of %s", key, value, strings.Join(a.values, ", "))
		}
		if signed[0] == '-' {
			delete(t.Attributes, key)
			value = ""
		} else {
			if t.Attributes == nil {
				t.Attributes = map[string]string{}
			}
			t.Attributes[key] = value
		}
		if key == attributeFlush {
			t.Flush = value
		}
	}
	return nil
}

// deleteTopic serves DELETE_TOPIC_IN_BROKER. A topic that is not there is deleted already.
func (s *Server) deleteTopic(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("topic")
	switch {
	case err != nil:
		return nil, err
	case strings.TrimSpace(name) == "":
		return nil, status(wire.RespInvalidParameter, "The specified topic is blank.")
	case message.IsSystemTopic(name):
		return nil, status(wire.RespInvalidParameter, "The topic[%s] is conflict with system topic.", name)
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	gone, err := s.deps.Metadata.DeleteTopic(ctx, name)
	switch {
	case errors.Is(err, metadata.ErrTopicNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	s.topics.resolve(name)
	if s.deps.DropQueues != nil {
		s.deps.DropQueues(gone.Ordinals)
	}
	s.resets.forgetQueues(gone.Ordinals)
	c.log.Info("topic deleted by an administrator", "topic", name)
	return nil, nil
}

// configOf is a topic as the protocol has it.
func configOf(t *metadata.Topic) wire.TopicConfig {
	return wire.TopicConfig{
		Attributes: maps.Clone(t.Attributes), Order: t.Order, Perm: t.Perm, ReadQueueNums: t.ReadQueues, WriteQueueNums: t.WriteQueues,
		TopicFilterType: t.FilterType, TopicName: t.Name, TopicSysFlag: t.SysFlag,
	}
}

// allTopicConfig serves GET_ALL_TOPIC_CONFIG.
func (s *Server) allTopicConfig(context.Context, *conn, *wire.Command) (*wire.Command, error) {
	topics := s.deps.Metadata.ListTopics()
	table := wire.TopicConfigTable{TopicConfigTable: make(map[string]wire.TopicConfig, len(topics)+1)}
	template := templateTopic()
	table.TopicConfigTable[template.Name] = configOf(template)
	for _, t := range topics {
		table.TopicConfigTable[t.Name] = configOf(t)
		table.DataVersion.Counter = max(table.DataVersion.Counter, t.Revision)
	}
	table.DataVersion.Timestamp = s.started.UnixMilli()
	resp, err := bodyResponse(&table)
	if err == nil {
		resp.Ext.AddInt("totalTopicNum", int64(len(table.TopicConfigTable)))
	}
	return resp, err
}

// topicConfig serves GET_TOPIC_CONFIG.
func (s *Server) topicConfig(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("topic")
	if err != nil {
		return nil, err
	}
	info, ok := s.topics.lookup([]byte(name))
	if !ok {
		return nil, status(wire.RespTopicNotExist, "No topic in this broker. topic: %s", name)
	}
	return bodyResponse(configOf(info.meta))
}
