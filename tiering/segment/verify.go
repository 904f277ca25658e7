package segment

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/varvemq/varve/internal/keysort"
	"github.com/varvemq/varve/internal/message"
)

// maxFaults bounds the faults that Verify reports.
const maxFaults = 100

// Verify reads a whole segment and checks all of it: every crc, the index against the blocks, every message against its place, density per queue, tag hashes,
// key index and filter against the messages, counts. What r has in memory is read again, but for the footer and the root. It returns the first 100 faults,
// joined. Errors of the source end it. It takes 8 to 16 bytes of memory per key.
func Verify(ctx context.Context, r *Reader) error {
	r = &Reader{src: r.src, size: r.size, foot: r.foot, tag: r.tag, root: r.root, pages: make(map[int64]cachedPage)}
	v := verifier{r: r, w: window{src: r.src, size: r.foot.keyPos}}
	v.run(ctx)
	return errors.Join(v.faults...)
}

type verifier struct {
	r      *Reader
	w      window
	faults []error
	over   bool // no use to go on

	foot    Footer // counted
	pos     int64
	queue   QueueInfo
	blocks  int
	open    bool // queue goes on
	started bool
	raw     []byte
	hashes  []uint32
	keys    []uint64
	damaged bool // messages are missing: keys cannot be compared
}

// fault takes an error. Those that are no damage end the check.
func (v *verifier) fault(err error) {
	v.faults = append(v.faults, err)
	var c *CorruptError
	if !errors.As(err, &c) || len(v.faults) >= maxFaults {
		v.over = true
	}
}

func (v *verifier) faultf(section string, pos int64, format string, args ...any) {
	v.fault(corrupt(section, pos, format, args...))
}

func (v *verifier) run(ctx context.Context) {
	f := &v.r.foot
	for i := range v.r.root.pages {
		v.page(ctx, i)
		if v.over {
			return
		}
	}
	if v.open {
		v.faultf(SectionIndex, f.rootPos, "queue %d goes on behind the last page", v.queue.Ordinal)
	}
	if v.pos != f.keyPos && !v.damaged {
		v.faultf(SectionIndex, f.rootPos, "the blocks end at %d, the key index begins at %d", v.pos, f.keyPos)
	}
	v.counts()
	v.checkKeys(ctx)
}

// page checks a page of the index and its blocks.
func (v *verifier) page(ctx context.Context, i int) {
	row := &v.r.root.pages[i]
	p, err := v.r.page(ctx, i)
	if err != nil {
		v.fault(err)
		_, v.pos = v.r.pageEnds(i)
		v.damaged, v.open, v.started = true, false, false
		return
	}
	if row.block != v.pos || row.number != v.foot.Messages && !v.damaged {
		v.faultf(SectionRoot, v.r.foot.rootPos, "page %d begins with the block at %d and message %d, not %d and %d", i, row.block, row.number, v.pos, v.foot.Messages)
		v.pos = row.block
	}
	for j := range p.len() {
		run, err := p.run(j)
		if err != nil {
			v.fault(err)
			v.damaged = true
			_, v.pos = v.r.pageEnds(i)
			return
		}
		v.queueRun(ctx, &run)
		if v.over {
			return
		}
	}
	if _, end := v.r.pageEnds(i); v.pos != end {
		v.faultf(SectionIndex, row.pos, "the page's blocks end at %d, not %d", v.pos, end)
		v.pos = end
	}
}

// queueRun checks a run and its blocks.
func (v *verifier) queueRun(ctx context.Context, run *run) {
	at := run.page.row.pos
	info := run.queueInfo()
	continued := run.flags&runContinued != 0
	switch {
	case continued && !v.open && !v.started && v.damaged: // its start is in a damaged page
		v.queue, v.blocks = info, -1
	case continued != v.open || continued && info != v.queue:
		v.faultf(SectionIndex, at, "queue %d does not continue what is before it", info.Ordinal)
		v.queue, v.blocks = info, -1
	case !continued:
		if v.started && info.Ordinal <= v.queue.Ordinal {
			v.faultf(SectionIndex, at, "queue %d after %d", info.Ordinal, v.queue.Ordinal)
		}
		v.queue, v.blocks = info, 0
		v.foot.Queues++
	}
	v.started = true
	if run.pos != v.pos || run.number != v.foot.Messages && !v.damaged {
		v.faultf(SectionIndex, at, "queue %d: block at %d, message %d, where %d, %d are next", info.Ordinal, run.pos, run.number, v.pos, v.foot.Messages)
		v.pos = run.pos
	}
	var e BlockRef
	for {
		ok, err := run.next(&e)
		if err != nil {
			v.fault(err)
			v.damaged = true
			return
		}
		if !ok {
			break
		}
		if err := ctx.Err(); err != nil {
			v.fault(err)
			return
		}
		v.block(ctx, run, &e)
		if v.blocks >= 0 {
			v.blocks++
		}
		v.pos = e.Pos + int64(e.Size)
		if v.over {
			return
		}
	}
	v.open = run.flags&runContinues != 0
	if !v.open && v.blocks >= 0 && v.blocks != info.Blocks {
		v.faultf(SectionIndex, at, "queue %d has %d blocks, not %d", info.Ordinal, v.blocks, info.Blocks)
	}
}

// block checks a block, and its messages against the index.
func (v *verifier) block(ctx context.Context, run *run, e *BlockRef) {
	b, err := v.w.at(ctx, e.Pos, e.Size)
	if err != nil {
		v.fault(err)
		return
	}
	if cap(v.raw) < e.Raw {
		v.raw = make([]byte, e.Raw)
	}
	block, err := v.r.Decode(e, b, v.raw)
	if err == nil && !e.Hole {
		err = v.messages(run, &block)
	}
	if err != nil {
		v.fault(err)
		v.damaged = true
	}
	if e.Hole {
		v.foot.Holes++
		return
	}
	if v.foot.Blocks == 0 {
		v.foot.MinStore, v.foot.MaxStore = e.MinStore, e.MaxStore
	}
	v.foot.MinStore, v.foot.MaxStore = min(v.foot.MinStore, e.MinStore), max(v.foot.MaxStore, e.MaxStore)
	v.foot.Blocks++
	v.foot.Messages = e.Number + uint64(e.Count)
	v.foot.RawBytes += uint64(e.Raw)
}

// messages checks the messages of a block.
func (v *verifier) messages(run *run, b *Block) error {
	var seen blockBuilder
	rest := b.Messages
	for offset := b.Base; offset < b.End(); offset++ {
		m, r, err := next(rest)
		if err != nil {
			return corrupt(SectionBlock, b.Pos, "queue %d, offset %d: %v", b.Ordinal, offset, err)
		}
		rest = r
		if err := checkPhysical(m, &run.info.Queue, offset); err != nil || m.QueueOffset() != int64(offset) {
			return corrupt(SectionBlock, b.Pos, "queue %d, offset %d: the message says offset %d: %v", b.Ordinal, offset, m.QueueOffset(), err)
		}
		stored, host := m.StoreTimestamp(), m.StoreHost()
		if seen.count == 0 {
			seen.minStore, seen.maxStore, seen.host = stored, stored, host
		}
		if seen.host != host {
			seen.host = netip.AddrPort{}
		}
		seen.count++
		seen.minStore, seen.maxStore = min(seen.minStore, stored), max(seen.maxStore, stored)
		var tag int32
		tag, v.hashes = hashes(m, run.info.Keys, v.hashes[:0])
		seen.addTag(tag)
		v.foot.KeysLeftOut += uint64(max(0, len(v.hashes)-MaxKeysPerMessage))
		for _, h := range v.hashes[:min(len(v.hashes), MaxKeysPerMessage)] {
			v.keys = append(v.keys, uint64(h)<<32|(b.Number+offset-b.Base))
		}
	}
	switch {
	case len(rest) > 0:
		return corrupt(SectionBlock, b.Pos, "%d bytes behind the last message", len(rest))
	case seen.minStore != b.MinStore || seen.maxStore != b.MaxStore:
		return corrupt(SectionBlock, b.Pos, "store times %d to %d, not %d to %d", seen.minStore, seen.maxStore, b.MinStore, b.MaxStore)
	case seen.host != b.StoreHost:
		return corrupt(SectionBlock, b.Pos, "store host %v, not %v", seen.host, b.StoreHost)
	case seen.ntags != b.ntags || seen.ntags <= MaxTags && !slices.Equal(seen.tags[:seen.ntags], b.tags[:b.ntags]):
		return corrupt(SectionIndex, run.page.row.pos, "queue %d, offset %d: the tag hashes are not those of the messages", b.Ordinal, b.Base)
	}
	return nil
}

// next is message.Next, without its special error for no bytes.
func next(b []byte) (message.View, []byte, error) {
	if len(b) == 0 {
		return nil, nil, errors.New("no message")
	}
	return message.Next(b)
}

// counts compares what was counted with the footer.
func (v *verifier) counts() {
	if v.damaged {
		return
	}
	f, c := &v.r.foot, &v.foot
	for _, n := range []struct {
		what          string
		counted, says uint64
	}{
		{"blocks", c.Blocks, f.Blocks},
		{"holes", c.Holes, f.Holes},
		{"queues", c.Queues, f.Queues},
		{"messages", c.Messages, f.Messages},
		{"raw bytes", c.RawBytes, f.RawBytes},
		{"lowest store time", uint64(c.MinStore), uint64(f.MinStore)},
		{"highest store time", uint64(c.MaxStore), uint64(f.MaxStore)},
		{"keys", uint64(len(v.keys)), f.Keys},
		{"keys left out", c.KeysLeftOut, f.KeysLeftOut},
	} {
		if n.counted != n.says {
			v.faultf(SectionFooter, v.r.size-footerSize, "%s: %d, counted %d", n.what, n.says, n.counted)
		}
	}
}

// checkKeys compares the key index and the filter with the messages.
func (v *verifier) checkKeys(ctx context.Context) {
	want := keysort.ByHash(v.keys)
	f := &v.r.foot
	filter := newBloom(len(want))
	for i := range v.r.root.keys {
		p, err := v.r.keyPage(ctx, i)
		if err != nil {
			v.fault(err)
			continue
		}
		if v.damaged {
			continue
		}
		part := want[min(i*keyPageEntries, len(want)):]
		for j := range p.len() {
			if j >= len(part) || part[j] != p.at(j) {
				v.faultf(SectionKeys, f.keyPos+int64(i)*keyPageSize, "entry %d is not what the messages say", j)
				break
			}
			filter.add(uint32(p.at(j) >> 32))
		}
		if first := uint32(p.at(0) >> 32); first != v.r.root.keys[i].first {
			v.faultf(SectionRoot, f.rootPos, "key page %d begins with %08x, not %08x", i, first, v.r.root.keys[i].first)
		}
	}
	crcs := filter.crcs()
	for i, crc := range v.r.root.bloom {
		pos := f.bloomPos + int64(i)*bloomPageSize
		if _, err := v.r.checked(ctx, SectionBloom, pos, int(min(bloomPageSize, f.indexPos-pos)), crc); err != nil {
			v.fault(err)
		} else if len(v.faults) == 0 && crcs[i] != crc {
			v.faultf(SectionBloom, pos, "it is not made from the key index")
		}
	}
}
