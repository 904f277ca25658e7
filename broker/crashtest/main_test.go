package crashtest

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/broker/brokertest"
)

// Settings of these tests, by the environment.
const (
	envKills = "VARVE_CRASH_KILLS" // kills in every mode; 3 by default
	envOrder = "VARVE_CRASH_ORDER" // messages of TestOrder; 50,000 by default
	envSeed  = "VARVE_CRASH_SEED"  // of the random generator; the time by default
)

// programs holds the two builds of the broker.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// program returns the path of a build of the broker: varve or varve-powercut. The first call builds both.
func program(t *testing.T, name string) string {
	t.Helper()
	programs.once.Do(func() { programs.err = build() })
	if programs.err != nil {
		t.Fatalf("build the broker: %v", programs.err)
	}
	return filepath.Join(programs.dir, name)
}

func build() error {
	dir, err := os.MkdirTemp("", "varve-crash-")
	if err != nil {
		return err
	}
	programs.dir = dir
	var g errgroup.Group
	for name, tags := range map[string]string{"varve": "", "varve-powercut": "powercut"} {
		g.Go(func() error {
			_, err := brokertest.Build(dir, name, tags)
			return err
		})
	}
	return g.Wait()
}

// number returns the environment's setting, or fallback.
func number(t *testing.T, name string, fallback int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return fallback
	}
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%q is no positive number", name, s)
	}
	return n
}

// seed returns the seed of the test, and prints it.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := number(t, envSeed, int(time.Now().UnixNano()))
	t.Logf("again with the same choices: %s=%d", envSeed, n)
	return uint64(n)
}
