package maintain

import (
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// limits are the numbers of the policy. docs/format/segment.md has them, and why.
type limits struct {
	small      int64  // a unit below is small
	shortRun   uint64 // a run below is short,
	history    uint64 // if its queue has more than this
	input      int64  // bytes merged at once
	output     int64  // bytes of an output
	segments   int    // merged at once
	cursors    int    // of all segments merged at once
	fanIn      int    // small units that are merged while more may come
	closedRuns int    // units with short runs that are merged when no more will come
	dead       int64  // bytes of a unit that are worth a rewrite for themselves, if they are half of it

	roll   rollLimits
	unlist unlistLimits
	sizes  time.Duration // between two looks at what a topic's retention.bytes leaves
	finds  int           // queues looked up in a pass because of their age
}

func defaultLimits() limits {
	return limits{
		small: 16 << 20, shortRun: 256 << 10, history: 8 << 20, input: 1 << 30, output: 256 << 20, segments: 48, cursors: 4096, fanIn: 8, closedRuns: 4, dead: 4 << 20,
		roll: defaultRollLimits(), unlist: defaultUnlistLimits(), sizes: time.Minute, finds: 10_000,
	}
}

// facts are what the policy asks about queues.
type facts interface {
	dead(ordinal uint32) bool      // it belongs to a tombstone
	first(ordinal uint32) uint64   // its first offset
	history(ordinal uint32) uint64 // stored bytes of all its runs
	barred(object uint64) bool     // a merge of the segment has failed for a reason of its own
}

// unit is what is merged, rolled or left together: a segment of level 0, or what one merge has made, whose segments have the same LSNs.
type unit struct {
	segs     []catalog.Recent
	bytes    int64
	cursors  int
	class    class
	mostDead bool // it is worth a rewrite for what is dead in it
}

// class says what a unit is to the policy.
type class uint8

const (
	classFinal class = iota // stays as it is
	classSmall
	classShort // of level 0, with short runs of queues with much history
	classDead  // nothing in it can be read, though cursors may be in it: stays as it is until it is rolled
)

// unitsOf groups segments, which are by (FirstLSN, Object).
func unitsOf(recent []catalog.Recent) []unit {
	var out []unit
	for i := range recent {
		r := &recent[i]
		if n := len(out); n > 0 && sameHull(&out[n-1].segs[0].Segment, &r.Segment) {
			u := &out[n-1]
			u.segs = recent[i-len(u.segs) : i+1 : i+1]
			u.bytes += r.Size
			u.cursors += len(r.Cursors)
			continue
		}
		out = append(out, unit{segs: recent[i : i+1 : i+1], bytes: r.Size, cursors: len(r.Cursors)})
	}
	return out
}

func sameHull(a, b *metadata.Segment) bool { return a.FirstLSN == b.FirstLSN && a.EndLSN == b.EndLSN }

// classify decides a unit's class.
func (u *unit) classify(l *limits, f facts) {
	var live, short, dead uint64
	runs, barred, level := 0, false, uint8(0)
	for i := range u.segs {
		barred = barred || f.barred(u.segs[i].Object)
		level = max(level, u.segs[i].Level)
		for _, r := range u.segs[i].Runs {
			runs++
			dead += deadBytes(r, f)
			if !isDead(r, f) {
				live++
			}
			if r.Bytes < l.shortRun && f.history(r.Ordinal) > l.history {
				short += r.Bytes
			}
		}
	}
	u.mostDead = live > 0 && int64(dead) >= l.dead && int64(dead) >= u.bytes/2 && level == 0 && !barred
	switch {
	case runs > 0 && live == 0:
		u.class = classDead
	case barred:
		u.class = classFinal
	case u.bytes < l.small:
		u.class = classSmall
	case level == 0 && int64(short) >= u.bytes/2:
		u.class = classShort
	default:
		u.class = classFinal
	}
}

// isDead reports whether nothing of a run can be read.
func isDead(r manifest.Run, f facts) bool { return r.End <= f.first(r.Ordinal) || f.dead(r.Ordinal) }

// deadBytes returns about what a merge would drop of a run.
func deadBytes(r manifest.Run, f facts) uint64 {
	if f.dead(r.Ordinal) {
		return r.Bytes
	}
	below := min(max(f.first(r.Ordinal), r.First), r.End) - r.First
	bytes := uint64(float64(r.Bytes) * (float64(below) / float64(r.End-r.First)))
	return bytes - min(bytes, segment.MaxBlock) // the last block stays
}

// plan is what the policy wants: the first group to be merged, and which of the oldest units are final.
type plan struct {
	merge []unit // nil: nothing
	final int    // of the oldest units so many are not merged any more
	units []unit
}

// planOf is the policy. Units are merged with their neighbours only, so that the order of LSNs stays the order of offsets. A stretch of units that are small or
// short lies between units that stay. The last stretch is open: more comes. In it small ones are merged when there are enough of about a size, so that a byte is
// rewritten once for each factor of fanIn, and short ones when a merge is full. Another stretch is merged for the last time.
func planOf(recent []catalog.Recent, l *limits, f facts) plan {
	p := plan{units: unitsOf(recent)}
	for i := range p.units {
		p.units[i].classify(l, f)
	}
	settled := true // all before is final
	for i := 0; i < len(p.units); {
		u := &p.units[i]
		if u.mostDead {
			if p.merge == nil {
				p.merge = p.units[i : i+1]
			}
			settled = false
		}
		if u.class == classFinal || u.class == classDead {
			i++
			if settled {
				p.final = i
			}
			continue
		}
		end := i
		for end < len(p.units) && (p.units[end].class == classSmall || p.units[end].class == classShort) {
			end++
		}
		group, stays := stretch(p.units[i:end], l, end == len(p.units))
		if p.merge == nil {
			p.merge = group
		}
		i = end
		if settled = settled && stays; settled {
			p.final = i
		}
	}
	return p
}

// stretch returns the group of a stretch to be merged, or whether all of it stays as it is.
func stretch(units []unit, l *limits, open bool) (group []unit, stays bool) {
	for i := range units {
		window, full := widest(units[i:], l)
		if len(window) > 1 && full && window[0].class == classShort {
			return window, false
		}
		smalls := window
		for j := range window {
			if window[j].class != classSmall {
				smalls = window[:j]
				break
			}
		}
		if len(smalls) >= l.fanIn && balanced(smalls, l.fanIn) {
			return smalls, false
		}
	}
	if open || len(units) < 2 {
		return nil, !open
	}
	short := 0
	for i := range units {
		if units[i].class == classShort {
			short++
		}
	}
	if short > 0 && len(units) < l.closedRuns {
		return nil, true
	}
	for i := range units {
		if window, _ := widest(units[i:], l); len(window) > 1 {
			return window, false
		}
	}
	return nil, true
}

// widest returns the units from the first on that can be merged at once, and whether more would not fit.
func widest(units []unit, l *limits) (window []unit, full bool) {
	var bytes int64
	segments, cursors := 0, 0
	for i := range units {
		u := &units[i]
		bytes += u.bytes
		segments += len(u.segs)
		cursors += u.cursors
		outs := 2 + int(2*bytes/l.output) // each is at least half full; the last one may be less
		if i > 0 && (bytes > l.input || segments > l.segments || cursors > l.cursors || 2*outs+segments+1 > metadata.MaxReplaceOps) {
			return units[:i], true
		}
	}
	return units, false
}

// balanced reports whether no unit is so large that the others are not worth its rewrite.
func balanced(units []unit, fanIn int) bool {
	var total, largest int64
	for i := range units {
		total += units[i].bytes
		largest = max(largest, units[i].bytes)
	}
	return largest <= 2*total/int64(fanIn)
}
