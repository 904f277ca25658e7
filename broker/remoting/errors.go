package remoting

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/broker/wal"
	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

// statusError is an error that knows its response code.
type statusError struct {
	code   int32
	remark string
}

func (e *statusError) Error() string { return fmt.Sprintf("response code %d: %s", e.code, e.remark) }

// status makes an error that is answered with the code and the remark.
func status(code int32, format string, args ...any) error {
	return &statusError{code: code, remark: fmt.Sprintf(format, args...)}
}

// statusOf maps an error to the protocol's code and remark. It is the only place that does.
func statusOf(err error) (code int32, remark string) {
	var own *statusError
	var field *wire.FieldError
	switch {
	case err == nil:
		return wire.RespSuccess, ""
	case errors.As(err, &own):
		return own.code, own.remark
	case errors.As(err, &field), errors.Is(err, wire.ErrMalformedBody), errors.Is(err, metadata.ErrInvalid):
		return wire.RespInvalidParameter, err.Error()
	case errors.Is(err, wal.ErrFull):
		return wire.RespSystemBusy, "[FLOW_CONTROL]the write-ahead log has reached its limit (--wal-limit); sends are refused until it is trimmed"
	case errors.Is(err, wal.ErrNoSpace):
		return wire.RespSystemBusy, "[FLOW_CONTROL]the disk of the write-ahead log has no room left"
	case errors.Is(err, queue.ErrSealStalled):
		return wire.RespSystemBusy, "[OBJECT_STORE]object storage has taken no segment for more than 10 s; topics with durability=object wait for it"
	case errors.Is(err, queue.ErrDropped), errors.Is(err, metadata.ErrTopicNotFound):
		return wire.RespTopicNotExist, err.Error()
	case errors.Is(err, queue.ErrInvalidOp), errors.Is(err, wal.ErrTooLarge):
		return wire.RespMessageIllegal, err.Error()
	case errors.Is(err, metadata.ErrGroupNotFound):
		return wire.RespSubscriptionGroupNotExist, err.Error()
	case errors.Is(err, metadata.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return wire.RespSystemBusy, "[METADATA]" + err.Error()
	case errors.Is(err, queue.ErrClosed), errors.Is(err, wal.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, metadata.ErrClosed):
		return wire.RespServiceNotAvailable, "the broker is shutting down"
	default:
		return wire.RespSystemError, err.Error()
	}
}
