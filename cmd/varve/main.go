package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
)

// Exit codes, as doc.go states them.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError marks an error as the caller's: a flag, an argument or the
// configuration is at fault, and nothing was attempted.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// streams are what a command reads from and writes to, so that tests can hold
// the other ends. Data goes to out; progress, notices and errors to err.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// note writes a line for people. Where standard error is gone there is nobody
// to tell, so a failed write is no failure of the command.
func (s streams) note(format string, args ...any) {
	_, _ = fmt.Fprintf(s.err, format+"\n", args...)
}

func main() {
	s := streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(run(context.Background(), s, os.Args[1:]))
}

// run is main without the process: it executes one command line and returns
// the exit code.
func run(ctx context.Context, s streams, args []string) int {
	root := newRoot(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	s.note("varve: %v", err)
	if _, ok := errors.AsType[*usageError](err); ok || errors.Is(err, client.ErrInvalid) {
		return exitUsage
	}
	return exitFailed
}

func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "varve",
		Short: "A message broker that speaks RocketMQ's protocol and keeps its history on object storage",
		Long: `Varve is a message broker: RocketMQ's clients work with it unchanged.

Start one with everything embedded, then send and receive a message:

  varve server
  echo 'hello' | varve produce my-topic --tag my-tag
  varve consume my-topic --group my-group --from first --max 1`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          helpRun,
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newServerCmd(s, startBroker), newVersionCmd(s), newMetadataCmd(s))
	root.AddCommand(newClientCmds(s)...)
	return root
}

// helpRun is the RunE of a command that only groups others.
func helpRun(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// usageArgs makes the errors of an argument check usage errors, and names the
// command whose help would say more.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w (see %s --help)", err, cmd.CommandPath())
		}
		return nil
	}
}
