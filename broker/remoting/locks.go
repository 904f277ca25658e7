package remoting

import (
	"github.com/varvemq/varve/broker/group"
	wire "github.com/varvemq/varve/internal/remoting"
)

// maxLockQueues bounds the queues of one lock request.
const maxLockQueues = 1 << 16

// lockQueues serves LOCK_BATCH_MQ: an orderly consumer takes or renews the locks of its queues. The answer lists those it holds.
func (s *Server) lockQueues(_ *conn, req *wire.Command) (*wire.Command, error) {
	body, queues, err := s.lockRequest(req)
	if err != nil {
		return nil, err
	}
	held := s.deps.Locks.Lock(body.ConsumerGroup, body.ClientID, queues)
	out := wire.LockBatchResponseBody{LockOKMQSet: make([]wire.MessageQueue, 0, len(held))}
	for _, q := range held {
		out.LockOKMQSet = append(out.LockOKMQSet, wire.MessageQueue{BrokerName: s.cfg.Shard, QueueID: q.Queue, Topic: q.Topic})
	}
	return bodyResponse(&out)
}

// unlockQueues serves UNLOCK_BATCH_MQ.
func (s *Server) unlockQueues(_ *conn, req *wire.Command) (*wire.Command, error) {
	body, queues, err := s.lockRequest(req)
	if err != nil {
		return nil, err
	}
	s.deps.Locks.Unlock(body.ConsumerGroup, body.ClientID, queues)
	return nil, nil
}

// lockRequest decodes a lock request. Queues of other shards, and queues that are not there, are left out: nobody can hold them here.
func (s *Server) lockRequest(req *wire.Command) (*wire.LockBatchBody, []group.QueueID, error) {
	var body wire.LockBatchBody
	if err := wire.DecodeBody(req.Body, &body); err != nil {
		return nil, nil, err
	}
	switch {
	case body.ConsumerGroup == "" || body.ClientID == "":
		return nil, nil, status(wire.RespInvalidParameter, "a lock request needs consumerGroup and clientId")
	case len(body.MQSet) > maxLockQueues:
		return nil, nil, status(wire.RespInvalidParameter, "%d queues to lock, over %d", len(body.MQSet), maxLockQueues)
	}
	queues := make([]group.QueueID, 0, len(body.MQSet))
	for _, q := range body.MQSet {
		info, ok := s.topics.lookup([]byte(q.Topic))
		if ok && q.BrokerName == s.cfg.Shard && q.QueueID >= 0 && q.QueueID < info.meta.Queues() {
			queues = append(queues, group.QueueID{Topic: info.meta.Name, Queue: q.QueueID})
		}
	}
	return &body, queues, nil
}
