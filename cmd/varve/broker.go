package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/varvemq/varve/broker"
)

// startBroker runs a broker in this process until ctx ends and it has shut
// down. Once it listens it says so on standard output, which scripts wait for.
func startBroker(ctx context.Context, s streams, c serverConfig, log *slog.Logger) error {
	conf := brokerConfig(c)
	conf.Logger = log
	conf.BootID = bootID()
	conf.Version = readVersion().Version
	conf.OnReady = func(at broker.Addrs) {
		if err := writeReady(s.out, conf.Version, c, at); err != nil {
			log.Warn("nobody reads standard output", "error", err)
		}
	}
	return broker.Run(ctx, conf)
}

// brokerConfig is c as package broker takes it. Both agree on the defaults, so
// that a zero, which broker takes for its default, cannot mean anything else.
func brokerConfig(c serverConfig) broker.Config {
	return broker.Config{
		DataDir:        c.DataDir,
		ObjectStore:    c.ObjectStore,
		Etcd:           c.Etcd,
		AdvertiseHost:  c.AdvertiseHost,
		NamesrvListen:  c.NamesrvListen,
		BrokerListen:   c.BrokerListen,
		HTTPListen:     c.HTTPListen,
		Flush:          c.Flush,
		Cluster:        c.Cluster,
		ShardName:      c.ShardName,
		LeaseTTL:       c.LeaseTTL,
		WALLimit:       int64(c.WALLimit),
		WALHot:         int64(c.WALHot),
		TailCache:      int64(c.TailCache),
		MaxMessageSize: int64(c.MaxMessageSize),
		SealBytes:      int64(c.SealBytes),
		SealAge:        c.SealAge,
		ColdCache:      int64(c.ColdCache),
		ColdDisk:       int64(c.ColdDisk),
		HedgeAfter:     c.HedgeAfter,
		DeleteGrace:    c.DeleteGrace,
		TLSCert:        c.TLSCert,
		TLSKey:         c.TLSKey,
		TLSMode:        c.TLSMode,
		Pprof:          c.Pprof,
		AcceptTailLoss: c.AcceptTailLoss,
	}
}

// writeReady says where to connect. conformance/with-varve.sh reads it: a name
// and an address a line.
func writeReady(w io.Writer, version string, c serverConfig, at broker.Addrs) error {
	connect := dialable(at.Namesrv, c.AdvertiseHost)
	var b strings.Builder
	b.WriteString("varve " + version + " is ready, data in " + c.DataDir + "\n")
	b.WriteString("  namesrv  " + at.Namesrv + "\n")
	b.WriteString("  broker   " + at.Broker + "\n")
	b.WriteString("  http     http://" + at.HTTP + "\n")
	b.WriteString("Point RocketMQ clients at " + connect + ", or try:\n")
	b.WriteString("  echo hello | varve produce my-topic --server " + connect + "\n")
	b.WriteString("  varve consume my-topic --group my-group --from first --server " + connect + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// dialable is a listener's address with a host that can be dialled.
func dialable(listener, advertised string) string {
	host, port, err := net.SplitHostPort(listener)
	if err != nil {
		return listener
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = advertised
	}
	return net.JoinHostPort(host, port)
}
