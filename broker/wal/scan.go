package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const scanWindow = 1 << 20

// scanner reads the records of one file. It holds a window of the file and, beyond it, only a record whose crc is right.
type scanner struct {
	r    io.ReaderAt
	name string
	size int64 // of the file
	base Position
	seed uint32

	win    []byte
	winOff int64
	parts  []Part
}

// badRecordError says why there is no valid record at an offset. It is not an I/O error, and not yet corruption.
type badRecordError struct{ reason string }

func (e *badRecordError) Error() string { return e.reason }

func (s *scanner) pos(off int64) Position { return s.base + Position(off-pageSize) }

// bytes returns n bytes at off, which are within the file, valid until the next call.
func (s *scanner) bytes(off int64, n int) ([]byte, error) {
	if off >= s.winOff && off+int64(n) <= s.winOff+int64(len(s.win)) {
		return s.win[off-s.winOff:][:n], nil
	}
	want := max(int64(n), min(scanWindow, s.size-off))
	if int64(cap(s.win)) < want {
		s.win = make([]byte, want)
	}
	s.win = s.win[:want]
	s.winOff = off
	if k, err := s.r.ReadAt(s.win, off); int64(k) < want {
		s.win = s.win[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %s at %d: %w", s.name, off, err)
	}
	return s.win[:n], nil
}

// header returns the header at off if length, position and crc of the record are right; a *badRecordError if not.
func (s *scanner) header(off int64) (header, error) {
	if s.size-off < recordHeader {
		return header{}, &badRecordError{"no room for a record"}
	}
	b, err := s.bytes(off, recordHeader)
	if err != nil {
		return header{}, err
	}
	h := readHeader(b)
	switch {
	case h.n < recordHeader || h.n%align != 0 || int64(h.n) > s.size-off:
		return h, &badRecordError{"bad length of a record"}
	case h.pos != s.pos(off):
		return h, &badRecordError{"bad position of a record"}
	}
	crc := s.seed
	for at := off + 8; at < off+int64(h.n); {
		n := int(min(scanWindow, off+int64(h.n)-at))
		if b, err = s.bytes(at, n); err != nil {
			return h, err
		}
		crc = crc32.Update(crc, castagnoli, b)
		at += int64(n)
	}
	if crc != h.crc {
		return h, &badRecordError{"bad checksum of a record"}
	}
	return h, nil
}

// record returns the record at off: a *badRecordError if there is no valid one, a *CorruptError if its crc is right but not
// what it says. Parts are valid until the next call.
func (s *scanner) record(off int64) (header, []Part, error) {
	h, err := s.header(off)
	if err != nil {
		return h, nil, err
	}
	b, err := s.bytes(off, h.n)
	if err != nil {
		return h, nil, err
	}
	parts, at, reason := parseParts(b, h, s.parts[:0])
	if reason != "" {
		return h, nil, corrupt(s.name, off+int64(at), "%s", reason)
	}
	s.parts = parts
	return h, parts, nil
}

// lookAhead searches everything behind a bad record at off. It returns the offset of the first valid record that knows
// of a durable position above the bad one's, or 0, and the offsets of all that could be taken for a record's beginning.
func (s *scanner) lookAhead(off int64) (witness int64, candidates []int64, err error) {
	p := s.pos(off)
	for at := off; at+recordHeader <= s.size; {
		if _, err := s.bytes(at, recordHeader); err != nil {
			return 0, nil, err
		}
		b := s.win[at-s.winOff:] // step through the window without calling bytes for each place
		next := at
		for ; len(b) >= recordHeader; b, next = b[align:], next+align {
			if Position(binary.LittleEndian.Uint64(b[8:])) == s.pos(next) {
				break
			}
		}
		at = next
		if len(b) < recordHeader {
			continue
		}
		candidates = append(candidates, at)
		h, err := s.header(at)
		var bad *badRecordError
		switch {
		case err == nil && h.durable > p && h.durable <= h.pos:
			return at, candidates, nil
		case err != nil && !errors.As(err, &bad):
			return 0, nil, err
		}
		at += align
	}
	return 0, candidates, nil
}
