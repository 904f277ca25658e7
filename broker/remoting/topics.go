package remoting

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

const (
	permRead  int32 = 4
	permWrite int32 = 2

	// autoCreateQueues bounds the queues of a topic made by a first send, as RocketMQ's template topic TBW102 does.
	autoCreateQueues = 8
	// createTimeout bounds what a request waits for etcd.
	createTimeout = 5 * time.Second
)

// topicInfo is a topic with its queues resolved: what a send or a pull needs without a look at etcd's copy.
type topicInfo struct {
	meta   *metadata.Topic
	sync   bool // wait for the disk
	object bool // wait for a segment
	queues []atomic.Pointer[queue.Queue]
}

// topicTable finds topics by the bytes of their name, without an allocation.
type topicTable struct {
	srv *Server

	mu     sync.RWMutex // guards byName
	byName map[string]*topicInfo
}

func newTopicTable(s *Server) *topicTable {
	return &topicTable{srv: s, byName: map[string]*topicInfo{}}
}

// lookup returns a topic that exists.
func (t *topicTable) lookup(name []byte) (*topicInfo, bool) {
	t.mu.RLock()
	info := t.byName[string(name)]
	t.mu.RUnlock()
	if info != nil {
		if meta, ok := t.srv.deps.Metadata.Topic(info.meta.Name); ok && meta == info.meta {
			return info, true
		}
	}
	return t.resolve(string(name))
}

// resolve makes the entry of a topic anew; the topic has appeared, changed or gone.
func (t *topicTable) resolve(name string) (*topicInfo, bool) {
	meta, ok := t.srv.deps.Metadata.Topic(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok {
		delete(t.byName, name)
		return nil, false
	}
	info := &topicInfo{
		meta: meta, sync: meta.Flush == metadata.FlushSync || (meta.Flush == "" && t.srv.cfg.FlushSync),
		object: meta.Policy().Object, queues: make([]atomic.Pointer[queue.Queue], meta.Queues()),
	}
	t.byName[name] = info
	return info, true
}

// queue returns a queue that the topic has, or nil.
func (s *Server) queue(info *topicInfo, id int32) *queue.Queue {
	if id < 0 || int(id) >= len(info.queues) {
		return nil
	}
	if q := info.queues[id].Load(); q != nil {
		return q
	}
	ordinal, ok := info.meta.Ordinal(id)
	if !ok {
		return nil
	}
	q := s.deps.Log.Queue(ordinal)
	info.queues[id].Store(q)
	return q
}

// readQueue returns the topic and its queue for a request that reads, or why it cannot.
func (s *Server) readQueue(topic []byte, id int32) (*topicInfo, *queue.Queue, error) {
	info, ok := s.topics.lookup(topic)
	if !ok {
		return nil, nil, status(wire.RespTopicNotExist, "topic[%s] not exist, apply first please!", topic)
	}
	if id < 0 || id >= info.meta.ReadQueues {
		return nil, nil, status(wire.RespInvalidParameter, "queueId[%d] is illegal, topic:[%s] has %d read queues", id, topic, info.meta.ReadQueues)
	}
	q := s.queue(info, id)
	if q == nil {
		return nil, nil, status(wire.RespInvalidParameter, "queueId[%d] is illegal, topic:[%s]", id, topic)
	}
	return info, q, nil
}

// writeQueue picks the queue of a send.
func (s *Server) writeQueue(info *topicInfo, id int32) (int32, *queue.Queue, error) {
	t := info.meta
	switch {
	case t.Perm&permWrite == 0:
		return 0, nil, status(wire.RespNoPermission, "the broker[%s] sending message to topic[%s] is forbidden", s.cfg.Shard, t.Name)
	case id < 0 && t.WriteQueues > 0:
		id = rand.Int32N(t.WriteQueues) //nolint:gosec // spreads load, guards nothing
	case id < 0, id >= max(t.ReadQueues, t.WriteQueues):
		return 0, nil, status(wire.RespInvalidParameter, "request queueId[%d] is illegal, topic[%s] has %d write queues", id, t.Name, t.WriteQueues)
	}
	q := s.queue(info, id)
	if q == nil {
		return 0, nil, status(wire.RespInvalidParameter, "request queueId[%d] is illegal, topic[%s]", id, t.Name)
	}
	return id, q, nil
}

// autoCreate makes the topic of a send that names the template topic, or a group's retry or dead-letter topic. It may wait for etcd.
func (s *Server) autoCreate(ctx context.Context, name, template string, queues int32) (*topicInfo, error) {
	if err := message.ValidateTopic(name); err != nil {
		return nil, status(wire.RespInvalidParameter, "%v", err)
	}
	t := metadata.Topic{Name: name, Perm: permRead | permWrite, FilterType: "SINGLE_TAG"}
	switch {
	case message.IsRetryTopic(name), message.IsDLQTopic(name):
		t.ReadQueues, t.WriteQueues = 1, 1
	case template == message.TopicAutoCreate:
		n := min(max(queues, 1), autoCreateQueues)
		t.ReadQueues, t.WriteQueues = n, n
	default:
		return nil, status(wire.RespTopicNotExist, "topic[%s] not exist, apply first please!", name)
	}
	return s.createTopic(ctx, t)
}

// createTopic makes a topic, or returns the one that is there.
func (s *Server) createTopic(ctx context.Context, t metadata.Topic) (*topicInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	made, err := s.deps.Metadata.CreateTopic(ctx, t)
	switch {
	case err == nil:
		s.log.Info("topic created", "topic", made.Name, "read_queues", made.ReadQueues, "write_queues", made.WriteQueues)
	case !errors.Is(err, metadata.ErrTopicExists):
		return nil, err
	}
	if info, ok := s.topics.lookup([]byte(t.Name)); ok {
		return info, nil
	}
	return nil, status(wire.RespTopicNotExist, "topic[%s] was deleted while it was being created", t.Name)
}
