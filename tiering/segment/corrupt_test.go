package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/varvemq/varve/internal/message"
)

// outcome is what reading a whole segment in every way gave.
type outcome struct {
	open     error
	sections map[string]int // CorruptErrors of reads, lookups and Verify by section
	verify   error
	other    error // anything that is no CorruptError
	lost     int   // messages that could not be read
	wrong    int   // messages read that are not what was written: never
}

// survey reads everything from damaged bytes b, and compares with what was written.
func survey(t *testing.T, b []byte, queues []modelQueue) outcome {
	t.Helper()
	o := outcome{sections: make(map[string]int)}
	ctx := t.Context()
	r, err := Open(ctx, &memory{b: b}, int64(len(b)), Expect{})
	if o.open = err; err != nil {
		return o
	}
	for i := range queues {
		o.queue(ctx, r, &queues[i])
	}
	o.verify = Verify(ctx, r)
	if j, ok := o.verify.(interface{ Unwrap() []error }); ok {
		for _, err := range j.Unwrap() {
			o.take(err)
		}
	}
	return o
}

func (o *outcome) take(err error) {
	var c *CorruptError
	switch {
	case err == nil:
	case errors.As(err, &c):
		o.sections[c.Section]++
	default:
		o.other = err
	}
}

// queue reads a queue block by block, going on after damage as far as the index lets it, and looks up a key of each message.
func (o *outcome) queue(ctx context.Context, r *Reader, q *modelQueue) {
	for _, p := range q.pieces {
		rest := p.raw
		for j := range p.msgs {
			offset := p.base + uint64(j)
			want, after, _ := message.Next(rest)
			rest = after
			got, err := readOne(ctx, r, q.Ordinal, offset)
			if err != nil {
				o.take(err)
				o.lost++
			} else if !bytes.Equal(got, want) {
				o.wrong++
			}
			if m := p.msgs[j]; m.uniq != "" {
				for hit, err := range r.Lookup(ctx, message.KeyHash(q.Topic, m.uniq)) {
					o.take(err)
					if err == nil && (hit.Ordinal != q.Ordinal || hit.Offset != offset) {
						o.wrong++
					}
				}
			}
		}
	}
}

func readOne(ctx context.Context, r *Reader, ordinal uint32, offset uint64) ([]byte, error) {
	e, err := r.FindOffset(ctx, ordinal, offset)
	if err != nil {
		return nil, err
	}
	b, err := r.ReadBlock(ctx, &e, nil)
	if err != nil {
		return nil, err
	}
	rest := b.Messages
	for at := e.Base; ; at++ {
		v, after, err := message.Next(rest)
		if err != nil || at == offset {
			return v, err
		}
		rest = after
	}
}

// small is a segment with everything in it, small enough to damage at every byte.
func small(tb testing.TB) ([]byte, []modelQueue) {
	tb.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	queues := build(tb, rng, shape{queues: 4, pieces: 3, batch: 4, body: 150, noise: 0.4, holes: 0.2})
	for i := range queues {
		queues[i].Keys = KeyMode(i % 2)
	}
	cfg := testConfig()
	cfg.BlockBytes = 800
	b, _ := write(tb, cfg, queues)
	return b, queues
}

// sectionOf names the part of a segment that has a byte.
func sectionOf(f *Footer, size, at int) string {
	switch pos := int64(at); {
	case pos < f.keyPos:
		return SectionBlock
	case pos < f.bloomPos:
		return SectionKeys
	case pos < f.indexPos:
		return SectionBloom
	case pos < f.rootPos:
		return SectionIndex
	case at < size-footerSize:
		return SectionRoot
	}
	return SectionFooter
}

// TestEveryBit flips a bit of every byte: it is found, named with its section, and costs no more than it must.
func TestEveryBit(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	good, queues := small(t)
	r, _ := open(t, good)
	foot := r.Footer()
	blocks := scan(t, good, nil)
	if o := survey(t, good, queues); o.open != nil || o.verify != nil || o.lost != 0 || o.wrong != 0 || len(o.sections) != 0 {
		t.Fatalf("undamaged: %+v", o)
	}
	step := 1
	if testing.Short() || raceDetector {
		step = 7
	}
	for at := rng.IntN(step); at < len(good); at += step {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << rng.IntN(8)
		section := sectionOf(&foot, len(good), at)
		o := survey(t, bad, queues)
		checkBit(t, fmt.Sprintf("byte %d of the %s", at, section), section, &o, int(foot.Messages))
		checkDamagedScan(t, bad, at, section, blocks)
	}
}

func checkBit(t *testing.T, place, section string, o *outcome, all int) {
	t.Helper()
	if o.wrong != 0 || o.other != nil {
		t.Fatalf("%s: %d messages wrong, %v", place, o.wrong, o.other)
	}
	if section == SectionFooter || section == SectionRoot {
		var c *CorruptError
		if !errors.As(o.open, &c) || c.Section != section {
			t.Fatalf("%s: opened: %v", place, o.open)
		}
		return
	}
	if o.open != nil || o.verify == nil || o.sections[section] == 0 {
		t.Fatalf("%s: %+v", place, o)
	}
	for other := range o.sections {
		if other != section {
			t.Fatalf("%s: damage reported in the %s: %v", place, other, o.verify)
		}
	}
	switch section {
	case SectionKeys, SectionBloom:
		if o.lost != 0 {
			t.Fatalf("%s: %d messages lost", place, o.lost)
		}
	case SectionBlock:
		if o.lost == all {
			t.Fatalf("%s: all messages lost", place)
		}
	}
}

// checkDamagedScan checks that a scan finds all blocks but the damaged one.
func checkDamagedScan(t *testing.T, bad []byte, at int, section string, blocks []Scanned) {
	t.Helper()
	id := testConfig().Identity
	got := scan(t, bad, &id)
	i := 0
	for _, want := range blocks {
		hit := section == SectionBlock && want.Pos <= int64(at) && int64(at) < want.Pos+int64(want.Size)
		if i >= len(got) || got[i].Pos != want.Pos || got[i].Size != want.Size || (got[i].Damage != nil) != hit || !hit && !bytes.Equal(got[i].Messages, want.Messages) {
			t.Fatalf("byte %d: scanned %+v, want %+v", at, got[min(i, len(got)-1)], want)
		}
		i++
	}
	// With the footer gone, the indexes are one place without blocks.
	if rest := len(got) - i; rest != 0 && (section != SectionFooter || rest != 1 || got[i].Damage == nil) {
		t.Fatalf("byte %d: %d more places: %+v", at, rest, got[i])
	}
}

// TestEveryLength cuts the object at every length, and lets the store have less than it said.
func TestEveryLength(t *testing.T) {
	t.Parallel()
	good, _ := small(t)
	blocks := scan(t, good, nil)
	id := testConfig().Identity
	for n := range good {
		if raceDetector && n%7 != 0 {
			continue
		}
		cut := good[:n]
		if _, err := Open(t.Context(), &memory{b: cut}, int64(n), Expect{}); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		whole := 0
		for _, s := range scan(t, cut, &id) {
			if s.Damage == nil {
				if !bytes.Equal(s.Messages, blocks[whole].Messages) {
					t.Fatalf("cut at %d: block %d differs", n, whole)
				}
				whole++
			}
		}
		want := 0
		for want < len(blocks) && blocks[want].Pos+int64(blocks[want].Size) <= int64(n) {
			want++
		}
		if whole != want {
			t.Fatalf("cut at %d: %d blocks, want %d", n, whole, want)
		}
	}
}

// short is a source that ends early, though the size is known to be larger.
type short struct {
	memory

	until int64
}

func (s *short) Get(ctx context.Context, off int64, n int) ([]byte, error) {
	b, err := s.memory.Get(ctx, off, n)
	return b[:max(0, min(int64(len(b)), s.until-off))], err
}

// TestShortReads: less than asked for is an error wherever it happens.
func TestShortReads(t *testing.T) {
	t.Parallel()
	b, queues := small(t)
	r, err := Open(t.Context(), &short{memory: memory{b: b}, until: int64(len(b)) - 1}, int64(len(b)), Expect{})
	if r != nil || !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	src := &short{memory: memory{b: b}, until: int64(len(b))}
	if r, err = Open(t.Context(), src, int64(len(b)), Expect{}); err != nil {
		t.Fatal(err)
	}
	src.until = 0
	e, err := r.FindOffset(t.Context(), queues[0].Ordinal, queues[0].first())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadBlock(t.Context(), &e, nil); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	if err := Verify(t.Context(), r); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
}

// TestVersions: an intact part of a later version is not corrupt.
func TestVersions(t *testing.T) {
	t.Parallel()
	good, _ := small(t)
	b := bytes.Clone(good)
	end := b[len(b)-footerSize:]
	end[footerSize-12] = 2
	le.PutUint32(end[footerSize-footerTrailer:], footerCRC(end))
	if _, err := Open(t.Context(), &memory{b: b}, int64(len(b)), Expect{}); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	// A later version may have a longer or a shorter footer.
	for _, n := range []int{100, footerSize + 8} {
		b := bytes.Clone(good)
		end := b[len(b)-n:]
		le.PutUint16(end[n-12:], 2)
		le.PutUint16(end[n-10:], uint16(n))
		le.PutUint32(end[n-footerTrailer:], footerCRC(end))
		if _, err := Open(t.Context(), &memory{b: b}, int64(len(b)), Expect{}); !errors.Is(err, ErrVersion) {
			t.Error(err)
		}
	}
	for name, change := range map[string]func(b []byte){
		"version": func(b []byte) { b[4] = 2 }, "content": func(b []byte) { b[5] = 2 }, "codec": func(b []byte) { b[6] = 2 },
	} {
		b := bytes.Clone(good)
		blocks := scan(t, b, nil)
		i := slices.IndexFunc(blocks, func(s Scanned) bool { return !s.Hole })
		at := blocks[i].Pos
		n, _ := headerLen(b[at+7])
		change(b[at:])
		le.PutUint32(b[at+8:], headerCRC(b[at:][:n], at))
		got := scan(t, b, nil)
		if !errors.Is(got[i].Damage, ErrVersion) || got[i].Size != blocks[i].Size || got[i+1].Damage != nil {
			t.Errorf("%s: %+v", name, got[i])
		}
	}
}

// TestExpect: an intact object that is another one is told from a damaged one.
func TestExpect(t *testing.T) {
	t.Parallel()
	b, _ := small(t)
	r, _ := open(t, b)
	id := testConfig().Identity
	for name, e := range map[string]Expect{"right": {Identity: &id, FooterCRC: r.Footer().CRC}, "not known": {}} {
		if _, err := Open(t.Context(), &memory{b: b}, int64(len(b)), e); err != nil {
			t.Error(name, err)
		}
	}
	for name, change := range map[string]func(id *Identity){
		"cluster": func(id *Identity) { id.Cluster[5]++ }, "shard": func(id *Identity) { id.Shard = "x" }, "epoch": func(id *Identity) { id.Epoch++ },
		"sequence": func(id *Identity) { id.Sequence++ },
	} {
		other := id
		change(&other)
		if _, err := Open(t.Context(), &memory{b: b}, int64(len(b)), Expect{Identity: &other}); !errors.Is(err, ErrIdentity) {
			t.Error(name, err)
		}
		for _, s := range scan(t, b, &other) {
			if s.Damage == nil {
				t.Fatal(name, "a block of another segment passes")
			}
		}
	}
	if _, err := Open(t.Context(), &memory{b: b}, int64(len(b)), Expect{FooterCRC: 1}); !errors.Is(err, ErrIdentity) {
		t.Error(err)
	}
}

// TestForeignBlocks puts blocks where they do not belong, each intact in itself.
func TestForeignBlocks(t *testing.T) {
	t.Parallel()
	q := modelQueue{Queue: Queue{Ordinal: 5, Topic: "t"}}
	p := piece{}
	for i := range uint64(4) {
		m := msg{store: 1000, host: hostA, body: bytes.Repeat([]byte{byte('a' + i)}, 100)}
		p.raw, p.msgs, p.count = append(p.raw, stored(t, &q.Queue, i, &m)...), append(p.msgs, m), i+1
	}
	q.pieces = []piece{p}
	cfg := testConfig()
	cfg.BlockBytes = 1
	b, _ := write(t, cfg, []modelQueue{q})
	blocks := scan(t, b, nil)
	size := blocks[0].Size
	if len(blocks) != 4 || blocks[1].Size != size {
		t.Fatalf("%d blocks of %d", len(blocks), size)
	}

	swapped := bytes.Clone(b)
	copy(swapped, b[size:2*size])
	copy(swapped[size:], b[:size])
	expectLost(t, "swapped", swapped, []modelQueue{q}, 2)

	cfg.Sequence++
	next, _ := write(t, cfg, []modelQueue{q})
	cfg.Sequence--
	foreign := bytes.Clone(b)
	copy(foreign[2*size:], next[2*size:3*size])
	expectLost(t, "of another segment", foreign, []modelQueue{q}, 1)

	q2 := q
	other := msg{store: 1000, host: hostA, body: bytes.Repeat([]byte("b"), 100), tag: ""}
	q2.pieces = []piece{{base: 0, count: 4, msgs: p.msgs}}
	for i := range uint64(4) {
		q2.pieces[0].raw = append(q2.pieces[0].raw, stored(t, &q.Queue, i, &other)...)
	}
	build2, _ := write(t, cfg, []modelQueue{q2})
	mixed := bytes.Clone(b)
	copy(mixed, build2[:size])
	expectLost(t, "of another build", mixed, []modelQueue{q}, 1)
	if s := scan(t, mixed, nil); s[0].Damage != nil {
		t.Error("the block is intact in itself:", s[0].Damage)
	}
}

func expectLost(t *testing.T, name string, b []byte, queues []modelQueue, lost int) {
	t.Helper()
	o := survey(t, b, queues)
	if o.open != nil || o.lost != lost || o.wrong != 0 || o.other != nil || o.sections[SectionBlock] == 0 || o.verify == nil {
		t.Errorf("%s: %+v", name, o)
	}
}
