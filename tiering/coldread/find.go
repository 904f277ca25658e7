package coldread

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// OffsetByTime returns the first sealed offset of a queue, of those not trimmed, whose store time is ms or later; false if there is none.
func (r *Reader) OffsetByTime(ctx context.Context, ordinal uint32, ms int64) (uint64, bool, error) {
	var t trial
	for {
		var a attempt
		offset, ok, err := r.offsetByTime(ctx, ordinal, ms, &a)
		if err == nil {
			return offset, ok, nil
		}
		if err = t.again(ctx, r, a.entry, err, a.shared); err != nil {
			return 0, false, fmt.Errorf("find time %d in queue %d: %w", ms, ordinal, err)
		}
		r.m.repeats.Inc()
	}
}

func (r *Reader) offsetByTime(ctx context.Context, ordinal uint32, ms int64, a *attempt) (uint64, bool, error) {
	for l, err := range r.cfg.Catalog.Since(ctx, ordinal, ms) {
		if err != nil {
			a.entry = manifest.Entry{}
			return 0, false, err
		}
		a.entry = l.Entry
		seg, err := r.open(ctx, l.Entry)
		if err != nil {
			return 0, false, err
		}
		offset, err := r.timeIn(ctx, seg, ordinal, ms, a)
		if errors.Is(err, segment.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, false, err
		}
		// Times do not fall: what follows a trimmed offset that would do, does.
		first, end, ok := r.cfg.Catalog.Bounds(ordinal)
		if offset = max(offset, first); ok && offset < end {
			return offset, true, nil
		}
	}
	return 0, false, nil
}

// timeIn returns the first offset of a queue in a segment whose store time is ms or later, or segment.ErrNotFound.
func (r *Reader) timeIn(ctx context.Context, seg opened, ordinal uint32, ms int64, a *attempt) (uint64, error) {
	ref, err := seg.index.FindTime(ctx, ordinal, ms)
	if err != nil || ref.MinStore >= ms {
		return ref.Base, err
	}
	b, err := r.load(ctx, seg, &ref, ref.Base, a)
	if err != nil {
		return 0, err
	}
	offset := b.First
	for rest := b.Messages; len(rest) > 0; offset++ {
		var v message.View
		if v, rest, err = message.Next(rest); err != nil {
			return 0, r.badMessage(seg, &ref, err)
		}
		if v.StoreTimestamp() >= ms {
			return offset, nil
		}
	}
	return 0, r.badMessage(seg, &ref, fmt.Errorf("no message of %d or later, which the index says there is", ms))
}

// badMessage is an error about what a block's checksum says is right.
func (r *Reader) badMessage(seg opened, ref *segment.BlockRef, err error) error {
	return &ObjectError{Key: r.key(seg.entry), Ordinal: ref.Ordinal, First: ref.Base, End: ref.End(), Err: err}
}

// probes is how many segments' filters are asked ahead.
const probes = 8

// foundKey is a message that ByKey has shown.
type foundKey struct {
	ordinal uint32
	offset  uint64
}

// ByKey yields messages that may have a key by its message.KeyHash, those of the newest segment first, until yield returns false. The caller compares topic and key. begin and end
// (unix ms, end 0: none) spare reading what was stored outside of them; what is yielded may be, all the same. Messages of dropped queues, and trimmed ones, are left out.
func (r *Reader) ByKey(ctx context.Context, hash uint64, begin, end int64, yield func(ordinal uint32, offset uint64, m message.View) bool) error {
	if end <= 0 {
		end = math.MaxInt64
	}
	s := keySearch{r: r, hash: hash, begin: begin, end: end, yield: yield, shown: make(map[foundKey]struct{})}
	var t trial
	for {
		var a attempt
		err := s.run(ctx, &a)
		if err == nil {
			return nil
		}
		if err = t.again(ctx, r, a.entry, err, a.shared); err != nil {
			return fmt.Errorf("find key %016x: %w", hash, err)
		}
		r.m.repeats.Inc()
	}
}

// keySearch is a lookup by key. It may begin anew; what it has shown it does not show again.
type keySearch struct {
	r          *Reader
	hash       uint64
	begin, end int64
	yield      func(ordinal uint32, offset uint64, m message.View) bool
	shown      map[foundKey]struct{}
}

// probe is what a segment's filter says.
type probe struct {
	entry manifest.Entry
	seg   opened
	may   bool
	err   error
	done  chan struct{}
}

// run looks through the segments, whose filters are asked concurrently and ahead.
func (s *keySearch) run(ctx context.Context, a *attempt) error {
	ctx, cancel := context.WithCancel(ctx)
	ahead := make(chan *probe, probes)
	ok := s.r.attach(cancel, func() { s.probe(ctx, ahead) })
	if !ok {
		cancel()
		return ErrClosed
	}
	defer func() {
		cancel()
		for p := range ahead { // until it has ended
			<-p.done
		}
	}()
	for p := range ahead {
		<-p.done
		a.entry = p.entry
		if p.err != nil {
			return p.err
		}
		if !p.may {
			continue
		}
		if more, err := s.segment(ctx, p.seg, a); err != nil || !more {
			return err
		}
	}
	return nil
}

// probe asks the segments' filters, and closes ahead at the end.
func (s *keySearch) probe(ctx context.Context, ahead chan<- *probe) {
	defer close(ahead)
	send := func(p *probe) bool {
		select {
		case ahead <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for e, err := range s.r.cfg.Catalog.Entries(ctx, s.begin, s.end) {
		p := &probe{entry: e, err: err, done: make(chan struct{})}
		if err != nil {
			p.entry = manifest.Entry{}
			close(p.done)
			send(p)
			return
		}
		if !send(p) {
			return
		}
		s.r.wg.Go(func() {
			defer close(p.done)
			if p.seg, p.err = s.r.open(ctx, e); p.err == nil {
				p.may, p.err = p.seg.index.MayHaveKey(ctx, s.hash)
			}
		})
	}
	if err := ctx.Err(); err != nil {
		p := &probe{err: err, done: make(chan struct{})}
		close(p.done)
		send(p)
	}
}

// segment yields what a segment has; false ends the search.
func (s *keySearch) segment(ctx context.Context, seg opened, a *attempt) (more bool, err error) {
	for hit, err := range seg.index.Lookup(ctx, s.hash) {
		if err != nil {
			return false, err
		}
		at := foundKey{hit.Ordinal, hit.Offset}
		if _, done := s.shown[at]; done || hit.Block.MaxStore < s.begin || hit.Block.MinStore > s.end {
			continue
		}
		if first, end, ok := s.r.cfg.Catalog.Bounds(hit.Ordinal); !ok || hit.Offset < first || hit.Offset >= end {
			continue
		}
		v, err := s.message(ctx, seg, &hit, a)
		if err != nil {
			return false, err
		}
		s.shown[at] = struct{}{}
		if !s.yield(hit.Ordinal, hit.Offset, v) {
			return false, nil
		}
	}
	return true, nil
}

func (s *keySearch) message(ctx context.Context, seg opened, hit *segment.KeyHit, a *attempt) (message.View, error) {
	b, err := s.r.load(ctx, seg, &hit.Block, hit.Offset, a)
	if err != nil {
		return nil, err
	}
	rest := b.Messages
	for at := b.First; ; at++ {
		v, next, err := message.Next(rest)
		if err != nil {
			return nil, s.r.badMessage(seg, &hit.Block, err)
		}
		if at == hit.Offset {
			return v, nil
		}
		rest = next
	}
}
