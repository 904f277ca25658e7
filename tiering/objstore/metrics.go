package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// kind is a kind of request.
type kind string

const (
	kindPut            kind = "put"
	kindGet            kind = "get"
	kindHead           kind = "head"
	kindList           kind = "list"
	kindDelete         kind = "delete"
	kindCreateUpload   kind = "create_upload"
	kindPart           kind = "upload_part"
	kindCompleteUpload kind = "complete_upload"
	kindAbortUpload    kind = "abort_upload"
)

// metrics counts the requests to a store, each attempt for itself: what a server charges for. A nil *metrics counts nothing.
type metrics struct {
	requests             *prometheus.CounterVec
	seconds              *prometheus.HistogramVec
	bytesRead, bytesSent prometheus.Counter
}

// newMetrics registers the metrics, or takes over those that another store of the process has registered. Without a registerer there are none.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	if reg == nil {
		return nil, nil //nolint:nilnil // a nil *metrics is one that counts nothing
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_objstore_requests_total", Help: "Requests to the object store, repeated ones too, by kind and outcome.",
		}, []string{"kind", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "varve_objstore_request_seconds", Help: "Time of a request; of a get, until its body begins.", Buckets: prometheus.ExponentialBuckets(0.5e-3, 2, 18), // 0.5 ms … 65 s
		}, []string{"kind"}),
		bytesRead: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_objstore_read_bytes_total", Help: "Bytes of objects read.",
		}),
		bytesSent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_objstore_written_bytes_total", Help: "Bytes of objects and parts written.",
		}),
	}
	err := errors.Join(register(reg, &m.requests), register(reg, &m.seconds), register(reg, &m.bytesRead), register(reg, &m.bytesSent))
	if err != nil {
		return nil, fmt.Errorf("metrics of the object store: %w", err)
	}
	return m, nil
}

// register registers a collector, or replaces it by the one that is registered already.
func register[C prometheus.Collector](reg prometheus.Registerer, c *C) error {
	err := reg.Register(*c)
	if are, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if other, ok := are.ExistingCollector.(C); ok {
			*c = other
			return nil
		}
	}
	return err
}

// begin begins a request; the caller ends it with the outcome.
func (m *metrics) begin(k kind) (done func(error)) {
	if m == nil {
		return func(error) {}
	}
	begin := time.Now()
	return func(err error) {
		m.seconds.WithLabelValues(string(k)).Observe(time.Since(begin).Seconds())
		m.requests.WithLabelValues(string(k), outcome(err)).Inc()
	}
}

// outcome names the class of an error.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, ErrPrecondition):
		return "precondition"
	case errors.Is(err, ErrThrottled):
		return "throttled"
	case errors.Is(err, ErrTransient):
		return "transient"
	default:
		return "fatal"
	}
}

func (m *metrics) wrote(n int64) {
	if m != nil {
		m.bytesSent.Add(float64(n))
	}
}

func (m *metrics) read(n int) {
	if m != nil {
		m.bytesRead.Add(float64(n))
	}
}

// measured counts the calls of a store that makes no requests.
type measured struct {
	Store
	m *metrics
}

// Put implements [Store].
func (s measured) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts PutOptions) error {
	done := s.m.begin(kindPut)
	err := s.Store.Put(ctx, key, r, size, opts)
	if done(err); err == nil {
		s.m.wrote(size)
	}
	return err
}

// Get implements [Store].
func (s measured) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	done := s.m.begin(kindGet)
	r, err := s.Store.Get(ctx, key, off, n)
	if done(err); err != nil {
		return nil, err
	}
	return countReader{r, s.m}, nil
}

type countReader struct {
	io.ReadCloser
	m *metrics
}

// Read implements io.Reader.
func (r countReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.m.read(n)
	return n, err
}

// Head implements [Store].
func (s measured) Head(ctx context.Context, key string) (Info, error) {
	done := s.m.begin(kindHead)
	info, err := s.Store.Head(ctx, key)
	done(err)
	return info, err
}

// List implements [Store].
func (s measured) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		var failed error
		done := s.m.begin(kindList)
		defer func() { done(failed) }()
		for info, err := range s.Store.List(ctx, prefix) {
			failed = err
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete implements [Store].
func (s measured) Delete(ctx context.Context, keys ...string) error {
	done := s.m.begin(kindDelete)
	err := s.Store.Delete(ctx, keys...)
	done(err)
	return err
}

// Check implements [Store].
func (s measured) Check(ctx context.Context) error { return CheckStore(ctx, s) }
