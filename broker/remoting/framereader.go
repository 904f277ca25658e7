package remoting

import (
	"fmt"
	"io"

	wire "github.com/varvemq/varve/internal/remoting"
)

const (
	readBufferSize  = 32 << 10  // what an idle connection holds
	readBufferKeep  = 256 << 10 // a larger buffer is given back after smallFrames frames that did not need it
	smallFrames     = 64
	framePrefixSize = 4
)

// frameReader cuts a stream into frames. Not safe for concurrent use.
type frameReader struct {
	r          io.Reader
	buf        []byte
	start, end int
	max        int
	small      int // consecutive reads that a small buffer would have done for
}

func newFrameReader(r io.Reader, maxFrame int) *frameReader {
	return &frameReader{r: r, buf: make([]byte, readBufferSize), max: maxFrame}
}

// next returns the next frame without its length prefix. The bytes are valid until the following call. io.EOF means that the
// peer closed between two frames.
func (f *frameReader) next() ([]byte, error) {
	if err := f.fill(framePrefixSize); err != nil {
		return nil, err
	}
	n, err := wire.FrameLength([framePrefixSize]byte(f.buf[f.start:f.start+framePrefixSize]), f.max)
	if err != nil {
		return nil, err
	}
	f.start += framePrefixSize
	if err := f.fill(n); err != nil {
		if err == io.EOF { //nolint:errorlint // fill returns io.EOF itself, and only with no byte at hand
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	frame := f.buf[f.start : f.start+n : f.start+n]
	f.start += n
	return frame, nil
}

// buffered says whether another frame's first bytes have been read already.
func (f *frameReader) buffered() bool { return f.end-f.start > framePrefixSize }

// fill reads until n bytes stand at f.start. The buffer grows by doubling, as the bytes arrive: a length that is
// claimed but never sent costs nothing.
func (f *frameReader) fill(n int) error {
	if f.end-f.start >= n {
		return nil
	}
	f.compact(n)
	for f.end < n {
		if f.end == len(f.buf) {
			grown := make([]byte, min(2*len(f.buf), max(n, readBufferSize)))
			copy(grown, f.buf[:f.end])
			f.buf = grown
		}
		m, err := f.r.Read(f.buf[f.end:])
		f.end += m
		if f.end >= n {
			return nil
		}
		switch {
		case err == io.EOF && f.end > 0:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case m == 0:
			return fmt.Errorf("read frame: %w", io.ErrNoProgress)
		}
	}
	return nil
}

// compact moves what is left to the front, into a small buffer again if large frames have passed.
func (f *frameReader) compact(n int) {
	left := f.buf[f.start:f.end]
	if f.small++; n > readBufferKeep || len(left) > readBufferSize {
		f.small = 0
	}
	if len(f.buf) > readBufferKeep && f.small >= smallFrames && n <= readBufferSize {
		f.buf = make([]byte, readBufferSize)
	}
	f.end = copy(f.buf, left)
	f.start = 0
}
