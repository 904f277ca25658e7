package maintain

import (
	"bytes"
	"context"
	"fmt"

	"github.com/varvemq/varve/tiering/objstore"
)

const (
	// wholeBytes is up to which size an object is fetched as a whole.
	wholeBytes = 512 << 10
	// indexWindow is what is fetched of an index at once.
	indexWindow = 1 << 20
)

// object is the end of a segment in the bucket as a segment.Source: for one goroutine that reads the index from start to end. A small object is fetched as
// a whole, and its blocks then need no request either.
type object struct {
	bucket objstore.Store
	key    string
	size   int64
	at     int64
	window []byte
}

// Get implements segment.Source.
func (o *object) Get(ctx context.Context, off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > o.size {
		return nil, fmt.Errorf("read %s: %d bytes at %d of %d", o.key, n, off, o.size)
	}
	n = int(min(int64(n), o.size-off))
	if b := o.cached(off, n); b != nil {
		return bytes.Clone(b), nil
	}
	from, want := off, min(int64(max(n, indexWindow)), o.size-off)
	if o.size <= wholeBytes {
		from, want = 0, o.size
	}
	b, err := (&objstore.Object{Store: o.bucket, Key: o.key}).Get(ctx, from, int(want))
	if err != nil {
		return nil, err
	}
	o.at, o.window = from, b
	b = b[min(off-from, int64(len(b))):]
	return bytes.Clone(b[:min(n, len(b))]), nil
}

// cached returns bytes of the window, or nil.
func (o *object) cached(off int64, n int) []byte {
	if n == 0 || off < o.at || off+int64(n) > o.at+int64(len(o.window)) {
		return nil
	}
	return o.window[off-o.at:][:n]
}
