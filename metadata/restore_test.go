package metadata

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestRestoreSegments(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t, NewMemory(), StoreConfig{})
	own := acquireShard(t, s, claimOf("s/0", "b0", "w0"))
	last, head := commitNext(t, own, 1, 10)
	reserve(t, own, KindSegment, KindRoot) // 2 and 3
	if err := own.ReplaceSegments(ctx, []Segment{last}, nil, "trimmed"); err != nil {
		t.Fatal(err)
	}
	if err := s.RestoreNumbers(ctx, "s/0", 9); err != nil {
		t.Fatal(err)
	}
	if err := s.RestoreNumbers(ctx, "s/0", 2); err != nil { // nothing is lowered
		t.Fatal(err)
	}
	st := sealedState(t, s, "s/0")
	if st.Head.NextObject != 9 || len(st.Uploads) != 0 || len(st.Garbage) != 0 || st.Head.LSN != 11 {
		t.Fatalf("%+v", st)
	}
	seg := segmentOf(Upload{Object: 7, Epoch: 4}, 0, 11, 15)
	for name, change := range map[string]func(*Segment, *uint32){
		"a gap":                    func(s *Segment, _ *uint32) { s.FirstLSN++ },
		"an overlap":               func(s *Segment, _ *uint32) { s.FirstLSN-- },
		"another predecessor":      func(_ *Segment, crc *uint32) { *crc++ },
		"a number not handed out":  func(s *Segment, _ *uint32) { s.Object = 9 },
		"an epoch below the last":  func(s *Segment, _ *uint32) { s.Epoch = 0 },
		"a segment of level 1":     func(s *Segment, _ *uint32) { s.Level = 1 },
		"a segment without a size": func(s *Segment, _ *uint32) { s.Size = 0 },
	} {
		bad, crc := seg, head.FooterCRC
		change(&bad, &crc)
		if _, err := s.RestoreSegment(ctx, "s/0", bad, crc); !errors.Is(err, ErrConflict) && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 { // repeated
		got, err := s.RestoreSegment(ctx, "s/0", seg, head.FooterCRC)
		want := SealHead{NextObject: 9, LSN: 15, WALUUID: "w0", Position: head.Position, Epoch: 4, FooterCRC: seg.FooterCRC, Object: 7, PositionLost: true, Revision: got.Revision}
		if err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	}
	if st = sealedState(t, s, "s/0"); len(st.Segments) != 1 || !st.Segments[0].same(&seg) {
		t.Fatalf("%+v", st)
	}
	own = restart(t, s, own)
	placed, err := own.PlaceHead(ctx, 4321)
	if err != nil || placed.Position != 4321 || placed.PositionLost || placed.LSN != 15 {
		t.Fatalf("%+v, %v", placed, err)
	}
	if again, err := own.PlaceHead(ctx, 1); err != nil || again != placed {
		t.Fatalf("placed twice: %+v, %v", again, err)
	}
}

// restart acquires a shard again with the same WAL.
func restart(t *testing.T, s *Store, own *Ownership) *Ownership {
	t.Helper()
	if err := own.Release(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	return acquireShard(t, s, claimOf(own.Shard(), own.rec.Owner, own.rec.WALUUID))
}

// TestPositionLostEnds: a commit and another WAL have positions of their own.
func TestPositionLostEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *Store, *Ownership){
		"by a commit": func(t *testing.T, _ *Store, own *Ownership) { //nolint:thelper // a case
			seg := segmentOf(reserve(t, own, KindSegment)[0], 0, 6, 8)
			head := headOf(seg)
			head.PositionLost = true // whoever copies the head that was read
			if _, err := own.CommitSegment(t.Context(), seg, head); err != nil {
				t.Fatal(err)
			}
		},
		"with another WAL": func(t *testing.T, s *Store, own *Ownership) { //nolint:thelper // a case
			if err := own.Release(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			own = acquireShard(t, s, claimOf("s", "b1", "w1"))
			if _, err := own.PlaceHead(t.Context(), 5); !errors.Is(err, ErrConflict) {
				t.Errorf("placed in another WAL: %v", err)
			}
			if _, err := own.BindWAL(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, NewMemory(), StoreConfig{})
			own := acquireShard(t, s, claimOf("s", "b0", "w0"))
			if _, err := own.BindWAL(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.RestoreNumbers(t.Context(), "s", 5); err != nil {
				t.Fatal(err)
			}
			if _, err := s.RestoreSegment(t.Context(), "s", segmentOf(Upload{Object: 3, Epoch: 1}, 0, 1, 6), 0); err != nil {
				t.Fatal(err)
			}
			end(t, s, own)
			if st := sealedState(t, s, "s"); st.Head.PositionLost || st.Head.LSN < 6 {
				t.Errorf("%+v", st.Head)
			}
		})
	}
}

func TestRestoreShard(t *testing.T) {
	t.Parallel()
	s := newStore(t, NewMemory(), StoreConfig{})
	rec := Shard{ID: "s", Owner: "b", Epoch: 7, WALUUID: "w", Tail: TailDirty, Claim: "c", Losses: 2, LossBelow: 5}
	if err := s.RestoreShard(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	lower, higher := rec, rec
	lower.Epoch, higher.Epoch, higher.Losses, higher.LossBelow = 6, 9, 0, 0
	if err := s.RestoreShard(t.Context(), lower); !errors.Is(err, ErrInvalid) {
		t.Errorf("a lower epoch: %v", err)
	}
	if err := s.RestoreShard(t.Context(), higher); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Shard("s"); got.Epoch != 9 {
		t.Errorf("the snapshot has epoch %d", got.Epoch)
	}
	own := acquireShard(t, s, claimOf("s", "b", "w"))
	if own.Epoch() != 10 {
		t.Errorf("epoch %d", own.Epoch())
	}
	if n, below := own.Losses(); n != 2 || below != 5 {
		t.Errorf("losses %d below %d were forgotten", n, below)
	}
}

func TestRestoreCounters(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t, NewMemory(), StoreConfig{})
	for _, c := range []struct {
		next uint32
		inc  uint64
		want uint32
	}{{100, 7, 100}, {50, 3, 100}, {50, 9, 100}, {MaxOrdinal + 1, 1, MaxOrdinal + 1}} {
		if got, err := s.RestoreCounters(ctx, c.next, c.inc); err != nil || got != c.want {
			t.Errorf("%+v: %d, %v", c, got, err)
		}
	}
	if _, err := s.RestoreCounters(ctx, MaxOrdinal+2, 1); !errors.Is(err, ErrInvalid) {
		t.Errorf("beyond all ordinals: %v", err)
	}
	if next, inc, err := s.Counters(ctx); err != nil || next != MaxOrdinal+1 || inc != 9 {
		t.Errorf("%d, %d, %v", next, inc, err)
	}
}

func TestRestoreTopic(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t, NewMemory(), StoreConfig{})
	own := acquireShard(t, s, claimOf("s", "b", "w"))
	old, err := s.CreateTopic(ctx, own, Topic{Name: "t", ReadQueues: 2, WriteQueues: 2, Perm: 6})
	if err != nil {
		t.Fatal(err)
	}
	topic := Topic{
		Name: "t", ReadQueues: 3, WriteQueues: 3, Perm: 6, Incarnation: 9, Shard: "s", Ordinals: []OrdinalRange{{Queue: 0, First: 50, Count: 1}, {Queue: 1, First: 60, Count: 2}},
	}
	if err := s.RestoreTopic(ctx, topic); err != nil {
		t.Fatal(err)
	}
	fresh := newStore(t, s.KV(), StoreConfig{})
	got, _ := fresh.Topic("t")
	topic.Revision = got.Revision
	if diff := cmp.Diff(&topic, got); diff != "" {
		t.Error(diff)
	}
	stones, err := s.ListTombstones(ctx)
	if err != nil || len(stones) != 1 || stones[0].Incarnation != old.Incarnation || !slices.Equal(stones[0].Ordinals, old.Ordinals) || stones[0].Shard != "s" {
		t.Errorf("%+v, %v", stones, err)
	}
	grown := topic
	grown.ReadQueues, grown.Ordinals = 4, append(slices.Clone(topic.Ordinals), OrdinalRange{Queue: 3, First: 70, Count: 1})
	if err := s.RestoreTopic(ctx, grown); err != nil {
		t.Fatal(err)
	}
	if stones, _ := s.ListTombstones(ctx); len(stones) != 1 {
		t.Errorf("a topic that grew left a tombstone: %+v", stones)
	}
	for name, change := range map[string]func(*Topic){
		"an older incarnation":     func(t *Topic) { t.Incarnation = 8 },
		"no incarnation":           func(t *Topic) { t.Incarnation = 0 },
		"a gap in its ordinals":    func(t *Topic) { t.Ordinals = []OrdinalRange{{Queue: 1, First: 1, Count: 3}} },
		"fewer ordinals than rows": func(t *Topic) { t.ReadQueues = 5 },
	} {
		bad := grown
		change(&bad)
		if err := s.RestoreTopic(ctx, bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestRestoreEmbedded: a restored etcd has what the snapshot has, above all revisions that anybody remembers, and goes on after that.
func TestRestoreEmbedded(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	e := startEtcd(t, EmbedConfig{Dir: filepath.Join(dir, "etcd")})
	s := newStore(t, e.KV(), StoreConfig{})
	id, err := s.EnsureClusterID(ctx, uuid.New())
	if err != nil {
		t.Fatal(err)
	}
	own := acquireShard(t, s, claimOf("s", "b", "w"))
	before, err := s.CreateTopic(ctx, own, Topic{Name: "before", ReadQueues: 1, WriteQueues: 1})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "snap")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := e.Snapshot(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if now, err := s.Revision(ctx); err != nil || now != rev {
		t.Fatalf("snapshot of revision %d, etcd is at %d: %v", rev, now, err)
	}
	if _, err := s.CreateTopic(ctx, own, Topic{Name: "after", ReadQueues: 1, WriteQueues: 1}); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "other"+RestoringSuffix)
	if err := os.MkdirAll(filepath.Join(to, "left", "over"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := RestoreEmbedded(RestoreConfig{Dir: filepath.Join(dir, "etcd"), Snapshot: file, Revision: rev}); !errors.Is(err, ErrInvalid) {
		t.Fatalf("a directory of another name: %v", err)
	}
	if err := RestoreEmbedded(RestoreConfig{Dir: to, Snapshot: file, Revision: rev, Above: rev + 5000}); err != nil {
		t.Fatal(err)
	}
	final := filepath.Join(dir, "restored")
	if err := os.Rename(to, final); err != nil {
		t.Fatal(err)
	}
	r := startEtcd(t, EmbedConfig{Dir: final})
	rs := newStore(t, r.KV(), StoreConfig{})
	if now, err := rs.Revision(ctx); err != nil || now <= rev+5000 {
		t.Errorf("revision %d, %v", now, err)
	}
	if got, err := rs.ClusterID(ctx); err != nil || got != id {
		t.Errorf("cluster %v, %v", got, err)
	}
	if got, ok := rs.Topic("before"); !ok || got.Incarnation != before.Incarnation {
		t.Errorf("%+v", got)
	}
	if _, ok := rs.Topic("after"); ok {
		t.Error("a topic from after the snapshot")
	}
	claim := claimOf("s", "b", "w")
	claim.LeaseExempt = true
	again := acquireShard(t, rs, claim)
	if again.Epoch() != own.Epoch()+1 {
		t.Errorf("epoch %d", again.Epoch())
	}
	if _, err := rs.CreateTopic(ctx, again, Topic{Name: "new", ReadQueues: 1, WriteQueues: 1}); err != nil {
		t.Error(err)
	}
	eventually(t, "the watch of a restored etcd", func() bool {
		other := newStore(t, r.KV(), StoreConfig{})
		_, ok := other.Topic("new")
		return ok
	})
}
