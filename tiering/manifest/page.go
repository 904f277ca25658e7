package manifest

import (
	"context"
	"errors"
	"iter"

	"github.com/varvemq/varve/tiering/segment"
)

var errStub = errors.New("manifest: not implemented")

// Page reads a page.
type Page struct{}

// OpenPage reads the end of a page.
func OpenPage(ctx context.Context, src segment.Source, ref PageRef) (*Page, error) {
	return nil, errStub
}

// Range returns the offsets [first, end) that the page has of a queue, or [ErrNotFound].
func (p *Page) Range(ctx context.Context, ordinal uint32) (first, end uint64, err error) {
	return 0, 0, errStub
}

// Find returns the segment that has an offset of a queue, and its run, or [ErrNotFound].
func (p *Page) Find(ctx context.Context, ordinal uint32, offset uint64) (Entry, Run, error) {
	return Entry{}, Run{}, errStub
}

// Runs yields a queue's runs with their segments, in order of offsets. An error ends it; a queue that is not in the page has none.
func (p *Page) Runs(ctx context.Context, ordinal uint32) iter.Seq2[Located, error] {
	return func(yield func(Located, error) bool) { yield(Located{}, errStub) }
}

// Entries returns the page's segments in order.
func (p *Page) Entries(ctx context.Context) ([]Entry, error) { return nil, errStub }

// All returns the page's segments with all their runs.
func (p *Page) All(ctx context.Context) ([]PageSegment, error) { return nil, errStub }

// Located is a run and the segment that has it.
type Located struct {
	Entry
	Run
}

// EncodePage returns a page of segments.
func EncodePage(id PageIdentity, segs []PageSegment) ([]byte, PageRef, error) {
	return nil, PageRef{}, errStub
}

// Cache keeps parts of pages.
type Cache struct{}

// NewCache returns a cache of at most so many bytes.
func NewCache(bytes int64) *Cache { return nil }
