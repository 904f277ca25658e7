package objstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// errBodyEnded is what a transport gets that reads a body after its request has ended.
var errBodyEnded = errors.New("objstore: the request has ended")

// body is a section of a caller's reader for one request. HTTP transports may read a body after they have given up on its request, which neither a repetition nor the
// caller's reader would bear: end keeps them from it.
type body struct {
	size int64
	crc  string // its CRC32C as S3 writes it, or empty

	mu    sync.Mutex // guards the rest
	src   io.ReadSeeker
	base  int64 // where the section begins in src
	pos   int64
	ended bool
	err   error // of src
}

func newBody(src io.ReadSeeker, base, size int64) *body {
	return &body{src: src, base: base, size: size}
}

// again returns the same section for another request.
func (b *body) again() *body { return &body{src: b.src, base: b.base, size: b.size, crc: b.crc} }

// checksum reads the section once to fill crc.
func (b *body) checksum() error {
	h := crc32.New(castagnoli)
	_, err := io.Copy(h, b)
	if err != nil {
		return b.outcome(err)
	}
	b.crc = base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, h.Sum32()))
	_, err = b.Seek(0, io.SeekStart)
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, errBodyEnded
	}
	if b.pos >= b.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), b.size-b.pos)]
	var n int
	_, err := b.src.Seek(b.base+b.pos, io.SeekStart)
	if err == nil {
		n, err = b.src.Read(p)
	}
	b.pos += int64(n)
	if errors.Is(err, io.EOF) {
		if err = nil; b.pos < b.size && n == 0 {
			err = invalid("the reader ends before its size")
		}
	}
	if err != nil {
		b.err = err
	}
	return n, err
}

// outcome is that of a request with this body: an error of the caller's reader, which transports wrap in theirs, is the reason and no fault of the server.
func (b *body) outcome(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil || b.err == nil:
		return err
	case Class(b.err) != nil:
		return b.err
	default:
		return fmt.Errorf("%w: read what is to be written: %w", ErrFatal, b.err)
	}
}

// sha256 reads the section once for its sum.
func (b *body) sha256() (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, b); err != nil {
		return "", err
	}
	_, err := b.Seek(0, io.SeekStart)
	return hex.EncodeToString(h.Sum(nil)), err
}

// Seek implements io.Seeker.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.pos
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, invalid("seek to %d", offset)
	}
	b.pos = offset
	return offset, nil
}

// end waits for a read in progress and fails those to come.
func (b *body) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
}
