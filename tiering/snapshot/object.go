package snapshot

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/varvemq/varve/tiering/objstore"
)

const (
	// Prefix is where snapshots are.
	Prefix = "metadata/snapshots/"

	dataSuffix    = ".snap"
	infoSuffix    = ".json"
	formatVersion = 1
	maxInfo       = 64 << 10
)

var (
	// ErrDamaged says that a snapshot is not what was uploaded, or its description cannot be understood.
	ErrDamaged = errors.New("snapshot: damaged")
	// ErrUnfinished says that a snapshot's upload did not end. It comes together with ErrDamaged.
	ErrUnfinished = errors.New("snapshot: not uploaded to the end")
	// ErrVersion says that a snapshot's description is of a version this program does not know.
	ErrVersion = errors.New("snapshot: unknown format version")
)

// Info describes a snapshot.
type Info struct {
	Cluster uuid.UUID `json:"cluster"`
	// Revision is etcd's when the snapshot began.
	Revision int64 `json:"etcd_revision"`
	// Shard and Epoch are those of the broker that took it.
	Shard string `json:"shard"`
	Epoch uint64 `json:"epoch"`
	// SHA256 and Size are those of the object, in hex digits and in bytes.
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"`
	CreatedMs int64  `json:"created_ms"`
}

// Name returns the part of the keys that names the snapshot.
func (i *Info) Name() string { return fmt.Sprintf("%016x-%016x", uint64(i.Revision), i.Epoch) }

// Key returns the key of the snapshot's bytes.
func (i *Info) Key() string { return Prefix + i.Name() + dataSuffix }

func (i *Info) infoKey() string { return Prefix + i.Name() + infoSuffix }

// Listed is a snapshot in the bucket. Err says why it cannot be used: its description is damaged, or one of its two objects is missing.
type Listed struct {
	Info

	Err error
}

// parseKey returns the revision and the epoch in a key, and which object it is.
func parseKey(key string) (revision int64, epoch uint64, suffix string, ok bool) {
	name, ok := strings.CutPrefix(key, Prefix)
	if !ok || len(name) != 16+1+16+len(dataSuffix) {
		return 0, 0, "", false
	}
	rev, err := strconv.ParseUint(name[:16], 16, 63)
	if err != nil {
		return 0, 0, "", false
	}
	epoch, err = strconv.ParseUint(name[17:33], 16, 64)
	i := Info{Revision: int64(rev), Epoch: epoch}
	if suffix = name[33:]; err != nil || suffix != dataSuffix && suffix != infoSuffix || Prefix+i.Name()+suffix != key {
		return 0, 0, "", false
	}
	return int64(rev), epoch, suffix, true
}

// IsKey reports whether a key is that of an object of a snapshot.
func IsKey(key string) bool {
	_, _, _, ok := parseKey(key)
	return ok
}

// List returns the snapshots in the bucket, the newest first.
func List(ctx context.Context, bucket objstore.Store) ([]Listed, error) {
	type parts struct {
		info       Info
		data, desc bool
		size       int64
	}
	var found []parts
	for obj, err := range bucket.List(ctx, Prefix) {
		if err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
		rev, epoch, suffix, ok := parseKey(obj.Key)
		if !ok {
			continue
		}
		if n := len(found); n == 0 || found[n-1].info.Revision != rev || found[n-1].info.Epoch != epoch { // keys come in order
			found = append(found, parts{info: Info{Revision: rev, Epoch: epoch}})
		}
		last := &found[len(found)-1]
		if suffix == dataSuffix {
			last.data, last.size = true, obj.Size
		} else {
			last.desc = true
		}
	}
	out := make([]Listed, 0, len(found))
	for i := range found {
		p := &found[i]
		l := Listed{Info: p.info}
		switch {
		case !p.desc:
			l.Size, l.Err = p.size, fmt.Errorf("%w: %w: %s is missing", ErrDamaged, ErrUnfinished, p.info.infoKey())
		case !p.data:
			l.Err = fmt.Errorf("%w: %s is missing", ErrDamaged, p.info.Key())
		default:
			info, err := describe(ctx, bucket, &p.info)
			if err != nil && objstore.Class(err) != nil && !errors.Is(err, objstore.ErrNotFound) {
				return nil, fmt.Errorf("list snapshots: %w", err)
			}
			if err == nil && info.Size != p.size {
				err = fmt.Errorf("%w: %s has %d bytes, not %d", ErrDamaged, info.Key(), p.size, info.Size)
			}
			if l.Err = err; info != nil {
				l.Info = *info
			}
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Listed) int {
		return cmp.Or(cmp.Compare(b.Revision, a.Revision), cmp.Compare(b.Epoch, a.Epoch))
	})
	return out, nil
}

// describe reads a snapshot's description.
func describe(ctx context.Context, bucket objstore.Store, name *Info) (*Info, error) {
	b, err := objstore.ReadAll(ctx, bucket, name.infoKey(), maxInfo)
	if err != nil {
		return nil, err
	}
	var doc struct {
		V int `json:"v"`
		Info
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name.infoKey(), ErrDamaged, err)
	}
	if doc.V != formatVersion {
		return nil, fmt.Errorf("%s: version %d: %w", name.infoKey(), doc.V, ErrVersion)
	}
	sum, err := hex.DecodeString(doc.SHA256)
	if err != nil || len(sum) != 32 || doc.Revision != name.Revision || doc.Epoch != name.Epoch || doc.Size <= 0 || doc.Cluster == uuid.Nil {
		return nil, fmt.Errorf("%s: it describes revision %d, epoch %d, %d bytes with sha256 %q: %w", name.infoKey(), doc.Revision, doc.Epoch, doc.Size, doc.SHA256, ErrDamaged)
	}
	return &doc.Info, nil
}

func encodeInfo(i *Info) ([]byte, error) {
	return json.Marshal(struct {
		V int `json:"v"`
		Info
	}{formatVersion, *i})
}
