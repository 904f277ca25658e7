package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
)

// Addrs are the addresses that a broker listens on, with the ports that the system chose.
type Addrs struct {
	Namesrv, Broker, HTTP string
}

// Config configures [Run]. Zero values of sizes and times mean default.
type Config struct {
	DataDir       string
	ObjectStore   string   // URL; empty: a directory under DataDir
	Etcd          []string // endpoints; empty: an etcd in this process
	AdvertiseHost string   // what clients dial; 127.0.0.1
	NamesrvListen string
	BrokerListen  string
	HTTPListen    string
	Flush         string // sync or async
	Cluster       string // RocketMQ's cluster name
	ShardName     string // RocketMQ's brokerName

	LeaseTTL       time.Duration
	WALLimit       int64 // bytes of the write-ahead log on disk
	WALHot         int64 // of it kept for reading once sealed
	TailCache      int64 // bytes of the newest messages in memory
	MaxMessageSize int64

	SealBytes   int64         // of log that make a segment
	SealAge     time.Duration // after which the oldest unsealed message makes one
	ColdCache   int64         // bytes of decoded blocks in memory
	ColdDisk    int64         // bytes of fetched blocks on disk; 0: none
	HedgeAfter  time.Duration // after which a read of object storage is asked for twice; 0: never
	DeleteGrace time.Duration // how long objects that nothing refers to are kept

	TLSCert, TLSKey string
	TLSMode         string // disabled, permissive or enforcing
	Pprof           bool   // serve /debug/pprof
	AcceptTailLoss  string // a shard's name, or "all"

	Logger  *slog.Logger
	Version string
	OnReady func(Addrs) // called once, when everything listens

	FS     vfs.FS // nil: the build's
	BootID string // names the machine's present run, so that a start can tell the end of a process from that of the machine; empty: unknown
}

func (c Config) withDefaults() Config {
	def(&c.AdvertiseHost, "127.0.0.1")
	def(&c.NamesrvListen, "127.0.0.1:9876")
	def(&c.BrokerListen, "127.0.0.1:10911")
	def(&c.HTTPListen, "127.0.0.1:8080")
	def(&c.Flush, "sync")
	def(&c.Cluster, "DefaultCluster")
	def(&c.ShardName, "varve-a")
	def(&c.LeaseTTL, 30*time.Second)
	def(&c.WALLimit, 10<<30)
	def(&c.WALHot, 4<<30)
	def(&c.TailCache, 256<<20)
	def(&c.MaxMessageSize, 4<<20)
	def(&c.SealBytes, 64<<20)
	def(&c.SealAge, time.Minute)
	def(&c.ColdCache, 48<<20)
	def(&c.DeleteGrace, time.Hour)
	def(&c.TLSMode, "permissive")
	def(&c.Logger, slog.New(slog.DiscardHandler))
	if c.FS == nil {
		c.FS = vfs.Default()
	}
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.DataDir == "" {
		fault("data-dir: is empty")
	}
	for _, l := range []struct{ key, addr string }{{"namesrv-listen", c.NamesrvListen}, {"broker-listen", c.BrokerListen}, {"http-listen", c.HTTPListen}} {
		if _, _, err := net.SplitHostPort(l.addr); err != nil {
			fault("%s: %w", l.key, err)
		}
	}
	if c.Flush != "sync" && c.Flush != "async" {
		fault("flush: %q is neither sync nor async", c.Flush)
	}
	if err := message.ValidateTopic(c.ShardName); err != nil {
		fault("shard-name: %w", err)
	}
	if err := message.ValidateTopic(c.Cluster); err != nil {
		fault("cluster: %w", err)
	}
	if c.TLSMode != "disabled" && c.TLSMode != "permissive" && c.TLSMode != "enforcing" {
		fault("tls-mode: %q is neither disabled nor permissive nor enforcing", c.TLSMode)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		fault("tls-cert, tls-key: one is set without the other")
	}
	for _, n := range []struct {
		key       string
		size, low int64
	}{
		{"wal-limit", c.WALLimit, 16 << 20},
		{"wal-hot", c.WALHot, 0},
		{"tail-cache", c.TailCache, 1 << 20},
		{"max-message-size", c.MaxMessageSize, 1 << 10},
		{"seal-bytes", c.SealBytes, 1 << 10},
		{"cold-cache", c.ColdCache, 1 << 20},
		{"cold-disk", c.ColdDisk, 0},
	} {
		if n.size < n.low {
			fault("%s: %d is below %d", n.key, n.size, n.low)
		}
	}
	if c.MaxMessageSize > c.WALLimit/walMessages || c.MaxMessageSize > 7<<20 {
		fault("max-message-size: %d is over 7 MiB (a frame of the protocol has at most 16 MiB) or a sixteenth of wal-limit", c.MaxMessageSize)
	}
	if c.WALLimit > maxWALLimit {
		fault("wal-limit: %d is over %d (%d GiB)", c.WALLimit, int64(maxWALLimit), int64(maxWALLimit>>30))
	}
	for _, d := range []struct {
		key       string
		time, low time.Duration
	}{{"seal-age", c.SealAge, 100 * time.Millisecond}, {"hedge-after", c.HedgeAfter, 0}, {"delete-grace", c.DeleteGrace, time.Second}} {
		if d.time < d.low {
			fault("%s: %s is below %s", d.key, d.time, d.low)
		}
	}
	if c.LeaseTTL < 2*time.Second {
		fault("lease-ttl: %s is below 2s", c.LeaseTTL)
	}
	return errors.Join(errs...)
}

// The write-ahead log has at least 16 of the largest messages: it has at least four files, and a record takes up to three eighths of one.
const walMessages = 16

// walFileSize is the size of the log's files, for which the log's own default is too small if the limit is low and messages are large; zero is that default.
func (c Config) walFileSize() int64 {
	const recordRest = 96 << 10 // properties, at most 32 KiB, and what surrounds messages in a record
	need := (c.MaxMessageSize + recordRest) * 8 / 3
	if need <= c.WALLimit/16 {
		return 0
	}
	return min(need, c.WALLimit/4)
}

// advertised resolves the address that stands in routes and in message ids.
func (c Config) advertised(listen net.Addr) (netip.AddrPort, error) {
	bound, err := netip.ParseAddrPort(listen.String())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listener %s: %w", listen, err)
	}
	if addr, err := netip.ParseAddr(c.AdvertiseHost); err == nil {
		return netip.AddrPortFrom(addr.Unmap(), bound.Port()), nil
	}
	resolved, err := net.ResolveIPAddr("ip", c.AdvertiseHost)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("advertise-host: %w", err)
	}
	addr, ok := netip.AddrFromSlice(resolved.IP)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("advertise-host: %s resolves to no address", c.AdvertiseHost)
	}
	return netip.AddrPortFrom(addr.Unmap(), bound.Port()), nil
}
