package seal

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"sync/atomic"

	"github.com/varvemq/varve/internal/vfs"
)

// spoolBuffer is how much is written, or read back, at once.
const spoolBuffer = 256 << 10

// spool is a segment in a file, on its way to the bucket. The file is not synced: a start empties the directory.
type spool struct {
	fs   vfs.FS
	file vfs.File
	name string
	buf  *bufio.Writer
	size int64 // written, perhaps into buf only
	// unreadable is set when the file could not be read, which may be in a goroutine of an object store.
	unreadable atomic.Bool
}

// emptySpool makes the directory, and removes what an earlier process has left there.
func emptySpool(fs vfs.FS, dir string) error {
	err := fs.MkdirAll(dir)
	var names []string
	if err == nil {
		names, err = fs.List(dir)
	}
	for _, name := range names {
		err = errors.Join(err, fs.Remove(filepath.Join(dir, name)))
	}
	if err != nil {
		return fmt.Errorf("seal: empty the spool directory: %w", err)
	}
	return nil
}

func createSpool(fs vfs.FS, name string) (*spool, error) {
	f, err := fs.Create(name)
	if err != nil {
		return nil, &diskError{err}
	}
	return &spool{fs: fs, file: f, name: name, buf: bufio.NewWriterSize(io.NewOffsetWriter(f, 0), spoolBuffer)}, nil
}

// Write implements io.Writer. Its errors are *diskError.
func (s *spool) Write(b []byte) (int, error) {
	n, err := s.buf.Write(b)
	s.size += int64(n)
	if err != nil {
		err = &diskError{err}
	}
	return n, err
}

// flush ends writing.
func (s *spool) flush() error {
	if err := s.buf.Flush(); err != nil {
		return &diskError{err}
	}
	s.buf = nil
	return nil
}

//nolint:gochecknoglobals // a constant table
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// verify reads the file and compares it with what was written.
func (s *spool) verify(size int64, crc uint32) error {
	sum := crc32.New(castagnoli)
	n, err := io.CopyBuffer(sum, io.NewSectionReader(s.file, 0, size), make([]byte, min(size, spoolBuffer)))
	if err != nil {
		return &diskError{err}
	}
	if got := sum.Sum32(); n != size || s.size != size || got != crc {
		return &diskError{fmt.Errorf("%s has %d bytes, crc %08x; written were %d, crc %08x", s.name, n, got, size, crc)}
	}
	return nil
}

// ReadAt implements io.ReaderAt, and notes failures.
func (s *spool) ReadAt(b []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(b, off)
	if err != nil && (!errors.Is(err, io.EOF) || off+int64(n) < s.size) {
		s.unreadable.Store(true)
	}
	return n, err
}

// remove closes and removes the file.
func (s *spool) remove() error {
	if err := errors.Join(s.file.Close(), s.fs.Remove(s.name)); err != nil {
		return &diskError{err}
	}
	return nil
}
