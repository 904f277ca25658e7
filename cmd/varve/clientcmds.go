package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
)

// newClientCmds returns the commands that talk to a broker over the wire.
func newClientCmds(s streams) []*cobra.Command {
	var cmds []*cobra.Command
	for _, newCmd := range []func(streams, *connection) *cobra.Command{
		newTopicCmd, newGroupCmd, newProduceCmd, newConsumeCmd, newReadCmd, newStatusCmd,
		newSealCmd, newSegmentCmd, newFsckCmd,
	} {
		conn := &connection{log: slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn}))}
		cmd := newCmd(s, conn)
		conn.register(cmd)
		cmds = append(cmds, cmd)
	}
	return cmds
}

// connection is what every client command is told about where and how.
type connection struct {
	log      *slog.Logger // what the client finds worth a warning, such as a broker that is away
	server   string
	timeout  time.Duration
	tls      bool
	tlsCA    string
	insecure bool
	output   outputFlag
}

func (c *connection) register(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.server, "server", "localhost:9876", "the name server, `HOST:PORT`; several with commas")
	flags.DurationVar(&c.timeout, "timeout", 5*time.Second, "how long one request may take")
	flags.BoolVar(&c.tls, "tls", false, "connect with TLS")
	flags.StringVar(&c.tlsCA, "tls-ca", "", "trust the certificates in this PEM `FILE` (implies --tls)")
	flags.BoolVar(&c.insecure, "tls-insecure", false, "do not check the server's certificate (implies --tls)")
	c.output.register(flags)
}

// options are the client's options for these flags, and those of the command.
func (c *connection) options(more ...client.Option) ([]client.Option, error) {
	opts := []client.Option{
		client.WithNameServers(c.server),
		client.WithLogger(c.log),
		client.WithRequestTimeout(c.timeout),
		client.WithDialTimeout(c.timeout),
	}
	if c.tls || c.insecure || c.tlsCA != "" {
		conf, err := c.tlsConfig()
		if err != nil {
			return nil, err
		}
		opts = append(opts, client.WithTLS(conf))
	}
	return append(opts, more...), nil
}

func (c *connection) tlsConfig() (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: c.insecure, //nolint:gosec // only when the user says so, by a flag that says so
	}
	if c.tlsCA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(c.tlsCA)
	if err != nil {
		return nil, usagef("--tls-ca: %w", err)
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, usagef("--tls-ca: no certificate in %s", c.tlsCA)
	}
	return conf, nil
}

// withAdmin runs f with an admin client.
func (c *connection) withAdmin(ctx context.Context, f func(context.Context, *client.Admin) error) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	admin, err := client.NewAdmin(opts...)
	if err != nil {
		return &usageError{err: err}
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	return closing(admin, f(ctx, admin))
}

// closing closes c and returns err, or else what closing said.
func closing(c interface{ Close() error }, err error) error {
	if closeErr := c.Close(); err == nil && closeErr != nil {
		return fmt.Errorf("close: %w", closeErr)
	}
	return err
}

// interruptible ends ctx at the first SIGINT or SIGTERM. The second one then
// has its default effect.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
