package coldread

import (
	"context"
	"sync"
	"sync/atomic"
)

// intoSource is what a segment.Source may be able to do besides: to read bytes from offset off on into memory of the caller's, fewer only if the object ends there. It spares
// memory that is cleared, written and thrown away for every GET.
type intoSource interface {
	GetInto(ctx context.Context, off int64, b []byte) (int, error)
}

const (
	bufferStep    = 256 << 10 // buffers have multiples of it
	bufferClasses = maxGet / bufferStep
)

// buffer is memory that is used again when nobody refers to it any more. One that somebody keeps is left to the garbage collector.
type buffer struct {
	b     []byte
	refs  atomic.Int32
	class *sync.Pool // nil: it is not used again
}

// drop ends a reference.
func (b *buffer) drop() {
	if b != nil && b.refs.Add(-1) == 0 && b.class != nil {
		b.class.Put(b)
	}
}

// buffers are free ones, by size.
type buffers [bufferClasses]sync.Pool

// get returns a buffer of n bytes, with any contents and one reference.
func (bs *buffers) get(n int) *buffer {
	i := (n - 1) / bufferStep
	if n <= 0 || i >= bufferClasses {
		return newBuffer(make([]byte, n))
	}
	b, ok := bs[i].Get().(*buffer)
	if !ok {
		b = &buffer{b: make([]byte, (i+1)*bufferStep), class: &bs[i]}
	}
	b.b = b.b[:n]
	b.refs.Store(1)
	return b
}

// newBuffer makes a buffer of memory that is not used again.
func newBuffer(b []byte) *buffer {
	out := &buffer{b: b}
	out.refs.Store(1)
	return out
}
