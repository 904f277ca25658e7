package metadata

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory is a [KV] in memory with etcd's semantics, for tests. Several stores may share one.
type Memory struct {
	mu sync.Mutex // guards all below
	// rev is the present revision; an empty store is at 1, as etcd is.
	rev       int64
	compacted int64
	versions  map[string][]memoryVersion // by key, ascending
	sorted    []string                   // the keys of versions, ascending
	log       []WatchBatch               // log[i] is revision logFrom+i
	logFrom   int64
	leases    map[LeaseID]*memoryLease
	lastLease LeaseID
	changed   chan struct{} // closed and replaced at each change
	closed    chan struct{}
}

type memoryVersion struct {
	rev     int64
	value   []byte
	lease   LeaseID
	deleted bool
}

type memoryLease struct {
	ttl   time.Duration
	timer *time.Timer
	keys  map[string]struct{}
	until time.Time
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{
		rev: 1, logFrom: 2,
		versions: map[string][]memoryVersion{}, leases: map[LeaseID]*memoryLease{},
		changed: make(chan struct{}), closed: make(chan struct{}),
	}
}

// usableLocked reports why no call can be served.
func (m *Memory) usableLocked(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	select {
	case <-m.closed:
		return ErrClosed
	default:
		return nil
	}
}

func (m *Memory) atLocked(key string, rev int64) KeyValue {
	vs := m.versions[key]
	for _, v := range slices.Backward(vs) {
		if v.rev <= rev {
			if v.deleted {
				break
			}
			return KeyValue{Key: key, Value: bytes.Clone(v.value), ModRev: v.rev, Lease: v.lease}
		}
	}
	return KeyValue{Key: key}
}

// Get implements [KV].
func (m *Memory) Get(ctx context.Context, key string) (KeyValue, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usableLocked(ctx); err != nil {
		return KeyValue{}, err
	}
	return m.atLocked(key, m.rev), nil
}

// Range implements [KV].
func (m *Memory) Range(ctx context.Context, r RangeRequest) (RangeResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usableLocked(ctx); err != nil {
		return RangeResult{}, err
	}
	rev := m.rev
	if r.Rev != 0 {
		rev = r.Rev
	}
	if rev < m.compacted {
		return RangeResult{}, fmt.Errorf("range at %d: %w", rev, ErrCompacted)
	}
	if rev > m.rev {
		return RangeResult{}, fmt.Errorf("range at future revision %d: %w", rev, ErrInvalid)
	}
	res := RangeResult{Rev: m.rev}
	i, _ := slices.BinarySearch(m.sorted, max(r.Prefix, r.After))
	for ; i < len(m.sorted) && (m.sorted[i] <= r.After || strings.HasPrefix(m.sorted[i], r.Prefix)); i++ {
		if m.sorted[i] <= r.After {
			continue
		}
		kv := m.atLocked(m.sorted[i], rev)
		if !kv.Exists() {
			continue
		}
		if r.Limit > 0 && len(res.KVs) == r.Limit {
			res.More = true
			break
		}
		res.KVs = append(res.KVs, kv)
	}
	return res, nil
}

// Txn implements [KV].
func (m *Memory) Txn(ctx context.Context, compares []Compare, ops []Op) (TxnResult, error) {
	if err := checkTxn(compares, ops); err != nil {
		return TxnResult{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usableLocked(ctx); err != nil {
		return TxnResult{}, err
	}
	for _, c := range compares {
		if m.atLocked(c.Key, m.rev).ModRev != c.ModRev {
			res := TxnResult{Rev: m.rev}
			for _, c := range compares {
				res.Current = append(res.Current, m.atLocked(c.Key, m.rev))
			}
			return res, nil
		}
	}
	for _, op := range ops {
		if _, ok := m.leases[op.Lease]; op.Lease != 0 && !ok {
			return TxnResult{}, fmt.Errorf("put %s: %w", op.Key, ErrLeaseNotFound)
		}
	}
	var events []Event
	for _, op := range ops {
		switch op.Kind {
		case OpPut:
			events = append(events, m.putLocked(op))
		case OpDelete:
			events = m.deleteLocked(events, op.Key)
		case OpDeletePrefix:
			i, _ := slices.BinarySearch(m.sorted, op.Key)
			for ; i < len(m.sorted) && strings.HasPrefix(m.sorted[i], op.Key); i++ {
				events = m.deleteLocked(events, m.sorted[i])
			}
		}
	}
	m.commitLocked(events)
	return TxnResult{Succeeded: true, Rev: m.rev}, nil
}

// putLocked writes a key at the next revision.
func (m *Memory) putLocked(op Op) Event {
	m.detachLocked(op.Key)
	v := memoryVersion{rev: m.rev + 1, value: bytes.Clone(op.Value), lease: op.Lease}
	if _, ok := m.versions[op.Key]; !ok {
		i, _ := slices.BinarySearch(m.sorted, op.Key)
		m.sorted = slices.Insert(m.sorted, i, op.Key)
	}
	m.versions[op.Key] = append(m.versions[op.Key], v)
	if op.Lease != 0 {
		m.leases[op.Lease].keys[op.Key] = struct{}{}
	}
	return Event{KV: KeyValue{Key: op.Key, Value: bytes.Clone(op.Value), ModRev: v.rev, Lease: op.Lease}}
}

// deleteLocked deletes a key, if it exists, at the next revision.
func (m *Memory) deleteLocked(events []Event, key string) []Event {
	if !m.atLocked(key, m.rev).Exists() {
		return events
	}
	m.detachLocked(key)
	m.versions[key] = append(m.versions[key], memoryVersion{rev: m.rev + 1, deleted: true})
	return append(events, Event{KV: KeyValue{Key: key, ModRev: m.rev + 1}, Deleted: true})
}

func (m *Memory) detachLocked(key string) {
	if kv := m.atLocked(key, m.rev); kv.Lease != 0 {
		delete(m.leases[kv.Lease].keys, key)
	}
}

// commitLocked ends the revision that events belong to, if there are any.
func (m *Memory) commitLocked(events []Event) {
	if len(events) == 0 {
		return
	}
	m.rev++
	m.log = append(m.log, WatchBatch{Events: events, Rev: m.rev})
	close(m.changed)
	m.changed = make(chan struct{})
}

// Compact forgets the history before rev, as etcd's compaction does.
func (m *Memory) Compact(rev int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rev = min(rev, m.rev)
	if rev <= m.compacted {
		return
	}
	m.compacted = rev
	if n := rev - m.logFrom; n > 0 {
		m.log, m.logFrom = slices.Clone(m.log[n:]), rev
	}
	m.sorted = slices.DeleteFunc(m.sorted, func(key string) bool {
		vs := m.versions[key]
		for len(vs) > 1 && vs[1].rev <= rev {
			vs = vs[1:]
		}
		if len(vs) == 1 && vs[0].deleted && vs[0].rev <= rev {
			delete(m.versions, key)
			return true
		}
		m.versions[key] = slices.Clone(vs)
		return false
	})
}

// Watch implements [KV].
func (m *Memory) Watch(ctx context.Context, prefix string, fromRev int64) <-chan WatchBatch {
	out := make(chan WatchBatch)
	if fromRev == 0 {
		m.mu.Lock()
		fromRev = m.rev + 1
		m.mu.Unlock()
	}
	go func() { // ends with ctx or Close; the reader sees the end as the closed channel
		defer close(out)
		for rev := fromRev; ; {
			m.mu.Lock()
			compacted, changed := rev < m.compacted, m.changed
			var batches []WatchBatch
			if i := rev - m.logFrom; !compacted && i < int64(len(m.log)) {
				batches = m.log[max(i, 0):]
				rev = m.rev + 1
			}
			m.mu.Unlock()
			if compacted {
				batches = []WatchBatch{{Err: fmt.Errorf("watch %s from %d: %w", prefix, rev, ErrCompacted)}}
			}
			for _, b := range batches {
				if b = b.only(prefix); b.Err == nil && len(b.Events) == 0 {
					continue
				}
				select {
				case out <- b:
				case <-ctx.Done():
					return
				case <-m.closed:
					return
				}
			}
			if compacted {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-m.closed:
				return
			}
		}
	}()
	return out
}

// only returns the batch with the events of a prefix.
func (b WatchBatch) only(prefix string) WatchBatch {
	events := b.Events
	b.Events = nil
	for _, e := range events {
		if strings.HasPrefix(e.KV.Key, prefix) {
			e.KV.Value = bytes.Clone(e.KV.Value)
			b.Events = append(b.Events, e)
		}
	}
	return b
}

// Grant implements [KV].
func (m *Memory) Grant(ctx context.Context, ttl time.Duration) (LeaseID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usableLocked(ctx); err != nil {
		return 0, err
	}
	m.lastLease++
	id := m.lastLease
	l := &memoryLease{ttl: ttl, keys: map[string]struct{}{}, until: time.Now().Add(ttl)}
	l.timer = time.AfterFunc(ttl, func() { m.expire(id) })
	m.leases[id] = l
	return id, nil
}

// expire ends a lease whose time has come; a keep-alive may have come in between.
func (m *Memory) expire(id LeaseID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.leases[id]
	if !ok {
		return
	}
	if left := time.Until(l.until); left > 0 {
		l.timer.Reset(left)
		return
	}
	m.endLeaseLocked(id)
}

func (m *Memory) endLeaseLocked(id LeaseID) {
	l := m.leases[id]
	l.timer.Stop()
	ks := make([]string, 0, len(l.keys))
	for k := range l.keys {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	var events []Event
	for _, k := range ks {
		events = m.deleteLocked(events, k)
	}
	m.commitLocked(events)
	delete(m.leases, id)
}

// KeepAlive implements [KV].
func (m *Memory) KeepAlive(ctx context.Context, id LeaseID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usableLocked(ctx); err != nil {
		return err
	}
	l, ok := m.leases[id]
	if !ok {
		return fmt.Errorf("keep lease %d alive: %w", id, ErrLeaseNotFound)
	}
	l.until = time.Now().Add(l.ttl)
	return nil
}

// Revoke implements [KV].
func (m *Memory) Revoke(ctx context.Context, id LeaseID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usableLocked(ctx); err != nil {
		return err
	}
	if _, ok := m.leases[id]; ok {
		m.endLeaseLocked(id)
	}
	return nil
}

// Close implements [KV].
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closed:
		return nil
	default:
	}
	close(m.closed)
	for _, l := range m.leases {
		l.timer.Stop()
	}
	return nil
}

// checkTxn reports a transaction that the format forbids.
func checkTxn(compares []Compare, ops []Op) error {
	if len(ops) > MaxTxnOps || len(compares) > MaxTxnOps+1 {
		return fmt.Errorf("transaction of %d compares and %d operations: %w", len(compares), len(ops), ErrTooLarge)
	}
	total := 0
	for _, op := range ops {
		if len(op.Value) > MaxValueBytes {
			return fmt.Errorf("put %s: %d bytes: %w", op.Key, len(op.Value), ErrTooLarge)
		}
		if op.Kind < OpPut || op.Kind > OpDeletePrefix || op.Key == "" {
			return fmt.Errorf("operation %d on key %q: %w", op.Kind, op.Key, ErrInvalid)
		}
		total += len(op.Value)
	}
	if total > MaxTxnBytes {
		return fmt.Errorf("transaction of %d bytes: %w", total, ErrTooLarge)
	}
	return nil
}
