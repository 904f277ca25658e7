package manifest

import "encoding/binary"

// appendRun encodes a run; at is the segment's number, next that behind the segment of the run before, end the end of the run before or the run's own first offset if there is none.
func appendRun(b []byte, r *Run, at, next int, end uint64) []byte {
	v := uint64(at-next) << 1
	if r.First != end {
		b = binary.AppendUvarint(b, v|1)
		b = binary.AppendUvarint(b, r.First-end)
	} else {
		b = binary.AppendUvarint(b, v)
	}
	b = binary.AppendUvarint(b, r.End-r.First)
	return binary.AppendUvarint(b, r.Bytes)
}

// runIter decodes a queue's runs, whose crc was checked.
type runIter struct {
	d        decoder
	entry    dirEntry
	segments int // of the page
	left     int
	next     int // number of the lowest segment that may come
	at       int // number of the segment of run
	run      Run
}

func newRunIter(b []byte, e *dirEntry, segments uint32) runIter {
	return runIter{d: decoder{b: b}, entry: *e, segments: int(segments), left: e.count, run: Run{Ordinal: e.ordinal, End: e.first}}
}

// more decodes the next run into run and at, or returns false at the end.
func (i *runIter) more() (bool, error) {
	e, r := &i.entry, &i.run
	if i.left == 0 {
		if len(i.d.b) != 0 || r.End != e.end {
			return false, corrupt(SectionRuns, e.pos, "queue %d ends at offset %d, not %d, with %d bytes left", e.ordinal, r.End, e.end, len(i.d.b))
		}
		return false, nil
	}
	v := i.d.bounded(MaxPageSegments<<1 + 1)
	i.at = i.next + int(v>>1)
	r.First = r.End
	if v&1 != 0 {
		r.First = i.d.after(r.First, e.end)
		if r.First == r.End || i.left == e.count {
			i.d.fail()
		}
	}
	r.End = i.d.after(r.First, e.end)
	r.Bytes = i.d.uvarint()
	if i.d.bad || r.End == r.First || i.at >= i.segments {
		return false, corrupt(SectionRuns, e.pos, "run %d of queue %d", e.count-i.left, e.ordinal)
	}
	i.next = i.at + 1
	i.left--
	return true, nil
}
