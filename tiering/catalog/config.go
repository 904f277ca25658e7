package catalog

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"github.com/varvemq/varve/tiering/objstore"
)

// Defaults of Config.
const (
	defaultPageCache   = 32 << 20
	defaultReaderCache = 32 << 20
	defaultConcurrency = 16
)

// Config says whose segments a Catalog has. Zero values are defaults where there is one.
type Config struct {
	Bucket  objstore.Store
	Cluster uuid.UUID
	Shard   string
	Logger  *slog.Logger // nil: none
	// PageCache bounds the bytes of pages' parts that are kept; 32 MiB by default.
	PageCache int64
	// ReaderCache bounds the memory of segments' readers that are kept; 32 MiB by default.
	ReaderCache int64
	// Concurrency is the number of objects read at once by [Open]; 16 by default.
	Concurrency int
}

// Validate reports all that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.Bucket == nil {
		errs = append(errs, errors.New("catalog: no bucket"))
	}
	if c.Shard == "" {
		errs = append(errs, errors.New("catalog: no shard"))
	}
	if c.PageCache < 0 || c.ReaderCache < 0 || c.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("catalog: page cache %d, reader cache %d, concurrency %d: below 0", c.PageCache, c.ReaderCache, c.Concurrency))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.PageCache == 0 {
		c.PageCache = defaultPageCache
	}
	if c.ReaderCache == 0 {
		c.ReaderCache = defaultReaderCache
	}
	if c.Concurrency == 0 {
		c.Concurrency = defaultConcurrency
	}
	return c
}
