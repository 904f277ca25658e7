package group

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/filter"
)

// fakeClient counts what it is told.
type fakeClient struct {
	name string

	mu   sync.Mutex
	told map[string]int
}

func newFakeClient(name string) *fakeClient { return &fakeClient{name: name, told: map[string]int{}} }

func (c *fakeClient) NotifyMembersChanged(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told[group]++
}

func (c *fakeClient) RemoteAddr() string { return c.name + ":1" }

// take returns how often the client was told of a group, and starts from zero.
func (c *fakeClient) take(group string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.told[group]
	c.told[group] = 0
	return n
}

func consumer(group string, subs ...Subscription) []ConsumerData {
	return []ConsumerData{{
		Group: group, ConsumeType: "CONSUME_PASSIVELY", MessageModel: "CLUSTERING", ConsumeFromWhere: "CONSUME_FROM_LAST_OFFSET", Subscriptions: subs,
	}}
}

func sub(topic, expr string, version int64) Subscription {
	tags, err := filter.ParseTags(expr)
	if err != nil {
		panic(err)
	}
	return Subscription{Topic: topic, Expression: expr, ExpressionType: "TAG", Version: version, Tags: tags}
}

func id(client string, conn Client) Identity {
	return Identity{ClientID: client, Language: "JAVA", Version: 479, Conn: conn}
}

func TestMembership(t *testing.T) {
	t.Parallel()
	m := New(Config{})
	a, b := newFakeClient("a"), newFakeClient("b")
	m.Heartbeat(id("c2", a), []string{"p"}, consumer("g", sub("t", "*", 1)))
	m.Heartbeat(id("c1", b), nil, consumer("g", sub("t", "*", 1)))
	if diff := cmp.Diff([]string{"c1", "c2"}, m.MemberIDs("g")); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if a.take("g") != 2 || b.take("g") != 1 {
		t.Error("each join must be told to all members")
	}
	m.Heartbeat(id("c1", b), nil, consumer("g", sub("t", "*", 1)))
	if a.take("g") != 0 || b.take("g") != 0 {
		t.Error("a heartbeat that changes nothing was told")
	}
	m.Unregister("c2", "", "g")
	if got := m.MemberIDs("g"); !slices.Equal(got, []string{"c1"}) {
		t.Errorf("members %v after c2 left", got)
	}
	if a.take("g") != 0 || b.take("g") != 1 {
		t.Error("only the member that is left must be told")
	}
	if got := m.Producers("p"); len(got) != 1 || got[0].ClientID != "c2" {
		t.Errorf("producers %v: leaving the consumer group ended the producer", got)
	}
	m.Unregister("c2", "p", "nobody")
	m.Disconnected(b)
	if c, p := m.Counts(); c != 0 || p != 0 {
		t.Errorf("%d consumer and %d producer groups are left", c, p)
	}
	if m.MemberIDs("g") != nil {
		t.Error("an empty group has members")
	}
	if _, ok := m.Info("g"); ok {
		t.Error("an empty group has information")
	}
}

func TestNewConnectionOfAClient(t *testing.T) {
	t.Parallel()
	m := New(Config{})
	older, newer := newFakeClient("old"), newFakeClient("new")
	m.Heartbeat(id("c", older), []string{"p"}, consumer("g", sub("t", "*", 1)))
	m.Heartbeat(id("c", newer), []string{"p"}, consumer("g", sub("t", "*", 1)))
	m.Disconnected(older)
	if got := m.MemberIDs("g"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("members %v: the closing of the older connection ended the newer membership", got)
	}
	if len(m.Producers("p")) != 1 {
		t.Error("the closing of the older connection ended the producer")
	}
	m.Disconnected(newer)
	if m.MemberIDs("g") != nil || len(m.Producers("p")) != 0 {
		t.Error("the closing of the newer connection left members")
	}
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	m := New(Config{})
	a, b := newFakeClient("a"), newFakeClient("b")
	m.Heartbeat(id("a", a), nil, consumer("g", sub("t", "x", 5), sub("u", "*", 5)))
	a.take("g")

	m.Heartbeat(id("b", b), nil, consumer("g", sub("t", "y", 4), sub("u", "*", 5))) // older: loses
	if s, known := m.Subscription("g", "t"); !known || s.Expression != "x" {
		t.Errorf("subscription %+v, want the newer one", s)
	}
	a.take("g")
	m.Heartbeat(id("b", b), nil, consumer("g", sub("t", "y", 6), sub("u", "*", 5))) // newer: wins, and is told
	if s, _ := m.Subscription("g", "t"); s.Expression != "y" || !s.Tags.MatchString("y") || s.Tags.MatchString("x") {
		t.Errorf("subscription %+v, want the newer one", s)
	}
	if a.take("g") != 1 {
		t.Error("a changed subscription was not told")
	}
	m.Heartbeat(id("b", b), nil, consumer("g", sub("t", "y", 6))) // u is gone
	if s, known := m.Subscription("g", "u"); !known || s != nil {
		t.Errorf("subscription %+v of a topic that the newest heartbeat does not name", s)
	}
	if got := m.GroupsOfTopic("t"); !slices.Equal(got, []string{"g"}) {
		t.Errorf("groups of the topic %v", got)
	}
	if _, known := m.Subscription("nobody", "t"); known {
		t.Error("a group without members is known")
	}

	keep := consumer("g")
	keep[0].KeepSubscriptions = true
	a.take("g")
	m.Heartbeat(id("b", b), nil, keep)
	if s, _ := m.Subscription("g", "t"); s == nil || a.take("g") != 0 {
		t.Error("a heartbeat without subscriptions dropped them")
	}

	info, ok := m.Info("g")
	if !ok || len(info.Members) != 2 || info.Members[0].ClientID != "a" || len(info.Subscriptions) != 1 || info.MessageModel != "CLUSTERING" {
		t.Errorf("info %+v", info)
	}
	if m.Model("g") != "CLUSTERING" || m.Model("nobody") != "" {
		t.Error("wrong message model")
	}
}

func TestQuietGroupIsNotTold(t *testing.T) {
	t.Parallel()
	m := New(Config{})
	a, b := newFakeClient("a"), newFakeClient("b")
	quiet := consumer("g", sub("t", "*", 1))
	quiet[0].Quiet = true
	m.Heartbeat(id("a", a), nil, quiet)
	m.Heartbeat(id("b", b), nil, quiet)
	m.Disconnected(b)
	if a.take("g") != 0 {
		t.Error("a member of a quiet group was told of changes")
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := New(Config{})
		done := make(chan struct{})
		ctx := t.Context()
		go func() {
			defer close(done)
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		silent, alive := newFakeClient("silent"), newFakeClient("alive")
		m.Heartbeat(id("silent", silent), []string{"p"}, consumer("g"))
		m.Heartbeat(id("alive", alive), nil, consumer("g"))
		alive.take("g")
		for range 3 {
			time.Sleep(30 * time.Second)
			m.Heartbeat(id("alive", alive), nil, consumer("g"))
		}
		time.Sleep(25 * time.Second)
		if got := m.MemberIDs("g"); len(got) != 2 {
			t.Errorf("members %v after 115 s", got)
		}
		time.Sleep(25 * time.Second)
		if got := m.MemberIDs("g"); !slices.Equal(got, []string{"alive"}) {
			t.Errorf("members %v after 140 s", got)
		}
		if alive.take("g") != 1 || len(m.Producers("p")) != 0 {
			t.Error("the end of a silent client was not told, or left its producer")
		}
		time.Sleep(140 * time.Second)
		if m.MemberIDs("g") != nil {
			t.Error("a client that fell silent is still there")
		}
	})
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	m := New(Config{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c := newFakeClient(fmt.Sprint(i))
			for n := range 200 {
				m.Heartbeat(id(c.name, c), []string{"p"}, consumer("g", sub("t", "*", int64(n))))
				m.MemberIDs("g")
				m.Info("g")
				m.Subscription("g", "t")
				if n%3 == 0 {
					m.Disconnected(c)
				}
			}
			m.Disconnected(c)
		})
	}
	wg.Wait()
	if c, p := m.Counts(); c != 0 || p != 0 {
		t.Errorf("%d consumer and %d producer groups are left", c, p)
	}
}
