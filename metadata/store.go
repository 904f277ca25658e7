package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/google/uuid"
)

// Store is the typed layer over a [KV]. Reads of topics, groups and shards come from snapshots.
type Store struct {
	kv      KV
	closeKV bool
	cfg     StoreConfig
	keys    keys
	log     *slog.Logger
	outage  outage

	topics *view[Topic]
	groups *view[Group]
	shards *view[Shard]

	topicSubs subscribers[TopicEvent]
	groupSubs subscribers[GroupEvent]
	shardSubs subscribers[ShardEvent]

	// alloc holds one token: allocations of ordinals by this process take turns instead of failing each other's comparisons.
	alloc chan struct{}
	// claims holds one token: claims, releases and revivals of leases take turns. It guards session, and is held during I/O.
	claims  chan struct{}
	session *session
	mu      sync.Mutex // guards owned
	owned   map[string]*Ownership

	stop      context.CancelFunc
	wg        sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// NewStore loads the snapshots and starts their watches. The KV stays the caller's and must outlive the store. ctx bounds the loading only.
func NewStore(ctx context.Context, kv KV, cfg StoreConfig) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Store{
		kv: kv, cfg: cfg, keys: newKeys(cfg.Cluster), log: cfg.Logger,
		alloc: make(chan struct{}, 1), claims: make(chan struct{}, 1), owned: map[string]*Ownership{},
	}
	s.outage.log = s.log
	s.topics = newView(kv, s.keys.topics(), s.log, s.keys.decodeTopic, func(name string, t *Topic, rev int64) {
		s.topicSubs.publish(TopicEvent{Name: name, Topic: t, Revision: rev})
	})
	s.groups = newView(kv, s.keys.groups(), s.log, s.keys.decodeGroup, func(name string, g *Group, rev int64) {
		s.groupSubs.publish(GroupEvent{Name: name, Group: g, Revision: rev})
	})
	s.shards = newView(kv, s.keys.shards(), s.log, s.keys.decodeShard, func(id string, sh *Shard, rev int64) {
		s.checkOwned(id, sh, rev)
		s.shardSubs.publish(ShardEvent{ID: id, Shard: sh, Revision: rev})
	})
	var revs [3]int64
	for i, load := range []func(context.Context) (int64, error){s.topics.load, s.groups.load, s.shards.load} {
		var err error
		if revs[i], err = load(ctx); err != nil {
			return nil, err
		}
	}
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.wg.Go(func() { s.topics.run(bg, revs[0]) }) // these three are waited for in Close
	s.wg.Go(func() { s.groups.run(bg, revs[1]) })
	s.wg.Go(func() { s.shards.run(bg, revs[2]) })
	return s, nil
}

// Open connects to an external etcd. An etcd that does not answer within DialTimeout gives an error that names the endpoints. [Store.Close] closes the
// connection.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	kv, err := DialEtcd(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := NewStore(ctx, kv, cfg.StoreConfig)
	if err != nil {
		return nil, errors.Join(err, kv.Close())
	}
	s.closeKV = true
	return s, nil
}

// Close ends the watches and keep-alives, waits for them, and closes the connection if [Open] made it. Ownerships that were not released stay in etcd
// until their lease ends; their Lost channels are closed.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.stop()
		s.wg.Wait()
		s.claims <- struct{}{}
		if s.session != nil {
			s.session.end()
			s.session = nil
		}
		<-s.claims
		s.mu.Lock()
		for _, o := range s.owned {
			o.markLost()
		}
		s.mu.Unlock()
		if s.closeKV {
			s.closeErr = s.kv.Close()
		}
	})
	return s.closeErr
}

// KV returns the seam below, for `varve metadata` and tests.
func (s *Store) KV() KV { return s.kv }

// Cluster returns the cluster's name.
func (s *Store) Cluster() string { return s.cfg.Cluster }

// Revision returns etcd's present revision.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	res, err := s.kv.Range(ctx, RangeRequest{Prefix: s.keys.clusterID(), Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("read revision: %w", err)
	}
	return res.Rev, nil
}

// clusterIDValue is the value of the key cluster-id.
type clusterIDValue struct {
	ID uuid.UUID `json:"id"`
}

// ClusterID returns the cluster's id, or [ErrNoClusterID].
func (s *Store) ClusterID(ctx context.Context) (uuid.UUID, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	return s.clusterID(ctx)
}

func (s *Store) clusterID(ctx context.Context) (uuid.UUID, error) {
	kv, err := s.kv.Get(ctx, s.keys.clusterID())
	if err != nil {
		return uuid.Nil, fmt.Errorf("read cluster id: %w", err)
	}
	if !kv.Exists() {
		return uuid.Nil, fmt.Errorf("cluster %s: %w", s.cfg.Cluster, ErrNoClusterID)
	}
	var v clusterIDValue
	if err := decode(kv, &v); err != nil {
		return uuid.Nil, err
	}
	if v.ID == uuid.Nil {
		return uuid.Nil, fmt.Errorf("decode %s: no id: %w", kv.Key, ErrCorrupt)
	}
	return v.ID, nil
}

// EnsureClusterID returns the cluster's id, after setting it to proposed if there was none. Of several processes that propose, one is heard.
func (s *Store) EnsureClusterID(ctx context.Context, proposed uuid.UUID) (uuid.UUID, error) {
	if proposed == uuid.Nil {
		return uuid.Nil, fmt.Errorf("%w: nil cluster id", ErrInvalid)
	}
	key := s.keys.clusterID()
	value, err := encode(key, clusterIDValue{ID: proposed})
	if err != nil {
		return uuid.Nil, err
	}
	var id uuid.UUID
	_, err = s.transact(ctx, "set cluster id", nil, func(ctx context.Context) (plan, bool, error) {
		id, err = s.clusterID(ctx)
		if !errors.Is(err, ErrNoClusterID) {
			return plan{}, true, err
		}
		id = proposed
		return plan{compares: []Compare{{Key: key}}, ops: []Op{Put(key, value)}}, false, nil
	})
	return id, err
}
