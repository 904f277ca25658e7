package objstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Store keeps objects by key.
type Store interface {
	// Put writes an object of size bytes, which is all that r has, replacing one that exists unless opts say otherwise. It reads r from its start and may do so again; r stays the
	// caller's. When Put fails with [ErrTransient] the object may have been written.
	Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts PutOptions) error
	// Get returns the n bytes from offset off on, or all to the end if n is negative. Bytes beyond the end are left out: a range that begins at or after
	// the end is empty. The caller closes the reader.
	Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	// Head returns an object's size and time, or [ErrNotFound].
	Head(ctx context.Context, key string) (Info, error)
	// List yields the objects whose keys begin with prefix, in ascending order of key. An error ends it.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete deletes objects. Those that do not exist are no error. After an error some may have been deleted.
	Delete(ctx context.Context, keys ...string) error
	// Check reports whether the store can be reached, written and read, naming it. It writes and deletes a small object below ".varve-check/".
	Check(ctx context.Context) error
	// URL names the store without secrets.
	URL() string
	// Close releases connections. Readers that are open may fail.
	Close() error
}

// PutOptions are the conditions of a Put.
type PutOptions struct {
	// IfNoneMatch creates the object only if there is none; otherwise [ErrPrecondition] is returned. A Put finds out whether it was itself that has written the
	// object in an earlier attempt. Who repeats a Put that has failed with [ErrTransient] must find out for himself what ErrPrecondition means then.
	IfNoneMatch bool
}

// Info describes an object.
type Info struct {
	Key  string
	Size int64
	// Modified is the store's time of the last write. It decides nothing that matters to safety.
	Modified time.Time
}

// maxKeyBytes is S3's bound.
const maxKeyBytes = 1024

// ValidateKey reports why a key is not acceptable: keys are at most 1,024 bytes of printable ASCII without backslash, their parts between slashes are not
// empty and do not begin with a dot unless the first part is ".varve-check".
func ValidateKey(key string) error {
	if key == "" || len(key) > maxKeyBytes {
		return invalid("key of %d bytes", len(key))
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' || c == '\\' {
			return invalid("key %q has byte 0x%02x", key, c)
		}
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(key, checkPrefix), "/") {
		if part == "" || part[0] == '.' {
			return invalid("key %q has the part %q", key, part)
		}
	}
	return nil
}

// checkPrefix is where Check writes.
const checkPrefix = ".varve-check/"

// checkTimeout bounds CheckStore.
const checkTimeout = 30 * time.Second

// CheckStore is [Store.Check] by means of the other methods: for those who wrap a store.
func CheckStore(ctx context.Context, s Store) (err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	content := rand.Text()
	key := checkPrefix + content
	defer func() {
		if err != nil {
			err = fmt.Errorf("object store %s is not usable: %w", s.URL(), err)
		}
	}()
	if err := s.Put(ctx, key, strings.NewReader(content), int64(len(content)), PutOptions{}); err != nil {
		return err
	}
	b, err := ReadAll(ctx, s, key, int64(len(content)))
	if err == nil && string(b) != content {
		err = fmt.Errorf("%w: read other bytes than were written", ErrFatal)
	}
	return errors.Join(err, s.Delete(ctx, key))
}

// ReadAll reads an object of at most limit bytes; a longer one is an [ErrInvalid].
func ReadAll(ctx context.Context, s Store, key string, limit int64) ([]byte, error) {
	r, err := s.Get(ctx, key, 0, limit+1)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, opError("read", s.URL(), key, err)
	}
	if int64(len(b)) > limit {
		return nil, opError("read", s.URL(), key, invalid("more than %d bytes", limit))
	}
	return b, nil
}

// PutBytes is [Store.Put] for bytes in memory.
func PutBytes(ctx context.Context, s Store, key string, b []byte, opts PutOptions) error {
	return s.Put(ctx, key, strings.NewReader(string(b)), int64(len(b)), opts)
}

// checkPut reports faults of a Put's arguments, and sets the reader to its start.
func checkPut(key string, r io.ReadSeeker, size int64) error {
	if err := ValidateKey(key); err != nil {
		return err
	}
	end, err := r.Seek(0, io.SeekEnd)
	if err == nil && end != size {
		return invalid("the reader has %d bytes, not %d", end, size)
	}
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFatal, err)
	}
	return nil
}

// checkGet reports faults of a Get's arguments.
func checkGet(key string, off int64) error {
	if off < 0 {
		return invalid("offset %d", off)
	}
	return ValidateKey(key)
}

// classReader gives the errors of a reader a class.
type classReader struct {
	io.ReadCloser
	classify func(error) error
}

// Read implements io.Reader.
func (r classReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's contract is the bare value
		err = r.classify(err)
	}
	return n, err
}
