package conformance

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func TestPushConcurrent(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	want := send(t, p, topic, "before", 100)
	_, got := c.push(c.group(), topic, "*")
	want = append(want, send(t, p, topic, "while", 100)...)
	awaitExactly(t, want, got)
	queues := make(map[primitive.MessageQueue]bool)
	for _, m := range got.all() {
		queues[*m.Queue] = true
	}
	if len(queues) < 4 {
		t.Errorf("messages of %d queues, want at least 4", len(queues))
	}
}

func TestPushOrderly(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	topic := c.createTopic(p)
	var (
		mu        sync.Mutex
		suspended int
		got       = &received{}
	)
	c.pushHandled(c.group(), topic, "*", func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		mu.Lock()
		defer mu.Unlock()
		if string(messages[0].Body) == "k3:10" && suspended == 0 {
			suspended++
			return consumer.SuspendCurrentQueueAMoment, nil
		}
		got.add(messages...)
		return consumer.ConsumeSuccess, nil
	}, consumer.WithConsumerOrder(true))

	var want []string
	for i := range 25 {
		for key := range 8 {
			body := fmt.Sprintf("k%d:%d", key, i)
			want = append(want, body)
			sendOK(t, p, message(topic, "t", body).WithShardingKey(fmt.Sprintf("k%d", key)))
		}
	}
	awaitExactly(t, want, got)
	next := make(map[string]int)
	for _, body := range got.bodies() {
		key, number, _ := strings.Cut(body, ":")
		if number != strconv.Itoa(next[key]) {
			t.Fatalf("key %s: message %s where %d is due", key, number, next[key])
		}
		next[key]++
	}
}

func TestPushTags(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	_, either := c.push(c.group(), topic, "A || B")
	_, collision := c.push(c.group()+"2", topic, "AaAa")
	want := send(t, p, topic, "A", 10)
	send(t, p, topic, "C", 10)
	send(t, p, topic, "BBBB", 10)
	want = append(want, send(t, p, topic, "B", 10)...)
	wantCollision := send(t, p, topic, "AaAa", 10)
	awaitExactly(t, want, either)
	awaitExactly(t, wantCollision, collision)
}

// TestRebalance has three members share four queues. In the steady state each message is consumed once; while
// members come and go none is lost.
func TestRebalance(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	var (
		members [3]rocketmq.PushConsumer
		got     [3]*received
	)
	for i := range members {
		members[i], got[i] = c.push(c.group(), topic, "*")
	}
	awaitShares(t, c, p, topic, got[:])
	steady := send(t, p, topic, "steady", 60)
	awaitOnce(t, steady, got[:])

	// A member leaves and another joins in the middle of a stream.
	want := send(t, p, topic, "early", 40)
	if err := members[1].Shutdown(); err != nil {
		t.Fatal(err)
	}
	want = append(want, send(t, p, topic, "left", 40)...)
	_, late := c.push(c.group(), topic, "*")
	want = append(want, send(t, p, topic, "joined", 40)...)
	awaitAll(t, want, got[0], got[1], got[2], late)
}

// awaitShares probes until every member gets a share of the queues and no queue has two owners, twice in a row.
func awaitShares(t *testing.T, c *clients, p rocketmq.Producer, topic string, members []*received) {
	t.Helper()
	round, stable := 0, 0
	eventually(t, "a share of the queues for each member", func() bool {
		round++
		probe := send(t, p, topic, fmt.Sprintf("probe%d", round), 8)
		awaitAll(t, probe, members...)
		owners := make(map[primitive.MessageQueue]int)
		shares := make(map[int]bool)
		for i, member := range members {
			for _, m := range member.all() {
				if slices.Contains(probe, string(m.Body)) {
					if owner, ok := owners[*m.Queue]; ok && owner != i {
						stable = 0
						return false
					}
					owners[*m.Queue] = i
					shares[i] = true
				}
			}
		}
		if len(shares) < len(members) {
			stable = 0
			return false
		}
		stable++
		return stable == 2
	})
}

// awaitOnce waits for want and demands that no message of it came twice.
func awaitOnce(t *testing.T, want []string, members []*received) {
	t.Helper()
	awaitAll(t, want, members...)
	count := make(map[string]int)
	for _, body := range bodiesOf(members) {
		count[body]++
	}
	for _, body := range want {
		if count[body] != 1 {
			t.Errorf("%s: %d deliveries", body, count[body])
		}
	}
}

// TestPushRetry refuses a message once: it comes again, later and counted.
func TestPushRetry(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	// The group's first heartbeat makes its retry topic, whose route this client would learn only 30 s later. A second
	// member knows it from its start.
	first, _ := c.push(c.group(), topic, "t")
	if err := first.Shutdown(); err != nil {
		t.Fatal(err)
	}
	got := &received{}
	c.pushHandled(c.group(), topic, "t", func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		got.add(messages...)
		if messages[0].ReconsumeTimes > 0 {
			return consumer.ConsumeSuccess, nil
		}
		if concurrently, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			concurrently.DelayLevelWhenNextConsume = 1
		}
		return consumer.ConsumeRetryLater, nil
	})
	sendOK(t, p, message(topic, "t", "again"))
	eventually(t, "a second delivery", func() bool { return len(got.all()) >= 2 })
	once, again := got.all()[0], got.all()[1]
	if again.ReconsumeTimes != 1 || again.Topic != topic || string(again.Body) != "again" {
		t.Errorf("second delivery %v", again)
	}
	if gap := again.StoreTimestamp - once.StoreTimestamp; gap < 990 {
		t.Errorf("stored again after %d ms, level 1 is a second", gap)
	}
}
