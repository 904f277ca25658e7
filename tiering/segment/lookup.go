package segment

import (
	"context"
	"iter"
	"sort"
)

// KeyHit is a message that may have the key that was looked up: its hash has the same upper half. Who wants to know compares topic and key.
type KeyHit struct {
	Ordinal uint32
	Offset  uint64
	Block   BlockRef // that has the message
}

// MayHaveKey asks the bloom filter for a message.KeyHash: false means that no message here has the key. It reads one page at most.
func (r *Reader) MayHaveKey(ctx context.Context, hash uint64) (bool, error) {
	if r.root.bloomBlocks == 0 {
		return r.foot.Keys > 0, nil
	}
	block, bits := bloomPlace(keyHash(hash), r.root.bloomBlocks)
	at := int64(block) * bloomBlock
	i := at / bloomPageSize
	pos := r.foot.bloomPos + i*bloomPageSize
	n := min(bloomPageSize, r.foot.indexPos-pos)
	b, err := r.checked(ctx, SectionBloom, pos, int(n), r.root.bloom[i])
	if err != nil {
		return false, err
	}
	return bloomHas(b[at-i*bloomPageSize:], bits), nil
}

// Lookup yields the messages that may have a key by its message.KeyHash, the last in the segment's order first. Of one queue that is the newest first. It asks the
// bloom filter before the index. An error ends it.
func (r *Reader) Lookup(ctx context.Context, hash uint64) iter.Seq2[KeyHit, error] {
	return func(yield func(KeyHit, error) bool) {
		if ok, err := r.MayHaveKey(ctx, hash); err != nil {
			yield(KeyHit{}, err)
			return
		} else if !ok {
			return
		}
		h, rows := keyHash(hash), r.root.keys
		// The pages that may have the hash: from the last one that begins below it to the last one that begins with it or below.
		last := sort.Search(len(rows), func(i int) bool { return rows[i].first > h }) - 1
		for i := last; i >= 0; i-- {
			p, err := r.keyPage(ctx, i)
			if err != nil {
				yield(KeyHit{}, err)
				return
			}
			for j := p.search((uint64(h)+1)<<32) - 1; j >= 0 && p.at(j)>>32 == uint64(h); j-- {
				hit, err := r.byNumber(ctx, uint64(uint32(p.at(j))))
				if !yield(hit, err) || err != nil {
					return
				}
			}
			if rows[i].first < h {
				return
			}
		}
	}
}

// keyPage returns a page of the key index.
func (r *Reader) keyPage(ctx context.Context, i int) (keyPage, error) {
	pos := r.foot.keyPos + int64(i)*keyPageSize
	n := min(keyPageSize, r.foot.bloomPos-pos)
	return r.checked(ctx, SectionKeys, pos, int(n), r.root.keys[i].crc)
}

// byNumber finds the message with a number.
func (r *Reader) byNumber(ctx context.Context, number uint64) (KeyHit, error) {
	rows := r.root.pages
	at := sort.Search(len(rows), func(i int) bool { return rows[i].number > number }) - 1
	if number >= r.foot.Messages || at < 0 {
		return KeyHit{}, corrupt(SectionKeys, r.foot.keyPos, "message number %d of %d", number, r.foot.Messages)
	}
	p, err := r.page(ctx, at)
	if err != nil {
		return KeyHit{}, err
	}
	j := sort.Search(p.len(), func(j int) bool {
		run, e := p.run(j)
		if e != nil {
			err = e
		}
		return e != nil || run.number > number
	}) - 1
	if err == nil && j >= 0 {
		run, err := p.run(j)
		var e BlockRef
		for ok := err == nil; ok; {
			if ok, err = run.next(&e); err == nil && ok && !e.Hole && number-e.Number < uint64(e.Count) {
				return KeyHit{Ordinal: e.Ordinal, Offset: e.Base + number - e.Number, Block: e}, nil
			}
		}
		if err != nil {
			return KeyHit{}, err
		}
	}
	if err != nil {
		return KeyHit{}, err
	}
	return KeyHit{}, p.corrupt("no block has message number %d", number)
}

// KeyHashes yields the upper halves of all key hashes, in order, each as often as it occurs: what a filter over many segments is made from. An error ends it.
func (r *Reader) KeyHashes(ctx context.Context) iter.Seq2[uint32, error] {
	return func(yield func(uint32, error) bool) {
		for i := range r.root.keys {
			p, err := r.keyPage(ctx, i)
			if err != nil {
				yield(0, err)
				return
			}
			for j := range p.len() {
				if !yield(uint32(p.at(j)>>32), nil) {
					return
				}
			}
		}
	}
}
