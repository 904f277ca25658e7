package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// setting describes one key of the server's configuration: how it is called in
// the flags, the YAML file and (in capitals, with VARVE_ before it) in the
// environment, what it is for, and how it gets into a serverConfig.
type setting struct {
	key   string
	group string
	typ   string // what --help shows as its type; "" for a switch
	usage string
	unset string // what it means to be empty, if that is more than nothing
	parse func(c *serverConfig, value string) error
	show  func(c serverConfig) string
}

// Groups of settings, in the order of --help.
const (
	groupStorage = "Storage"
	groupNetwork = "Network"
	groupCluster = "Cluster"
	groupTLS     = "TLS"
	groupLogging = "Logging and diagnosis"
)

func settingGroups() []string {
	return []string{groupStorage, groupNetwork, groupCluster, groupTLS, groupLogging}
}

// env returns the name of the environment variable of s.
func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, "-", "_"))
}

// settings lists every key, in the order of --help and of --print-config.
func settings() []setting {
	return slices.Concat(storageSettings(), networkSettings(), clusterSettings(), tlsSettings(), loggingSettings())
}

func storageSettings() []setting {
	return inGroup(groupStorage, []setting{
		textSetting("data-dir", "DIR",
			"where the write-ahead log and the embedded etcd live; one process at a time",
			func(c *serverConfig) *string { return &c.DataDir }),
		textSetting("object-store", "URL",
			"where sealed segments go: a directory, s3://BUCKET/PREFIX or minio://HOST:PORT/BUCKET/PREFIX",
			func(c *serverConfig) *string { return &c.ObjectStore }).whenUnset("the directory objects under data-dir"),
		enumSetting("flush", []string{"sync", "async"},
			"what a send waits for: sync = fdatasync, survives a power cut; async = write, survives the process",
			func(c *serverConfig) *string { return &c.Flush }),
		sizeSetting("wal-limit",
			"bytes the write-ahead log may take; at the limit, sends are answered SYSTEM_BUSY",
			func(c *serverConfig) *byteSize { return &c.WALLimit }),
		sizeSetting("wal-hot",
			"bytes of already sealed log kept as a local cache for reads; at most wal-limit",
			func(c *serverConfig) *byteSize { return &c.WALHot }),
		sizeSetting("tail-cache",
			"bytes of memory for the newest messages of all queues",
			func(c *serverConfig) *byteSize { return &c.TailCache }),
		sizeSetting("max-message-size",
			"largest body of a message",
			func(c *serverConfig) *byteSize { return &c.MaxMessageSize }),
		sizeSetting("seal-bytes",
			"bytes of log that make a segment",
			func(c *serverConfig) *byteSize { return &c.SealBytes }),
		durationSetting("seal-age",
			"age at which the oldest message that is in no segment makes one, however small",
			func(c *serverConfig) *time.Duration { return &c.SealAge }),
		sizeSetting("cold-cache",
			"bytes of memory for blocks read from object storage",
			func(c *serverConfig) *byteSize { return &c.ColdCache }),
		sizeSetting("cold-disk",
			"bytes of disk, under data-dir, for blocks read from object storage; 0 for none",
			func(c *serverConfig) *byteSize { return &c.ColdDisk }),
		durationSetting("hedge-after",
			"ask object storage a second time when a read has not been answered for so long; 0 for never",
			func(c *serverConfig) *time.Duration { return &c.HedgeAfter }),
		durationSetting("delete-grace",
			"how long objects are kept that nothing refers to any more; longer than the distance of two backups of etcd",
			func(c *serverConfig) *time.Duration { return &c.DeleteGrace }),
	})
}

func networkSettings() []setting {
	return inGroup(groupNetwork, []setting{
		textSetting("advertise-host", "HOST",
			"the name or address by which clients reach this broker; set it for clients on other machines",
			func(c *serverConfig) *string { return &c.AdvertiseHost }),
		textSetting("namesrv-listen", "HOST:PORT",
			"where the name server listens: what clients are configured with",
			func(c *serverConfig) *string { return &c.NamesrvListen }),
		textSetting("broker-listen", "HOST:PORT",
			"where the broker's first shard listens",
			func(c *serverConfig) *string { return &c.BrokerListen }),
		textSetting("http-listen", "HOST:PORT",
			"where /metrics, /healthz and /readyz are served",
			func(c *serverConfig) *string { return &c.HTTPListen }),
	})
}

func clusterSettings() []setting {
	return inGroup(groupCluster, []setting{
		listSetting("etcd",
			"endpoints of an etcd cluster, comma-separated",
			func(c *serverConfig) *[]string { return &c.Etcd }).whenUnset("embedded in this process, under data-dir"),
		textSetting("cluster", "NAME",
			"RocketMQ's cluster name",
			func(c *serverConfig) *string { return &c.Cluster }),
		textSetting("shard-name", "NAME",
			"name of the first shard: RocketMQ's brokerName, part of every queue's identity; do not change it",
			func(c *serverConfig) *string { return &c.ShardName }),
		durationSetting("lease-ttl",
			"how long this broker may serve while etcd is away, and how long a takeover waits",
			func(c *serverConfig) *time.Duration { return &c.LeaseTTL }),
		textSetting("accept-tail-loss", "SHARD|all",
			"start although the log with a shard's newest messages is gone; its queues go on at higher offsets",
			func(c *serverConfig) *string { return &c.AcceptTailLoss }),
	})
}

func tlsSettings() []setting {
	return inGroup(groupTLS, []setting{
		enumSetting("tls-mode", []string{"disabled", "permissive", "enforcing"},
			"whether the ports take plain text, both, or TLS only",
			func(c *serverConfig) *string { return &c.TLSMode }),
		textSetting("tls-cert", "FILE",
			"certificate, PEM",
			func(c *serverConfig) *string { return &c.TLSCert }).whenUnset("self-signed, made at start: for development"),
		textSetting("tls-key", "FILE",
			"its private key, PEM",
			func(c *serverConfig) *string { return &c.TLSKey }),
	})
}

func loggingSettings() []setting {
	return inGroup(groupLogging, []setting{
		enumSetting("log-level", []string{"debug", "info", "warn", "error"},
			"least level that is logged, to standard error",
			func(c *serverConfig) *string { return &c.LogLevel }),
		enumSetting("log-format", []string{"text", "json"},
			"how log lines look",
			func(c *serverConfig) *string { return &c.LogFormat }),
		switchSetting("pprof",
			"serve /debug/pprof on http-listen as well",
			func(c *serverConfig) *bool { return &c.Pprof }),
	})
}

// whenUnset says what the setting means while it is empty.
func (s setting) whenUnset(meaning string) setting {
	s.unset = meaning
	s.usage += " (default: " + meaning + ")"
	return s
}

func inGroup(name string, list []setting) []setting {
	for i := range list {
		list[i].group = name
	}
	return list
}

func textSetting(key, typ, usage string, at func(*serverConfig) *string) setting {
	return setting{
		key: key, typ: typ, usage: usage,
		parse: func(c *serverConfig, v string) error { *at(c) = v; return nil },
		show:  func(c serverConfig) string { return *at(&c) },
	}
}

func enumSetting(key string, words []string, usage string, at func(*serverConfig) *string) setting {
	s := textSetting(key, strings.Join(words, "|"), usage, at)
	s.parse = func(c *serverConfig, v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("%q is none of %s", v, strings.Join(words, ", "))
		}
		*at(c) = v
		return nil
	}
	return s
}

func listSetting(key, usage string, at func(*serverConfig) *[]string) setting {
	return setting{
		key: key, typ: "URLS", usage: usage,
		parse: func(c *serverConfig, v string) error {
			*at(c) = nil
			for item := range strings.SplitSeq(v, ",") {
				if item = strings.TrimSpace(item); item != "" {
					*at(c) = append(*at(c), item)
				}
			}
			return nil
		},
		show: func(c serverConfig) string { return strings.Join(*at(&c), ",") },
	}
}

func sizeSetting(key, usage string, at func(*serverConfig) *byteSize) setting {
	return setting{
		key: key, typ: "BYTES", usage: usage,
		parse: func(c *serverConfig, v string) error {
			size, err := parseByteSize(v)
			if err == nil {
				*at(c) = size
			}
			return err
		},
		show: func(c serverConfig) string { return at(&c).String() },
	}
}

func durationSetting(key, usage string, at func(*serverConfig) *time.Duration) setting {
	return setting{
		key: key, typ: "DURATION", usage: usage,
		parse: func(c *serverConfig, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil {
				return fmt.Errorf("%q is no duration such as 30s or 2m", v)
			}
			*at(c) = d
			return nil
		},
		show: func(c serverConfig) string { return at(&c).String() },
	}
}

func switchSetting(key, usage string, at func(*serverConfig) *bool) setting {
	return setting{
		key: key, usage: usage,
		parse: func(c *serverConfig, v string) error {
			switch v {
			case "true":
				*at(c) = true
			case "false":
				*at(c) = false
			default:
				return fmt.Errorf("%q is neither true nor false", v)
			}
			return nil
		},
		show: func(c serverConfig) string { return fmt.Sprint(*at(&c)) },
	}
}
