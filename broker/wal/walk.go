package wal

import (
	"context"
	"fmt"
	"hash/crc32"
	"sort"
)

// walkWindow is what a walk reads of a file at once.
const walkWindow = 1 << 20

// Walk calls fn for each data record of [from, to), in order, until it returns an error, which Walk returns. from is where a record begins, to is at most
// what is written. The bytes of the records never change and may be kept; their parts are valid during the call only. The errors of the WAL are ErrTrimmed
// and *CorruptError.
func (w *WAL) Walk(ctx context.Context, from, to Position, fn func(Record) error) error {
	if to > Position(w.written.Load()) {
		return fmt.Errorf("wal: walk to %d: only %d is written", to, w.written.Load())
	}
	k := walker{w: w, to: to}
	for pos := from; pos < to; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, b, err := k.record(pos)
		if err != nil {
			return err
		}
		pos += Position(h.n)
		if h.typ != typeData {
			continue
		}
		parts, _, reason := parseParts(b, h, k.parts[:0])
		if reason != "" {
			return fmt.Errorf("wal: record at position %d: %s", h.pos, reason)
		}
		k.parts = parts
		if err := fn(h.record(parts)); err != nil {
			return err
		}
	}
	return nil
}

// walker reads on from memory or, for what is not there any more, from the files by windows of its own, which are left to those who keep records.
type walker struct {
	w     *WAL
	to    Position
	win   []byte
	start Position // of win
	parts []Part
}

// record returns the record at pos.
func (k *walker) record(pos Position) (header, []byte, error) {
	if b := k.w.tail.find(pos, recordHeader); b != nil {
		h := readHeader(b)
		if h.pos == pos && h.n >= recordHeader {
			if b = k.w.tail.find(pos, h.n); b != nil {
				return h, b, nil
			}
		}
	}
	files := *k.w.fileList.Load()
	i := sort.Search(len(files), func(i int) bool { return files[i].base > pos }) - 1
	if i < 0 {
		return header{}, nil, ErrTrimmed
	}
	f, end := files[i], Position(k.w.written.Load())
	if i+1 < len(files) {
		end = min(end, files[i+1].base)
	}
	b, err := k.bytes(f, pos, recordHeader, end)
	if err != nil {
		return header{}, nil, err
	}
	h := readHeader(b)
	if h.pos != pos || h.n < recordHeader || h.n%align != 0 || Position(h.n) > end-pos {
		return h, nil, corrupt(f.name, f.offset(pos), "no record begins here")
	}
	if b, err = k.bytes(f, pos, h.n, end); err != nil {
		return h, nil, err
	}
	if crc32.Update(k.w.seed, castagnoli, b[8:]) != h.crc {
		return h, nil, corrupt(f.name, f.offset(pos), "bad checksum of a record")
	}
	return h, b, nil
}

// bytes returns n bytes of f at pos; nothing at or above end is read.
func (k *walker) bytes(f *logFile, pos Position, n int, end Position) ([]byte, error) {
	if Position(n) > end-pos {
		return nil, corrupt(f.name, f.offset(pos), "a record of %d bytes does not fit", n)
	}
	if pos < k.start || pos+Position(n) > k.start+Position(len(k.win)) {
		buf := make([]byte, min(max(walkWindow, Position(n)), end-pos))
		if err := f.read(buf, f.offset(pos)); err != nil {
			return nil, err
		}
		k.win, k.start = buf, pos
	}
	at := int(pos - k.start)
	return k.win[at : at+n : at+n], nil
}
