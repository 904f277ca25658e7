package conformance

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// patience bounds every wait; the client itself rebalances only every 20 s when it misses a notification.
const patience = 45 * time.Second

// warmUp is the tag of the message that makes a topic exist.
const warmUp = "warm-up"

func TestMain(m *testing.M) {
	rlog.SetLogLevel("fatal")
	os.Exit(m.Run())
}

// clients hands out the clients of one test; all are shut down when it ends.
type clients struct {
	t       *testing.T
	prefix  string
	namesrv primitive.NamesrvAddr
	members int
}

func newClients(t *testing.T) *clients {
	t.Helper()
	addr := os.Getenv("VARVE_NAMESRV")
	if addr == "" {
		addr = "127.0.0.1:9876"
	}
	namesrv, err := primitive.NewNamesrvAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	return &clients{t: t, prefix: "confgo-" + run + "-" + t.Name(), namesrv: namesrv}
}

func (c *clients) topic() string { return c.prefix }

func (c *clients) group() string { return c.prefix + "-g" }

// instance returns a client id suffix of its own, so that clients of one process share nothing.
func (c *clients) instance() string {
	c.members++
	return fmt.Sprintf("%s#%d", c.prefix, c.members)
}

func (c *clients) producer(options ...producer.Option) rocketmq.Producer {
	c.t.Helper()
	p, err := rocketmq.NewProducer(append([]producer.Option{
		producer.WithNameServer(c.namesrv),
		producer.WithGroupName(c.prefix + "-p"),
		producer.WithInstanceName(c.instance()),
		producer.WithSendMsgTimeout(10 * time.Second),
	}, options...)...)
	if err != nil {
		c.t.Fatalf("new producer: %v", err)
	}
	if err := p.Start(); err != nil {
		c.t.Fatalf("start producer: %v", err)
	}
	c.t.Cleanup(func() { _ = p.Shutdown() })
	return p
}

// createTopic makes the test's topic by sending one message to it, which is how applications of this client do it:
// a consumer of a topic without a route does not start.
func (c *clients) createTopic(p rocketmq.Producer) string {
	c.t.Helper()
	sendOK(c.t, p, message(c.topic(), warmUp, "warm-up"))
	return c.topic()
}

func message(topic, tag, body string) *primitive.Message {
	return primitive.NewMessage(topic, []byte(body)).WithTag(tag)
}

func sendOK(t *testing.T, p rocketmq.Producer, messages ...*primitive.Message) *primitive.SendResult {
	t.Helper()
	result, err := p.SendSync(t.Context(), messages...)
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	if result.Status != primitive.SendOK {
		t.Fatalf("send status %d: %v", result.Status, result)
	}
	return result
}

// send sends count messages with the bodies tag-0, tag-1, … and returns the bodies.
func send(t *testing.T, p rocketmq.Producer, topic, tag string, count int) []string {
	t.Helper()
	bodies := make([]string, count)
	for i := range bodies {
		bodies[i] = fmt.Sprintf("%s-%d", tag, i)
		sendOK(t, p, message(topic, tag, bodies[i]))
	}
	return bodies
}

// received collects what a consumer sees, in its order, without the message that made the topic.
type received struct {
	mu       sync.Mutex
	messages []*primitive.MessageExt
}

func (r *received) add(messages ...*primitive.MessageExt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messages {
		if m.GetTags() != warmUp {
			r.messages = append(r.messages, m)
		}
	}
}

func (r *received) all() []*primitive.MessageExt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

func (r *received) bodies() []string {
	var bodies []string
	for _, m := range r.all() {
		bodies = append(bodies, string(m.Body))
	}
	return bodies
}

// push starts a push consumer of the group that begins at the first message, and records what it sees.
func (c *clients) push(group, topic, tags string, options ...consumer.Option) (rocketmq.PushConsumer, *received) {
	c.t.Helper()
	into := &received{}
	return c.pushHandled(group, topic, tags, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		into.add(messages...)
		return consumer.ConsumeSuccess, nil
	}, options...), into
}

type handler = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

func (c *clients) pushHandled(group, topic, tags string, handle handler, options ...consumer.Option) rocketmq.PushConsumer {
	c.t.Helper()
	pc, err := rocketmq.NewPushConsumer(append([]consumer.Option{
		consumer.WithNameServer(c.namesrv),
		consumer.WithGroupName(group),
		consumer.WithInstance(c.instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)...)
	if err != nil {
		c.t.Fatalf("new push consumer: %v", err)
	}
	if err := pc.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags}, handle); err != nil {
		c.t.Fatalf("subscribe: %v", err)
	}
	if err := pc.Start(); err != nil {
		c.t.Fatalf("start push consumer: %v", err)
	}
	c.t.Cleanup(func() { _ = pc.Shutdown() })
	return pc
}

// eventually polls until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}

// awaitExactly waits until the consumers together have seen every body of want, each once.
func awaitExactly(t *testing.T, want []string, consumers ...*received) {
	t.Helper()
	awaitAll(t, want, consumers...)
	time.Sleep(time.Second)
	got := bodiesOf(consumers)
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(want, got) {
		t.Fatalf("%d deliveries of %d messages:\n%s", len(got), len(want), strings.Join(got, " "))
	}
}

// awaitAll waits until the consumers together have seen every body of want, each at least once.
func awaitAll(t *testing.T, want []string, consumers ...*received) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages", len(want)), func() bool {
		seen := make(map[string]bool)
		for _, body := range bodiesOf(consumers) {
			seen[body] = true
		}
		return !slices.ContainsFunc(want, func(body string) bool { return !seen[body] })
	})
}

func bodiesOf(consumers []*received) []string {
	var bodies []string
	for _, r := range consumers {
		bodies = append(bodies, r.bodies()...)
	}
	return bodies
}
