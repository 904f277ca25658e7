package metadata

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestHundredThousandQueues loads 25,000 topics of 4 queues (a tenth with the race detector) and two groups that read them all, through a real etcd.
func TestHundredThousandQueues(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	const topics, queues = loadTopics, 4
	e := startEtcd(t, EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd")})
	s, err := e.Open(t.Context(), StoreConfig{RequestTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
	begin := time.Now()
	created := topics / 12
	for i := range created { // one by one, as clients do
		if _, err := s.CreateTopic(t.Context(), own, Topic{Name: fmt.Sprintf("topic-%05d", i), ReadQueues: queues, WriteQueues: queues, Perm: 6}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("created %d topics, %.0f/s", created, float64(created)/time.Since(begin).Seconds())
	seedTopics(t, s, created, topics, queues)
	if err := own.Release(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin = time.Now()
	s, err = e.Open(t.Context(), StoreConfig{RequestTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	loaded := time.Since(begin)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := len(s.ListTopics()); n != topics {
		t.Fatalf("%d topics", n)
	}
	t.Logf("loaded %d topics in %v, %d bytes each", topics, loaded, (after.HeapAlloc-before.HeapAlloc)/topics)
	own = acquireShard(t, s, claimOf("s0", "b0", "w0"))
	c := openOffsets(t, s, own, OffsetConfig{FlushInterval: time.Hour})
	for o := range uint32(topics * queues) {
		c.Commit("g1", o+1, 1_000_000+int64(o))
		c.Commit("g2", o+1, 2_000_000+int64(o))
	}
	begin = time.Now()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("flushed %d offsets in %v", 2*topics*queues, time.Since(begin))
	begin = time.Now()
	all, err := s.LoadOffsets(t.Context(), "s0")
	if err != nil || len(all) != 2*topics*queues || all[OffsetKey{"g2", 77}] != 2_000_076 {
		t.Fatal(len(all), err)
	}
	t.Logf("loaded %d offsets in %v", len(all), time.Since(begin))
	bytes, keys := 0, 0
	err = rangeAll(t.Context(), e.KV(), s.keys.root, rangePage, func(page RangeResult, _ int64) error {
		for _, kv := range page.KVs {
			keys, bytes = keys+1, bytes+len(kv.Key)+len(kv.Value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d keys, %d bytes", keys, bytes)
	if keys > 26_000 || bytes > 12<<20 {
		t.Error("more than docs/format/metadata.md expects")
	}
	if err := own.Release(t.Context(), true); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// seedTopics writes the topics [from, to) in large transactions, as a restore would.
func seedTopics(t *testing.T, s *Store, from, to int, queues int32) {
	t.Helper()
	c, _, err := s.readCounters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for from < to {
		var p plan
		for ; from < to && len(p.ops) < MaxTxnOps-1; from++ {
			c.Incarnation++
			topic := Topic{Name: fmt.Sprintf("topic-%05d", from), ReadQueues: queues, WriteQueues: queues, Perm: 6, Incarnation: c.Incarnation, Shard: "s0", CreatedMs: 1}
			if topic.Ordinals, err = c.grow(nil, queues); err != nil {
				t.Fatal(err)
			}
			if err := p.put(s.keys.topic(topic.Name), &topic); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.put(s.keys.ordinals(), &c); err != nil {
			t.Fatal(err)
		}
		mustTxn(t, s.kv, nil, p.ops...)
	}
}

func BenchmarkCommit(b *testing.B) {
	s, err := NewStore(b.Context(), NewMemory(), StoreConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	own, err := s.AcquireShard(b.Context(), claimOf("s0", "b0", "w0"))
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.OpenOffsets(b.Context(), own, OffsetConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		c.Commit("group", uint32(i%1000)+1, i)
	}
}

func BenchmarkTopic(b *testing.B) {
	s, err := NewStore(b.Context(), NewMemory(), StoreConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := range 25_000 {
		name := fmt.Sprintf("topic-%05d", i)
		s.topics.applyLocal(name, &Topic{Name: name}, 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Topic("topic-12345"); !ok {
			b.Fatal("no topic")
		}
	}
}

func BenchmarkValid(b *testing.B) {
	s, err := NewStore(b.Context(), NewMemory(), StoreConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	own, err := s.AcquireShard(b.Context(), claimOf("s0", "b0", "w0"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !own.Valid(BootClock()) {
			b.Fatal("not valid")
		}
	}
}
