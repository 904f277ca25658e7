package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// etcdKV is a [KV] on an etcd client.
type etcdKV struct {
	c     *clientv3.Client
	close func() error
	stop  context.CancelFunc // ends all watches
	done  <-chan struct{}
	wg    sync.WaitGroup
}

func newEtcdKV(ctx context.Context, c *clientv3.Client, closeClient func() error) *etcdKV {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	return &etcdKV{c: c, close: closeClient, stop: stop, done: ctx.Done()}
}

// DialEtcd connects to an external etcd and waits for its first answer, no longer than DialTimeout. An etcd that does not answer gives an error that
// wraps [ErrUnavailable] and names the endpoints.
func DialEtcd(ctx context.Context, cfg Config) (KV, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	timeout := cfg.DialTimeout
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	where := strings.Join(cfg.Endpoints, ", ")
	c, err := clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, Username: cfg.Username, Password: cfg.Password, TLS: cfg.TLS,
		DialTimeout: timeout, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		Context: context.WithoutCancel(ctx), Logger: zapBridge(cfg.Logger, true),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: timeout,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", where, etcdError(err))
	}
	kv := newEtcdKV(ctx, c, c.Close)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := kv.Get(ctx, KeyRoot); err != nil {
		return nil, errors.Join(fmt.Errorf("etcd at %s does not answer within %v: %w", where, timeout, err), kv.Close())
	}
	return kv, nil
}

// etcdError classifies an error of the client. What is not known to be final may have been applied: [ErrUnavailable].
func etcdError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("%w: %w", ErrCompacted, err)
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return fmt.Errorf("%w: %w", ErrLeaseNotFound, err)
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, rpctypes.ErrDuplicateKey), errors.Is(err, rpctypes.ErrEmptyKey), errors.Is(err, rpctypes.ErrFutureRev),
		errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrUserEmpty):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

func fromEtcd(kv *mvccpb.KeyValue) KeyValue {
	return KeyValue{Key: string(kv.Key), Value: kv.Value, ModRev: kv.ModRevision, Lease: LeaseID(kv.Lease)}
}

// Get implements [KV].
func (e *etcdKV) Get(ctx context.Context, key string) (KeyValue, error) {
	resp, err := e.c.Get(ctx, key)
	if err != nil {
		return KeyValue{}, etcdError(err)
	}
	if len(resp.Kvs) == 0 {
		return KeyValue{Key: key}, nil
	}
	return fromEtcd(resp.Kvs[0]), nil
}

// Range implements [KV].
func (e *etcdKV) Range(ctx context.Context, r RangeRequest) (RangeResult, error) {
	from := r.Prefix
	if r.After >= from {
		from = r.After + "\x00"
	}
	end := clientv3.GetPrefixRangeEnd(r.Prefix)
	if from >= end && end != "\x00" {
		from = end // nothing is left: ask for an empty range, to learn the revision
	}
	resp, err := e.c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(int64(r.Limit)), clientv3.WithRev(r.Rev),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
	if err != nil {
		return RangeResult{}, etcdError(err)
	}
	res := RangeResult{Rev: resp.Header.Revision, More: resp.More, KVs: make([]KeyValue, len(resp.Kvs))}
	for i, kv := range resp.Kvs {
		res.KVs[i] = fromEtcd(kv)
	}
	return res, nil
}

// Txn implements [KV].
func (e *etcdKV) Txn(ctx context.Context, compares []Compare, ops []Op) (TxnResult, error) {
	if err := checkTxn(compares, ops); err != nil {
		return TxnResult{}, err
	}
	cmps, gets := make([]clientv3.Cmp, len(compares)), make([]clientv3.Op, len(compares))
	for i, c := range compares {
		cmps[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.ModRev)
		gets[i] = clientv3.OpGet(c.Key)
	}
	then := make([]clientv3.Op, len(ops))
	for i, op := range ops {
		switch op.Kind {
		case OpPut:
			then[i] = clientv3.OpPut(op.Key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease)))
		case OpDelete:
			then[i] = clientv3.OpDelete(op.Key)
		case OpDeletePrefix:
			then[i] = clientv3.OpDelete(op.Key, clientv3.WithPrefix())
		}
	}
	resp, err := e.c.Txn(ctx).If(cmps...).Then(then...).Else(gets...).Commit()
	if err != nil {
		return TxnResult{}, etcdError(err)
	}
	res := TxnResult{Succeeded: resp.Succeeded, Rev: resp.Header.Revision}
	if !resp.Succeeded {
		res.Current = make([]KeyValue, len(compares))
		for i, r := range resp.Responses {
			res.Current[i] = KeyValue{Key: compares[i].Key}
			if kvs := r.GetResponseRange().Kvs; len(kvs) > 0 {
				res.Current[i] = fromEtcd(kvs[0])
			}
		}
	}
	return res, nil
}

// Watch implements [KV].
func (e *etcdKV) Watch(ctx context.Context, prefix string, fromRev int64) <-chan WatchBatch {
	out := make(chan WatchBatch)
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	e.wg.Go(func() { // waited for in Close
		defer close(out)
		defer cancel()
		in := e.c.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(fromRev))
		for {
			var b WatchBatch
			select {
			case resp, ok := <-in:
				b = batchOf(prefix, resp, ok)
			case <-e.done:
				return
			}
			if ctx.Err() != nil {
				return
			}
			if b.Err == nil && len(b.Events) == 0 {
				continue
			}
			select {
			case out <- b:
			case <-ctx.Done():
				return
			case <-e.done:
				return
			}
			if b.Err != nil {
				return
			}
		}
	})
	return out
}

// batchOf converts a response; a closed channel is an end of the watch that nobody asked for.
func batchOf(prefix string, resp clientv3.WatchResponse, ok bool) WatchBatch {
	switch {
	case !ok:
		return WatchBatch{Err: fmt.Errorf("watch %s: ended: %w", prefix, ErrUnavailable)}
	case resp.CompactRevision != 0:
		return WatchBatch{Err: fmt.Errorf("watch %s: compacted up to %d: %w", prefix, resp.CompactRevision, ErrCompacted)}
	case resp.Err() != nil:
		return WatchBatch{Err: fmt.Errorf("watch %s: %w", prefix, etcdError(resp.Err()))}
	}
	b := WatchBatch{Events: make([]Event, len(resp.Events))}
	for i, ev := range resp.Events {
		b.Events[i] = Event{KV: fromEtcd(ev.Kv), Deleted: ev.Type == mvccpb.DELETE}
		b.Rev = max(b.Rev, ev.Kv.ModRevision)
	}
	return b
}

// Grant implements [KV]. etcd counts in whole seconds and raises what is below its minimum.
func (e *etcdKV) Grant(ctx context.Context, ttl time.Duration) (LeaseID, error) {
	resp, err := e.c.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, etcdError(err)
	}
	return LeaseID(resp.ID), nil
}

// KeepAlive implements [KV].
func (e *etcdKV) KeepAlive(ctx context.Context, id LeaseID) error {
	_, err := e.c.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	return etcdError(err)
}

// Revoke implements [KV].
func (e *etcdKV) Revoke(ctx context.Context, id LeaseID) error {
	_, err := e.c.Revoke(ctx, clientv3.LeaseID(id))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return etcdError(err)
}

// Close implements [KV].
func (e *etcdKV) Close() error {
	e.stop()
	e.wg.Wait()
	if err := e.close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd client: %w", err)
	}
	return nil
}

// zapBridge returns a zap logger that hands warnings and errors to slog, a client's at debug level.
func zapBridge(l *slog.Logger, client bool) *zap.Logger {
	if l == nil {
		return zap.NewNop()
	}
	return zap.New(zapCore{l: l, debug: client})
}
