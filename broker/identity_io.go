package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/tiering/objstore"
)

// maxIDSize bounds what is read where an id is expected.
const maxIDSize = 128

func parseID(where string, b []byte) (uuid.UUID, error) {
	id, err := uuid.Parse(strings.TrimSpace(string(b)))
	if err != nil {
		return uuid.Nil, fmt.Errorf("cluster id in %s: %w", where, err)
	}
	return id, nil
}

// readIDFile returns uuid.Nil if there is no file.
func readIDFile(fsys vfs.FS, name string) (uuid.UUID, error) {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return uuid.Nil, nil
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("read the cluster id: %w", err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxIDSize))
	if err = errors.Join(err, f.Close()); err != nil {
		return uuid.Nil, fmt.Errorf("read the cluster id in %s: %w", name, err)
	}
	return parseID(name, b)
}

// writeIDFile writes the file under another name first: one that is there is whole.
func writeIDFile(fsys vfs.FS, dir string, id uuid.UUID) error {
	name := filepath.Join(dir, clusterIDFile)
	f, err := fsys.Create(name + ".tmp")
	if err != nil {
		return fmt.Errorf("write the cluster id: %w", err)
	}
	_, err = f.WriteAt([]byte(id.String()+"\n"), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Rename(name+".tmp", name)
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write the cluster id to %s: %w", name, err)
	}
	return nil
}

// readIDObject returns uuid.Nil if there is no object.
func readIDObject(ctx context.Context, bucket objstore.Store) (uuid.UUID, error) {
	r, err := bucket.Get(ctx, clusterIDObject, 0, maxIDSize)
	if errors.Is(err, objstore.ErrNotFound) {
		return uuid.Nil, nil
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("read the cluster id: %w", err)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return uuid.Nil, fmt.Errorf("read the cluster id from %s: %w", bucket.URL(), err)
	}
	return parseID(bucket.URL(), b)
}

// writeIDObject writes the id into a bucket that holds nothing else: one with objects in it is somebody's.
func writeIDObject(ctx context.Context, bucket objstore.Store, id uuid.UUID) error {
	for info, err := range bucket.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list the object store: %w", err)
		}
		if info.Key != clusterIDObject {
			return fmt.Errorf("%w: %s has no cluster id but objects (%s): is this the right bucket?", ErrIdentity, bucket.URL(), info.Key)
		}
	}
	body := id.String() + "\n"
	err := bucket.Put(ctx, clusterIDObject, strings.NewReader(body), int64(len(body)), objstore.PutOptions{IfNoneMatch: true})
	if !errors.Is(err, objstore.ErrPrecondition) {
		return err
	}
	have, err := readIDObject(ctx, bucket) // somebody else's, or this very Put's that was repeated
	if err == nil && have != id {
		err = fmt.Errorf("%w: etcd has %s, %s has %s", ErrIdentity, id, bucket.URL(), have)
	}
	return err
}
