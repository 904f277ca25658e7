package segment

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/varvemq/varve/internal/message"
)

// parts cuts a segment for the corpora.
func parts(tb testing.TB) (b []byte, f Footer, r *Reader) {
	tb.Helper()
	b, _ = small(tb)
	r, _ = open(tb, b)
	return b, r.Footer(), r
}

// corpus adds an input, and keeps it in testdata if asked to.
func corpus(f *testing.F, n int, args ...any) {
	f.Helper()
	f.Add(args...)
	if !*update {
		return
	}
	text := "go test fuzz v1\n"
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			text += "[]byte(" + strconv.Quote(string(a)) + ")\n"
		case uint32:
			text += "uint32(" + strconv.Itoa(int(a)) + ")\n"
		}
	}
	dir := filepath.Join("testdata", "fuzz", f.Name())
	if err := os.MkdirAll(dir, 0o750); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "seed-"+strconv.Itoa(n)), []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

// FuzzFooter: no bytes make it panic; what it takes, it writes again, and its positions are in the object.
func FuzzFooter(f *testing.F) {
	b, _, _ := parts(f)
	corpus(f, 1, b[len(b)-footerSize:])
	corpus(f, 2, b[len(b)-footerSize-100:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= footerSize {
			fixed := bytes.Clone(b)
			end := fixed[len(fixed)-footerSize:]
			le.PutUint16(end[footerSize-10:], footerSize)
			copy(end[footerSize-8:], footerMagic)
			le.PutUint32(end[footerSize-footerTrailer:], footerCRC(end))
			b = fixed
		}
		for _, size := range []int64{int64(len(b)), 1 << 40} {
			foot, err := parseFooter(b, size)
			if err != nil {
				continue
			}
			if foot.keyPos < 0 || foot.rootPos+int64(foot.rootLen)+footerSize != size || len(foot.append(nil)) != footerSize {
				t.Fatalf("%+v", foot)
			}
		}
	})
}

// FuzzBlockHeader: no bytes make it panic or declare more than the limits; what it takes decompresses within the declared size.
func FuzzBlockHeader(f *testing.F) {
	b, _, _ := parts(f)
	n := 0
	for s := range Scan(f.Context(), &memory{b: b}, int64(len(b)), nil) {
		n++
		corpus(f, n, b[s.Pos:s.Pos+int64(s.Size)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= blockHeader {
			b = bytes.Clone(b)
			copy(b, blockMagic)
			if n, ok := headerLen(b[7]); ok && n <= len(b) {
				le.PutUint32(b[12:], crcOf(b[n:]))
				le.PutUint32(b[8:], headerCRC(b[:n], 5))
			}
		}
		h, n, err := parseHeader(b, 5)
		if err != nil {
			return
		}
		if h.raw > MaxMessage || h.raw > MaxBlock && h.count > 1 || uint64(h.raw) > uint64(h.stored)*expansion+expansionSlack && h.codec != codecNone {
			t.Fatalf("%+v", h)
		}
		if raw, err := h.payload(b[n:], nil, 5); err == nil && len(raw) != int(h.raw) {
			t.Fatalf("%d bytes, declared %d", len(raw), h.raw)
		}
	})
}

// FuzzQueueIndex: no page makes reading it panic or say what contradicts itself.
func FuzzQueueIndex(f *testing.F) {
	b, foot, r := parts(f)
	for i := range r.root.pages {
		end, _ := r.pageEnds(i)
		corpus(f, i, b[r.root.pages[i].pos:end])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(b, &rootRow{pos: foot.indexPos, ordinal: firstOrdinal(b)}, foot.keyPos)
		if err != nil {
			return
		}
		for i := range p.len() {
			run, err := p.run(i)
			if err != nil {
				continue
			}
			if info := run.queueInfo(); len(info.Topic) > maxTopicName || info.First >= info.End {
				t.Fatalf("%+v", info)
			}
			var e BlockRef
			for ok := true; ok; {
				if ok, err = run.next(&e); err != nil {
					break
				}
				if ok && (e.Pos < 0 || e.Pos+int64(e.Size) > foot.keyPos || e.Base < run.info.First || e.End() > run.info.End) {
					t.Fatalf("%+v", e)
				}
				e.MayMatch([]int64{1})
			}
		}
	})
}

// firstOrdinal is the ordinal that a page begins with, so that the fuzzer need not guess it.
func firstOrdinal(b []byte) uint32 {
	d := decoder{b: b}
	for range min(d.uvarint(), uint64(len(b))) {
		d.uvarint()
		d.take(d.uvarint())
	}
	d.take(4 * d.bounded(uint64(len(b))))
	d.uvarint()
	return d.uint32()
}

// FuzzRoot: no root makes a reader panic or read outside the object.
func FuzzRoot(f *testing.F) {
	b, foot, _ := parts(f)
	corpus(f, 1, b[foot.rootPos:len(b)-footerSize])
	f.Fuzz(func(t *testing.T, root []byte) { withRoot(t.Context(), b, foot, root) })
}

// withRoot reads a segment that has another root, all crcs made right.
func withRoot(ctx context.Context, b []byte, foot Footer, root []byte) {
	seg := append(bytes.Clone(b[:foot.rootPos]), root...)
	foot.rootLen, foot.rootCRC = uint32(len(root)), crcOf(root)
	seg = foot.append(seg)
	readAll(ctx, seg)
}

func readAll(ctx context.Context, seg []byte) {
	r, err := Open(ctx, &memory{b: seg}, int64(len(seg)), Expect{})
	if err != nil {
		return
	}
	for info, err := range r.Queues(ctx) {
		if err != nil {
			break
		}
		_, _ = r.FindTime(ctx, info.Ordinal, 1_700_000_000_100)
		for e, err := range r.Blocks(ctx, info.Ordinal, info.First) {
			if err != nil {
				break
			}
			_, _ = r.ReadBlock(ctx, &e, nil)
		}
	}
	for _, key := range []string{"order-1", "order-2"} {
		for _, err := range r.Lookup(ctx, message.KeyHash("topic-1", key)) {
			if err != nil {
				break
			}
		}
	}
	_ = Verify(ctx, r)
}

// FuzzKeyIndex: no key page makes a lookup panic.
func FuzzKeyIndex(f *testing.F) {
	b, foot, r := parts(f)
	corpus(f, 1, b[foot.keyPos:foot.bloomPos], uint32(le.Uint64(b[foot.keyPos:])>>32))
	corpus(f, 2, b[foot.keyPos:foot.bloomPos], uint32(7))
	f.Fuzz(func(t *testing.T, keys []byte, hash uint32) {
		seg := bytes.Clone(b)
		copy(seg[foot.keyPos:foot.bloomPos], keys)
		root := *r.root
		root.keys = []keyRow{{first: uint32(le.Uint64(seg[foot.keyPos:]) >> 32), crc: crcOf(seg[foot.keyPos:foot.bloomPos])}}
		filter := bytes.Repeat([]byte{0xff}, int(foot.indexPos-foot.bloomPos))
		copy(seg[foot.bloomPos:], filter)
		root.bloom = bloom(filter).crcs()
		foot := foot
		rb := root.encode()
		foot.rootCRC = crcOf(rb)
		seg = foot.append(append(seg[:foot.rootPos], rb...))
		reader, err := Open(t.Context(), &memory{b: seg}, int64(len(seg)), Expect{})
		if err != nil {
			return
		}
		for _, err := range reader.Lookup(t.Context(), uint64(hash)<<32) {
			if err != nil {
				break
			}
		}
		_ = Verify(t.Context(), reader)
	})
}

// FuzzBloom: what was added is found, for any hashes and any number of blocks, and no page makes a lookup panic.
func FuzzBloom(f *testing.F) {
	corpus(f, 1, []byte("\x01\x00\x00\x00\xff\xff\xff\xff"), uint32(3))
	corpus(f, 2, bytes.Repeat([]byte{0xaa, 1, 2}, 40), uint32(513))
	f.Fuzz(func(t *testing.T, hashes []byte, blocks uint32) {
		b := make(bloom, (1+int(blocks%2048))*bloomBlock)
		for i := 0; i+4 <= len(hashes); i += 4 {
			b.add(le.Uint32(hashes[i:]))
		}
		for i := 0; i+4 <= len(hashes); i += 4 {
			block, bits := bloomPlace(le.Uint32(hashes[i:]), uint32(len(b)/bloomBlock))
			if !bloomHas(b[int(block)*bloomBlock:], bits) {
				t.Fatalf("%x is not found", hashes[i:i+4])
			}
		}
		bloomHas(hashes, blocks)
	})
}

// FuzzScan: no bytes make a scan panic, leave a place out or go on for ever.
func FuzzScan(f *testing.F) {
	b, foot, _ := parts(f)
	corpus(f, 1, b)
	corpus(f, 2, b[:foot.keyPos])
	corpus(f, 3, b[10:])
	f.Fuzz(func(t *testing.T, b []byte) {
		pos := int64(0)
		for s, err := range Scan(t.Context(), &memory{b: b}, int64(len(b)), nil) {
			if err != nil || s.Pos != pos || s.Size <= 0 {
				t.Fatalf("%+v at %d: %v", s.BlockRef, pos, err)
			}
			pos += int64(s.Size)
		}
		if len(b) < footerSize && pos != int64(len(b)) {
			t.Fatalf("ends at %d of %d", pos, len(b))
		}
	})
}
