package guard

import (
	"errors"
	"fmt"

	"github.com/varvemq/varve/metadata"
)

// Conditions that a caller branches on.
var (
	// ErrEpochTaken says that somebody else has marked the epoch, or a higher one: two owners exist, and this one must end.
	ErrEpochTaken = errors.New("guard: the epoch was marked by another owner")
	// ErrCorrupt says that an epoch object or the file remembered cannot be understood.
	ErrCorrupt = errors.New("guard: corrupt")
	// ErrVersion says that an epoch object or the file remembered is of a version this program does not know.
	ErrVersion = errors.New("guard: unknown format version")
	// ErrCluster says that what remembers is another cluster's.
	ErrCluster = errors.New("guard: another cluster")
)

// Stale says in what respect etcd is older than what others remember.
type Stale string

// The respects.
const (
	// StaleRevision: etcd's revision is below one that was seen.
	StaleRevision Stale = "revision"
	// StaleEpoch: the shard was acquired under an epoch that etcd does not know of.
	StaleEpoch Stale = "epoch"
	// StaleClaim: the epoch that etcd knows of was marked by another acquisition: a copy of the data directory, with an etcd of its own, was there.
	StaleClaim Stale = "claim"
	// StaleObject: an object has a number that etcd has not handed out.
	StaleObject Stale = "object"
)

// StaleError says that etcd is older than what others remember. Nothing may be acquired, sealed or swept.
type StaleError struct {
	Stale Stale
	Shard string
	// Where is who remembers: a file, an object.
	Where string
	// Seen is what stands there; Etcd is what etcd has: revisions, epochs, or object numbers (etcd's being the lowest never handed out).
	Seen, Etcd uint64
}

func (e *StaleError) Error() string {
	var what string
	switch e.Stale {
	case StaleRevision:
		what = fmt.Sprintf("it is at revision %d, %s remembers revision %d", e.Etcd, e.Where, e.Seen)
	case StaleEpoch:
		what = fmt.Sprintf("it knows epoch %d of shard %s, %s remembers epoch %d", e.Etcd, e.Shard, e.Where, e.Seen)
	case StaleClaim:
		what = fmt.Sprintf("%s says that somebody else acquired shard %s under epoch %d", e.Where, e.Shard, e.Seen)
	case StaleObject:
		what = fmt.Sprintf("it has handed out no object number from %d on in shard %s, but %s is there", e.Etcd, e.Shard, e.Where)
	}
	return "etcd is older than the data: " + what + ". Was it restored from an old copy, or is it another one's? Nothing was changed. " +
		"Give this broker the etcd it had, or bring the newest snapshot back into an empty one: see `varve metadata restore`"
}

// MissingError says that an object which etcd lists is not in the bucket, or is not the one that is listed.
type MissingError struct {
	// Kind is metadata.KindSegment or metadata.KindRoot.
	Kind string
	Key  string
	// Bucket is the store's URL.
	Bucket string
	// Err says how it was found out: objstore.ErrNotFound, segment.ErrIdentity, …
	Err error
}

func (e *MissingError) Error() string {
	what := "newest segment"
	if e.Kind == metadata.KindRoot {
		what = "manifest root"
	}
	return fmt.Sprintf("the %s that etcd lists is not in the bucket as it was committed: %s in %s: %v. Is it the right bucket, and was something deleted or replaced there? Nothing was changed. "+
		"`varve fsck` says what else is missing", what, e.Key, e.Bucket, e.Err)
}

// Unwrap returns Err.
func (e *MissingError) Unwrap() error { return e.Err }
