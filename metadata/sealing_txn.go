package metadata

import (
	"context"
	"fmt"
)

// readTogether reads keys at one revision: by a transaction whose comparisons never hold, which is answered with the state of every key compared.
func (s *Store) readTogether(ctx context.Context, names []string) ([]KeyValue, error) {
	never := make([]Compare, len(names))
	for i, key := range names {
		never[i] = Compare{Key: key, ModRev: -1}
	}
	res, err := s.kv.Txn(ctx, never, nil)
	if err != nil {
		return nil, err
	}
	return res.Current, nil
}

// change reads keys together and, until it is decided, makes the transaction that decide computes from them. It compares the fence and every key as
// read. decide returns done when nothing is left to do: in particular when an attempt whose outcome was unknown, of this call or of an earlier one with
// the same arguments, was applied. Since the fence is read together with the keys, what decide calls a conflict is one within this epoch; if the fence
// has fallen, all but the success of an attempt of this very call is [ErrFenced].
func (o *Ownership) change(ctx context.Context, what string, names []string, decide func([]KeyValue) (ops []Op, done bool, err error)) (TxnResult, error) {
	what = fmt.Sprintf("%s of shard %s", what, o.rec.ID)
	fence := o.fence()
	all := append([]string{fence.Key}, names...)
	tried := false
	return o.s.transact(ctx, what, o, func(ctx context.Context) (plan, bool, error) {
		kvs, err := o.s.readTogether(ctx, all)
		if err != nil {
			return plan{}, false, err
		}
		ops, done, err := decide(kvs[1:])
		if fenced := kvs[0].ModRev != fence.ModRev; fenced && (err != nil || !done || !tried) {
			o.markLost()
			return plan{}, false, fmt.Errorf("epoch %d: %w", o.rec.Epoch, ErrFenced)
		}
		if err != nil || done {
			return plan{}, done, err
		}
		tried = true
		p := plan{ops: ops}
		for _, kv := range kvs[1:] {
			p.compares = append(p.compares, Compare{Key: kv.Key, ModRev: kv.ModRev})
		}
		return p, false, nil
	})
}

// addPut appends the operation that writes a record.
func addPut(ops []Op, key string, record any) ([]Op, error) {
	value, err := encode(key, record)
	if err != nil {
		return nil, err
	}
	return append(ops, Put(key, value)), nil
}

// SettleLosses notes that the queues were moved beyond the first n of the shard's lost tails. It never lowers the number.
func (o *Ownership) SettleLosses(ctx context.Context, n uint32) error {
	if n > o.rec.Losses {
		return fmt.Errorf("settle %d losses of shard %s, which has had %d: %w", n, o.rec.ID, o.rec.Losses, ErrInvalid)
	}
	k := o.s.keys
	_, err := o.change(ctx, fmt.Sprintf("settle %d losses", n), []string{k.head(o.rec.ID)}, func(kvs []KeyValue) ([]Op, bool, error) {
		head, err := k.decodeHead(o.rec.ID, kvs[0])
		if err != nil || head.SettledLosses >= n {
			return nil, err == nil, err
		}
		head.SettledLosses = n
		ops, err := addPut(nil, kvs[0].Key, &head)
		return ops, false, err
	})
	return err
}

// conflict makes the error of a commit that does not fit what is there.
func conflict(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrConflict, fmt.Sprintf(format, args...))
}
