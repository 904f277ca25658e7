package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// These variables make the test binary do something else in a child process.
const (
	envChild = "VARVE_TEST_CHILD"
	envRace  = "VARVE_TEST_RACE"
)

func TestMain(m *testing.M) {
	switch os.Getenv(envChild) {
	case "server":
		childServer()
	case "race":
		plantRace()
		return
	}
	os.Exit(m.Run())
}

// childServer is `varve server` with a broker that takes a while to stop.
func childServer() {
	s := streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	start := func(ctx context.Context, s streams, _ serverConfig, _ *slog.Logger) error {
		_, _ = s.out.Write([]byte("ready\n"))
		<-ctx.Done()
		if os.Getenv("VARVE_TEST_SLOW") != "" {
			select {}
		}
		return ctx.Err()
	}
	root := &cobra.Command{Use: "varve", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(newServerCmd(s, start))
	root.SetArgs([]string{"server"})
	if err := root.Execute(); err != nil {
		os.Exit(exitFailed)
	}
	os.Exit(exitOK)
}

// runVarve runs a command line in this process.
func runVarve(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = run(t.Context(), streams{in: strings.NewReader(stdin), out: &out, err: &errOut}, args)
	return code, out.String(), errOut.String()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"help", []string{"--help"}, exitOK, ""},
		{"version", []string{"version"}, exitOK, ""},
		{"no such command", []string{"brew"}, exitUsage, "unknown command"},
		{"no such flag", []string{"version", "--loud"}, exitUsage, "unknown flag: --loud (see varve version --help)"},
		{"output format", []string{"version", "-o", "xml"}, exitUsage, `"xml" is neither table nor json`},
		{"too few arguments", []string{"topic", "describe"}, exitUsage, "accepts 1 arg(s), received 0"},
		{"bad configuration", []string{"server", "--flush=x", "--cluster="}, exitUsage, "2 faults in the configuration:\n"},
		{"no group", []string{"consume", "t"}, exitUsage, "--group is needed"},
		{"position", []string{"consume", "t", "--group=g", "--from=noon"}, exitUsage, `"noon" is none of first, last`},
		{"offset and time", []string{"read", "t", "--offset=1", "--time=-1h"}, exitUsage, "exclude each other"},
		{"size alone", []string{"produce", "t", "--size=1"}, exitUsage, "--size goes with --count"},
		{"file and count", []string{"produce", "t", "--file=x", "--count=1"}, exitUsage, "--file goes with neither"},
		{"property", []string{"produce", "t", "--property=x"}, exitUsage, "--property: \"x\" is no NAME=VALUE"},
		{"reset without a place", []string{"group", "reset-offset", "g", "--topic=t"}, exitUsage, "--topic and --to are needed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := runVarve(t, "", tc.args...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("exit code %d, want %d; standard error %q, want %q in it", code, tc.code, stderr, tc.stderr)
			}
		})
	}
}

// Help is how most people meet a command: each has a line, and each flag of
// the server is under a heading.
func TestHelp(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no short help", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(streams{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}}))

	code, help, _ := runVarve(t, "", "server", "--help")
	if code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	for _, s := range settings() {
		if !strings.Contains(help, "--"+s.key+" ") {
			t.Errorf("help of the server does not name --%s", s.key)
		}
	}
	for _, heading := range append(settingGroups(), "Usage", "Examples", "General") {
		if !strings.Contains(help, "\n"+heading+":\n") {
			t.Errorf("help of the server has no heading %s", heading)
		}
	}
}

func TestPrintConfig(t *testing.T) {
	t.Parallel()
	code, out, stderr := runVarve(t, "", "server", "--print-config", "--flush", "async")
	if code != exitOK || !strings.Contains(out, "flush: async") || !strings.Contains(out, "# --flush\n") {
		t.Errorf("exit code %d, standard error %q, standard output:\n%s", code, stderr, out)
	}
}

func TestServerReturnsTheBrokersError(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	s := streams{out: &bytes.Buffer{}, err: &stderr}
	fault := errors.New("etcd: unreachable")
	err := runServer(t.Context(), s, defaultConfig(), func(context.Context, streams, serverConfig, *slog.Logger) error {
		return fault
	})
	if !errors.Is(err, fault) {
		t.Errorf("error = %v, want %v", err, fault)
	}
}

func TestServerSignals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		slow    bool
		signals []syscall.Signal
		code    int
	}{
		{"one SIGTERM shuts down in order", false, []syscall.Signal{syscall.SIGTERM}, exitOK},
		{"one SIGINT shuts down in order", false, []syscall.Signal{syscall.SIGINT}, exitOK},
		{"a second signal ends at once", true, []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, 143},
		{"a second signal of the other kind", true, []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, 130},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), envChild+"=server")
			if tc.slow {
				cmd.Env = append(cmd.Env, "VARVE_TEST_SLOW=1")
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			logs, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, out, "ready")
			for i, sig := range tc.signals {
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					waitFor(t, logs, "shutting down in order")
				}
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
		})
	}
}

// waitFor reads until text has come.
func waitFor(t *testing.T, r interface{ Read([]byte) (int, error) }, text string) {
	t.Helper()
	var got bytes.Buffer
	buf := make([]byte, 1024)
	for !strings.Contains(got.String(), text) {
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v before %q; got %q", err, text, got.String())
		}
	}
}
