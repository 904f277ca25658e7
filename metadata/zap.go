package metadata

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"go.uber.org/zap/zapcore"
)

// zapCore hands what etcd logs at warning level and above to slog, at most at warning level: etcd's errors are not the broker's.
type zapCore struct {
	l      *slog.Logger
	fields []zapcore.Field
	// debug lowers everything: an error of the client is returned too, and the caller logs it once instead of at each attempt.
	debug bool
}

// harmless are warnings that an embedded etcd of one member gives at every start or stop.
var harmless = []string{
	"Running http and grpc server on single port",                         // nobody but this process uses it
	"simple token is not cryptographically signed",                        // no authentication is switched on
	"Failed to detect schema version", "failed to update storage version", // a new one has no term yet
	"cannot campaign at term", // it will in a moment
	"stopped publish because server is stopping",
	"closing client listener", "closing peer listener",
	"stopping insecure grpc server due to error", "stopped insecure grpc server due to error",
	"failed to receive watch request from gRPC stream", "failed to send watch response to gRPC stream",
}

// harmlessErrors are what ends when a server is stopped.
var harmlessErrors = []string{"use of closed network connection", "context canceled", "etcdserver: server stopped", "server closed", "http: Server closed"}

// Enabled implements zapcore.Core.
func (zapCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	c.fields = append(slices.Clip(c.fields), fields...)
	return c
}

// Check implements zapcore.Core.
func (c zapCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range c.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	level := slog.LevelWarn
	text, _ := enc.Fields["error"].(string)
	if c.debug || mentions(e.Message, harmless) || mentions(text, harmlessErrors) {
		level = slog.LevelDebug
	}
	ctx := context.Background() //nolint:forbidigo // zap has none to hand on
	if !c.l.Enabled(ctx, level) {
		return nil
	}
	attrs := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, k, v)
	}
	c.l.WithGroup("etcd").With(attrs...).Log(ctx, level, "etcd reports", "message", e.Message, "severity", e.Level.String())
	return nil
}

func mentions(s string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(s, part) })
}

// Sync implements zapcore.Core.
func (zapCore) Sync() error { return nil }
