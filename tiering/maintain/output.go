package maintain

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// spoolBuffer gathers what a segment's writer writes.
const spoolBuffer = 1 << 20

// output is a segment of level 1 in its spool file.
type output struct {
	upload   metadata.Upload
	identity segment.Identity
	file     vfs.File
	buf      *bufio.Writer
	w        *segment.Writer
	written  int64
	summary  segment.Summary
}

// newOutput begins a segment in a spool file.
func newOutput(file vfs.File, cfg segment.Config, u metadata.Upload) (*output, error) {
	o := &output{upload: u, identity: cfg.Identity, file: file, buf: bufio.NewWriterSize(io.NewOffsetWriter(file, 0), spoolBuffer)}
	var err error
	o.w, err = segment.NewWriter(o, cfg)
	return o, err
}

// Write implements io.Writer for the segment's writer.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.buf.Write(b)
	o.written += int64(n)
	return n, err
}

// size returns the bytes written so far.
func (o *output) size() int64 { return o.written }

func (o *output) finish() error {
	var err error
	if o.summary, err = o.w.Finish(); err != nil {
		return err
	}
	o.w = nil
	if err := o.buf.Flush(); err != nil {
		return fmt.Errorf("write spool file: %w", err)
	}
	o.buf = nil
	return nil
}

// verify reads the segment back from its spool file, checks all of it, and returns the ranges of its queues.
func (o *output) verify(ctx context.Context) ([]manifest.Run, error) {
	expect := segment.Expect{Identity: &o.identity, FooterCRC: o.summary.Footer.CRC}
	r, err := segment.Open(ctx, spooled{o.file}, o.summary.Size, expect)
	if err == nil {
		err = segment.Verify(ctx, r)
	}
	if err != nil {
		return nil, fmt.Errorf("verify output %d: %w", o.upload.Object, err)
	}
	return queueRanges(ctx, r)
}

// segment returns what etcd lists of the output.
func (o *output) segment() metadata.Segment {
	return catalog.SegmentOf(&o.summary.Footer, o.summary.Size)
}

// queueRanges returns the offsets of each queue of a segment.
func queueRanges(ctx context.Context, r *segment.Reader) ([]manifest.Run, error) {
	var out []manifest.Run
	for info, err := range r.Queues(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, manifest.Run{Ordinal: info.Ordinal, First: info.First, End: info.End})
	}
	return out, nil
}

func compareRuns(a, b manifest.Run) int {
	return cmp.Or(cmp.Compare(a.Ordinal, b.Ordinal), cmp.Compare(a.First, b.First))
}

// spooled is a spool file as a segment.Source.
type spooled struct{ file vfs.File }

// Get implements segment.Source.
func (s spooled) Get(_ context.Context, off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	got, err := s.file.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:got], err
}
