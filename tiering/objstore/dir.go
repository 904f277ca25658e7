package objstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os" //nolint:depguard // an object store is not part of the crash model of internal/vfs; its own suite covers it
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Dir is a [Store] in a directory. An object is a file, written under a temporary name, fsynced, and put in its place by rename(2), or by link(2) if it must not
// replace another; then its directory, and each directory made for it, is fsynced. Several processes may use one
// directory.
//
// A key may not be a directory of another: with an object "a" there can be no "a/b". Temporary files that a crash left are named ".tmp-*" and are never
// listed; they may be removed when no writer runs.
type Dir struct {
	root string
	// made are the directories that are known to be durable with those above them. That one exists is no sign of it: another process may just have made it.
	made sync.Map
}

const tempPrefix = ".tmp-"

// OpenDir opens a directory as a store, and makes it if need be.
func OpenDir(root string) (*Dir, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, opError("open", "file://"+root, "", fmt.Errorf("%w: %w", ErrFatal, err))
	}
	d := &Dir{root: root}
	if err := d.makeDirs(root); err != nil {
		return nil, d.fault("open", "", fmt.Errorf("%w: %w", classifyLocal(err), err))
	}
	return d, nil
}

// fault names the operation and gives the error a class.
func (d *Dir) fault(op, key string, err error) error {
	if Class(err) == nil {
		class := classifyLocal(err)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR) && op != "put":
			class = ErrNotFound
		case errors.Is(err, fs.ErrExist):
			class = ErrPrecondition
		}
		err = fmt.Errorf("%w: %w", class, err)
	}
	return opError(op, d.URL(), key, err)
}

func (d *Dir) path(key string) string { return filepath.Join(d.root, filepath.FromSlash(key)) }

// makeDirs makes a directory and those above it, and fsyncs the parent of each one, once.
func (d *Dir) makeDirs(dir string) error {
	if _, ok := d.made.Load(dir); ok {
		return nil
	}
	if err := d.makeDir(dir); err != nil {
		return err
	}
	d.made.Store(dir, nil)
	return nil
}

func (d *Dir) makeDir(dir string) error {
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return fmt.Errorf("%s: %w", dir, syscall.ENOTDIR)
	} else if err == nil && !strings.HasPrefix(dir, d.root+string(filepath.Separator)) {
		return nil // the root was there, and what is above it is not ours
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := d.makeDirs(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Put implements [Store].
func (d *Dir) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts PutOptions) error {
	err := checkPut(key, r, size)
	if err == nil {
		err = alive(ctx)
	}
	if err != nil {
		return d.fault("put", key, err)
	}
	path := d.path(key)
	if opts.IfNoneMatch {
		if _, err := os.Lstat(path); err == nil { // link(2) decides; this spares the writing
			return d.fault("put", key, ErrPrecondition)
		}
	}
	if err := d.makeDirs(filepath.Dir(path)); err != nil {
		return d.fault("put", key, fmt.Errorf("%w: %w", classifyLocal(err), err))
	}
	temp := filepath.Join(filepath.Dir(path), tempPrefix+rand.Text())
	err = writeFile(ctx, temp, r, size)
	if err == nil && opts.IfNoneMatch {
		if err = os.Link(temp, path); err == nil {
			err = os.Remove(temp)
		}
	} else if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	} else {
		_ = os.Remove(temp) // it may be gone; a leftover is harmless
	}
	if errors.Is(err, fs.ErrNotExist) {
		d.made.Clear() // the directory was removed under our hands
		err = fmt.Errorf("%w: %w", ErrTransient, err)
	}
	if err != nil {
		return d.fault("put", key, err)
	}
	return nil
}

// writeFile writes and fsyncs a new file.
func writeFile(ctx context.Context, path string, r io.Reader, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640) //nolint:gosec // the key was validated
	if err != nil {
		return err
	}
	n, err := io.Copy(f, &ctxReader{ctx: ctx, r: io.LimitReader(r, size+1)})
	if err == nil && n != size {
		err = invalid("the reader does not have %d bytes", size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ctxReader ends when its context does.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // io.Reader has no context of its own
	r   io.Reader
}

// Read implements io.Reader.
func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Get implements [Store].
func (d *Dir) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	err := checkGet(key, off)
	if err == nil {
		err = alive(ctx)
	}
	if err != nil {
		return nil, d.fault("get", key, err)
	}
	f, err := os.Open(d.path(key))
	if err != nil {
		return nil, d.fault("get", key, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = ErrNotFound
	}
	if err != nil {
		return nil, errors.Join(d.fault("get", key, err), f.Close())
	}
	left := max(st.Size()-off, 0)
	if n < 0 || n > left {
		n = left
	}
	rc := struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, off, n), f}
	return classReader{rc, func(err error) error { return d.fault("read", key, err) }}, nil
}

// Head implements [Store].
func (d *Dir) Head(ctx context.Context, key string) (Info, error) {
	err := checkGet(key, 0)
	if err == nil {
		err = alive(ctx)
	}
	if err != nil {
		return Info{}, d.fault("head", key, err)
	}
	st, err := os.Lstat(d.path(key))
	if err == nil && !st.Mode().IsRegular() {
		err = ErrNotFound
	}
	if err != nil {
		return Info{}, d.fault("head", key, err)
	}
	return Info{Key: key, Size: st.Size(), Modified: st.ModTime()}, nil
}

// List implements [Store].
func (d *Dir) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		dir := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			dir = prefix[:i]
		}
		if strings.Contains("/"+dir+"/", "/../") {
			yield(Info{}, d.fault("list", prefix, invalid("prefix")))
			return
		}
		_, err := d.walk(ctx, dir, prefix, func(i Info) bool { return yield(i, nil) })
		if err != nil {
			yield(Info{}, d.fault("list", prefix, err))
		}
	}
}

// walk visits the objects below a directory in order of key, and reports whether to go on.
func (d *Dir) walk(ctx context.Context, dir, prefix string, visit func(Info) bool) (bool, error) {
	if err := alive(ctx); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(d.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // a directory that is gone holds nothing
	}
	if err != nil {
		return false, err
	}
	for _, name := range keyOrder(entries) {
		key := name
		if dir != "" {
			key = dir + "/" + name
		}
		sub, isDir := strings.CutSuffix(key, "/")
		if !strings.HasPrefix(key, prefix) && !strings.HasPrefix(prefix, key) {
			continue
		}
		if isDir {
			if more, err := d.walk(ctx, sub, prefix, visit); err != nil || !more {
				return more, err
			}
			continue
		}
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		st, err := os.Lstat(d.path(key))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return false, err
		}
		if st.Mode().IsRegular() && !visit(Info{Key: key, Size: st.Size(), Modified: st.ModTime()}) {
			return false, nil
		}
	}
	return true, nil
}

// Delete implements [Store]. Directories that become empty stay: a writer may be about to use them.
func (d *Dir) Delete(ctx context.Context, keys ...string) error {
	dirs := map[string]struct{}{}
	for _, key := range keys {
		err := ValidateKey(key)
		if err == nil {
			err = alive(ctx)
		}
		if err != nil {
			return d.fault("delete", key, err)
		}
		st, err := os.Lstat(d.path(key))
		if err == nil && !st.Mode().IsRegular() {
			continue // a directory of other keys: there is no such object
		}
		if err == nil {
			err = os.Remove(d.path(key))
		}
		switch {
		case err == nil:
			dirs[filepath.Dir(d.path(key))] = struct{}{}
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return d.fault("delete", key, err)
		}
	}
	for dir := range dirs {
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.fault("delete", "", err)
		}
	}
	return nil
}

// Check implements [Store].
func (d *Dir) Check(ctx context.Context) error { return CheckStore(ctx, d) }

// URL implements [Store].
func (d *Dir) URL() string { return "file://" + d.root }

// Close implements [Store].
func (*Dir) Close() error { return nil }
