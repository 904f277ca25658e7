package metadata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lateKV loses answers: of transactions that were applied, that never will be, or that will be later.
type lateKV struct {
	KV
	rng  *lockedRand
	fail atomic.Int64 // percent of each kind of loss
	late sync.WaitGroup
}

func (l *lateKV) lose() bool { return l.rng.IntN(100) < int(l.fail.Load()) }

func (l *lateKV) Get(ctx context.Context, key string) (KeyValue, error) {
	if l.lose() {
		return KeyValue{}, injected("lost get")
	}
	return l.KV.Get(ctx, key)
}

func (l *lateKV) Range(ctx context.Context, r RangeRequest) (RangeResult, error) {
	if l.lose() {
		return RangeResult{}, injected("lost range")
	}
	return l.KV.Range(ctx, r)
}

func (l *lateKV) Txn(ctx context.Context, compares []Compare, ops []Op) (TxnResult, error) {
	ctx = context.WithoutCancel(ctx)
	switch {
	case l.lose():
		return TxnResult{}, injected("lost question")
	case l.lose() && len(ops) > 0:
		_, err := l.KV.Txn(ctx, compares, ops)
		return TxnResult{}, errors.Join(injected("lost answer"), err)
	case l.lose() && len(ops) > 0:
		l.late.Go(func() {
			time.Sleep(time.Duration(l.rng.IntN(400)) * time.Millisecond)
			if _, err := l.KV.Txn(ctx, compares, ops); err != nil && !errors.Is(err, ErrClosed) {
				panic(err)
			}
		})
		return TxnResult{}, injected("late transaction")
	}
	return l.KV.Txn(ctx, compares, ops)
}

// lockedRand is a source of random choices for several goroutines.
type lockedRand struct {
	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

func newLockedRand(seed uint64) *lockedRand { return &lockedRand{rng: rand.New(rand.NewPCG(seed, 3))} }

func (l *lockedRand) IntN(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.IntN(n)
}

// sealRun is a random history of one shard under several owners, some of which do not know that they are none any more.
type sealRun struct {
	t   *testing.T
	rng *lockedRand
	end chan struct{}

	mu       sync.Mutex                          // guards the rest
	issued   map[uint64]uint64                   // the epoch that a number was handed out under
	success  map[uint64]string                   // what was said to be committed under a number
	contents map[uint64]map[uint64]GarbageObject // what a root lists, its pages and itself included
	ops      map[string]int
}

// TestSealingRandom: with answers lost, transactions that arrive late, and owners that come and go, every single revision of etcd keeps the invariants,
// what was said to be committed is, once, and no commit of a rightful owner meets a conflict.
func TestSealingRandom(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	total := map[string]int{}
	t.Run("seeds", func(t *testing.T) {
		for _, seed := range sealSeeds(t) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := &sealRun{
						t: t, rng: newLockedRand(seed), end: make(chan struct{}), issued: map[uint64]uint64{}, success: map[uint64]string{},
						contents: map[uint64]map[uint64]GarbageObject{}, ops: map[string]int{},
					}
					r.run()
					mu.Lock()
					defer mu.Unlock()
					for what, n := range r.ops {
						total[what] += n
					}
				})
			})
		}
	})
	t.Log(total)
	if t.Failed() || os.Getenv("VARVE_SEED") != "" {
		return
	}
	for _, what := range []string{"commit", "manifest", "replace", "remove", "trims", "drop upload", "drop garbage", "undecided", "fenced"} {
		if total[what] == 0 {
			t.Errorf("no %s in any history", what)
		}
	}
}

// sealSeeds returns the seeds: VARVE_SEED for one, VARVE_LONG for many.
func sealSeeds(t *testing.T) []uint64 {
	t.Helper()
	n := 4
	if s := os.Getenv("VARVE_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	} else if os.Getenv("VARVE_LONG") != "" {
		n = 200
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = uint64(i)
	}
	return seeds
}

func (r *sealRun) run() {
	mem := NewMemory()
	var kvs []*lateKV
	var workers sync.WaitGroup
	for epoch := range uint64(6) {
		kv := &lateKV{KV: mem, rng: r.rng}
		if r.rng.IntN(2) == 0 {
			kv.KV = &gatedKV{KV: mem, open: make(chan struct{})} // it is not told of its loss
		}
		kvs = append(kvs, kv)
		s := newStore(r.t, kv, StoreConfig{RequestTimeout: 2 * time.Second})
		own := acquireShard(r.t, s, claimOf("s0", "b0", "w0"))
		if own.Epoch() != epoch+1 {
			r.t.Errorf("epoch %d after %d", own.Epoch(), epoch)
		}
		kv.fail.Store(10)
		workers.Go(func() { r.seal(s, own) })
		workers.Go(func() { r.maintain(s, own) })
		for range 2 {
			time.Sleep(time.Duration(r.rng.IntN(2000)) * time.Millisecond)
			kv.fail.Store(100)
			time.Sleep(time.Duration(r.rng.IntN(4000)) * time.Millisecond)
			kv.fail.Store(10)
		}
		time.Sleep(time.Duration(r.rng.IntN(2000)) * time.Millisecond)
	}
	close(r.end)
	workers.Wait()
	for _, kv := range kvs {
		kv.fail.Store(0)
		kv.late.Wait()
	}
	st := sealedState(r.t, newStore(r.t, mem, StoreConfig{}), "s0")
	h := r.replay(mem)
	if h.head.LSN != st.Head.LSN || h.head.NextObject != st.Head.NextObject || len(h.place) != int(st.Head.NextObject)-1 {
		r.t.Errorf("head %+v after a history that ends at %+v with %d numbers", st.Head, h.head, len(h.place))
	}
	for object, what := range r.success {
		if h.committed[object] != 1 {
			r.t.Errorf("%s %d was committed %d times", what, object, h.committed[object])
		}
	}
}

// ended reports whether the workers shall stop.
func (r *sealRun) ended() bool {
	select {
	case <-r.end:
		return true
	default:
		return false
	}
}

// settle calls until the outcome is decided, and reports whether it is success. Any other outcome than that and the loss of the shard is a defect.
func (r *sealRun) settle(what string, call func() error) bool {
	for {
		err := call()
		r.mu.Lock()
		switch {
		case err == nil:
			r.ops[what]++
		case errors.Is(err, ErrUnavailable):
			r.ops["undecided"]++
		case errors.Is(err, ErrFenced):
			r.ops["fenced"]++
		default:
			r.t.Errorf("%s: %v", what, err)
		}
		r.mu.Unlock()
		if !errors.Is(err, ErrUnavailable) {
			return err == nil
		}
		time.Sleep(time.Duration(r.rng.IntN(300)) * time.Millisecond)
	}
}

// note records that something was said to be committed.
func (r *sealRun) note(what string, objects ...uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, object := range objects {
		r.success[object] = what
	}
}

func (r *sealRun) reserve(own *Ownership, kinds ...string) []Upload {
	var ups []Upload
	r.settle("reserve", func() (err error) {
		ups, err = own.ReserveObjects(r.t.Context(), kinds)
		return err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range ups {
		if before, twice := r.issued[u.Object]; twice {
			r.t.Errorf("number %d was handed out under epoch %d and under %d", u.Object, before, u.Epoch)
		}
		r.issued[u.Object] = u.Epoch
	}
	return ups
}

// seal commits segments of level 0 until the shard is lost.
func (r *sealRun) seal(s *Store, own *Ownership) {
	var st *SealedState
	if !r.settle("read", func() (err error) { st, err = s.SealedState(r.t.Context(), "s0"); return err }) {
		return
	}
	for head := st.Head; !r.ended(); {
		ups := r.reserve(own, KindSegment)
		if ups == nil {
			return
		}
		seg := segmentOf(ups[0], 0, head.LSN, head.LSN+1+uint64(r.rng.IntN(5)))
		var got SealHead
		commit := func() (err error) { got, err = own.CommitSegment(r.t.Context(), seg, headOf(seg)); return err }
		if !r.settle("commit", commit) {
			return
		}
		r.note("segment", seg.Object)
		if got.LSN != seg.EndLSN || got.Object != seg.Object || got.NextObject <= seg.Object {
			r.t.Errorf("head %+v after segment %+v", got, seg)
		}
		head = got
		if r.rng.IntN(4) == 0 && !r.settle("commit again", commit) {
			return
		}
		time.Sleep(time.Duration(r.rng.IntN(100)) * time.Millisecond)
	}
}

// maintain does the rest until the shard is lost.
func (r *sealRun) maintain(s *Store, own *Ownership) {
	for ok := true; ok && !r.ended(); time.Sleep(time.Duration(r.rng.IntN(50)) * time.Millisecond) {
		var st *SealedState
		if !r.settle("read", func() (err error) { st, err = s.SealedState(r.t.Context(), "s0"); return err }) {
			return
		}
		switch n := min(len(st.Segments), 1+r.rng.IntN(4)); r.rng.IntN(7) {
		case 0:
			if n > 0 {
				ok = r.replace(own, st.Segments[:n])
			}
		case 1:
			if n > 0 && r.rng.IntN(3) == 0 {
				ok = r.settle("remove", func() error { return own.ReplaceSegments(r.t.Context(), st.Segments[:1], nil, "retention") })
			}
		case 2, 3:
			ok = r.roll(own, st, n)
		case 4:
			trims := map[uint32]uint64{}
			for range n {
				trims[uint32(1+r.rng.IntN(3*ChunkQueues))] = uint64(r.rng.IntN(1000))
			}
			ok = r.settle("trims", func() error { return own.PutTrims(r.t.Context(), trims) })
		case 5:
			for _, u := range st.Uploads {
				if ok && u.Epoch < own.Epoch() {
					ok = r.settle("drop upload", func() error { return own.DropUpload(r.t.Context(), u) })
				}
			}
		case 6:
			if len(st.Garbage) > 0 {
				g := st.Garbage[r.rng.IntN(len(st.Garbage))]
				ok = r.settle("drop garbage", func() error { return own.DropGarbage(r.t.Context(), g) })
			}
		}
	}
}

// replace merges segments.
func (r *sealRun) replace(own *Ownership, in []Segment) bool {
	ups := r.reserve(own, slices.Repeat([]string{KindSegment}, 1+r.rng.IntN(2))...)
	if ups == nil {
		return false
	}
	first, end := in[0].FirstLSN, in[0].EndLSN
	for _, seg := range in {
		first, end = min(first, seg.FirstLSN), max(end, seg.EndLSN)
	}
	var out []Segment
	for _, u := range ups {
		out = append(out, segmentOf(u, 1, first, end))
	}
	ok := r.settle("replace", func() error { return own.ReplaceSegments(r.t.Context(), in, out, "merge") })
	if ok {
		for _, u := range ups {
			r.note("replacement", u.Object)
		}
	}
	return ok
}

// roll moves the first n segments into a new manifest with a new page, and drops some of what the old one listed.
func (r *sealRun) roll(own *Ownership, st *SealedState, n int) bool {
	ups := r.reserve(own, KindRoot, KindPage)
	if ups == nil {
		return false
	}
	root, page := ups[0], ups[1]
	content := map[uint64]GarbageObject{
		root.Object: {Object: root.Object, Epoch: root.Epoch, Kind: KindRoot}, page.Object: {Object: page.Object, Epoch: page.Epoch, Kind: KindPage},
	}
	var garbage []GarbageObject
	if st.Manifest != nil {
		r.mu.Lock()
		old := r.contents[st.Manifest.Object]
		r.mu.Unlock()
		for _, object := range slices.Sorted(maps.Keys(old)) {
			if o := old[object]; o.Kind == KindRoot || r.rng.IntN(8) == 0 {
				garbage = append(garbage, o)
			} else {
				content[object] = o
			}
		}
	}
	for _, seg := range st.Segments[:n] {
		content[seg.Object] = GarbageObject{Object: seg.Object, Epoch: seg.Epoch, Kind: KindSegment, FirstLSN: seg.FirstLSN, EndLSN: seg.EndLSN}
	}
	r.mu.Lock()
	r.contents[root.Object] = content
	r.mu.Unlock()
	next := ManifestPointer{Object: root.Object, Epoch: root.Epoch, Size: 1, EndLSN: st.Head.LSN, Segments: uint64(len(content))}
	ok := r.settle("manifest", func() error {
		got, err := own.CommitManifest(r.t.Context(), st.Manifest, next, st.Segments[:n], []uint64{page.Object, root.Object}, garbage, "roll")
		if err == nil && (!got.same(&next) || got.Revision == 0) {
			err = fmt.Errorf("stored as %+v", got)
		}
		return err
	})
	if ok {
		r.note("manifest", root.Object)
	}
	return ok
}

// history is what a shard's keys were at a revision.
type history struct {
	head      SealHead
	epoch     uint64
	manifest  uint64
	level0    Segment           // the newest
	place     map[uint64]string // of each number ever reserved: its place, "" when it is gone
	committed map[uint64]int    // how often a number became a segment or a root
	trims     map[uint32]uint64
}

// replay goes through all revisions and checks each.
func (r *sealRun) replay(mem *Memory) *history {
	h := &history{head: SealHead{NextObject: 1, LSN: 1}, place: map[uint64]string{}, committed: map[uint64]int{}, trims: map[uint32]uint64{}}
	k := newKeys("DefaultCluster")
	mem.mu.Lock()
	defer mem.mu.Unlock()
	for _, b := range mem.log {
		if err := h.apply(k, r.contents, b.Events); err != nil {
			r.t.Errorf("revision %d: %v", b.Rev, err)
		}
	}
	return h
}

// apply takes over the changes of one revision.
func (h *history) apply(k keys, contents map[uint64]map[uint64]GarbageObject, events []Event) error {
	puts, deletes := map[string]KeyValue{}, map[uint64]string{}
	for _, ev := range events {
		rest, ok := strings.CutPrefix(ev.KV.Key, k.below("s0"))
		var object uint64
		if i := strings.IndexByte(rest, '/'); ok && i > 0 && ev.Deleted {
			if _, err := fmt.Sscanf(rest[i+1:], "%x", &object); err != nil {
				return err
			}
			deletes[object] += rest[:i+1]
		} else if !ev.Deleted {
			puts[ev.KV.Key] = ev.KV
		}
	}
	if kv, ok := puts[k.shard("s0")]; ok {
		sh, err := k.decodeShard(kv)
		if err != nil || sh.Epoch <= h.epoch {
			return fmt.Errorf("epoch %d after %d, %w", sh.Epoch, h.epoch, err)
		}
		h.epoch = sh.Epoch
	}
	was := maps.Clone(h.place)
	for object, from := range deletes {
		if was[object] != from {
			return fmt.Errorf("number %d is deleted from %q, but was in %q", object, from, was[object])
		}
		h.place[object] = ""
	}
	before := h.head
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(puts)) {
		errs = append(errs, h.put(k, was, contents, puts[key]))
	}
	return errors.Join(append(errs, h.checkHead(before, was, deletes))...)
}

// put takes over the change of one key. was has the places before this revision.
func (h *history) put(k keys, was map[uint64]string, contents map[uint64]map[uint64]GarbageObject, kv KeyValue) error {
	move := func(object uint64, from, to string) error {
		if was[object] != from || h.place[object] != "" && h.place[object] != from {
			return fmt.Errorf("number %d comes to %q from %q, not %q", object, to, was[object], from)
		}
		h.place[object] = to
		return nil
	}
	mine := func(epoch uint64) error {
		if epoch != h.epoch {
			return fmt.Errorf("%s was written under epoch %d in epoch %d", kv.Key, epoch, h.epoch)
		}
		return nil
	}
	rest := strings.TrimPrefix(kv.Key, k.below("s0"))
	switch {
	case strings.HasPrefix(kv.Key, k.trims("s0")):
		return h.putTrims(k, kv)
	case rest == KeyHead:
		var err error
		h.head, err = k.decodeHead("s0", kv)
		return err
	case strings.HasPrefix(rest, KeyUploads):
		u, err := k.decodeUpload("s0", kv)
		if _, ever := h.place[u.Object]; ever {
			err = errors.Join(err, fmt.Errorf("number %d is used again", u.Object))
		}
		h.place[u.Object] = KeyUploads
		return errors.Join(err, mine(u.Epoch))
	case strings.HasPrefix(rest, KeySegments):
		seg, err := k.decodeSegment("s0", kv)
		h.committed[seg.Object]++
		if seg.Level == 0 {
			if seg.FirstLSN != max(h.level0.EndLSN, 1) {
				err = errors.Join(err, fmt.Errorf("segment %d begins at LSN %d after %d", seg.Object, seg.FirstLSN, h.level0.EndLSN))
			}
			h.level0 = seg
		}
		return errors.Join(err, mine(seg.Epoch), move(seg.Object, KeyUploads, KeySegments))
	case rest == KeyManifest:
		m, err := k.decodeManifest("s0", kv)
		if err != nil {
			return err
		}
		return errors.Join(mine(m.Epoch), h.putManifest(m, was, contents))
	case strings.HasPrefix(rest, KeyGarbage):
		g, err := k.decodeGarbage("s0", kv)
		for _, o := range g.Objects {
			from := KeySegments
			if o.Kind != KindSegment || was[o.Object] == KeyManifest {
				from = KeyManifest
			}
			err = errors.Join(err, move(o.Object, from, KeyGarbage))
		}
		// The record is deleted under the number of the first and stands for all: the others are followed with it.
		for _, o := range g.Objects[1:] {
			h.place[o.Object] = "with " + fmt.Sprint(g.Key)
		}
		return err
	}
	return nil
}

// putManifest takes over what a new root lists: it, its pages and the segments rolled come into the manifest, and garbage leaves it.
func (h *history) putManifest(m *ManifestPointer, was map[uint64]string, contents map[uint64]map[uint64]GarbageObject) error {
	h.committed[m.Object]++
	for object := range contents[m.Object] {
		switch was[object] {
		case KeyManifest:
		case KeyUploads, KeySegments:
			if h.place[object] != "" {
				return fmt.Errorf("number %d is listed by root %d, and in %q", object, m.Object, h.place[object])
			}
			h.place[object] = KeyManifest
		default:
			return fmt.Errorf("number %d is listed by root %d, and was in %q", object, m.Object, was[object])
		}
	}
	for object := range contents[h.manifest] {
		if _, kept := contents[m.Object][object]; !kept && h.place[object] == KeyManifest {
			return fmt.Errorf("number %d, of root %d, is not listed by root %d, and no garbage", object, h.manifest, m.Object)
		}
	}
	h.manifest = m.Object
	return nil
}

func (h *history) putTrims(k keys, kv KeyValue) error {
	now := map[uint32]uint64{}
	if err := k.addTrims(now, "s0", kv); err != nil {
		return err
	}
	chunk, err := k.parseTrimChunk("s0", kv.Key)
	for ordinal, offset := range h.trims {
		if ordinal>>ChunkBits == chunk && now[ordinal] < offset {
			err = errors.Join(err, fmt.Errorf("trim of queue %d fell from %d to %d", ordinal, offset, now[ordinal]))
		}
	}
	maps.Copy(h.trims, now)
	return err
}

// checkHead checks what a revision made of the head.
func (h *history) checkHead(before SealHead, was, deletes map[uint64]string) error {
	if h.head.NextObject < before.NextObject || h.head.LSN < before.LSN {
		return fmt.Errorf("head fell from %+v to %+v", before, h.head)
	}
	if n := uint64(len(h.place)); h.head.NextObject != n+1 {
		return fmt.Errorf("next object is %d after %d numbers", h.head.NextObject, n)
	}
	// Whoever leaves segments/ or the manifest is in another place now; only intents and records of garbage may go.
	for object, from := range deletes {
		if h.place[object] == "" && from == KeySegments {
			return fmt.Errorf("segment %d is nowhere", object)
		}
	}
	for object, now := range h.place {
		if was[object] == KeyManifest && now == "" {
			return fmt.Errorf("number %d, of the manifest, is nowhere", object)
		}
	}
	if h.head.LSN != max(h.level0.EndLSN, 1) || h.head.Object != h.level0.Object {
		return fmt.Errorf("head %+v with segment %+v", h.head, h.level0)
	}
	if h.head.LSN != before.LSN && (h.place[h.head.Object] != KeySegments || was[h.head.Object] != KeyUploads || h.head.Epoch != h.epoch) {
		return fmt.Errorf("head went to %+v with segment %d in %q", h.head, h.head.Object, h.place[h.head.Object])
	}
	return nil
}
