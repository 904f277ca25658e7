package metadata

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// StoreConfig configures a [Store] over any [KV]. The zero value of a field means its default.
type StoreConfig struct {
	// Cluster is RocketMQ's cluster name, a part of every key. Default: "DefaultCluster".
	Cluster string
	// RequestTimeout bounds one operation with its repetitions. Default: 10 s.
	RequestTimeout time.Duration
	// Clock reads a clock that counts the time the machine slept. Default: [BootClock].
	Clock func() time.Duration
	// Now reads the wall clock, for times that are recorded and decide nothing. Default: time.Now.
	Now func() time.Time
	// Logger receives the store's log lines. Default: none.
	Logger *slog.Logger
}

// Config configures [Open]: a store on an external etcd.
type Config struct {
	// Endpoints are etcd's client URLs or host:port addresses.
	Endpoints []string
	// DialTimeout bounds the wait for etcd's first answer. Default: 5 s.
	DialTimeout time.Duration
	// Username and Password authenticate to etcd, if set.
	Username, Password string
	// TLS secures the connection, if set.
	TLS *tls.Config

	StoreConfig
}

// EmbedConfig configures [OpenEmbedded].
type EmbedConfig struct {
	// Dir is etcd's data directory. The caller holds the lock of the data directory above it: a second etcd on the same directory would hang.
	Dir string
	// QuotaBytes bounds the size of the backend. Default: 8 GiB.
	QuotaBytes int64
	// Tick and Election are raft's intervals. Default: 10 ms and 100 ms.
	Tick, Election time.Duration
	// CompactRevisions is how many revisions compaction keeps. Default: 1,000.
	CompactRevisions int64
	// StartTimeout bounds the wait for readiness. Default: 60 s.
	StartTimeout time.Duration
	// Listen is the client URL to listen on besides the process itself, such as "http://127.0.0.1:2379". Default: a unix socket in a private directory.
	Listen string
	// UnsafeNoFsync trades safety for speed. Tests only.
	UnsafeNoFsync bool
	// Logger receives etcd's warnings and errors. Default: none.
	Logger *slog.Logger
}

func (c StoreConfig) withDefaults() StoreConfig {
	if c.Cluster == "" {
		c.Cluster = "DefaultCluster"
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 10 * time.Second
	}
	if c.Clock == nil {
		c.Clock = BootClock
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c StoreConfig) faults() []string {
	var faults []string
	if c.Cluster != "" {
		if err := ValidateName(c.Cluster); err != nil {
			faults = append(faults, "cluster: "+err.Error())
		}
	}
	if c.RequestTimeout < 0 {
		faults = append(faults, fmt.Sprintf("request_timeout: %v is negative", c.RequestTimeout))
	}
	return faults
}

// Validate reports all faults at once, wrapping [ErrInvalid].
func (c StoreConfig) Validate() error { return joinFaults("metadata", c.faults()) }

// Validate reports all faults at once, wrapping [ErrInvalid].
func (c Config) Validate() error {
	faults := c.faults()
	if len(c.Endpoints) == 0 {
		faults = append(faults, "endpoints: none given")
	}
	for _, e := range c.Endpoints {
		if strings.TrimSpace(e) == "" {
			faults = append(faults, "endpoints: an empty one")
		}
	}
	if c.DialTimeout < 0 {
		faults = append(faults, fmt.Sprintf("dial_timeout: %v is negative", c.DialTimeout))
	}
	return joinFaults("metadata", faults)
}

func (c EmbedConfig) withDefaults() EmbedConfig {
	if c.QuotaBytes == 0 {
		c.QuotaBytes = 8 << 30
	}
	if c.Tick == 0 {
		c.Tick = 10 * time.Millisecond
	}
	if c.Election == 0 {
		c.Election = 100 * time.Millisecond
	}
	if c.CompactRevisions == 0 {
		c.CompactRevisions = 1_000
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports all faults at once, wrapping [ErrInvalid].
func (c EmbedConfig) Validate() error {
	var faults []string
	if c.Dir == "" {
		faults = append(faults, "dir: empty")
	}
	if c.QuotaBytes < 0 {
		faults = append(faults, fmt.Sprintf("quota_bytes: %d is negative", c.QuotaBytes))
	}
	if c.CompactRevisions < 0 {
		faults = append(faults, fmt.Sprintf("compact_revisions: %d is negative", c.CompactRevisions))
	}
	for _, d := range []struct {
		key string
		d   time.Duration
	}{{"tick", c.Tick}, {"election", c.Election}, {"start_timeout", c.StartTimeout}} {
		if d.d < 0 {
			faults = append(faults, fmt.Sprintf("%s: %v is negative", d.key, d.d))
		}
	}
	return joinFaults("embedded etcd", faults)
}
