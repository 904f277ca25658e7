package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/internal/vfs"
)

// startBroker runs a broker in this process.
func startBroker(ctx context.Context, s streams, c serverConfig, log *slog.Logger) error {
	cfg := brokerConfig(c)
	cfg.Logger, cfg.Version, cfg.BootID = log, version, bootID()
	cfg.OnReady = func(a broker.Addrs) {
		_, _ = fmt.Fprintf(s.out, "varve is ready\n  clients (name server)  %s\n  broker %-16s %s\n  metrics and health     http://%s\n", a.Namesrv, c.ShardName, a.Broker, a.HTTP)
	}
	return broker.Run(ctx, cfg)
}

// bootID names the machine's present run. With the file system that simulates power cuts there is none: a process's end is then the machine's.
func bootID() string {
	if vfs.Mode != "os" {
		return ""
	}
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// brokerConfig maps the settings of the command line to those of the broker.
func brokerConfig(c serverConfig) broker.Config {
	return broker.Config{
		DataDir: c.DataDir, ObjectStore: c.ObjectStore, Etcd: c.Etcd,
		AdvertiseHost: c.AdvertiseHost, NamesrvListen: c.NamesrvListen, BrokerListen: c.BrokerListen, HTTPListen: c.HTTPListen,
		Flush: c.Flush, Cluster: c.Cluster, ShardName: c.ShardName, LeaseTTL: c.LeaseTTL,
		WALLimit: int64(c.WALLimit), WALHot: int64(c.WALHot), TailCache: int64(c.TailCache), MaxMessageSize: int64(c.MaxMessageSize),
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, TLSMode: c.TLSMode, Pprof: c.Pprof, AcceptTailLoss: c.AcceptTailLoss,
	}
}
