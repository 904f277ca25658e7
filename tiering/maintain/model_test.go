package maintain

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
)

// long reports whether the tests may take their time.
func long() bool { return os.Getenv("VARVE_LONG") != "" }

// modelQueues is how many queues the random tests have.
const modelQueues = 23

// act does something at random that is no maintenance.
func (w *world) act() {
	w.t.Helper()
	switch n := w.rng.IntN(100); {
	case n < 80:
		for range 1 + w.rng.IntN(6) {
			w.sealRandom()
			time.Sleep(time.Duration(w.rng.IntN(20)) * time.Second)
		}
	case n < 86:
		topic := 1 + w.rng.Uint32N(modelQueues/4-1)
		w.topics.policies[topic] = Policy{MaxAge: time.Duration(1+w.rng.IntN(120)) * time.Minute}
	case n < 90:
		topic := 1 + w.rng.Uint32N(modelQueues/4-1)
		w.topics.policies[topic] = Policy{MaxBytes: int64(1+w.rng.IntN(64)) * kib}
	case n < 92:
		delete(w.topics.policies, w.rng.Uint32N(modelQueues/4))
	case n < 94:
		if topic := 2 + w.rng.Uint32N(modelQueues/4-1); !w.topics.gone[topic] {
			w.topics.dead[topic] = true
		}
	default:
		time.Sleep(time.Duration(w.rng.IntN(90)) * time.Minute)
	}
}

// allDead reports whether too few topics are left to go on.
func (w *world) allDead() bool {
	return len(w.topics.dead)+len(w.topics.gone) > modelQueues/4-2
}

// TestModel seals, deletes and lets time pass at random, with passes in between, and compares everything that can be read after each step.
func TestModel(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	rounds := 2
	if long() {
		rounds = 60
	}
	for i := range rounds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed+uint64(i))
				for range 40 {
					w.act()
					w.check()
					w.pass()
					w.check()
					if w.rng.IntN(12) == 0 {
						w.reopen()
						w.check()
					}
					if w.allDead() {
						break
					}
				}
				w.settle()
			})
		})
	}
}

// settle lets everything expire that has an age, and looks that nothing is left of it.
func (w *world) settle() {
	w.t.Helper()
	for topic := range uint32(modelQueues/4 + 1) {
		w.topics.policies[topic] = Policy{MaxAge: time.Hour}
	}
	for range 30 {
		time.Sleep(30 * time.Minute)
		w.pass()
		w.check()
	}
	st := w.state()
	if len(st.Garbage) > 0 {
		w.t.Errorf("garbage is left: %+v", st.Garbage)
	}
	for _, u := range st.Uploads {
		if u.Epoch < w.own.Epoch() {
			w.t.Errorf("an intent of an earlier epoch is left: %+v", u)
		}
	}
	_, runs := w.listed(st)
	cursors := slices.ContainsFunc(runs, func(r manifest.Run) bool { return w.queues[r.Ordinal].hasCursor })
	for _, q := range w.queues {
		if q.sealed && !w.deadQueue(q.ordinal) && q.cursor == 0 && w.trimmedTo[q.ordinal] != q.next {
			w.t.Errorf("queue %d: first offset %d, end %d, all of it being too old", q.ordinal, w.trimmedTo[q.ordinal], q.next)
		}
	}
	if len(w.topics.dead) > 0 && !cursors {
		w.t.Errorf("tombstones are left: %v", w.topics.dead)
	}
	if d := w.total(); d.merges == 0 || d.rolled == 0 || d.unlisted == 0 || d.trimmed == 0 || d.deleted == 0 {
		w.t.Errorf("not everything has happened: %+v", d)
	}
	if files := w.spoolFiles(); len(files) > 0 {
		w.t.Errorf("spool files are left: %v", files)
	}
}

// TestFaults lets operations of etcd, bucket and disk fail, one or all from there on, in every place of a pass. The process goes on or is started anew, under the
// next epoch. Nothing may be missing or left over at any time.
func TestFaults(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	worlds, rounds := 2, 25
	if long() {
		worlds, rounds = 20, 400
	}
	for i := range worlds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed+uint64(i))
				w.topics.policies[1] = Policy{MaxAge: 10 * time.Minute}
				w.topics.policies[2] = Policy{MaxBytes: 32 * kib}
				places := map[string]int{}
				for n := 0; n < rounds && !w.allDead(); n++ {
					w.act()
					w.faultyPass(places)
				}
				w.settle()
				t.Logf("%d places failed", len(places))
			})
		})
	}
}

// faultyPass makes a pass in which something fails, and what is to be done after that.
func (w *world) faultyPass(places map[string]int) {
	w.t.Helper()
	mode := faultMode(1 + w.rng.IntN(int(faultModes)-1))
	at := 1 + w.rng.IntN(1+w.rng.IntN(60))
	w.faults.arm(at, mode)
	err := w.tryPass()
	ops, hit := w.faults.disarm()
	if hit != "" {
		places[hit]++
		w.faulted = true
	}
	if err != nil && hit == "" {
		w.t.Fatalf("pass without a fault: %v", err)
	}
	if final(err) {
		w.t.Fatalf("%v at operation %d of %d, %s: %v", mode, at, ops, hit, err)
	}
	if w.rng.IntN(2) == 0 {
		w.reopen()
	}
	// Whatever it was, what can be read is right at once; when the process goes on, one pass more leaves nothing half done.
	w.checkBucket()
	w.pass()
	w.check()
	if w.m.job != nil || len(w.m.unused) > 0 {
		w.t.Fatalf("a job is left: %v, %v", w.m.job, w.m.unused)
	}
	for _, u := range w.state().Uploads {
		if u.Epoch == w.own.Epoch() && !w.faulted { // a reservation whose answer was lost stays
			w.t.Fatalf("an intent of this epoch is left: %+v", u)
		}
	}
}

// TestCrashEverywhere lets each operation of one pass, that does all there is to do, be the last one of the process, done or not done.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	const lanes = 4
	for _, mode := range []faultMode{outage, outageLate} {
		for lane := range lanes {
			t.Run(fmt.Sprintf("mode %d, every %d from %d on", mode, lanes, lane+1), func(t *testing.T) {
				t.Parallel()
				last := 0
				for k := lane + 1; ; k += lanes {
					ops := 0
					synctest.Test(t, func(t *testing.T) { ops = crashAt(t, k, mode) })
					if ops < k {
						break
					}
					last = k
				}
				if last < 30 { // that it does all there is, crashAt checks
					t.Errorf("the pass has %d operations only", last)
				}
			})
		}
	}
}

// crashAt makes the same world each time, ends its pass at an operation, and returns how many there were.
func crashAt(t *testing.T, k int, mode faultMode) int {
	t.Helper()
	w := newWorld(t, 7)
	w.size, w.largest = 100, 4
	w.topics.policies[1] = Policy{MaxAge: 10 * time.Minute}
	w.topics.policies[2] = Policy{MaxBytes: 4 * kib}
	for range 9 {
		w.seal(1, 3, 5, 9, 12)
	}
	w.pass()
	w.limits.small, w.limits.roll.due, w.limits.unlist.segments = 4*kib, 2, 1
	w.m.limits = *w.limits
	for range 2 {
		w.seal(4, 5, 6, 7, 12) // they expire as a whole
	}
	time.Sleep(2 * time.Hour)
	w.topics.dead[3] = true
	w.seal(1, 2, 3, 8, 9, 10)
	for range 5 {
		w.seal(2)
	}
	before := w.did()
	w.faults.arm(k, mode)
	err := w.tryPass()
	ops, hit := w.faults.disarm()
	if final(err) || (err == nil) != (hit == "") && mode == outage {
		t.Fatalf("operation %d, %s: %v", k, hit, err)
	}
	if hit == "" {
		if d := w.did(); d.merges == before.merges || d.rolled == before.rolled || d.unlisted == before.unlisted || d.trimmed == before.trimmed || d.deleted == before.deleted {
			t.Errorf("the pass does not do all there is: %+v, then %+v", before, d)
		}
	}
	w.reopen()
	w.checkBucket()
	w.check()
	w.pass()
	w.check()
	time.Sleep(2 * time.Hour)
	w.pass()
	w.check()
	return ops
}

// TestStaleOwner: a maintainer whose shard was taken over changes and deletes nothing, whatever it still knows.
func TestStaleOwner(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		for range 40 {
			w.sealRandom()
		}
		w.pass()
		time.Sleep(2 * time.Hour) // there is garbage that may go
		old, oldOwn := w.m, w.own
		if len(w.state().Garbage) == 0 {
			t.Fatal("no garbage: the test is not what it says")
		}
		// Another process takes the shard; the old one does not hear of it, since its watch is not what it relies on.
		w.open()
		before := keysOf(t, w.mem)
		for range 8 {
			w.sealRandom()
		}
		after := len(keysOf(t, w.mem))
		err := old.Pass(t.Context())
		if !errors.Is(err, metadata.ErrFenced) {
			t.Errorf("pass of the old owner: %v", err)
		}
		if got := len(keysOf(t, w.mem)); got != after || after <= len(before) {
			t.Errorf("the old owner has changed the bucket: %d objects, then %d", after, got)
		}
		if oldOwn.Valid(w.clock()) {
			t.Error("the old ownership is still valid")
		}
		w.check()
		w.pass()
		w.check()
	})
}

// TestRestoredEtcd: etcd is put back to an older state while a maintainer runs. Its fence is not there, so that it ends.
func TestRestoredEtcd(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		for range 30 {
			w.sealRandom()
		}
		w.pass()
		w.check()
		// An etcd that has forgotten everything: the claim of a new cluster is all it has.
		fresh := metadata.NewMemory()
		other := &world{
			t: t, rng: w.rng, kv: fresh, mem: w.mem, fs: w.fs, faults: w.faults, topics: w.topics, queues: map[uint32]*modelQueue{}, limits: w.limits, start: w.start, lsn: 1,
			trimmedTo: map[uint32]uint64{},
		}
		other.open()
		time.Sleep(3 * time.Hour)
		before := keysOf(t, w.mem)
		for range 3 {
			other.pass()
			time.Sleep(2 * time.Hour)
		}
		if got := keysOf(t, w.mem); len(got) != len(before) {
			t.Errorf("%d objects, then %d: an etcd that knows nothing has deleted something", len(before), len(got))
		}
		w.check()
	})
}

// TestCatalogIsWhatIsListed: what the catalog says after changes in memory is what a new one says that reads it all.
func TestCatalogIsWhatIsListed(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		w.topics.policies[1] = Policy{MaxAge: 10 * time.Minute}
		for range 30 {
			w.act()
			w.pass()
			fresh, err := catalog.Open(t.Context(), catalog.Config{Bucket: w.mem, Cluster: testCluster(), Shard: testShard}, w.state())
			if err != nil {
				t.Fatal(err)
			}
			for row := range fresh.Queues() {
				if w.topics.Dead(row.Ordinal) {
					continue
				}
				first, end, _ := fresh.Bounds(row.Ordinal)
				if f, e, ok := w.cat.Bounds(row.Ordinal); !ok || f != first || e != end {
					t.Errorf("queue %d: [%d, %d) in memory, [%d, %d) when read", row.Ordinal, f, e, first, end)
				}
			}
		}
	})
}
