package metadata

import (
	"context"
	"fmt"
)

// BindWAL names the owner's WAL, from position 0 on, as the one that sealing goes on in, and returns the head. The caller answers for it that the WAL has
// everything from the committed LSN on: it is new, or nothing of the shard was ever sealed. A head that names it already stays as it is.
// From then on no other WAL can be taken for the one that holds what is not sealed.
func (o *Ownership) BindWAL(ctx context.Context) (SealHead, error) {
	k, wal := o.s.keys, o.rec.WALUUID
	var next SealHead
	res, err := o.change(ctx, "bind the WAL", []string{k.head(o.rec.ID)}, func(kvs []KeyValue) ([]Op, bool, error) {
		var err error
		if next, err = k.decodeHead(o.rec.ID, kvs[0]); err != nil || next.WALUUID == wal {
			return nil, err == nil, err
		}
		next.WALUUID, next.Position, next.PositionLost = wal, 0, false
		ops, err := addPut(nil, kvs[0].Key, &next)
		return ops, false, err
	})
	if err != nil {
		return SealHead{}, fmt.Errorf("wal %s: %w", wal, err)
	}
	if res.Succeeded {
		next.Revision = res.Rev
	}
	return next, nil
}
