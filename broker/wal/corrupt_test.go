package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/vfs"
)

// image is a WAL of four files, three of them closed; every record was made durable by itself.
type image struct {
	files map[uint64][]byte
	at    []Appended
	ids   map[uint64][]uint64 // of a file
	uuid  [16]byte
}

const imageFiles = 4

func path(seq uint64) string { return "/data/wal/" + fileName(seq) }

func makeImage(t *testing.T) *image {
	t.Helper()
	fs := vfs.NewCrash(nil)
	w := mustOpen(t, testConfig(fs, &owner{}))
	im := &image{files: map[uint64][]byte{}, ids: map[uint64][]uint64{}, uuid: w.UUID()}
	inLast := 0
	for id := uint64(0); inLast < 8; id++ {
		a := mustAdd(t, w, id, 2000, Durable)
		im.at = append(im.at, a)
		im.ids[a.File] = append(im.ids[a.File], id)
		if a.File == imageFiles {
			inLast++
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= imageFiles; seq++ {
		im.files[seq] = fs.Data(path(seq))
	}
	return im
}

func (im *image) fs(files map[uint64][]byte) *vfs.Crash {
	fs := vfs.NewCrash(nil)
	_ = fs.MkdirAll("/data/wal")
	for seq, data := range files {
		if data != nil {
			fs.SetData(path(seq), data)
		}
	}
	return fs
}

// last returns the offset and the length of the k-th data record of the last file, or of the mark behind them.
func (im *image) last(k int) (int64, int) {
	a := im.at[im.ids[imageFiles][0]+uint64(min(k, 7))]
	off := pageSize + int64(a.Pos-a.FileBase)
	if k == 8 {
		return off + int64(a.Len), recordHeader + partHeader + stateHeader + tableEntry
	}
	return off, a.Len
}

// damage is a kind of damage, and what has to come of it.
type damage struct {
	name   string
	do     func(f map[uint64][]byte)
	keep   int    // with no error: how many of the last file's records are kept
	file   uint64 // of the corruption
	offset int64
	err    error
}

// TestCorruption damages every field of every structure.
func TestCorruption(t *testing.T) {
	t.Parallel()
	im := makeImage(t)
	cases := slices.Concat(im.headerDamage(), im.closedDamage(), im.recordDamage(), im.validDamage())
	for _, d := range cases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			files := map[uint64][]byte{}
			for seq, data := range im.files {
				files[seq] = slices.Clone(data)
			}
			d.do(files)
			im.check(t, d, im.fs(files))
		})
	}
}

func (im *image) check(t *testing.T, d damage, fs *vfs.Crash) {
	t.Helper()
	before := map[string]string{}
	for _, name := range fs.Names() {
		before[name] = string(fs.Data(name))
	}
	o := &owner{}
	w, err := Open(context.Background(), testConfig(fs, o))
	if err != nil {
		var bad *CorruptError
		switch {
		case d.err != nil && errors.Is(err, d.err):
		case d.file != 0 && errors.As(err, &bad) && bad.File == path(d.file) && bad.Offset == d.offset:
		default:
			t.Fatalf("%v", err)
		}
		for name, data := range before {
			if string(fs.Data(name)) != data {
				t.Errorf("%s was changed", name)
			}
		}
		return
	}
	defer w.Close()
	if d.file != 0 || d.err != nil {
		t.Fatalf("opened with %d records", len(o.records))
	}
	want := seq(0, im.ids[imageFiles][0]+uint64(d.keep))
	if got := o.ids(); len(got) > 0 && got[0] > 0 && fs.Data(path(1)) == nil {
		want = want[got[0]:]
	}
	if diff := cmp.Diff(want, o.ids()); diff != "" {
		t.Fatal(diff)
	}
	a := mustAdd(t, w, 777, 100, Durable)
	if a.LSN != uint64(len(im.ids[1])+len(im.ids[2])+len(im.ids[3])+d.keep+1) {
		t.Errorf("lsn %d", a.LSN)
	}
	if d.keep < 8 && !w.Recovery().Unclean {
		t.Error("taken for an orderly close")
	}
}

func flip(seq uint64, off int64) func(map[uint64][]byte) {
	return func(f map[uint64][]byte) { f[seq][off] ^= 0x10 }
}

func zero(seq uint64, off int64, n int) func(map[uint64][]byte) {
	return func(f map[uint64][]byte) { clear(f[seq][off : off+int64(n)]) }
}

// header changes a header and makes its checksum right.
func rehead(seq uint64, change func(page []byte)) func(map[uint64][]byte) {
	return func(f map[uint64][]byte) {
		change(f[seq])
		binary.LittleEndian.PutUint32(f[seq][12:], headerCRC(f[seq]))
	}
}

func (im *image) headerDamage() []damage {
	ds := []damage{
		{name: "none", do: func(map[uint64][]byte) {}, keep: 8},
		{name: "header/magic", do: flip(2, 0), file: 2, offset: 0},
		{name: "header/version", do: flip(2, 8), file: 2, offset: 12},
		{name: "header/another version", do: rehead(2, func(p []byte) { p[8] = 9 }), err: ErrVersion},
		{name: "header/crc", do: flip(2, 12), file: 2, offset: 12},
		{name: "header/another uuid", do: rehead(2, func(p []byte) { p[16]++ }), file: 2, offset: 16},
		{name: "header/another sequence", do: rehead(2, func(p []byte) { p[32]++ }), file: 2, offset: 32},
		{name: "header/another base", do: rehead(2, func(p []byte) { p[40] += 8 }), file: 2, offset: 40},
		{name: "header/another base of the last", do: rehead(4, func(p []byte) { p[40] += 8 }), file: 4, offset: 40},
		{name: "header/reserved", do: rehead(2, func(p []byte) { p[100]++ }), file: 2, offset: 64},
		{name: "header/zeroed", do: zero(4, 0, pageSize), file: 4, offset: 0},
		{name: "file/empty", do: func(f map[uint64][]byte) { f[4] = []byte{} }, err: ErrTruncated},
		{name: "file/half a header", do: func(f map[uint64][]byte) { f[1] = f[1][:100] }, err: ErrTruncated},
		{name: "file/closed one cut", do: func(f map[uint64][]byte) { f[2] = f[2][:30000] }, err: ErrTruncated},
		{name: "file/last one cut", do: func(f map[uint64][]byte) { f[4] = f[4][:9000] }, err: ErrTruncated},
		{name: "file/first missing", do: func(f map[uint64][]byte) { f[1] = nil }, keep: 8},
		{name: "file/middle missing", do: func(f map[uint64][]byte) { f[2] = nil }, file: 2, offset: 0},
		{name: "file/last missing", do: func(f map[uint64][]byte) { f[4] = nil }, file: 4, offset: 0},
		{name: "file/two swapped", do: func(f map[uint64][]byte) { f[2], f[3] = f[3], f[2] }, file: 2, offset: 32},
	}
	for _, off := range []int64{20, 33, 41, 49, 60, 90} {
		ds = append(ds, damage{name: fmt.Sprintf("header/byte %d", off), do: flip(3, off), file: 3, offset: 12})
	}
	return ds
}

func (im *image) closedDamage() []damage {
	m, ok := parseCloseMark(im.files[2])
	if !ok {
		panic("no close mark")
	}
	a := im.at[im.ids[2][3]]
	off := pageSize + int64(a.Pos-a.FileBase)
	both := func(fs ...func(map[uint64][]byte)) func(map[uint64][]byte) {
		return func(f map[uint64][]byte) {
			for _, do := range fs {
				do(f)
			}
		}
	}
	ds := []damage{
		{name: "close/zeroed", do: zero(2, closeMarkOffset, closeMarkSize), keep: 8},
		{name: "close/section", do: flip(2, m.sections[1].off), keep: 8},
		{name: "close/own section", do: flip(2, m.sections[0].off), keep: 8},
		{name: "close/mark of another file", do: func(f map[uint64][]byte) {
			copy(f[2][closeMarkOffset:][:closeMarkSize], f[3][closeMarkOffset:])
		}, keep: 8},
		{name: "close/none and a damaged record", do: both(zero(2, closeMarkOffset, 8), flip(2, off+100)), file: 2, offset: off},
		{name: "close/none and zeroed records", do: both(zero(2, closeMarkOffset, 8), zero(2, off, 8000)), file: 2, offset: off},
		{name: "close/none and no first mark", do: both(zero(2, closeMarkOffset, 8), flip(2, pageSize+50)), file: 2, offset: pageSize},
	}
	for _, at := range []int64{0, 8, 12, 16, 32, 48, 200} {
		ds = append(ds, damage{name: fmt.Sprintf("close/byte %d", at), do: flip(2, closeMarkOffset+at), keep: 8})
	}
	return ds
}

func (im *image) recordDamage() []damage {
	o3, n3 := im.last(3)
	o4, n4 := im.last(4)
	o7, n7 := im.last(7)
	om, nm := im.last(8)
	ds := []damage{
		{name: "record/zeroed", do: zero(4, o3, n3), file: 4, offset: o3},
		{name: "record/two swapped", do: func(f map[uint64][]byte) {
			a, b := slices.Clone(f[4][o3:o3+int64(n3)]), slices.Clone(f[4][o4:o4+int64(n4)])
			copy(f[4][o3:], b)
			copy(f[4][o4:], a)
		}, file: 4, offset: o3},
		{name: "record/copied over another", do: func(f map[uint64][]byte) {
			copy(f[4][o4:o4+int64(n4)], f[4][o3:o3+int64(n3)])
		}, file: 4, offset: o4},
		{name: "record/sector zeroed", do: zero(4, (o3+512)&^511, 512), file: 4, offset: o3},
		{name: "record/sectors swapped", do: func(f map[uint64][]byte) {
			s := (o3 + 512) &^ 511
			a := slices.Clone(f[4][s : s+512])
			copy(f[4][s:s+512], f[4][s+512:])
			copy(f[4][s+512:], a)
		}, file: 4, offset: o3},
		{name: "record/last but for the mark", do: flip(4, o7+200), file: 4, offset: o7},
		{name: "record/first of the file", do: flip(4, pageSize+60), file: 4, offset: pageSize},
		{name: "mark/damaged", do: flip(4, om+30), keep: 8},
		{name: "tail/mark zeroed", do: zero(4, om, nm), keep: 8},
		{name: "tail/mark zeroed, last damaged", do: func(f map[uint64][]byte) {
			clear(f[4][om : om+int64(nm)])
			f[4][o7+int64(n7)-1000]++
		}, keep: 7},
		{name: "tail/all zero from the fourth", do: func(f map[uint64][]byte) { clear(f[4][o3:]) }, keep: 3},
		{name: "tail/zero to the end from inside the fourth", do: func(f map[uint64][]byte) { clear(f[4][o3+700:]) }, keep: 3},
		{name: "tail/stale bytes behind", do: func(f map[uint64][]byte) {
			copy(f[4][om+int64(nm):], f[3][om+int64(nm):])
		}, keep: 8},
		{name: "tail/cut, stale bytes behind", do: func(f map[uint64][]byte) { copy(f[4][o3:], f[3][o3:]) }, keep: 3},
		{name: "tail/another WAL's bytes behind", do: func(f map[uint64][]byte) {
			clear(f[4][o3:])
			h := readHeader(im.files[4][o4:])
			b := slices.Clone(im.files[4][o4 : o4+int64(h.n)])
			binary.LittleEndian.PutUint32(b[4:], crc32.Update(seedOf([16]byte{1}), castagnoli, b[8:]))
			copy(f[4][o4:], b)
		}, keep: 3},
	}
	for at := range int64(recordHeader + partHeader + 24) {
		ds = append(ds, damage{name: fmt.Sprintf("record/byte %d", at), do: flip(4, o3+at), file: 4, offset: o3})
	}
	return ds
}

// validDamage is records whose checksum is right and whose contents are not: no torn write makes them.
func (im *image) validDamage() []damage {
	le := binary.LittleEndian
	var ds []damage
	for _, c := range []struct {
		name   string
		at     int64
		change func(b []byte)
	}{
		{"lsn above", 24, func(b []byte) { b[24]++ }},
		{"lsn below", 24, func(b []byte) { b[24]-- }},
		{"reserved", 24, func(b []byte) { b[43] = 1 }},
		{"durable above itself", 24, func(b []byte) { le.PutUint64(b[16:], le.Uint64(b[8:])+8) }},
		{"unknown type", 24, func(b []byte) { b[40] = 7 }},
		{"no parts", 24, func(b []byte) { b[41] = 0 }},
		{"one part more", -1, func(b []byte) { b[41]++ }},
		{"payload too long", recordHeader + 4, func(b []byte) { le.PutUint32(b[recordHeader+4:], 1<<31) }},
		{"payload too short", -1, func(b []byte) { b[recordHeader+5]-- }},
		{"unknown kind of part", recordHeader, func(b []byte) { b[recordHeader] = 9 }},
		{"state in a data record", recordHeader, func(b []byte) { b[recordHeader] = 3 }},
		{"reserved of a part", recordHeader, func(b []byte) { b[recordHeader+2] = 9 }},
	} {
		for _, k := range []int{3, 7} {
			off, n := im.last(k)
			d := damage{name: fmt.Sprintf("valid/%s/%d", c.name, k), do: func(f map[uint64][]byte) {
				b := f[4][off : off+int64(n)]
				c.change(b)
				le.PutUint32(b[4:], crc32.Update(seedOf(im.uuid), castagnoli, b[8:]))
				if k == 7 {
					clear(f[4][off+int64(n):]) // nothing behind says that it was durable
				}
			}, file: 4, offset: off + c.at}
			if c.at < 0 {
				d.offset = off + int64(n)
			}
			if c.name == "payload too short" {
				d.offset = off + int64(n) - 256
			}
			ds = append(ds, d)
		}
	}
	return ds
}

// TestDamageAtRest damages records of closed files and reads them.
func TestDamageAtRest(t *testing.T) {
	t.Parallel()
	im := makeImage(t)
	a, b := im.at[im.ids[2][2]], im.at[im.ids[2][3]]
	off := pageSize + int64(a.Pos-a.FileBase)
	for at := int64(0); at < int64(a.Len); at += 7 {
		files := map[uint64][]byte{1: im.files[1], 2: slices.Clone(im.files[2]), 3: im.files[3], 4: im.files[4]}
		files[2][off+at] ^= 1
		w, err := Open(t.Context(), testConfig(im.fs(files), nil))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err = w.Record(a.Pos, a.Len, nil)
			var bad *CorruptError
			if !errors.As(err, &bad) || bad.File != path(2) || bad.Offset != off {
				t.Fatalf("byte %d: %v", at, err)
			}
		}
		if _, err := w.Record(b.Pos, b.Len, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Record(b.Pos+8, b.Len, nil); err == nil {
			t.Fatal("a record between two records")
		}
		if err := w.ScanFile(2, func(Record) error { return nil }); err == nil {
			t.Fatal("scanned")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
