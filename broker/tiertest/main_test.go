package tiertest

import (
	"flag"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
)

// Settings of these tests, by the environment. Without them the tests are short.
const (
	envServer   = "VARVE_TEST_S3"          // http://key:secret@host:port/bucket
	envSeed     = "VARVE_TIER_SEED"        // of the random generators; the time by default
	envDisaster = "VARVE_TIER_MIB"         // MiB produced before the disaster
	envKills    = "VARVE_TIER_KILLS"       // kills under load
	envOutage   = "VARVE_TIER_OUTAGE"      // seconds without object store
	envSteps    = "VARVE_TIER_MODEL_STEPS" // steps of each random history
)

// The sizes of the short form.
const (
	shortDisaster = 24
	shortKills    = 5
	shortOutage   = 12
	shortSteps    = 120
)

// program is the broker, built once.
var program struct {
	once      sync.Once
	dir, path string
	err       error
}

// TestMain gives the object stores' SDKs the credentials of the server, so that they look for none on the network. Children inherit them.
func TestMain(m *testing.M) {
	access, secret := fakeAccess, fakeSecret
	if u, err := url.Parse(os.Getenv(envServer)); err == nil && u.User != nil {
		access = u.User.Username()
		secret, _ = u.User.Password()
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_EC2_METADATA_DISABLED": "true", "MINIO_ACCESS_KEY": access, "MINIO_SECRET_KEY": secret,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue { // these tests wait, for leases and graces, more than they compute
		if err := f.Value.Set("6"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if program.dir != "" {
		_ = os.RemoveAll(program.dir)
	}
	os.Exit(code)
}

// varve returns the path of the program.
func varve(t testing.TB) string {
	t.Helper()
	program.once.Do(func() {
		if program.dir, program.err = os.MkdirTemp("", "varve-tier-"); program.err == nil { //nolint:usetesting // for all tests
			program.path, program.err = brokertest.Build(program.dir, "varve", "")
		}
	})
	if program.err != nil {
		t.Fatalf("build the broker: %v", program.err)
	}
	return program.path
}

// number returns the environment's setting, or that of the short form.
func number(t testing.TB, name string, short int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return short
	}
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%q is no positive number", name, s)
	}
	return n
}

// seed returns the seed of the test, and prints it.
func seed(t testing.TB) uint64 {
	t.Helper()
	n := number(t, envSeed, int(time.Now().UnixNano()))
	t.Logf("again with the same choices: %s=%d", envSeed, n)
	return uint64(n)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, d time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within %v: %s", d, what)
}

// says fails unless all texts are in s.
func says(t testing.TB, what, s string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(s, text) {
			t.Errorf("%s: no %q in:\n%s", what, text, s)
		}
	}
}
