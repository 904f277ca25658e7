package tiertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// TestModel does what comes to mind, at random, to topics of several kinds, and compares every answer with a simple model: a list of messages per queue.
func TestModel(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg      broker.Config
		external bool
		object   bool
	}{
		"tiny segments": {cfg: broker.Config{SealBytes: 1 << 10, SealAge: 100 * time.Millisecond, DeleteGrace: time.Second, WALHot: 1, ColdCache: 1 << 20, TailCache: 1 << 20}},
		"on demand":     {cfg: broker.Config{SealBytes: 64 << 10, SealAge: time.Hour, ColdDisk: 4 << 20, ColdCache: 1 << 20}, external: true},
		"object":        {cfg: broker.Config{SealAge: time.Hour, DeleteGrace: time.Second, ColdCache: 1 << 20, TailCache: 1 << 20}, external: true, object: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := seed(t)
			m := &model{t: t, cfg: tt.cfg, seed: n, rng: rand.New(rand.NewPCG(n, 1)), topics: map[string]*modelTopic{}, object: tt.object}
			m.cfg.ObjectStore = newStore(t).url
			m.cfg.DataDir = t.TempDir()
			m.cfg.WALLimit, m.cfg.MaxMessageSize = 16<<20, 1<<20
			if tt.external {
				m.cfg.Etcd, m.cfg.LeaseTTL = []string{startEtcd(t).URL}, 2*time.Second
			}
			m.run(number(t, envSteps, shortSteps))
		})
	}
}

// modelMessage is a message that was acknowledged.
type modelMessage struct {
	n        uint64
	mean     int
	tag, key string
	stored   time.Time // once it was read
}

// modelTopic is a topic, by queue and offset.
type modelTopic struct {
	name   string
	trims  bool // it has retention
	queues [][]modelMessage
	firsts []int64
}

type model struct {
	t      *testing.T
	cfg    broker.Config
	seed   uint64
	rng    *rand.Rand
	object bool
	topics map[string]*modelTopic
	names  []string
	next   uint64
	broker *brokertest.Broker
	done   []string // steps, for the report of a fault
}

func (m *model) at() place { return place(m.broker.Addrs.Namesrv) }

func (m *model) run(steps int) {
	m.t.Helper()
	m.broker = brokertest.Start(m.t, m.cfg)
	for _, name := range []string{"plain", "raw", "brief"} {
		m.create(name)
		m.names = append(m.names, name)
	}
	all := []struct {
		name   string
		weight int
		do     func(*modelTopic, int) error
	}{
		{"send", 40, m.send},
		{"read", 15, m.read},
		{"read by tag", 6, m.readByTag},
		{"find by time", 6, m.findByTime},
		{"find by key", 6, m.findByKey},
		{"bounds", 4, m.bounds},
		{"seal", 8, func(*modelTopic, int) error { sealNow(m.t, m.at()); return nil }},
		{"restart", 3, func(*modelTopic, int) error { return m.restart(false) }},
		{"move", 3, func(*modelTopic, int) error { return m.restart(true) }},
		{"recreate", 2, m.recreate},
		{"alter", 3, m.alter},
		{"wait", 2, func(*modelTopic, int) error { time.Sleep(300 * time.Millisecond); return nil }},
	}
	total := 0
	for _, s := range all {
		total += s.weight
	}
	counts := map[string]int{}
	for range steps {
		x := m.rng.IntN(total)
		i := 0
		for ; x >= all[i].weight; i++ {
			x -= all[i].weight
		}
		topic := m.topics[m.names[m.rng.IntN(len(m.names))]]
		queue := m.rng.IntN(len(topic.queues))
		counts[all[i].name]++
		m.step(all[i].name, topic, queue, all[i].do)
	}
	for _, move := range []bool{false, true} {
		if move {
			m.step("move", m.topics["plain"], 0, func(*modelTopic, int) error { return m.restart(true) })
		}
		for _, name := range m.names {
			for q := range m.topics[name].queues {
				m.step("read", m.topics[name], q, m.readAll)
			}
		}
	}
	must(m.t, m.broker.Stop())
	m.t.Logf("%v, %d messages", counts, m.next)
}

func (m *model) step(name string, topic *modelTopic, queue int, do func(*modelTopic, int) error) {
	m.t.Helper()
	m.done = append(m.done, fmt.Sprintf("%s %s %d", name, topic.name, queue))
	if err := do(topic, queue); err != nil {
		m.t.Fatalf("step %d, %s, queue %d of %s: %v\nthe last steps: %q", len(m.done), name, queue, topic.name, err, m.done[max(0, len(m.done)-20):])
	}
}

func (m *model) create(name string) {
	attributes := map[string]string{}
	if m.object {
		attributes["durability"] = "object"
	}
	topic := &modelTopic{name: name, queues: make([][]modelMessage, 1+m.rng.IntN(3))}
	topic.firsts = make([]int64, len(topic.queues))
	switch name {
	case "raw":
		attributes["compression"] = "none"
	case "brief":
		attributes["retention.bytes"] = "20000"
		topic.trims = true
	}
	m.at().createTopic(m.t, name, len(topic.queues), attributes)
	m.topics[name] = topic
}

func (m *model) send(topic *modelTopic, queue int) error {
	count := 1 + m.rng.IntN(30)
	messages, sent := make([]*client.Message, count), make([]modelMessage, count)
	mean := []int{20, 300, 3000}[m.rng.IntN(3)]
	if m.rng.IntN(20) == 0 {
		mean = 200_000
		messages, sent = messages[:1], sent[:1]
	}
	for i := range messages {
		s := &sent[i]
		*s = modelMessage{n: m.next, mean: mean}
		m.next++
		messages[i] = &client.Message{Topic: topic.name, Queue: &client.Queue{ID: queue}, Body: bodyOf(m.seed, s.n, mean)}
		if m.rng.IntN(3) > 0 {
			s.tag = fmt.Sprint("tag", m.rng.IntN(4))
			messages[i].Tag = s.tag
		}
		if m.rng.IntN(8) == 0 {
			s.key = fmt.Sprint("key", m.rng.IntN(30))
			messages[i].Keys = []string{s.key}
		}
	}
	p := m.at().producer(m.t)
	defer func() { _ = p.Close() }()
	results, err := p.SendBatch(m.t.Context(), messages)
	if err != nil {
		return err
	}
	for _, r := range results {
		if want := int64(len(topic.queues[queue])); r.Offset != want {
			return fmt.Errorf("offset %d, want %d", r.Offset, want)
		}
		topic.queues[queue] = append(topic.queues[queue], sent[0])
		sent = sent[1:]
	}
	return nil
}

// check compares a message with the model.
func (m *model) check(topic *modelTopic, queue int, got *client.MessageExt) error {
	all := topic.queues[queue]
	if got.Offset < 0 || got.Offset >= int64(len(all)) || got.Queue.ID != queue || got.Topic != topic.name {
		return fmt.Errorf("offset %d of queue %d of %s", got.Offset, got.Queue.ID, got.Topic)
	}
	want := &all[got.Offset]
	key := ""
	if len(got.Keys) > 0 {
		key = got.Keys[0]
	}
	switch {
	case string(got.Body) != string(bodyOf(m.seed, want.n, want.mean)):
		return fmt.Errorf("offset %d: another body, %d bytes", got.Offset, len(got.Body))
	case got.Tag != want.tag || key != want.key:
		return fmt.Errorf("offset %d: tag %q, key %q; want %q, %q", got.Offset, got.Tag, key, want.tag, want.key)
	case !want.stored.IsZero() && !want.stored.Equal(got.StoreTime):
		return fmt.Errorf("offset %d: the store time was %v and is %v", got.Offset, want.stored, got.StoreTime)
	case got.Offset > 0 && all[got.Offset-1].stored.After(got.StoreTime):
		return fmt.Errorf("offset %d: stored at %v, the one before at %v", got.Offset, got.StoreTime, all[got.Offset-1].stored)
	}
	want.stored = got.StoreTime
	return nil
}

// readFrom reads so many messages with the tag, if one is given, from an offset on, and expects those of the model.
func (m *model) readFrom(topic *modelTopic, queue int, from int64, most int, tag string) error {
	r := m.at().reader(m.t)
	defer func() { _ = r.Close() }()
	opts := []client.ReadOption{client.OnQueue(client.Queue{ID: queue}), client.UntilEnd()}
	if tag != "" {
		opts = append(opts, client.WithTags(tag))
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), stepTimeout)
	defer cancel()
	s, err := r.Open(ctx, topic.name, client.AtOffset(from), opts...)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	all := topic.queues[queue]
	skip := func() {
		for from < int64(len(all)) && tag != "" && all[from].tag != tag {
			from++
		}
	}
	for first := true; most > 0; most-- {
		skip()
		got, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			if topic.trims { // everything may be gone by now
				if err := m.bounds(topic, queue); err != nil {
					return err
				}
				from = max(from, topic.firsts[queue])
			}
			if from < int64(len(all)) {
				return fmt.Errorf("ends at offset %d of %d", from, len(all))
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("at offset %d: %w", from, err)
		}
		if got.Offset != from && (!topic.trims || got.Offset < from || !first && topic.firsts[queue] > got.Offset) {
			return fmt.Errorf("offset %d where %d is due", got.Offset, from)
		}
		if err := m.check(topic, queue, got); err != nil {
			return err
		}
		if tag != "" && got.Tag != tag {
			return fmt.Errorf("offset %d has tag %q, want %q", got.Offset, got.Tag, tag)
		}
		from, first = got.Offset+1, false
	}
	return nil
}

// anywhere returns an offset of a queue, or its end.
func (m *model) anywhere(topic *modelTopic, queue int) int64 {
	return m.rng.Int64N(int64(len(topic.queues[queue]) + 1))
}

func (m *model) read(topic *modelTopic, queue int) error {
	return m.readFrom(topic, queue, m.anywhere(topic, queue), 1+m.rng.IntN(100), "")
}

func (m *model) readAll(topic *modelTopic, queue int) error {
	if err := m.bounds(topic, queue); err != nil {
		return err
	}
	return m.readFrom(topic, queue, topic.firsts[queue], len(topic.queues[queue])+1, "")
}

func (m *model) readByTag(topic *modelTopic, queue int) error {
	if topic.trims { // what is due cannot be told
		return nil
	}
	return m.readFrom(topic, queue, m.anywhere(topic, queue), 100, fmt.Sprint("tag", m.rng.IntN(5)))
}

func (m *model) bounds(topic *modelTopic, queue int) error {
	first, end := m.at().bounds(m.t, topic.name, queue)
	n := int64(len(topic.queues[queue]))
	if end != n || first > n || first < topic.firsts[queue] || first > 0 && !topic.trims {
		return fmt.Errorf("offsets [%d, %d), want [%d, %d)", first, end, topic.firsts[queue], n)
	}
	topic.firsts[queue] = first
	return nil
}

func (m *model) findByTime(topic *modelTopic, queue int) error {
	if topic.trims {
		return nil
	}
	if err := m.readAll(topic, queue); err != nil { // so that all store times are known
		return err
	}
	all := topic.queues[queue]
	when := time.Now()
	if i := m.anywhere(topic, queue); i < int64(len(all)) {
		when = all[i].stored.Add(time.Duration(m.rng.IntN(3)-1) * time.Millisecond)
	}
	want := int64(sort.Search(len(all), func(i int) bool { return !all[i].stored.Before(when) }))
	a := m.at().admin(m.t)
	defer func() { _ = a.Close() }()
	got, err := a.OffsetAt(m.t.Context(), topic.name, client.Queue{ID: queue}, when)
	if err == nil && got != want {
		err = fmt.Errorf("offset %d for %v, want %d of %d", got, when.UnixMilli(), want, len(all))
	}
	return err
}

func (m *model) findByKey(topic *modelTopic, _ int) error {
	key := fmt.Sprint("key", m.rng.IntN(32))
	a := m.at().admin(m.t)
	defer func() { _ = a.Close() }()
	found, err := a.QueryByKey(m.t.Context(), topic.name, key, client.KeyQuery{Max: 64})
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return err
	}
	type where struct {
		queue  int
		offset int64
	}
	got := map[where]bool{}
	for _, f := range found {
		w := where{f.Queue.ID, f.Offset}
		if got[w] {
			return fmt.Errorf("%v was found twice", w)
		}
		if got[w] = true; w.queue < 0 || w.queue >= len(topic.queues) {
			return fmt.Errorf("queue %d", w.queue)
		}
		if err := m.check(topic, w.queue, f); err != nil {
			return err
		}
		if !slices.Contains(f.Keys, key) {
			return fmt.Errorf("%v has keys %q, not %q", w, f.Keys, key)
		}
	}
	want := 0
	for q := range topic.queues {
		for o := range topic.queues[q] {
			if topic.queues[q][o].key == key {
				want++
				if w := (where{q, int64(o)}); !got[w] && !topic.trims && len(found) < 64 {
					return fmt.Errorf("key %q is at %v, which was not found", key, w)
				}
			}
		}
	}
	if len(found) < min(want, 64) && !topic.trims {
		return fmt.Errorf("key %q: %d found of %d", key, len(found), want)
	}
	return nil
}

// restart stops the broker in order and starts it, on another disk if it moves.
func (m *model) restart(move bool) error {
	if err := m.broker.Stop(); err != nil {
		return err
	}
	if move {
		entries, err := os.ReadDir(m.cfg.DataDir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Name() != "etcd" {
				must(m.t, os.RemoveAll(filepath.Join(m.cfg.DataDir, e.Name())))
			}
		}
	}
	var err error
	m.broker, err = brokertest.TryStart(m.t, m.cfg)
	return err
}

// alter changes a topic: its class, its compression, or the number of its queues.
func (m *model) alter(topic *modelTopic, _ int) error {
	attributes := map[string]string{
		"durability":  []string{"local", "object"}[m.rng.IntN(2)],
		"compression": []string{"none", "lz4", "lz4-9"}[m.rng.IntN(3)],
	}
	if m.rng.IntN(2) == 0 && len(topic.queues) < 6 {
		topic.queues, topic.firsts = append(topic.queues, nil), append(topic.firsts, 0)
	}
	a := m.at().admin(m.t)
	defer func() { _ = a.Close() }()
	return a.UpdateTopic(m.t.Context(), client.TopicConfig{Name: topic.name, ReadQueues: len(topic.queues), WriteQueues: len(topic.queues), Attributes: attributes})
}

// recreate deletes a topic and makes another of the same name.
func (m *model) recreate(topic *modelTopic, _ int) error {
	a := m.at().admin(m.t)
	defer func() { _ = a.Close() }()
	if err := a.DeleteTopic(m.t.Context(), topic.name); err != nil {
		return err
	}
	m.create(topic.name)
	return nil
}
