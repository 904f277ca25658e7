package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/varvemq/varve/tiering/objstore"
)

// Fetch copies a snapshot from the bucket to dst, and checks it. What came is to be thrown away if it fails; [ErrDamaged] says that another one has to be taken.
func Fetch(ctx context.Context, bucket objstore.Store, info Info, dst io.Writer) error {
	r, err := bucket.Get(ctx, info.Key(), 0, info.Size+1)
	if err != nil {
		return fmt.Errorf("fetch snapshot %s: %w", info.Name(), err)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, h), r)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("fetch snapshot %s: %w", info.Name(), err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); n != info.Size || got != info.SHA256 {
		return fmt.Errorf("fetch snapshot %s: %w: %s in %s has %d bytes with sha256 %s, not %d with %s",
			info.Name(), ErrDamaged, info.Key(), bucket.URL(), n, got, info.Size, info.SHA256)
	}
	return nil
}
