package broker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/varvemq/varve/broker/group"
	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/broker/remoting"
	"github.com/varvemq/varve/broker/timer"
	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/metadata"
)

// prepare makes the internal topics, moves the queues beyond what was lost, and builds the front end and the timers.
func (b *broker) prepare(ctx context.Context) error {
	var err error
	if b.delays, err = message.ParseDelayLevels(message.DefaultDelayLevels); err != nil {
		return err
	}
	schedule, err := b.ensureTopic(ctx, metadata.Topic{
		Name: message.TopicSchedule, ReadQueues: int32(b.delays.Max()), WriteQueues: int32(b.delays.Max()), Perm: 6, FilterType: "SINGLE_TAG", Flush: metadata.FlushSync,
	})
	if err != nil {
		return err
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	if err := b.newFrontEnd(); err != nil {
		return err
	}
	levels := make([]*queue.Queue, b.delays.Max())
	for i := range levels {
		ordinal, ok := schedule.Ordinal(int32(i))
		if !ok {
			return fmt.Errorf("topic %s has no queue %d", schedule.Name, i)
		}
		levels[i] = b.queues.Queue(ordinal)
	}
	b.levels = timer.NewLevels(timer.Config{Log: b.queues, Queues: levels, Delays: b.delays, Resolve: b.resolveDue, Logger: b.log})
	return nil
}

func (b *broker) ensureTopic(ctx context.Context, t metadata.Topic) (*metadata.Topic, error) {
	if have, ok := b.store.Topic(t.Name); ok {
		return have, nil
	}
	t.Shard = b.own.Shard()
	made, err := b.store.CreateTopic(ctx, b.own, t)
	if err != nil && !errors.Is(err, metadata.ErrTopicExists) {
		return nil, fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	return made, nil
}

// dropDeleted empties the queues of deleted topics, whose records are in the log until their files go, and in segments until these are merged or deleted.
func (b *broker) dropDeleted(ctx context.Context) error {
	stones, err := b.store.ListTombstones(ctx)
	if err != nil {
		return fmt.Errorf("list deleted topics: %w", err)
	}
	for _, t := range stones {
		b.dropQueues(t.Ordinals)
	}
	return nil
}

func (b *broker) dropQueues(ranges []metadata.OrdinalRange) {
	ordinals := ordinalsOf(ranges)
	b.queues.Drop(ordinals)
	b.tier.catalog.DropQueues(ordinals)
	b.offsets.Forget(ranges)
}

// settle moves queues beyond offsets that may have been used and are lost, and has what must not be shown before it is in a segment put into one. Nothing is
// served before it is done.
func (b *broker) settle(ctx context.Context) error {
	losses, below := b.own.Losses()
	lost := losses > b.tier.sealer.Head().SettledLosses
	if lost {
		if err := b.skipLostTails(ctx, b.shardQueues(below)); err != nil {
			return err
		}
	}
	if err := b.skipAfterLoss(ctx); err != nil {
		return err
	}
	if lost || b.objectTopics() {
		if err := b.sealNow(ctx); err != nil {
			return fmt.Errorf("seal before serving: %w", err)
		}
	}
	if lost {
		return b.own.SettleLosses(ctx, losses)
	}
	return nil
}

// objectTopics reports whether the shard has topics whose messages are shown only when they are in a segment.
func (b *broker) objectTopics() bool {
	return slices.ContainsFunc(b.store.ListTopics(), func(t *metadata.Topic) bool { return t.Shard == b.own.Shard() && t.Policy().Object })
}

// lossStep is what a queue's offsets advance by, from the end of its segments, at each lost tail: more than a log of the largest size may have used since.
const lossStep = 1 << 30

// maxWALLimit is the largest log: full of the smallest messages, all in one queue, it uses up no more than a lossStep.
const maxWALLimit = lossStep * message.MinSize

// skipLostTails moves the queues that were there when a tail was lost to an offset that nobody has seen. Until that is in a segment nothing is served, so that a
// start after one that ended before comes to the same offsets, whatever became of its log.
func (b *broker) skipLostTails(ctx context.Context, old []*queue.Queue) error {
	b.log.Warn("the shard's tail is given up: its queues continue at higher offsets", "queues", len(old))
	err := b.queues.SkipTo(ctx, old, func(q *queue.Queue) uint64 {
		_, end, _ := b.tier.catalog.Bounds(q.Ordinal())
		return end + lossStep
	})
	if err != nil {
		return fmt.Errorf("skip offsets after the loss of a tail: %w", err)
	}
	return nil
}

// skipAfterLoss moves all queues of the shard to a safely higher offset if the machine may have lost what mode async had shown: which of them were in that mode
// when it happened nobody knows any more.
func (b *broker) skipAfterLoss(ctx context.Context) error {
	if !b.queues.Recovery().MachineLost {
		return nil
	}
	all := b.shardQueues(metadata.MaxOrdinal + 1)
	b.log.Warn("the machine went down with asynchronous data not yet on disk: all queues continue at higher offsets", "queues", len(all))
	if err := b.queues.SkipAfterLoss(ctx, all); err != nil {
		return fmt.Errorf("skip offsets after the loss of asynchronous data: %w", err)
	}
	return nil
}

// shardQueues returns the queues of the shard's topics with ordinals below a bound.
func (b *broker) shardQueues(below uint32) []*queue.Queue {
	var all []*queue.Queue
	for _, t := range b.store.ListTopics() {
		if t.Shard != b.own.Shard() {
			continue
		}
		for i := range t.Queues() {
			if ordinal, ok := t.Ordinal(i); ok && ordinal < below {
				all = append(all, b.queues.Queue(ordinal))
			}
		}
	}
	return all
}

func (b *broker) newFrontEnd() error {
	tlsCfg, err := tlsConfig(b.cfg, b.log)
	if err != nil {
		return err
	}
	addr, err := b.cfg.advertised(b.main.Addr())
	if err != nil {
		return err
	}
	existing := map[string]struct{}{}
	for _, g := range b.store.ListGroups() {
		existing[g.Name] = struct{}{}
	}
	b.front = remoting.New(remoting.Config{
		Cluster: b.cfg.Cluster, Shard: b.cfg.ShardName, Advertise: netip.AddrPortFrom(addr.Addr(), addr.Port()), AdvertiseHost: b.cfg.AdvertiseHost,
		MaxMessage: int(b.cfg.MaxMessageSize), FlushSync: b.cfg.Flush == metadata.FlushSync,
		TLS: tlsCfg, TLSMode: remoting.TLSMode(b.cfg.TLSMode), Version: b.cfg.Version, DataDir: b.cfg.DataDir, WALHot: b.cfg.WALHot, TailCache: b.cfg.TailCache, Delays: b.delays,
		Logger: b.log, Registerer: b.reg,
	}, remoting.Deps{
		Log: b.queues, Metadata: remoting.Metadata{Store: b.store, Own: b.own}, Offsets: b.offsets,
		Groups: group.New(group.Config{Logger: b.log}),
		Locks:  group.NewLocks(nil, func(name string) bool { _, ok := existing[name]; return ok }),
		Ready:  b.ready, DropQueues: b.dropQueues, Storage: newStorage(b), WhyFull: b.whyFull,
	})
	return nil
}

// resolveDue finds the destination of a delayed message that has fallen due.
func (b *broker) resolveDue(ctx context.Context, topic string, queueID int32) (timer.Target, error) {
	t, ok := b.store.Topic(topic)
	if !ok {
		if !message.IsRetryTopic(topic) {
			return timer.Target{}, timer.ErrNoTarget
		}
		var err error
		if t, err = b.ensureTopic(ctx, metadata.Topic{Name: topic, ReadQueues: 1, WriteQueues: 1, Perm: 6, FilterType: "SINGLE_TAG"}); errors.Is(err, metadata.ErrInvalid) {
			return timer.Target{}, fmt.Errorf("%w: %w", timer.ErrNoTarget, err) // no attempt will ever make it
		} else if err != nil {
			return timer.Target{}, err
		}
	}
	if queueID < 0 || queueID >= t.WriteQueues {
		queueID = 0
	}
	ordinal, ok := t.Ordinal(queueID)
	if !ok {
		return timer.Target{}, timer.ErrNoTarget
	}
	return timer.Target{Queue: b.queues.Queue(ordinal), Topic: t.Name, QueueID: queueID, Object: t.Policy().Object}, nil
}
