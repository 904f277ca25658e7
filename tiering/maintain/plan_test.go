package maintain

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
)

// shape is a segment as the policy sees it.
type shape struct {
	bytes   int64
	runs    int    // of equal size, of queues 1, 2, …
	level   uint8  // 1: of a unit of its own
	same    bool   // of the unit before
	ordinal uint32 // of the first run, if not 1
	cursors int
}

// fixedFacts are facts of a test.
type fixedFacts struct {
	deadQueues map[uint32]bool
	firsts     map[uint32]uint64
	short      bool // queues have little history
	bars       map[uint64]bool
}

func (f fixedFacts) dead(ordinal uint32) bool    { return f.deadQueues[ordinal] }
func (f fixedFacts) first(ordinal uint32) uint64 { return f.firsts[ordinal] }
func (f fixedFacts) barred(object uint64) bool   { return f.bars[object] }
func (f fixedFacts) history(uint32) uint64 {
	if f.short {
		return 1 << 20
	}
	return 1 << 30
}

// recentsOf makes segments, each with 100 offsets a queue.
func recentsOf(shapes []shape) []catalog.Recent {
	var out []catalog.Recent
	lsn := uint64(1)
	for i, s := range shapes {
		if s.same {
			lsn -= 10
		}
		r := catalog.Recent{Segment: metadata.Segment{Object: uint64(i + 1), Epoch: 1, Level: s.level, Size: s.bytes, FirstLSN: lsn, EndLSN: lsn + 10}}
		lsn += 10
		r.Cursors = make([]metadata.QueueCursor, s.cursors)
		for j := range s.runs {
			r.Runs = append(r.Runs, manifest.Run{
				Ordinal: max(1, s.ordinal) + uint32(j), First: uint64(100 * i), End: uint64(100 * (i + 1)), Bytes: uint64(s.bytes) / uint64(s.runs),
			})
		}
		out = append(out, r)
	}
	return out
}

func times(n int, s shape) []shape {
	out := make([]shape, n)
	for i := range out {
		out[i] = s
	}
	return out
}

func concat(parts ...[]shape) (out []shape) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

const kib, mib = 1 << 10, 1 << 20

// TestPlan is the policy as a table.
func TestPlan(t *testing.T) {
	t.Parallel()
	tiny, small, large := shape{bytes: 10 * kib, runs: 3}, shape{bytes: 2 * mib, runs: 3}, shape{bytes: 64 * mib, runs: 64}
	short := shape{bytes: 64 * mib, runs: 1000}
	merged := shape{bytes: 256 * mib, runs: 100, level: 1}
	for _, tt := range []struct {
		name   string
		shapes []shape
		facts  fixedFacts
		want   string // objects merged, and the number of oldest units that are final
	}{
		{name: "nothing", want: "- 0"},
		{name: "one tiny segment waits for more", shapes: times(1, tiny), want: "- 0"},
		{name: "seven, too", shapes: times(7, tiny), want: "- 0"},
		{name: "eight are merged", shapes: times(8, tiny), want: "1-8 0"},
		{name: "at most 48 at once", shapes: times(120, tiny), want: "1-48 0"},
		{name: "large runs stay at level 0", shapes: times(5, large), want: "- 5"},
		{name: "64 queues at 64 MiB are no short runs", shapes: times(40, shape{bytes: 64 * mib, runs: 200}), want: "- 40"},
		{name: "short runs wait until a merge is full", shapes: times(16, short), want: "- 0"},
		{name: "16 of them are 1 GiB", shapes: times(17, short), want: "1-16 0"},
		{name: "short runs of queues with little history stay", shapes: times(40, short), facts: fixedFacts{short: true}, want: "- 40"},
		{name: "a tiny one between large ones stays", shapes: concat(times(2, large), times(1, tiny), times(2, large)), want: "- 5"},
		{name: "two between large ones are merged", shapes: concat(times(2, large), times(2, tiny), times(2, large)), want: "3-4 2"},
		{name: "the oldest first", shapes: concat(times(2, tiny), times(1, large), times(9, tiny), times(1, large)), want: "1-2 0"},
		{name: "behind what stays", shapes: concat(times(3, large), times(9, tiny)), want: "4-12 3"},
		{name: "an unfinished stretch is not final", shapes: concat(times(3, large), times(3, tiny)), want: "- 3"},
		{name: "few short ones between large ones stay", shapes: concat(times(1, large), times(3, short), times(1, large)), want: "- 5"},
		{name: "four are merged", shapes: concat(times(1, large), times(4, short), times(1, large)), want: "2-5 1"},
		{name: "the result of a merge stays", shapes: concat(times(3, merged), times(1, tiny)), want: "- 3"},
		{name: "level 1 with short runs, too", shapes: times(20, shape{bytes: 256 * mib, runs: 10000, level: 1}), want: "- 20"},
		{name: "a large one is not rewritten for tiny ones", shapes: concat(times(1, shape{bytes: 15 * mib, runs: 3, level: 1}), times(7, tiny)), want: "- 0"},
		{name: "tiny ones behind it are merged alone", shapes: concat(times(1, shape{bytes: 15 * mib, runs: 3, level: 1}), times(8, tiny)), want: "2-9 0"},
		{name: "eight of a size are merged again", shapes: times(8, shape{bytes: 80 * kib, runs: 3, level: 1}), want: "1-8 0"},
		{name: "mixed small ones", shapes: concat(times(4, small), times(4, small), times(2, tiny)), want: "1-10 0"},
		{name: "the outputs of one merge stay together", shapes: concat(times(1, tiny), []shape{{bytes: 200 * kib, runs: 3, level: 1}, {bytes: 200 * kib, runs: 3, level: 1, same: true}}, times(6, small)), want: "1-9 0"},
		{name: "at most 4,096 cursors", shapes: times(20, shape{bytes: 10 * kib, runs: 3, cursors: 410}), want: "1-9 0"},
		{name: "cursors only is not dead", shapes: concat(times(8, shape{bytes: kib, cursors: 1})), want: "1-8 0"},
		{name: "what is dead stays, and is final", shapes: times(8, tiny), facts: fixedFacts{deadQueues: map[uint32]bool{1: true, 2: true, 3: true}}, want: "- 8"},
		{name: "trimmed as a whole", shapes: times(8, tiny), facts: fixedFacts{firsts: map[uint32]uint64{1: 300, 2: 300, 3: 300}}, want: "- 3"},
		{name: "half dead is rewritten alone", shapes: times(3, shape{bytes: 64 * mib, runs: 4}), facts: fixedFacts{deadQueues: map[uint32]bool{1: true, 2: true}}, want: "1-1 0"},
		{name: "a third is not", shapes: times(3, shape{bytes: 64 * mib, runs: 3}), facts: fixedFacts{deadQueues: map[uint32]bool{1: true}}, want: "- 3"},
		{name: "nor at level 1", shapes: times(3, shape{bytes: 64 * mib, runs: 4, level: 1}), facts: fixedFacts{deadQueues: map[uint32]bool{1: true, 2: true}}, want: "- 3"},
		{name: "what failed is left alone", shapes: times(12, tiny), facts: fixedFacts{bars: map[uint64]bool{2: true}}, want: "3-12 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := defaultLimits()
			p := planOf(recentsOf(tt.shapes), &l, tt.facts)
			got := "-"
			if p.merge != nil {
				last := p.merge[len(p.merge)-1].segs
				got = fmt.Sprintf("%d-%d", p.merge[0].segs[0].Object, last[len(last)-1].Object)
			}
			if diff := cmp.Diff(tt.want, fmt.Sprintf("%s %d", got, p.final)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// simulate seals segments and applies the policy after each, and returns the bytes sealed and rewritten, the requests, and the most units there were.
func simulate(t *testing.T, seals []shape) (sealed, rewritten int64, gets, puts, most int) {
	t.Helper()
	l := defaultLimits()
	var shapes []shape
	for _, s := range seals {
		shapes = append(shapes, s)
		sealed += s.bytes
		for {
			recent := recentsOf(shapes)
			p := planOf(recent, &l, fixedFacts{})
			if p.merge == nil {
				most = max(most, len(p.units)-p.final)
				if p.final >= 64 { // rolled
					n := 0
					for i := range p.units[:50] {
						n += len(p.units[i].segs)
					}
					shapes = shapes[n:]
				}
				break
			}
			var in int64
			runs, n := 0, 0
			for i := range p.merge {
				in += p.merge[i].bytes
				n += len(p.merge[i].segs)
				for j := range p.merge[i].segs {
					runs = max(runs, len(p.merge[i].segs[j].Runs))
					if gets++; p.merge[i].segs[j].Size > wholeBytes {
						gets++
					}
				}
			}
			rewritten += in
			at := int(p.merge[0].segs[0].Object) - 1
			var outs []shape
			for left := in; left > 0; left -= l.output {
				outs = append(outs, shape{bytes: min(left, l.output), runs: runs, level: 1, same: len(outs) > 0})
				puts++
			}
			shapes = concat(shapes[:at], outs, shapes[at+n:])
		}
	}
	return sealed, rewritten, gets, puts, most
}

// TestPolicyBudget: what kinds of load cost in bytes and requests.
func TestPolicyBudget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		seals       []shape
		factor      float64 // bytes rewritten for each byte sealed, at most
		gets, puts  float64 // for each GiB sealed, at most; 0: not bounded, since the load's own PUTs are as many
		most        int     // units that wait
		leastFactor float64
	}{
		{name: "64 MiB with large runs", seals: times(500, shape{bytes: 64 * mib, runs: 64}), most: 0},
		{name: "64 MiB with short runs", seals: times(500, shape{bytes: 64 * mib, runs: 5000}), factor: 1, leastFactor: 0.9, gets: 33, puts: 4.1, most: 17},
		{name: "2 MiB a minute", seals: times(1000, shape{bytes: 2 * mib, runs: 5}), factor: 1.01, leastFactor: 0.9, gets: 1025, puts: 70, most: 10},
		{name: "10 KiB a minute", seals: times(3000, shape{bytes: 10 * kib, runs: 5}), factor: 5, leastFactor: 2, most: 40},
		{name: "40 tiny ones, then a large one", seals: concat(times(40, shape{bytes: kib, runs: 2}), times(1, shape{bytes: 64 * mib, runs: 10}), times(40, shape{bytes: kib, runs: 2}), times(1, shape{bytes: 64 * mib, runs: 10})), factor: 0.01, most: 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sealed, rewritten, gets, puts, most := simulate(t, tt.seals)
			gib := float64(sealed) / (1 << 30)
			factor := float64(rewritten) / float64(sealed)
			t.Logf("%.2f GiB sealed, rewritten %.2f times, %.1f GETs and %.1f PUTs for each, at most %d units wait", gib, factor, float64(gets)/gib, float64(puts)/gib, most)
			if factor > tt.factor || factor < tt.leastFactor {
				t.Errorf("each byte is rewritten %.2f times", factor)
			}
			if tt.gets > 0 && float64(gets)/gib > tt.gets || tt.puts > 0 && float64(puts)/gib > tt.puts {
				t.Errorf("%.1f GETs and %.1f PUTs for each GiB", float64(gets)/gib, float64(puts)/gib)
			}
			if most > tt.most {
				t.Errorf("%d units wait", most)
			}
		})
	}
}
