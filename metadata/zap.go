package metadata

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// zapCore hands what etcd logs at warning level and above to slog, always at warning level: etcd's errors are not the broker's.
type zapCore struct {
	l      *slog.Logger
	fields []zapcore.Field
}

// Enabled implements zapcore.Core.
func (zapCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{l: c.l, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
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
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	c.l.LogAttrs(context.Background(), slog.LevelWarn, "etcd reports", //nolint:forbidigo // zap has no context to pass on
		slog.String("etcd_message", e.Message), slog.String("etcd_level", e.Level.String()), slog.Attr{Key: "etcd", Value: slog.GroupValue(attrs...)})
	return nil
}

// Sync implements zapcore.Core.
func (zapCore) Sync() error { return nil }
