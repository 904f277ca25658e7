package client

import (
	"errors"
	"slices"
	"time"

	"github.com/varvemq/varve/internal/message"
)

// clockSlack is how far the clocks of a broker and of this client may be apart
// without messages of a new queue being missed.
const clockSlack = time.Minute

// view is what this member saw of a topic when it first looked.
type view struct {
	queues []Queue // none if there was no such topic
	at     time.Time
}

// look records what is known of a topic, once.
func (c *PushConsumer) look(topic string, r *route, err error) {
	if err != nil && !errors.Is(err, ErrNoRoute) {
		return // nothing is known
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.views[topic]; ok {
		return
	}
	v := view{at: time.Now()}
	if err == nil {
		v.queues = r.read
	}
	c.views[topic] = v
}

// beginAt is where the group begins in a queue of which it has no progress. A
// queue that was not there when the topic was looked at has only messages of
// after then: its end, when it is noticed at last, would leave some of them out.
func (c *PushConsumer) beginAt(topic string, q Queue) Position {
	if message.IsRetryTopic(topic) {
		return First()
	}
	if c.cfg.from.kind != atLast {
		return c.cfg.from
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.views[topic]; ok && !slices.Contains(v.queues, q) {
		return AtTime(v.at.Add(-clockSlack))
	}
	return Last()
}
