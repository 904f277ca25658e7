package metadata

import (
	"log/slog"
	"slices"

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
	return zapCore{l: c.l, fields: append(slices.Clip(c.fields), fields...)}
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
	attrs := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, k, v)
	}
	c.l.WithGroup("etcd").With(attrs...).Warn("etcd reports", "message", e.Message, "severity", e.Level.String())
	return nil
}

// Sync implements zapcore.Core.
func (zapCore) Sync() error { return nil }
