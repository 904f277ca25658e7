package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// serverConfig is the configuration of `varve server`. Its fields are what
// settings() lists, under the same names.
type serverConfig struct {
	DataDir        string
	ObjectStore    string // "" means the directory objects under DataDir
	Flush          string
	WALLimit       byteSize
	WALHot         byteSize
	TailCache      byteSize
	MaxMessageSize byteSize

	SealBytes   byteSize
	SealAge     time.Duration
	ColdCache   byteSize
	ColdDisk    byteSize
	HedgeAfter  time.Duration
	DeleteGrace time.Duration

	AdvertiseHost string
	NamesrvListen string
	BrokerListen  string
	HTTPListen    string

	Etcd           []string // empty means embedded
	Cluster        string
	ShardName      string
	LeaseTTL       time.Duration
	AcceptTailLoss string

	TLSMode string
	TLSCert string
	TLSKey  string

	LogLevel  string
	LogFormat string
	Pprof     bool
}

func defaultConfig() serverConfig {
	return serverConfig{
		DataDir:        "./varve-data",
		Flush:          "sync",
		WALLimit:       10 * gib,
		WALHot:         4 * gib,
		TailCache:      256 * mib,
		MaxMessageSize: 4 * mib,
		SealBytes:      64 * mib,
		SealAge:        time.Minute,
		ColdCache:      48 * mib,
		DeleteGrace:    time.Hour,
		AdvertiseHost:  "127.0.0.1",
		NamesrvListen:  "127.0.0.1:9876",
		BrokerListen:   "127.0.0.1:10911",
		HTTPListen:     "127.0.0.1:8080",
		Cluster:        "DefaultCluster",
		ShardName:      "varve-a",
		LeaseTTL:       30 * time.Second,
		TLSMode:        "permissive",
		LogLevel:       "info",
		LogFormat:      "text",
	}
}

// Bounds that hold whatever the machine.
const (
	maxNameLength    = 127 // of a topic, a cluster, a brokerName
	leastLease       = 2 * time.Second
	mostLease        = time.Hour
	leastWALLimit    = 16 * mib
	leastTailCache   = mib
	leastMessageSize = kib
	leastSealBytes   = kib
	mostSealBytes    = gib
	leastColdCache   = mib
	leastSealAge     = 100 * time.Millisecond
	leastGrace       = time.Second
	mostMessageSize  = 7 * mib // a frame of the protocol has at most 16 MiB
	messagesPerWAL   = 16      // so many of the largest must fit into the log
)

// rocketName is the charset RocketMQ's clients take for the names they are
// told, less the '%' and '|' that mean something in group names.
var rocketName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Validate returns every fault of the values, in the order of --help; the
// error is a *configError. It does not touch the disk, certificates apart.
func (c serverConfig) Validate() error {
	var f configError
	c.validateStorage(&f)
	c.validateNetwork(&f)
	c.validateCluster(&f)
	c.validateTLS(&f)
	return f.orNil()
}

func (c serverConfig) validateStorage(f *configError) {
	if c.DataDir == "" {
		f.add("data-dir", "must not be empty")
	}
	if err := checkObjectStore(c.ObjectStore); err != nil {
		f.add("object-store", "%w", err)
	}
	for _, size := range []struct {
		key          string
		value, least byteSize
	}{
		{"wal-limit", c.WALLimit, leastWALLimit},
		{"wal-hot", c.WALHot, 1},
		{"tail-cache", c.TailCache, leastTailCache},
		{"max-message-size", c.MaxMessageSize, leastMessageSize},
		{"seal-bytes", c.SealBytes, leastSealBytes},
		{"cold-cache", c.ColdCache, leastColdCache},
	} {
		if size.value < size.least {
			f.add(size.key, "%v is less than %v", size.value, size.least)
		}
	}
	if c.WALHot > c.WALLimit {
		f.add("wal-hot", "%v is more than wal-limit, %v", c.WALHot, c.WALLimit)
	}
	if c.SealBytes > mostSealBytes {
		f.add("seal-bytes", "%v is more than %v", c.SealBytes, mostSealBytes)
	}
	for _, d := range []struct {
		key          string
		value, least time.Duration
	}{{"seal-age", c.SealAge, leastSealAge}, {"hedge-after", c.HedgeAfter, 0}, {"delete-grace", c.DeleteGrace, leastGrace}} {
		if d.value < d.least {
			f.add(d.key, "%v is less than %v", d.value, d.least)
		}
	}
	switch {
	case c.MaxMessageSize > mostMessageSize:
		f.add("max-message-size", "%v is more than %v", c.MaxMessageSize, mostMessageSize)
	case c.MaxMessageSize > c.WALLimit/messagesPerWAL && c.WALLimit >= leastWALLimit:
		f.add("max-message-size", "%v is more than a sixteenth of wal-limit, %v", c.MaxMessageSize, c.WALLimit)
	}
}

// checkObjectStore takes "", a path, and the URLs of object stores.
func checkObjectStore(s string) error {
	if !strings.Contains(s, "://") {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("%q is no URL", s)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return fmt.Errorf("%q has no absolute path: write file:///DIR", s)
		}
	case "s3", "minio":
		if u.Host == "" {
			return fmt.Errorf("%q names no bucket: write %s://BUCKET/PREFIX", s, u.Scheme)
		}
	default:
		return fmt.Errorf("%q: %s is none of file, s3, minio", s, u.Scheme)
	}
	return nil
}

func (c serverConfig) validateNetwork(f *configError) {
	if err := checkHost(c.AdvertiseHost); err != nil {
		f.add("advertise-host", "%w", err)
	}
	taken := map[string]string{}
	for _, listen := range []struct{ key, value string }{
		{"namesrv-listen", c.NamesrvListen},
		{"broker-listen", c.BrokerListen},
		{"http-listen", c.HTTPListen},
	} {
		port, err := checkHostPort(listen.value)
		if err != nil {
			f.add(listen.key, "%w", err)
			continue
		}
		if other, ok := taken[listen.value]; ok && port != 0 {
			f.add(listen.key, "%s is taken by %s", listen.value, other)
		}
		taken[listen.value] = listen.key
	}
}

// checkHost takes what a client on another machine could dial.
func checkHost(host string) error {
	if host == "" {
		return fmt.Errorf("must not be empty")
	}
	if ip := net.ParseIP(host); ip != nil {
		if ip.IsUnspecified() {
			return fmt.Errorf("%s is an address to listen on, not one that clients can dial", host)
		}
		return nil
	}
	if strings.ContainsAny(host, ":/ \t;,") {
		return fmt.Errorf("%q is no host name or IP address (without port)", host)
	}
	return nil
}

func checkHostPort(s string) (port int, err error) {
	_, text, err := net.SplitHostPort(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no HOST:PORT", s)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return 0, fmt.Errorf("%q has no port between 0 and 65535", s)
	}
	return port, nil
}

func (c serverConfig) validateCluster(f *configError) {
	for _, endpoint := range c.Etcd {
		if err := checkEndpoint(endpoint); err != nil {
			f.add("etcd", "%w", err)
		}
	}
	for _, name := range []struct{ key, value string }{
		{"cluster", c.Cluster},
		{"shard-name", c.ShardName},
	} {
		if err := checkName(name.value); err != nil {
			f.add(name.key, "%w", err)
		}
	}
	if c.LeaseTTL < leastLease || c.LeaseTTL > mostLease {
		f.add("lease-ttl", "%v is not between %v and %v", c.LeaseTTL, leastLease, mostLease)
	} else if c.LeaseTTL%time.Second != 0 {
		f.add("lease-ttl", "%v is no whole number of seconds", c.LeaseTTL)
	}
	if c.AcceptTailLoss != "" {
		if err := checkName(c.AcceptTailLoss); err != nil {
			f.add("accept-tail-loss", "%w", err)
		}
	}
}

func checkEndpoint(s string) error {
	hostPort := s
	if strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("%q is no endpoint such as http://10.0.0.1:2379", s)
		}
		hostPort = u.Host
	}
	if host, port, err := net.SplitHostPort(hostPort); err != nil || host == "" || port == "" {
		return fmt.Errorf("%q is no endpoint such as http://10.0.0.1:2379", s)
	}
	return nil
}

func checkName(s string) error {
	if s == "" {
		return fmt.Errorf("must not be empty")
	}
	if len(s) > maxNameLength {
		return fmt.Errorf("%q is longer than %d characters", s, maxNameLength)
	}
	if !rocketName.MatchString(s) {
		return fmt.Errorf("%q has characters other than letters, digits, - and _", s)
	}
	return nil
}

func (c serverConfig) validateTLS(f *configError) {
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		key, other := "tls-cert", "tls-key"
		if c.TLSCert == "" {
			key, other = other, key
		}
		f.add(key, "needs %s as well", other)
	case c.TLSCert != "" && c.TLSMode == "disabled":
		f.add("tls-cert", "is of no use with tls-mode disabled")
	case c.TLSCert != "":
		if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
			f.add("tls-cert", "%w", err)
		}
	}
}
