package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

const (
	permWrite = 2
	permRead  = 4
	// minRefetch is the shortest time between two questions about a topic that errors cause.
	minRefetch = 200 * time.Millisecond
	// maxQueuesPerBroker bounds what a route may claim.
	maxQueuesPerBroker = 1 << 16
)

// route is where a topic's queues are. It is immutable.
type route struct {
	read, write []Queue           // by broker, then number
	addrs       map[string]string // broker to address of its owner
	fetched     time.Time
	template    bool // the topic does not exist; the broker will create it
}

// addr returns the address of the queue's broker.
func (r *route) addr(q Queue) (string, error) {
	a, ok := r.addrs[q.Broker]
	if !ok {
		return "", fmt.Errorf("broker %q: %w", q.Broker, ErrNoRoute)
	}
	return a, nil
}

// resolve finds a queue in a list; an empty broker name matches any broker.
func resolve(queues []Queue, q Queue) (Queue, error) {
	for _, have := range queues {
		if have.ID == q.ID && (q.Broker == "" || q.Broker == have.Broker) {
			return have, nil
		}
	}
	return Queue{}, fmt.Errorf("queue %s/%d: %w", q.Broker, q.ID, ErrNoRoute)
}

func compareQueues(a, b Queue) int {
	return cmp.Or(strings.Compare(a.Broker, b.Broker), cmp.Compare(a.ID, b.ID))
}

// routeTable caches the routes of the topics that were asked for.
type routeTable struct {
	core *core
	mu   sync.RWMutex
	// All are guarded by mu.
	topics   map[string]*route
	stale    map[string]bool // to be asked for again at the next use
	fetching map[string]chan struct{}
}

func newRouteTable(c *core) *routeTable {
	return &routeTable{
		core: c, topics: make(map[string]*route),
		stale: make(map[string]bool), fetching: make(map[string]chan struct{}),
	}
}

// get returns the topic's route, asking a name server if it is not cached. The
// error wraps ErrNoRoute if the topic does not exist.
func (t *routeTable) get(ctx context.Context, topic string) (*route, error) {
	for {
		t.mu.RLock()
		r, stale, busy := t.topics[topic], t.stale[topic], t.fetching[topic]
		t.mu.RUnlock()
		if r != nil && (!stale || busy != nil || time.Since(r.fetched) < minRefetch) {
			return r, nil
		}
		if busy == nil {
			fresh, err := t.fetch(ctx, topic)
			if err != nil && r != nil && !errors.Is(err, ErrNoRoute) {
				return r, nil // an old route is better than none; fetch logs nothing, the use will tell
			}
			return fresh, err
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, netError("route of "+topic, "", fmt.Errorf("%w: %w", errUnsent, ctx.Err()))
		}
	}
}

// cached returns the topic's route if it is there.
func (t *routeTable) cached(topic string) *route {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.stale[topic] {
		return nil
	}
	return t.topics[topic]
}

// invalidate has the route asked for again when it is needed next.
func (t *routeTable) invalidate(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.topics[topic] != nil {
		t.stale[topic] = true
	}
}

// fetch asks a name server and caches the answer.
func (t *routeTable) fetch(ctx context.Context, topic string) (*route, error) {
	t.mu.Lock()
	if busy := t.fetching[topic]; busy != nil {
		t.mu.Unlock()
		return t.get(ctx, topic)
	}
	busy := make(chan struct{})
	t.fetching[topic] = busy
	t.mu.Unlock()

	r, err := t.core.queryRoute(ctx, topic)

	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.fetching, topic)
	close(busy)
	if err == nil {
		t.topics[topic] = r
		delete(t.stale, topic)
	} else if errors.Is(err, ErrNoRoute) {
		delete(t.topics, topic)
		delete(t.stale, topic)
	}
	return r, err
}

// put caches a route that did not come from a name server.
func (t *routeTable) put(topic string, r *route) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.topics[topic] == nil {
		t.topics[topic] = r
	}
}

// refresh asks again for all cached routes.
func (t *routeTable) refresh(ctx context.Context) {
	t.mu.RLock()
	topics := slices.Sorted(maps.Keys(t.topics))
	t.mu.RUnlock()
	for _, topic := range topics {
		if ctx.Err() != nil {
			return
		}
		if _, err := t.fetch(ctx, topic); err != nil && ctx.Err() == nil {
			t.core.cfg.logger.Warn("route not refreshed", "topic", topic, "error", err)
		}
	}
}

// brokers returns the addresses of all brokers of the cached routes.
func (t *routeTable) brokers() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	set := make(map[string]struct{})
	for _, r := range t.topics {
		for _, a := range r.addrs {
			set[a] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// queryRoute asks a name server for a topic's route.
func (c *core) queryRoute(ctx context.Context, topic string) (*route, error) {
	cmd := remoting.Command{Code: remoting.ReqGetRouteInfoByTopic}
	cmd.Ext.Add("topic", topic)
	cmd.Ext.AddBool("acceptStandardJsonOnly", true)
	reply, err := c.ask(ctx, "route of "+topic, &cmd)
	if codeOf(err) == CodeTopicNotExist {
		return nil, fmt.Errorf("topic %q: %w", topic, ErrNoRoute)
	}
	if err != nil {
		return nil, err
	}
	var data remoting.TopicRouteData
	if err := remoting.DecodeBody(reply.Body, &data); err != nil {
		return nil, fmt.Errorf("route of %s: %w: %w", topic, ErrMalformed, err)
	}
	return newRoute(&data)
}

func newRoute(data *remoting.TopicRouteData) (*route, error) {
	r := &route{addrs: make(map[string]string, len(data.BrokerDatas)), fetched: time.Now()}
	for _, b := range data.BrokerDatas {
		if len(b.BrokerAddrs) > 0 {
			r.addrs[b.BrokerName] = b.BrokerAddrs[slices.Min(slices.Collect(maps.Keys(b.BrokerAddrs)))]
		}
	}
	for _, q := range data.QueueDatas {
		if _, ok := r.addrs[q.BrokerName]; !ok {
			continue
		}
		if q.ReadQueueNums > maxQueuesPerBroker || q.WriteQueueNums > maxQueuesPerBroker {
			return nil, fmt.Errorf("route with %d queues: %w", max(q.ReadQueueNums, q.WriteQueueNums), ErrMalformed)
		}
		if q.Perm&permRead != 0 {
			r.read = appendQueues(r.read, q.BrokerName, int(q.ReadQueueNums))
		}
		if q.Perm&permWrite != 0 {
			r.write = appendQueues(r.write, q.BrokerName, int(q.WriteQueueNums))
		}
	}
	slices.SortFunc(r.read, compareQueues)
	slices.SortFunc(r.write, compareQueues)
	return r, nil
}

func appendQueues(dst []Queue, broker string, n int) []Queue {
	for i := range n {
		dst = append(dst, Queue{Broker: broker, ID: i})
	}
	return dst
}

// sendRoute returns the topic's route for sending. A topic that does not exist
// gets the route of the template, whose brokers create it at the first message.
func (c *core) sendRoute(ctx context.Context, topic string) (*route, error) {
	r, err := c.routes.get(ctx, topic)
	if !errors.Is(err, ErrNoRoute) {
		return r, err
	}
	t, terr := c.routes.get(ctx, message.TopicAutoCreate)
	if terr != nil {
		return nil, err
	}
	made := &route{addrs: t.addrs, fetched: t.fetched, template: true}
	for _, q := range t.write {
		if q.ID < defaultTopicQueues {
			made.write = append(made.write, q)
		}
	}
	if len(made.write) == 0 {
		return nil, err
	}
	c.routes.put(topic, made)
	return made, nil
}

// defaultTopicQueues is how many queues per broker an automatically created topic gets.
const defaultTopicQueues = 4
