package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// load runs loadConfig as `varve server ARGS` with that file and environment.
func load(t *testing.T, args []string, yamlText string, environ ...string) (loadedConfig, error) {
	t.Helper()
	flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
	for _, g := range settingFlags(defaultConfig()) {
		flags.AddFlagSet(g.flags)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	path := ""
	if yamlText != "" {
		path = filepath.Join(t.TempDir(), "varve.yaml")
		if err := os.WriteFile(path, []byte(yamlText), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return loadConfig(flags, path, environ)
}

// faultsOf returns the faults of a configuration, the file's directory cut off.
func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var invalid *configError
	if !errors.As(err, &invalid) {
		t.Fatalf("error is a %T: %v", err, err)
	}
	var texts []string
	for _, f := range invalid.faults {
		if filepath.IsAbs(f.origin) {
			f.origin = filepath.Base(f.origin)
		}
		texts = append(texts, f.Error())
	}
	return texts
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	got, err := load(t, nil, "", "PATH=/bin", "VARVE_TEST_KILLS=10", "VARVE_CRASH_KILLS=9", "VARVE_LONG=1", "VARVE_SEED=7", "VARVE_NAMESRV=a:1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaultConfig(), got.serverConfig); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestConfigPrecedence(t *testing.T) {
	t.Parallel()
	env := []string{"VARVE_CLUSTER=env", "VARVE_SHARD_NAME=env", "VARVE_LEASE_TTL=1m"}
	got, err := load(t, []string{"--cluster", "flag"}, "cluster: file\nshard-name: file\n", env...)
	if err != nil {
		t.Fatal(err)
	}
	if got.Cluster != "flag" || got.ShardName != "file" || got.LeaseTTL != time.Minute {
		t.Errorf("cluster %q, shard-name %q, lease-ttl %v", got.Cluster, got.ShardName, got.LeaseTTL)
	}
	for key, want := range map[string]string{
		"cluster": "--cluster", "lease-ttl": "VARVE_LEASE_TTL", "flush": "default",
	} {
		if got.origins[key] != want {
			t.Errorf("%s is from %q, want %q", key, got.origins[key], want)
		}
	}
}

func TestConfigTypes(t *testing.T) {
	t.Parallel()
	got, err := load(t, []string{"--pprof", "--tail-cache=64MiB"}, `
etcd: [http://10.0.0.1:2379, "10.0.0.2:2379"]
wal-limit: 1073741824
wal-hot: 512MiB
lease-ttl: 45s
tls-mode: enforcing
`, "VARVE_MAX_MESSAGE_SIZE=6MiB", "VARVE_LOG_FORMAT=json")
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.Pprof, want.TailCache = true, 64*mib
	want.Etcd = []string{"http://10.0.0.1:2379", "10.0.0.2:2379"}
	want.WALLimit, want.WALHot = gib, 512*mib
	want.LeaseTTL, want.TLSMode = 45*time.Second, "enforcing"
	want.MaxMessageSize, want.LogFormat = 6*mib, "json"
	if diff := cmp.Diff(want, got.serverConfig); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestConfigSmallerLogNeedsOneFlag(t *testing.T) {
	t.Parallel()
	got, err := load(t, []string{"--wal-limit", "1GiB"}, "")
	if err != nil || got.WALHot != gib {
		t.Errorf("wal-hot = %v, %v, want 1GiB", got.WALHot, err)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		args []string
		yaml string
		env  []string
		want []string
	}{
		{
			name: "every fault of every source at once",
			args: []string{"--wal-limit", "much", "--pprof=maybe", "--advertise-host", "0.0.0.0"},
			yaml: "flush: never\nfsync: true\ndata-dir: ''\n",
			env:  []string{"VARVE_LEASE_TTL=soon", "VARVE_DATADIR=/x", "VARVE_BOGUS=1"},
			want: []string{
				"VARVE_DATADIR: no such variable: did you mean VARVE_DATA_DIR? (from the environment)",
				"VARVE_BOGUS: no such variable (from the environment)",
				"fsync: no such key (from varve.yaml)",
				`flush: "never" is none of sync, async (from varve.yaml)`,
				`wal-limit: "much" is no size such as 256MiB or 10GiB (from --wal-limit)`,
				`lease-ttl: "soon" is no duration such as 30s or 2m (from VARVE_LEASE_TTL)`,
				`pprof: "maybe" is neither true nor false (from --pprof)`,
				"data-dir: must not be empty (from varve.yaml)",
				"advertise-host: 0.0.0.0 is an address to listen on, not one that clients can dial (from --advertise-host)",
			},
		},
		{
			name: "keys of the file in another spelling, nested, or without a value",
			yaml: "dataDir: /x\nwal:\n  limit: 1GiB\ncluster:\nflush: {a: b}\n",
			want: []string{
				"dataDir: no such key: did you mean data-dir? (from varve.yaml)",
				"flush.a: no such key (from varve.yaml)",
				"wal.limit: no such key: did you mean wal-limit? (from varve.yaml)",
				"cluster: has no value (from varve.yaml)",
			},
		},
		{
			name: "a duration without a unit",
			yaml: "lease-ttl: 30\n",
			want: []string{`lease-ttl: "30" is no duration such as 30s or 2m (from varve.yaml)`},
		},
		{
			name: "leases",
			args: []string{"--lease-ttl", "2500ms"},
			want: []string{"lease-ttl: 2.5s is no whole number of seconds (from --lease-ttl)"},
		},
		{
			name: "sizes",
			args: []string{"--wal-limit=16MiB", "--wal-hot=32MiB", "--tail-cache=0", "--max-message-size=4MiB"},
			want: []string{
				"tail-cache: 0B is less than 1MiB (from --tail-cache)",
				"wal-hot: 32MiB is more than wal-limit, 16MiB (from --wal-hot)",
				"max-message-size: 4MiB is more than a sixteenth of wal-limit, 16MiB (from --max-message-size)",
			},
		},
		{
			name: "more sizes",
			args: []string{"--wal-limit=1MiB", "--wal-hot=0", "--max-message-size=8MiB"},
			want: []string{
				"wal-limit: 1MiB is less than 16MiB (from --wal-limit)",
				"wal-hot: 0B is less than 1B (from --wal-hot)",
				"max-message-size: 8MiB is more than 7MiB (from --max-message-size)",
			},
		},
		{
			name: "addresses",
			args: []string{
				"--namesrv-listen=9876", "--broker-listen=127.0.0.1:8080", "--etcd=a,http://b:1/path",
				"--object-store=ftp://x", "--advertise-host=a:1",
			},
			want: []string{
				`object-store: "ftp://x": ftp is none of file, s3, minio (from --object-store)`,
				`advertise-host: "a:1" is no host name or IP address (without port) (from --advertise-host)`,
				`namesrv-listen: "9876" is no HOST:PORT (from --namesrv-listen)`,
				"http-listen: 127.0.0.1:8080 is taken by broker-listen (from default)",
				`etcd: "a" is no endpoint such as http://10.0.0.1:2379 (from --etcd)`,
				`etcd: "http://b:1/path" is no endpoint such as http://10.0.0.1:2379 (from --etcd)`,
			},
		},
		{
			name: "names",
			args: []string{"--cluster=", "--shard-name=a/b", "--accept-tail-loss", strings.Repeat("x", 128)},
			want: []string{
				"cluster: must not be empty (from --cluster)",
				`shard-name: "a/b" has characters other than letters, digits, - and _ (from --shard-name)`,
				`accept-tail-loss: "` + strings.Repeat("x", 128) + `" is longer than 127 characters (from --accept-tail-loss)`,
			},
		},
		{
			name: "half a certificate",
			args: []string{"--tls-key=/nowhere/key.pem"},
			want: []string{"tls-key: needs tls-cert as well (from --tls-key)"},
		},
		{
			name: "a certificate that is not there",
			args: []string{"--tls-key=/nowhere/key.pem", "--tls-cert=/nowhere/cert.pem"},
			want: []string{"tls-cert: open /nowhere/cert.pem: no such file or directory (from --tls-cert)"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.args, tc.yaml, tc.env...)
			if diff := cmp.Diff(tc.want, faultsOf(t, err)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestConfigFileFaults(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"not YAML":      "a: [",
		"no table":      "- a\n- b\n",
		"a key twice":   "flush: sync\nflush: async\n",
		"two documents": "flush: sync\n---\nflush: [\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, nil, text)
			if name == "two documents" {
				return // only the first is read
			}
			if faults := faultsOf(t, err); len(faults) != 1 || !strings.HasPrefix(faults[0], "config: ") {
				t.Errorf("faults = %q, want one of the file", faults)
			}
		})
	}
	flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
	if _, err := loadConfig(flags, "/nowhere/varve.yaml", nil); err == nil {
		t.Error("a file that is not there was accepted")
	}
}

// What --print-config prints is a file that gives the same configuration.
func TestPrintedConfigReadsBack(t *testing.T) {
	t.Parallel()
	first, err := load(t, []string{
		"--pprof", "--etcd=http://a:1,http://b:2", "--wal-limit=5GB", "--data-dir=/srv/a: b #c", "--cluster=true",
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := writeConfig(&printed, first); err != nil {
		t.Fatal(err)
	}
	second, err := load(t, nil, printed.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, printed.String())
	}
	if diff := cmp.Diff(first.serverConfig, second.serverConfig); diff != "" {
		t.Errorf("(-first +second)\n%s\n%s", diff, printed.String())
	}
}

func TestEverySettingHasItsPlace(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range settings() {
		if seen[s.key] {
			t.Errorf("%s is listed twice", s.key)
		}
		seen[s.key] = true
		if s.usage == "" || s.group == "" {
			t.Errorf("%s has no usage or group", s.key)
		}
		c := defaultConfig()
		if err := s.parse(&c, s.show(defaultConfig())); err != nil {
			t.Errorf("%s: its default does not parse: %v", s.key, err)
		}
		if diff := cmp.Diff(defaultConfig(), c); diff != "" {
			t.Errorf("%s: its default is not kept (-want +got)\n%s", s.key, diff)
		}
	}
}
