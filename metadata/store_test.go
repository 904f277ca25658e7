package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestClusterID(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		s := newStore(t, kv, StoreConfig{})
		if _, err := s.ClusterID(t.Context()); !errors.Is(err, ErrNoClusterID) {
			t.Fatal(err)
		}
		ids := make([]uuid.UUID, 8)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				var err error
				if ids[i], err = s.EnsureClusterID(t.Context(), uuid.New()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got, err := s.ClusterID(t.Context())
		for _, id := range ids {
			if id != got || err != nil {
				t.Fatalf("%v, %v, want %v", id, err, got)
			}
		}
		other := newStore(t, kv, StoreConfig{Cluster: "Default"})
		if _, err := other.ClusterID(t.Context()); !errors.Is(err, ErrNoClusterID) {
			t.Fatalf("clusters are not separate: %v", err)
		}
	})
}

func TestTopics(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		s := newStore(t, kv, StoreConfig{})
		peer := newStore(t, kv, StoreConfig{})
		var mu sync.Mutex
		var seen []string
		stop := peer.WatchTopics(func(ev TopicEvent) {
			if _, ok := peer.Topic(ev.Name); ok != (ev.Topic != nil) {
				t.Errorf("%s: the snapshot does not have the event", ev.Name)
			}
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprintf("%s %t", ev.Name, ev.Topic != nil))
		})
		defer stop()
		own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
		a, err := s.CreateTopic(t.Context(), own, Topic{Name: "%RETRY%a|b", ReadQueues: 4, WriteQueues: 8, Perm: 6, Attributes: map[string]string{"k": "v"}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.CreateTopic(t.Context(), own, Topic{Name: "b", ReadQueues: 1000, WriteQueues: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]OrdinalRange{{0, 1, 8}}, a.Ordinals); diff != "" || a.Shard != "s0" || a.CreatedMs == 0 || a.Revision == 0 {
			t.Fatalf("%+v %s", a, diff)
		}
		if o, ok := b.Ordinal(999); !ok || o != 1008 || b.Incarnation == a.Incarnation {
			t.Fatalf("ordinal %d, %t", o, ok)
		}
		for _, q := range []int32{-1, 1000} {
			if _, ok := b.Ordinal(q); ok {
				t.Fatalf("queue %d has an ordinal", q)
			}
		}
		have, err := s.CreateTopic(t.Context(), own, Topic{Name: "b", ReadQueues: 1, WriteQueues: 1})
		if !errors.Is(err, ErrTopicExists) || have.Incarnation != b.Incarnation {
			t.Fatal(have, err)
		}
		if _, err := peer.CreateTopic(t.Context(), own, Topic{Name: "bad", ReadQueues: -1, Flush: "maybe"}); !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
		grown, err := s.UpdateTopic(t.Context(), own, a.Name, func(t *Topic) error {
			t.ReadQueues, t.WriteQueues, t.Perm, t.Incarnation, t.Ordinals = 10, 2, 4, 99, nil
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]OrdinalRange{{0, 1, 8}, {8, 1009, 2}}, grown.Ordinals); diff != "" || grown.Incarnation != a.Incarnation || grown.Perm != 4 {
			t.Fatalf("%+v %s", grown, diff)
		}
		shrunk, err := s.UpdateTopic(t.Context(), own, a.Name, func(t *Topic) error { t.ReadQueues, t.WriteQueues = 1, 1; return nil })
		if err != nil || shrunk.Queues() != 10 {
			t.Fatal(shrunk, err)
		}
		sentinel := errors.New("no")
		if _, err := s.UpdateTopic(t.Context(), own, a.Name, func(*Topic) error { return sentinel }); !errors.Is(err, sentinel) {
			t.Fatal(err)
		}
		tomb, err := s.DeleteTopic(t.Context(), own, a.Name)
		if err != nil || tomb.Incarnation != a.Incarnation {
			t.Fatal(tomb, err)
		}
		if _, ok := s.Topic(a.Name); ok {
			t.Fatal("deleted topic is still seen")
		}
		if _, err := s.DeleteTopic(t.Context(), own, a.Name); !errors.Is(err, ErrTopicNotFound) {
			t.Fatal(err)
		}
		again, err := s.CreateTopic(t.Context(), own, Topic{Name: a.Name, ReadQueues: 1, WriteQueues: 1})
		if err != nil || again.Incarnation <= b.Incarnation || again.Ordinals[0].First != 1011 {
			t.Fatalf("recreated: %+v, %v", again, err)
		}
		tombs, err := s.ListTombstones(t.Context())
		if diff := cmp.Diff([]*Tombstone{tomb}, tombs); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
		if err := errors.Join(s.DropTombstone(t.Context(), own, tomb.Incarnation), s.DropTombstone(t.Context(), own, tomb.Incarnation)); err != nil {
			t.Fatal(err)
		}
		want := []string{"%RETRY%a|b true", "b true", "%RETRY%a|b true", "%RETRY%a|b true", "%RETRY%a|b false", "%RETRY%a|b true"}
		eventually(t, "the peer sees all", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == len(want) })
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Fatal(diff)
		}
		// A fresh store, the writer's own snapshot and the watcher's agree.
		for _, other := range []*Store{s, peer} {
			if diff := cmp.Diff(newStore(t, kv, StoreConfig{}).ListTopics(), other.ListTopics()); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func TestGroups(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		s := newStore(t, kv, StoreConfig{})
		own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
		g := Group{Name: "g", ConsumeEnable: true, RetryMaxTimes: 16, GroupRetryPolicy: json.RawMessage(`{"type":"CUSTOMIZED"}`), Attributes: map[string]string{"a": "b"}}
		put, err := s.PutGroup(t.Context(), own, g)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := newStore(t, kv, StoreConfig{}).Group("g")
		if diff := cmp.Diff(put, got); diff != "" || !ok {
			t.Fatal(diff)
		}
		same, err := s.PutGroup(t.Context(), own, g)
		if err != nil || same.Revision != put.Revision {
			t.Fatal("an unchanged group was written", err)
		}
		if _, err := s.PutGroup(t.Context(), own, Group{Name: "x", GroupRetryPolicy: json.RawMessage("{")}); !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
		c := openOffsets(t, s, own, OffsetConfig{})
		if err := c.Reset(t.Context(), "g", map[uint32]int64{1: 5, 9000: 7}); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteGroup(t.Context(), own, "g", true); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Group("g"); ok {
			t.Fatal("deleted group is still seen")
		}
		if _, ok := c.Offset("g", 1); ok || len(c.Groups()) != 0 {
			t.Fatal("deleted group has offsets")
		}
		if all, err := s.LoadOffsets(t.Context(), "s0"); err != nil || len(all) != 0 {
			t.Fatal(all, err)
		}
		if err := s.DeleteGroup(t.Context(), own, "g", true); !errors.Is(err, ErrGroupNotFound) {
			t.Fatal(err)
		}
		// The group can come back, and its chunks with it.
		c.Commit("g", 1, 77)
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all, err := s.LoadOffsets(t.Context(), "s0"); err != nil || len(all) != 1 || all[OffsetKey{"g", 1}] != 77 {
			t.Fatal(all, err)
		}
	})
}

// TestFencing: of two claimants with the same WAL the later one owns the shard, and the earlier one can change nothing.
func TestFencing(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		old, young := newStore(t, kv, StoreConfig{}), newStore(t, kv, StoreConfig{})
		a := acquireShard(t, old, claimOf("s0", "b0", "w0"))
		ac := openOffsets(t, old, a, OffsetConfig{FlushInterval: time.Hour})
		topic, err := old.CreateTopic(t.Context(), a, Topic{Name: "t", ReadQueues: 1, WriteQueues: 1})
		if err != nil {
			t.Fatal(err)
		}
		ac.Commit("g", 1, 10)
		b := acquireShard(t, young, claimOf("s0", "b0", "w0"))
		if a.Epoch() != 1 || b.Epoch() != 2 || b.Previous().Epoch != 1 || b.TailLost() {
			t.Fatalf("epochs %d, %d", a.Epoch(), b.Epoch())
		}
		_, createErr := old.CreateTopic(t.Context(), a, Topic{Name: "u", ReadQueues: 1, WriteQueues: 1})
		_, updateErr := old.UpdateTopic(t.Context(), a, "t", func(t *Topic) error { t.Perm = 1; return nil })
		_, deleteErr := old.DeleteTopic(t.Context(), a, "t")
		_, groupErr := old.PutGroup(t.Context(), a, Group{Name: "g"})
		for i, err := range []error{
			createErr, updateErr, deleteErr, groupErr, old.DeleteGroup(t.Context(), a, "g", false), ac.Flush(t.Context()),
			ac.Reset(t.Context(), "g", map[uint32]int64{2: 2}),
		} {
			if !errors.Is(err, ErrFenced) {
				t.Errorf("write %d of the old owner: %v", i, err)
			}
		}
		select {
		case <-a.Lost():
		case <-time.After(10 * time.Second):
			t.Fatal("the loss is not noticed")
		}
		if a.Valid(BootClock()) || !b.Valid(BootClock()) {
			t.Fatal("validity")
		}
		fresh := newStore(t, kv, StoreConfig{})
		if diff := cmp.Diff([]*Topic{topic}, fresh.ListTopics()); diff != "" {
			t.Fatal(diff)
		}
		if all, err := fresh.LoadOffsets(t.Context(), "s0"); err != nil || len(all) != 0 {
			t.Fatal(all, err)
		}
		if err := a.Release(t.Context(), true); err != nil { // nothing to release: no error, and no effect
			t.Fatal(err)
		}
		if sh, _ := fresh.Shard("s0"); sh.Tail != TailDirty || sh.Epoch != 2 {
			t.Fatalf("%+v", sh)
		}
		if err := b.Release(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLossIsSeen: the watch tells an idle owner that it was replaced.
func TestLossIsSeen(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		a := acquireShard(t, newStore(t, kv, StoreConfig{}), claimOf("s0", "b0", "w0"))
		acquireShard(t, newStore(t, kv, StoreConfig{}), claimOf("s0", "b0", "w0"))
		select {
		case <-a.Lost():
		case <-time.After(10 * time.Second):
			t.Fatal("the loss is not noticed")
		}
	})
}

func TestClaims(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		ctx := t.Context()
		s0, s1 := newStore(t, kv, StoreConfig{}), newStore(t, kv, StoreConfig{})
		a := acquireShard(t, s0, claimOf("s0", "b0", "w0"))
		acquireShard(t, s0, claimOf("s1", "b0", "w0"))
		for name, c := range map[string]ShardClaim{
			"another broker":               claimOf("s0", "b1", "w1"),
			"another broker, a copied WAL": claimOf("s0", "b1", "w0"),
			"the same id, another WAL":     claimOf("s0", "b0", "w1"),
			"the same id, a free shard":    claimOf("s2", "b0", "w1"),
		} {
			c.AcceptTailLoss = true
			if _, err := s1.AcquireShard(ctx, c); !errors.Is(err, ErrShardOwned) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := s0.AcquireShard(ctx, claimOf("s0", "b0", "w0")); !errors.Is(err, ErrShardOwned) {
			t.Errorf("twice by one store: %v", err)
		}
		if _, err := s0.AcquireShard(ctx, claimOf("s3", "b7", "w0")); !errors.Is(err, ErrInvalid) {
			t.Errorf("two brokers in one store: %v", err)
		}
		if _, err := s1.AcquireShard(ctx, ShardClaim{LeaseTTL: -1}); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
		// Released with a dirty tail: refused without the WAL, taken with it or with the loss accepted.
		if err := errors.Join(a.Release(ctx, false), a.Release(ctx, false)); err != nil {
			t.Fatal(err)
		}
		if a.Valid(BootClock()) {
			t.Error("valid after its release")
		}
		c := claimOf("s0", "b1", "w1")
		if _, err := s1.AcquireShard(ctx, c); !errors.Is(err, ErrTailDirty) {
			t.Fatal(err)
		}
		c.AcceptTailLoss = true
		b := acquireShard(t, s1, c)
		if b.Epoch() != 2 || !b.TailLost() || b.Previous().WALUUID != "w0" {
			t.Fatalf("epoch %d, lost %t", b.Epoch(), b.TailLost())
		}
		if n, below := b.Losses(); n != 1 || below != 1 { // no topic yet: no ordinal was handed out
			t.Fatalf("%d losses, below ordinal %d", n, below)
		}
		if err := b.Release(ctx, true); err != nil {
			t.Fatal(err)
		}
		// Released with a clean tail: free for anybody.
		d := acquireShard(t, s0, claimOf("s0", "b0", "w0"))
		if n, _ := d.Losses(); n != 1 {
			t.Fatalf("%d losses are remembered", n)
		}
		if d.Epoch() != 3 || d.TailLost() {
			t.Fatalf("epoch %d, lost %t", d.Epoch(), d.TailLost())
		}
		if len(s0.ListShards()) != 2 {
			t.Fatal(s0.ListShards())
		}
	})
}

// TestLeaseExpires: an owner that sends no more keep-alives loses its validity before anybody else can take the shard.
func TestLeaseExpires(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		f := newFaultKV(kv, 1)
		s0, s1 := newStore(t, f, StoreConfig{}), newStore(t, kv, StoreConfig{})
		c := claimOf("s0", "b0", "w0")
		c.LeaseTTL = time.Second
		a := acquireShard(t, s0, c)
		if !a.Valid(BootClock()) {
			t.Fatal("not valid at first")
		}
		f.down.Store(true)
		take := claimOf("s0", "b1", "w1")
		take.AcceptTailLoss = true
		for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			valid := a.Valid(BootClock())
			b, err := s1.AcquireShard(t.Context(), take)
			if err == nil {
				if valid || a.Valid(BootClock()) {
					t.Fatal("two valid owners")
				}
				if b.Epoch() != 2 {
					t.Fatal(b.Epoch())
				}
				break
			}
			if !errors.Is(err, ErrShardOwned) || time.Since(begin) > 20*time.Second {
				t.Fatal(err)
			}
		}
		f.down.Store(false)
		<-a.Lost()
	})
}

// TestClaimWaits: a claim waits for the lease of a dead owner to end, not for ever for that of a live one, and not at all if it would be refused all the same.
func TestClaimWaits(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		f := newFaultKV(kv, 1)
		var logs logBuffer
		s0, s1 := newStore(t, f, StoreConfig{}), newStore(t, kv, StoreConfig{Logger: logs.logger()})
		c := claimOf("s0", "b0", "w0")
		c.LeaseTTL = time.Second
		a := acquireShard(t, s0, c)
		take := claimOf("s0", "b1", "w1")
		take.Wait = time.Hour
		if _, err := s1.AcquireShard(t.Context(), take); !errors.Is(err, ErrShardOwned) {
			t.Fatal(err) // at once: its tail is dirty
		}
		take.AcceptTailLoss, take.Wait = true, 3*time.Second
		begin := time.Now()
		if _, err := s1.AcquireShard(t.Context(), take); !errors.Is(err, ErrShardOwned) || time.Since(begin) < take.Wait {
			t.Fatalf("after %v: %v", time.Since(begin), err)
		}
		if !a.Valid(BootClock()) {
			t.Fatal("the owner is not valid any more")
		}
		f.down.Store(true)
		take.Wait = 20 * time.Second
		b, err := s1.AcquireShard(t.Context(), take)
		if err != nil || a.Valid(BootClock()) {
			t.Fatal(err, "or two owners")
		}
		if !b.TailLost() || b.Epoch() != 2 {
			t.Fatal(b.TailLost(), b.Epoch())
		}
		if n := logs.count("waiting for the lease"); n != 2 {
			t.Errorf("%d lines for two waits", n)
		}
	})
}

// TestExemptClaim: who has etcd for itself passes over the leases of processes that are dead.
func TestExemptClaim(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		s0, s1 := newStore(t, kv, StoreConfig{}), newStore(t, kv, StoreConfig{})
		a := acquireShard(t, s0, claimOf("s0", "b0", "w0"))
		c := claimOf("s0", "b1", "w1")
		c.LeaseExempt = true
		if _, err := s1.AcquireShard(t.Context(), c); !errors.Is(err, ErrTailDirty) {
			t.Fatal(err)
		}
		c.AcceptTailLoss = true
		b := acquireShard(t, s1, c)
		if n, _ := b.Losses(); n != 1 || b.Epoch() != 2 {
			t.Fatal(n, b.Epoch())
		}
		<-a.Lost()
	})
}

// TestLeaseRevives: an owner whose lease ended while nobody took the shard becomes valid again under the same epoch.
func TestLeaseRevives(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		f := newFaultKV(kv, 1)
		var logs logBuffer
		s := newStore(t, f, StoreConfig{Logger: logs.logger()})
		c := claimOf("s0", "b0", "w0")
		c.LeaseTTL = time.Second
		a := acquireShard(t, s, c)
		f.down.Store(true)
		eventually(t, "not valid", func() bool { return !a.Valid(BootClock()) })
		eventually(t, "lease is gone", func() bool {
			live, err := kv.Get(t.Context(), s.keys.live("s0"))
			return err == nil && !live.Exists()
		})
		f.down.Store(false)
		eventually(t, "valid again", func() bool { return a.Valid(BootClock()) })
		if _, err := s.CreateTopic(t.Context(), a, Topic{Name: "t"}); err != nil {
			t.Fatal(err)
		}
		if n, m := logs.count("etcd does not answer"), logs.count("etcd answers again"); n != 1 || m != 1 {
			t.Errorf("%d lines of the outage, %d of its end", n, m)
		}
	})
}

// TestUnknownOutcomes: with every operation failing at random, before or after it was done, each call's answer is the truth.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(32) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { unknownOutcomes(t, seed) })
		})
	}
}

func unknownOutcomes(t *testing.T, seed uint64) { //nolint:thelper // a case, not a helper: its own lines matter
	mem := NewMemory()
	f := newFaultKV(mem, seed)
	s := newStore(t, f, StoreConfig{RequestTimeout: 30 * time.Second})
	f.setFail(0.15)
	own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
	if own.Epoch() != 1 {
		t.Fatalf("epoch %d: an attempt counted twice", own.Epoch())
	}
	c := openOffsets(t, s, own, OffsetConfig{FlushInterval: time.Millisecond, RetryMin: time.Millisecond})
	for i := range 40 {
		name := fmt.Sprintf("t%d", i)
		if _, err := s.CreateTopic(t.Context(), own, Topic{Name: name, ReadQueues: 2, WriteQueues: 2}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.UpdateTopic(t.Context(), own, name, func(t *Topic) error { t.ReadQueues++; return nil }); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if _, err := s.DeleteTopic(t.Context(), own, name); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.PutGroup(t.Context(), own, Group{Name: name}); err != nil {
			t.Fatal(err)
		}
		c.Commit(name, uint32(i+1), int64(i))
		if i%4 == 0 {
			if err := s.DeleteGroup(t.Context(), own, name, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.setFail(0)
	checkTruth(t, newStore(t, mem, StoreConfig{}), own)
	if err := own.Release(t.Context(), true); err != nil {
		t.Fatal(err)
	}
}

// checkTruth checks what TestUnknownOutcomes did: every topic once, ordinals used once, updated once.
func checkTruth(t *testing.T, s *Store, own *Ownership) {
	t.Helper()
	topics := s.ListTopics()
	tombs, err := s.ListTombstones(t.Context())
	if err != nil || len(topics) != 26 || len(tombs) != 14 || len(s.ListGroups()) != 30 {
		t.Fatalf("%d topics, %d tombstones, %d groups, %v", len(topics), len(tombs), len(s.ListGroups()), err)
	}
	used := map[uint32]string{}
	claim := func(name string, ranges []OrdinalRange) {
		for _, r := range ranges {
			for o := r.First; o < r.First+uint32(r.Count); o++ {
				if used[o] != "" {
					t.Errorf("ordinal %d belongs to %s and %s", o, used[o], name)
				}
				used[o] = name
			}
		}
	}
	for _, topic := range topics {
		claim(topic.Name, topic.Ordinals)
		if topic.ReadQueues != 3 || topic.Queues() != 3 {
			t.Errorf("%s was updated to %d queues", topic.Name, topic.ReadQueues)
		}
	}
	for _, tomb := range tombs {
		claim(tomb.Name, tomb.Ordinals)
	}
	counters, _, err := s.readCounters(t.Context())
	if err != nil || counters.Incarnation != 40 || int(counters.Next) != len(used)+1 {
		t.Errorf("%+v for 40 topics and %d ordinals, %v", counters, len(used), err)
	}
	all, err := s.LoadOffsets(t.Context(), own.Shard())
	if err != nil || len(all) != 30 {
		t.Errorf("%d offsets, %v", len(all), err)
	}
	for k, o := range all {
		if k.Group != fmt.Sprintf("t%d", o) || k.Ordinal != uint32(o+1) || o%4 == 0 {
			t.Errorf("offset %+v = %d", k, o)
		}
	}
}

// TestResync: a watch that fell behind compaction reads anew and reports every difference once.
func TestResync(t *testing.T) {
	t.Parallel()
	mem := NewMemory()
	writer := newStore(t, mem, StoreConfig{})
	own := acquireShard(t, writer, claimOf("s0", "b0", "w0"))
	for _, name := range []string{"gone", "same", "changed"} {
		if _, err := writer.CreateTopic(t.Context(), own, Topic{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	gate := &gatedKV{KV: mem, open: make(chan struct{})}
	behind := newStore(t, gate, StoreConfig{})
	var mu sync.Mutex
	seen := map[string]int{}
	behind.WatchTopics(func(ev TopicEvent) {
		mu.Lock()
		defer mu.Unlock()
		seen[fmt.Sprintf("%s %t", ev.Name, ev.Topic != nil)]++
	})
	_, err1 := writer.DeleteTopic(t.Context(), own, "gone")
	_, err2 := writer.UpdateTopic(t.Context(), own, "changed", func(t *Topic) error { t.Perm = 7; return nil })
	_, err3 := writer.CreateTopic(t.Context(), own, Topic{Name: "new"})
	rev, err4 := writer.Revision(t.Context())
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	mem.Compact(rev)
	close(gate.open)
	eventually(t, "resync", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 3 })
	if diff := cmp.Diff(map[string]int{"gone false": 1, "changed true": 1, "new true": 1}, seen); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(writer.ListTopics(), behind.ListTopics()); diff != "" {
		t.Fatal(diff)
	}
}

// gatedKV holds watches back until it is opened.
type gatedKV struct {
	KV
	open chan struct{}
}

func (g *gatedKV) Watch(ctx context.Context, prefix string, from int64) <-chan WatchBatch {
	out := make(chan WatchBatch)
	go func() {
		defer close(out)
		select {
		case <-g.open:
		case <-ctx.Done():
			return
		}
		for b := range g.KV.Watch(ctx, prefix, from) {
			select {
			case out <- b:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// TestCorrupt: what cannot be read is refused at the start, and leaves the last good state later.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, key, value string
		want             error
	}{
		{"no JSON", "topics/t", "{", ErrCorrupt},
		{"no version", "topics/t", `{"name":"t"}`, ErrCorrupt},
		{"newer", "topics/t", `{"v":2,"name":"t"}`, ErrVersion},
		{"another name", "topics/t", `{"v":1,"name":"u"}`, ErrCorrupt},
		{"a gap in the ordinals", "topics/t", `{"v":1,"name":"t","ordinals":[{"q":1,"o":1,"n":1}]}`, ErrCorrupt},
		{"ordinal 0", "topics/t", `{"v":1,"name":"t","ordinals":[{"q":0,"o":0,"n":1}]}`, ErrCorrupt},
		{"too few ordinals", "topics/t", `{"v":1,"name":"t","read_queues":2,"ordinals":[{"q":0,"o":1,"n":1}]}`, ErrCorrupt},
		{"a group", "groups/g", `{"v":1}`, ErrCorrupt},
		{"a shard without an epoch", "shards/s", `{"v":1,"id":"s","tail":"dirty"}`, ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mem := NewMemory()
			running := newStore(t, mem, StoreConfig{})
			mustTxn(t, mem, nil, Put(running.keys.root+tt.key, []byte(tt.value)))
			if _, err := NewStore(t.Context(), mem, StoreConfig{}); !errors.Is(err, tt.want) {
				t.Fatal(err)
			}
			if len(running.ListTopics())+len(running.ListGroups())+len(running.ListShards()) != 0 {
				t.Fatal("a corrupt value is served")
			}
		})
	}
}

func TestOrdinalsEnd(t *testing.T) {
	t.Parallel()
	mem := NewMemory()
	s := newStore(t, mem, StoreConfig{})
	own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
	mustTxn(t, mem, nil, Put(s.keys.ordinals(), fmt.Appendf(nil, `{"v":1,"next":%d,"incarnation":7}`, MaxOrdinal-1)))
	if _, err := s.CreateTopic(t.Context(), own, Topic{Name: "three", ReadQueues: 3}); !errors.Is(err, ErrOrdinalsExhausted) {
		t.Fatal(err)
	}
	last, err := s.CreateTopic(t.Context(), own, Topic{Name: "two", ReadQueues: 2})
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := last.Ordinal(1); o != MaxOrdinal || last.Incarnation != 8 {
		t.Fatal(o, last.Incarnation)
	}
	if _, err := s.CreateTopic(t.Context(), own, Topic{Name: "one", ReadQueues: 1}); !errors.Is(err, ErrOrdinalsExhausted) {
		t.Fatal(err)
	}
}
