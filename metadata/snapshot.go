package metadata

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Snapshot writes a copy of the whole database to w, as etcd's tools take it: a consistent state, and its sha256 at the end. It returns a revision that the copy has at least. w is
// written to in pieces, in order; what it has got when Snapshot fails is nothing. The database can grow meanwhile, but frees no space.
func (e *Embedded) Snapshot(ctx context.Context, w io.Writer) (revision int64, err error) {
	res, err := e.kv.Range(ctx, RangeRequest{Prefix: KeyRoot, Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("snapshot of the embedded etcd: %w", err)
	}
	snap := e.etcd.Server.Backend().Snapshot() // commits what is applied before
	h := sha256.New()
	_, err = snap.WriteTo(io.MultiWriter(ctxWriter{ctx, w}, h))
	if err == nil {
		_, err = w.Write(h.Sum(nil))
	}
	if err = errors.Join(err, snap.Close()); err != nil {
		return 0, fmt.Errorf("snapshot of the embedded etcd: %w", err)
	}
	return res.Rev, nil
}

// ctxWriter is a writer that fails when a context ends.
type ctxWriter struct {
	ctx context.Context //nolint:containedctx // it lives as long as the call that makes it
	w   io.Writer
}

func (w ctxWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}
