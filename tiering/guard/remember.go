package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/vfs"
)

// RememberedFile is the name of the file in the data directory.
const RememberedFile = "remembered"

const (
	formatVersion = 1
	// maxSmall bounds what is read where a small JSON document is expected.
	maxSmall = 64 << 10
)

// Remembered is what a data directory remembers of etcd: written at each acquisition and each commit.
type Remembered struct {
	Cluster uuid.UUID
	// Revision is the highest etcd revision seen.
	Revision int64
	// Shard and Epoch are the shard that this directory's log belongs to and the highest epoch it was acquired under.
	Shard string
	Epoch uint64
	// Claim is the shard's last claim that was granted to this directory, Next the one that was made after it and of which it is not known whether it was.
	Claim, Next string
}

// Claims returns the claims that the directory may have been granted.
func (r *Remembered) Claims() []string {
	var claims []string
	for _, c := range []string{r.Claim, r.Next} {
		if c != "" {
			claims = append(claims, c)
		}
	}
	return claims
}

// rememberedFile is the file's content. CRC is the crc32c of the document with a crc of 0.
type rememberedFile struct {
	V        int       `json:"v"`
	Cluster  uuid.UUID `json:"cluster"`
	Revision int64     `json:"etcd_revision"`
	Shard    string    `json:"shard"`
	Epoch    uint64    `json:"epoch"`
	Claim    string    `json:"claim,omitempty"`
	Next     string    `json:"next_claim,omitempty"`
	CRC      uint32    `json:"crc"`
}

func (f *rememberedFile) checksum() (uint32, error) {
	g := *f
	g.CRC = 0
	b, err := json.Marshal(&g)
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)), err
}

// Recall reads what was remembered in a data directory; nil if nothing ever was.
func Recall(fsys vfs.FS, dir string) (*Remembered, error) {
	name := filepath.Join(dir, RememberedFile)
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing is remembered
	}
	if err != nil {
		return nil, fmt.Errorf("recall etcd's revision: %w", err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxSmall))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("recall etcd's revision from %s: %w", name, err)
	}
	var r rememberedFile
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("recall etcd's revision from %s: %w: %w", name, ErrCorrupt, err)
	}
	if r.V != formatVersion {
		return nil, fmt.Errorf("recall etcd's revision from %s: version %d: %w", name, r.V, ErrVersion)
	}
	sum, err := r.checksum()
	if err != nil || sum != r.CRC || r.Cluster == uuid.Nil || r.Revision < 0 {
		return nil, fmt.Errorf("recall etcd's revision from %s: crc %08x, computed %08x: %w", name, r.CRC, sum, errors.Join(ErrCorrupt, err))
	}
	return &Remembered{Cluster: r.Cluster, Revision: r.Revision, Shard: r.Shard, Epoch: r.Epoch, Claim: r.Claim, Next: r.Next}, nil
}

// Remember writes r, durably and at once: under another name first. What is there already is not lowered: of revisions, and of epochs of the same shard, the highest is kept. Claims
// stay if r has none. A file of another cluster is an [ErrCluster].
func Remember(fsys vfs.FS, dir string, r Remembered) error {
	have, err := Recall(fsys, dir)
	if err != nil {
		return err
	}
	if have != nil {
		if have.Cluster != r.Cluster {
			return fmt.Errorf("remember etcd's revision: %w: %s is of cluster %s, not %s", ErrCluster, filepath.Join(dir, RememberedFile), have.Cluster, r.Cluster)
		}
		r.Revision = max(r.Revision, have.Revision)
		if have.Shard == r.Shard {
			r.Epoch = max(r.Epoch, have.Epoch)
		}
		if r.Claim == "" && r.Next == "" {
			r.Claim, r.Next = have.Claim, have.Next
		}
		if *have == r {
			return nil
		}
	}
	if err := write(fsys, dir, r); err != nil {
		return fmt.Errorf("remember etcd's revision: %w", err)
	}
	return nil
}

func write(fsys vfs.FS, dir string, r Remembered) error {
	doc := rememberedFile{V: formatVersion, Cluster: r.Cluster, Revision: r.Revision, Shard: r.Shard, Epoch: r.Epoch, Claim: r.Claim, Next: r.Next}
	var err error
	if doc.CRC, err = doc.checksum(); err != nil {
		return err
	}
	b, err := json.Marshal(&doc)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, RememberedFile)
	f, err := fsys.Create(name + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.WriteAt(append(b, '\n'), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".tmp", name); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
