package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"sync"
)

// offsetFile keeps the progress of a broadcasting consumer. A nil one, or one
// without a name, keeps nothing on disk.
type offsetFile struct {
	name string
	mu   sync.Mutex
	// All are guarded by mu.
	offsets map[string]int64
	dirty   bool
}

func newOffsetFile(name string) *offsetFile {
	return &offsetFile{name: name, offsets: make(map[string]int64)}
}

func offsetKey(topic string, q Queue) string { return fmt.Sprintf("%s@%s@%d", topic, q.Broker, q.ID) }

func (f *offsetFile) load() error {
	if f == nil || f.name == "" {
		return nil
	}
	b, err := os.ReadFile(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := json.Unmarshal(b, &f.offsets); err != nil {
		return fmt.Errorf("progress in %s: %w", f.name, err)
	}
	return nil
}

// save replaces the file, if anything has changed.
func (f *offsetFile) save() error {
	if f == nil || f.name == "" {
		return nil
	}
	f.mu.Lock()
	offsets, dirty := maps.Clone(f.offsets), f.dirty
	f.dirty = false
	f.mu.Unlock()
	if !dirty {
		return nil
	}
	b, err := json.Marshal(offsets)
	if err == nil {
		tmp := f.name + ".tmp"
		if err = writeSynced(tmp, b); err == nil {
			err = os.Rename(tmp, f.name)
		}
	}
	if err != nil {
		f.mu.Lock()
		f.dirty = true
		f.mu.Unlock()
	}
	return err
}

func writeSynced(name string, b []byte) error {
	w, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return errors.Join(err, w.Sync(), w.Close())
}

func (f *offsetFile) get(topic string, q Queue) (int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.offsets[offsetKey(topic, q)]
	return n, ok
}

func (f *offsetFile) set(topic string, q Queue, offset int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offsets[offsetKey(topic, q)] = offset
	f.dirty = true
}
