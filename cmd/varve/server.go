package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// brokerStarter runs a broker until ctx ends and everything is shut down in
// order. Tests put their own in its place.
type brokerStarter func(ctx context.Context, s streams, c serverConfig, log *slog.Logger) error

const serverLong = `Start a broker: name server, message store and HTTP endpoint in one process.

With no configuration everything is embedded: etcd runs in this process and a
directory is the object store, both under --data-dir. It listens on 127.0.0.1
only, since there is no authentication yet.

Every setting below is a flag, a key of the YAML file (data-dir: /srv/varve) and
an environment variable (VARVE_DATA_DIR). A flag wins over the file, the file
over the environment. Unknown keys and variables are faults; all faults are
reported at once, and the exit code is then 2.

The first SIGTERM or SIGINT shuts down in order, a second one ends the process
at once; nothing that was acknowledged is lost either way.`

const serverExample = `  # everything embedded, on this machine
  varve server

  # for clients on other machines
  varve server --advertise-host broker-1.example.com \
    --namesrv-listen 0.0.0.0:9876 --broker-listen 0.0.0.0:10911

  # an etcd cluster, and a file with the rest
  varve server --etcd http://10.0.0.1:2379,http://10.0.0.2:2379 --config varve.yaml

  # what would be in effect, and where each value is from; a start for a file
  varve server --flush async --print-config`

func newServerCmd(s streams, start brokerStarter) *cobra.Command {
	var path string
	var printConfig bool
	cmd := &cobra.Command{
		Use:     "server",
		Short:   "Start a broker",
		Long:    serverLong,
		Example: serverExample,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				path = os.Getenv(envConfig)
			}
			c, err := loadConfig(cmd.Flags(), path, os.Environ())
			if err != nil {
				return &usageError{err: err}
			}
			if printConfig {
				return writeConfig(s.out, c)
			}
			return runServer(cmd.Context(), s, c.serverConfig, start)
		},
	}
	general := pflag.NewFlagSet("", pflag.ContinueOnError)
	general.StringVar(&path, "config", "", "a YAML `FILE` with any of the settings (or VARVE_CONFIG)")
	general.BoolVar(&printConfig, "print-config", false, "print the effective configuration as YAML, and end")
	general.BoolP("help", "h", false, "show this")
	cmd.Flags().AddFlagSet(general)

	groups := settingFlags(defaultConfig())
	for _, g := range groups {
		cmd.Flags().AddFlagSet(g.flags)
	}
	groups = append(groups, flagGroup{name: "General", flags: general})
	cmd.SetUsageFunc(func(cmd *cobra.Command) error {
		return writeGroupedUsage(cmd.OutOrStderr(), cmd, groups)
	})
	return cmd
}

// runServer runs start under the signals that end a server.
func runServer(ctx context.Context, s streams, c serverConfig, start brokerStarter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := newLogger(s.err, c)

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	watched, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		watchSignals(signals, done, log, cancel, os.Exit)
	}()
	err := start(ctx, s, c, log)
	signal.Stop(signals)
	close(done)
	<-watched

	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// watchSignals calls shutdown at the first signal and exit at the second. It
// returns when done is closed.
func watchSignals(signals <-chan os.Signal, done <-chan struct{}, log *slog.Logger, shutdown func(), exit func(int)) {
	for first := true; ; first = false {
		select {
		case <-done:
			return
		case sig := <-signals:
			if first {
				log.Info("shutting down in order, a second signal ends at once", "signal", sig.String())
				shutdown()
				continue
			}
			log.Warn("ending at once", "signal", sig.String())
			code := exitFailed
			if n, ok := sig.(syscall.Signal); ok {
				code = 128 + int(n)
			}
			exit(code)
		}
	}
}

func newLogger(w io.Writer, c serverConfig) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of four words: validated
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// flagGroup is a heading of --help and the flags under it.
type flagGroup struct {
	name  string
	flags *pflag.FlagSet
}

// settingFlags makes a flag of every setting. The flags keep their text:
// loadConfig parses it, so that a bad flag is one fault among the others.
func settingFlags(defaults serverConfig) []flagGroup {
	var groups []flagGroup
	for _, name := range settingGroups() {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flags.SortFlags = false
		for _, s := range settings() {
			if s.group != name {
				continue
			}
			value := &textValue{text: s.show(defaults), typ: s.typ}
			flag := flags.VarPF(value, s.key, "", s.usage)
			if s.typ == "" {
				value.typ = "bool" // pflag then shows no type
				flag.NoOptDefVal = "true"
			}
		}
		groups = append(groups, flagGroup{name: name, flags: flags})
	}
	return groups
}

// textValue is a flag's value as it was written.
type textValue struct{ text, typ string }

func (v *textValue) String() string     { return v.text }
func (v *textValue) Set(s string) error { v.text = s; return nil }
func (v *textValue) Type() string       { return v.typ }

func writeGroupedUsage(w io.Writer, cmd *cobra.Command, groups []flagGroup) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n  %s\n\nExamples:\n%s\n", cmd.UseLine(), cmd.Example)
	for _, g := range groups {
		fmt.Fprintf(&b, "\n%s:\n%s", g.name, g.flags.FlagUsagesWrapped(100))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
