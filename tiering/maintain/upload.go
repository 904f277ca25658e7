package maintain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// putSegment uploads an output. If there is an object of its name, it must be the same.
func (m *Maintainer) putSegment(ctx context.Context, o *output) error {
	key := catalog.ObjectKey(m.cfg.Shard, o.upload.Epoch, o.upload.Object, metadata.KindSegment)
	size := o.summary.Size
	err := m.cfg.Bucket.Put(ctx, key, io.NewSectionReader(o.file, 0, size), size, objstore.PutOptions{IfNoneMatch: true})
	if !errors.Is(err, objstore.ErrPrecondition) {
		return err
	}
	info, err := m.cfg.Bucket.Head(ctx, key)
	if err != nil {
		return err
	}
	if info.Size != size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", ErrForeign, key, info.Size, size)
	}
	// The footer's crc stands for every byte.
	src := &object{bucket: m.cfg.Bucket, key: key, size: size}
	_, err = segment.Open(ctx, src, size, segment.Expect{Identity: &o.identity, FooterCRC: o.summary.Footer.CRC})
	if err != nil && !retriable(err) {
		return fmt.Errorf("%w: %s: %w", ErrForeign, key, err)
	}
	return err
}

// putBytes uploads a root or a page. If there is an object of its name, it must be the same.
func (m *Maintainer) putBytes(ctx context.Context, u metadata.Upload, b []byte) error {
	key := catalog.ObjectKey(m.cfg.Shard, u.Epoch, u.Object, u.Kind)
	err := objstore.PutBytes(ctx, m.cfg.Bucket, key, b, objstore.PutOptions{IfNoneMatch: true})
	if !errors.Is(err, objstore.ErrPrecondition) {
		return err
	}
	have, err := objstore.ReadAll(ctx, m.cfg.Bucket, key, int64(len(b)))
	if err != nil && retriable(err) {
		return err
	}
	if err != nil || !bytes.Equal(have, b) {
		return fmt.Errorf("%w: %s", ErrForeign, key)
	}
	return nil
}
