package broker_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
)

// refused starts a broker that must refuse, soon, and with words that help.
func refused(t *testing.T, cfg broker.Config, want ...string) error {
	t.Helper()
	began := time.Now()
	b, err := brokertest.TryStart(t, cfg)
	if err == nil {
		_ = b.Stop()
		t.Fatal("the broker started")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the refusal took %v", took)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in: %v", w, err)
		}
	}
	return err
}

// TestUnreachable: without etcd or the object store a broker refuses to start, says which of them is not there, and leaves the directory unlocked. (Guarantee 10.)
func TestUnreachable(t *testing.T) {
	t.Parallel()
	nobody := closedPort(t)
	for name, tt := range map[string]struct {
		cfg  broker.Config
		want []string
	}{
		"etcd":           {broker.Config{Etcd: []string{"http://" + nobody}}, []string{"etcd", nobody}},
		"s3":             {broker.Config{ObjectStore: "s3://bucket/prefix?region=us-east-1&endpoint=http://" + nobody}, []string{"object store", "s3://bucket", nobody}},
		"minio":          {broker.Config{ObjectStore: "minio://" + nobody + "/bucket?secure=false"}, []string{"object store", "minio://" + nobody}},
		"no such scheme": {broker.Config{ObjectStore: "gopher://bucket"}, []string{"object store", "gopher"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.DataDir = t.TempDir()
			_ = refused(t, tt.cfg, tt.want...)
			b := brokertest.Start(t, broker.Config{DataDir: tt.cfg.DataDir}) // nothing is left behind that hinders
			if err := b.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDirectoryInUse: two brokers never share a data directory. (Guarantee 10.)
func TestDirectoryInUse(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, broker.Config{})
	_ = refused(t, broker.Config{DataDir: b.Dir}, b.Dir, "in use by another process")
	if code, _ := get(t, b.Addrs, "/readyz"); code != 200 {
		t.Errorf("the first broker: readyz is %d", code)
	}
}

// TestPortInUse: the message names the setting.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	taken := l.Addr().String()
	for key, cfg := range map[string]broker.Config{
		"namesrv-listen": {NamesrvListen: taken},
		"broker-listen":  {BrokerListen: taken},
		"http-listen":    {HTTPListen: taken},
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			_ = refused(t, cfg, key, taken, "in use")
		})
	}
}

// TestFaults: all faults of a configuration are reported at once.
func TestFaults(t *testing.T) {
	t.Parallel()
	_ = refused(t, broker.Config{
		NamesrvListen: "nowhere", Flush: "sometimes", ShardName: "a b", TLSMode: "perhaps", TLSCert: "x", TailCache: 5, LeaseTTL: time.Millisecond, WALLimit: 1,
		MaxMessageSize: 100 << 20,
	}, "namesrv-listen", "flush", "shard-name", "tls-mode", "tls-cert", "tail-cache", "lease-ttl", "wal-limit", "max-message-size")
}

// TestIdentity: parts of different clusters are not joined, and the refusal names all three ids.
func TestIdentity(t *testing.T) {
	t.Parallel()
	etcd, other := brokertest.StartEtcd(t), brokertest.StartEtcd(t)
	bucket := t.TempDir()
	first := brokertest.Start(t, broker.Config{Etcd: []string{etcd.URL}, ObjectStore: bucket, LeaseTTL: 2 * time.Second})
	must(t, first.Stop())
	second := brokertest.Start(t, broker.Config{Etcd: []string{other.URL}, ObjectStore: t.TempDir(), ShardName: "other"})
	foreign := brokertest.Start(t, broker.Config{ShardName: "foreign"})
	must(t, foreign.Stop())
	id := readID(t, first.Dir)

	for name, tt := range map[string]struct {
		cfg  broker.Config
		want []string
	}{
		"other etcd":        {broker.Config{DataDir: first.Dir, Etcd: []string{other.URL}, ObjectStore: bucket}, []string{id, readID(t, second.Dir), "etcd", "object store", "data directory"}},
		"other bucket":      {broker.Config{DataDir: copyID(t, first.Dir), Etcd: []string{etcd.URL}, ObjectStore: filepath.Join(foreign.Dir, "objects")}, []string{id, readID(t, foreign.Dir)}},
		"empty etcd":        {broker.Config{DataDir: copyID(t, first.Dir), Etcd: []string{brokertest.StartEtcd(t).URL}, ObjectStore: bucket}, []string{id, "etcd has none"}},
		"empty etcd, dir":   {broker.Config{DataDir: copyID(t, first.Dir), ObjectStore: t.TempDir()}, []string{id, "etcd has none"}},
		"other directory":   {broker.Config{DataDir: copyID(t, foreign.Dir), Etcd: []string{etcd.URL}, ObjectStore: bucket}, []string{id, readID(t, foreign.Dir)}},
		"somebody's bucket": {broker.Config{DataDir: copyID(t, first.Dir), Etcd: []string{etcd.URL}, ObjectStore: bucketWith(t, "holiday.jpg")}, []string{"holiday.jpg"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := refused(t, tt.cfg, tt.want...); !errors.Is(err, broker.ErrIdentity) {
				t.Errorf("not ErrIdentity: %v", err)
			}
		})
	}
	again := brokertest.Start(t, broker.Config{DataDir: first.Dir, Etcd: []string{etcd.URL}, ObjectStore: bucket})
	if got := readID(t, again.Dir); got != id {
		t.Errorf("the id is %s now, was %s", got, id)
	}
}

func readID(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "cluster-id"))
	must(t, err)
	return strings.TrimSpace(string(b))
}

// copyID makes a data directory that belongs to the same cluster.
func copyID(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.WriteFile(filepath.Join(to, "cluster-id"), []byte(readID(t, dir)+"\n"), 0o600))
	return to
}

func bucketWith(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	return dir
}
