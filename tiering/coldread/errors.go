package coldread

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// ErrClosed says that the Reader is closed.
var ErrClosed = errors.New("coldread: closed")

// ObjectError says that an object is damaged, or gone although the catalog lists it. Other objects, and other blocks of this one, stay readable.
type ObjectError struct {
	Key string
	// Ordinal, First and End are the block that cannot be read, if that is known: End is 0 if not.
	Ordinal    uint32
	First, End uint64
	Err        error
}

func (e *ObjectError) Error() string {
	if e.End == 0 {
		return fmt.Sprintf("read object %s: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("read object %s, queue %d, offsets %d to %d: %v", e.Key, e.Ordinal, e.First, e.End-1, e.Err)
}

// Unwrap returns what is wrong: a segment.CorruptError, or an error that wraps segment.ErrTruncated or objstore.ErrNotFound, for instance.
func (e *ObjectError) Unwrap() error { return e.Err }

// key names a segment's object.
func (r *Reader) key(e manifest.Entry) string {
	if r.cfg.Shard == "" {
		return fmt.Sprintf("%016x-%016x.seg", e.Epoch, e.Object)
	}
	return catalog.ObjectKey(r.cfg.Shard, e.Epoch, e.Object, "seg")
}

// isDamage reports whether an object does not have what it should have. It may have been damaged on the way.
func isDamage(err error) bool {
	if _, ok := errors.AsType[*segment.CorruptError](err); ok {
		return true
	}
	return errors.Is(err, segment.ErrTruncated) || errors.Is(err, segment.ErrVersion) || errors.Is(err, segment.ErrIdentity) || errors.Is(err, segment.ErrNotFound)
}

// isManifestDamage is isDamage for objects of the manifest.
func isManifestDamage(err error) bool {
	if _, ok := errors.AsType[*manifest.CorruptError](err); ok {
		return true
	}
	return errors.Is(err, manifest.ErrTruncated) || errors.Is(err, manifest.ErrVersion) || errors.Is(err, manifest.ErrIdentity)
}

// errAbandoned ends a fetch that nobody waits for any more.
var errAbandoned = errors.New("coldread: nobody waits for it")

// maxRepeats bounds how often a read begins anew because objects change beneath it.
const maxRepeats = 32

// trial decides whether a read that has failed begins anew.
type trial struct {
	n             int
	gone, damaged uint64 // the objects that were so the last time
	shared        bool   // it has failed once because of another's GET
}

// again returns nil if the read of an entry that failed with err is to be tried again, and what to return otherwise. The zero entry stands for an error of the
// catalog. shared says that the GET was begun by others.
func (t *trial) again(ctx context.Context, r *Reader, e manifest.Entry, err error, shared bool) error {
	t.n++
	err = t.decide(ctx, r, e, err, shared)
	if _, ok := errors.AsType[*ObjectError](err); ok {
		r.m.damaged.Inc()
	}
	return err
}

func (t *trial) decide(ctx context.Context, r *Reader, e manifest.Entry, err error, shared bool) error {
	_, final := errors.AsType[*ObjectError](err)
	switch {
	case final, ctx.Err() != nil, t.n > maxRepeats:
		return err
	case r.isClosed():
		return ErrClosed
	case errors.Is(err, errAbandoned):
		return nil
	case errors.Is(err, objstore.ErrNotFound):
		if e.Object == 0 && t.n > 2 {
			return err // a page of the manifest; it says which
		}
		if e.Object != 0 && e.Object == t.gone {
			return &ObjectError{Key: r.key(e), Err: err}
		}
		t.gone = e.Object
		return nil
	case isDamage(err) && e.Object != 0:
		if e.Object == t.damaged {
			return &ObjectError{Key: r.key(e), Err: err}
		}
		t.damaged = e.Object
		r.doubt(e.Object)
		return nil
	case isManifestDamage(err) && t.n <= 2:
		return nil // it may have been on the way; the error names the object
	case shared && !t.shared:
		t.shared = true
		return nil
	}
	return err
}
