package catalog

import (
	"log/slog"

	"github.com/google/uuid"

	"github.com/varvemq/varve/tiering/objstore"
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
