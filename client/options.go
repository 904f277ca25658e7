package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Option configures a [Producer], [PushConsumer], [Reader] or [Admin]. Options
// that make sense for one role only have a type of their own; giving one to
// another role is an error of its constructor.
type Option interface {
	option() optionSpec
}

// ProducerOption configures a [Producer].
type ProducerOption interface {
	Option
	producerOption()
}

// ConsumerOption configures a [PushConsumer].
type ConsumerOption interface {
	Option
	consumerOption()
}

// ReaderOption configures a [Reader].
type ReaderOption interface {
	Option
	readerOption()
}

type role string

const (
	roleProducer role = "producer"
	roleConsumer role = "consumer"
	roleReader   role = "reader"
	roleAdmin    role = "admin"
)

type optionSpec struct {
	name  string
	roles []role // empty means all
	set   func(*config)
}

func (s optionSpec) option() optionSpec { return s }

type (
	producerOnly struct{ optionSpec }
	consumerOnly struct{ optionSpec }
	readerOnly   struct{ optionSpec }
)

func (producerOnly) producerOption() {}
func (consumerOnly) consumerOption() {}
func (readerOnly) readerOption()     {}

func common(name string, set func(*config)) Option { return optionSpec{name: name, set: set} }

func forProducer(name string, set func(*config)) ProducerOption {
	return producerOnly{optionSpec{name: name, roles: []role{roleProducer}, set: set}}
}

func forConsumer(name string, set func(*config)) ConsumerOption {
	return consumerOnly{optionSpec{name: name, roles: []role{roleConsumer}, set: set}}
}

func forReader(name string, set func(*config)) ReaderOption {
	return readerOnly{optionSpec{name: name, roles: []role{roleReader}, set: set}}
}

// config is what the options of all roles set.
type config struct {
	nameServers    []string
	group          string
	clientID       string
	logger         *slog.Logger
	tls            *tls.Config
	dialTimeout    time.Duration
	requestTimeout time.Duration
	routeInterval  time.Duration
	heartbeat      time.Duration
	json           bool
	hooks          Hooks

	producer producerConfig
	consumer consumerConfig
	reader   readerConfig
}

func newConfig(r role, opts []Option) (*config, error) {
	c := &config{
		nameServers:    []string{"127.0.0.1:9876"},
		logger:         slog.New(slog.DiscardHandler),
		dialTimeout:    3 * time.Second,
		requestTimeout: 5 * time.Second,
		routeInterval:  30 * time.Second,
		heartbeat:      30 * time.Second,
		producer:       defaultProducerConfig(),
		consumer:       defaultConsumerConfig(),
		reader:         defaultReaderConfig(),
	}
	var faults []error
	for _, o := range opts {
		spec := o.option()
		if len(spec.roles) > 0 && !slices.Contains(spec.roles, r) {
			faults = append(faults, fmt.Errorf("%s is no option of a %s: %w", spec.name, r, ErrInvalid))
			continue
		}
		spec.set(c)
	}
	faults = append(faults, c.validate(r)...)
	return c, errors.Join(faults...)
}

func (c *config) validate(r role) []error {
	var faults []error
	if len(c.nameServers) == 0 {
		faults = append(faults, fmt.Errorf("WithNameServers: no address: %w", ErrInvalid))
	}
	for _, a := range c.nameServers {
		if !strings.Contains(a, ":") {
			faults = append(faults, fmt.Errorf("WithNameServers: %q is not host:port: %w", a, ErrInvalid))
		}
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"WithDialTimeout", c.dialTimeout},
		{"WithRequestTimeout", c.requestTimeout},
		{"WithRouteRefresh", c.routeInterval},
		{"WithHeartbeat", c.heartbeat},
	} {
		if d.d <= 0 {
			faults = append(faults, fmt.Errorf("%s: %v: %w", d.name, d.d, ErrInvalid))
		}
	}
	switch r {
	case roleProducer:
		faults = append(faults, c.producer.validate()...)
	case roleConsumer:
		faults = append(faults, c.consumer.validate()...)
	case roleReader:
		faults = append(faults, c.reader.validate()...)
	case roleAdmin:
	}
	return faults
}

// Hooks are called at events that metrics are made of. A nil hook is skipped. A
// hook must be quick and may be called concurrently.
type Hooks struct {
	// Connected is called after a connection to a server was made or has failed (err is not nil).
	Connected func(addr string, err error)
	// Disconnected is called when a connection ended; err is nil if this client closed it.
	Disconnected func(addr string, err error)
	// BatchSent is called after each batch (or single message) of SendAsync
	// was answered, with the number and bytes of its messages.
	BatchSent func(topic string, messages, bytes int, took time.Duration, err error)
}

// WithNameServers sets the name servers, host:port. Each argument may hold
// several, separated by ";" or ",". The default is 127.0.0.1:9876.
func WithNameServers(addrs ...string) Option {
	return common("WithNameServers", func(c *config) {
		c.nameServers = nil
		for _, a := range addrs {
			c.nameServers = append(c.nameServers,
				strings.FieldsFunc(a, func(r rune) bool { return r == ';' || r == ',' || r == ' ' })...)
		}
	})
}

// WithGroup sets the producer group. It names the application in the broker's
// statistics and is who is asked about transactions. The default is
// DEFAULT_PRODUCER. For a Reader it is the group that the broker accounts the
// reads to. Other roles ignore it.
func WithGroup(group string) Option {
	return common("WithGroup", func(c *config) { c.group = group })
}

// WithClientID sets the client's identity, which must be unique in its group.
// The default is made of the local address, the process id and a random number.
func WithClientID(id string) Option {
	return common("WithClientID", func(c *config) { c.clientID = id })
}

// WithLogger sets where the client logs. The default discards.
func WithLogger(l *slog.Logger) Option {
	return common("WithLogger", func(c *config) {
		if l != nil {
			c.logger = l
		}
	})
}

// WithTLS makes all connections use TLS. Nil, the default, means plain TCP.
// ServerName is taken from each address if it is empty.
func WithTLS(t *tls.Config) Option {
	return common("WithTLS", func(c *config) { c.tls = t })
}

// WithDialTimeout bounds making a connection, the TLS handshake included. The default is 3 s.
func WithDialTimeout(d time.Duration) Option {
	return common("WithDialTimeout", func(c *config) { c.dialTimeout = d })
}

// WithRequestTimeout bounds each request other than sends and long polls, on
// top of the caller's context. The default is 5 s.
func WithRequestTimeout(d time.Duration) Option {
	return common("WithRequestTimeout", func(c *config) { c.requestTimeout = d })
}

// WithRouteRefresh sets how often routes are asked for again. The default is 30 s.
func WithRouteRefresh(d time.Duration) Option {
	return common("WithRouteRefresh", func(c *config) { c.routeInterval = d })
}

// WithHeartbeat sets how often brokers hear from producers and consumers. The default is 30 s.
func WithHeartbeat(d time.Duration) Option {
	return common("WithHeartbeat", func(c *config) { c.heartbeat = d })
}

// WithJSONHeaders encodes request headers as JSON instead of RocketMQ's binary
// form, for servers or middle boxes that know only that.
func WithJSONHeaders() Option {
	return common("WithJSONHeaders", func(c *config) { c.json = true })
}

// WithHooks sets the hooks.
func WithHooks(h Hooks) Option {
	return common("WithHooks", func(c *config) { c.hooks = h })
}
