package group

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/varvemq/varve/internal/filter"
)

// Client is a client's connection, as the front end has it. Implementations are comparable and their methods do not block.
type Client interface {
	// NotifyMembersChanged tells the client that the members of one of its groups have changed.
	NotifyMembersChanged(group string)
	// RemoteAddr is the client's host:port.
	RemoteAddr() string
}

// Config holds the times that the package works with. Zero means default.
type Config struct {
	Expiry time.Duration // a silent client is dropped after this; 120 s
	Logger *slog.Logger
	Clock  func() time.Time
}

func (c *Config) fill() {
	if c.Expiry == 0 {
		c.Expiry = 120 * time.Second
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Identity says who a client is.
type Identity struct {
	ClientID string
	Language string
	Version  int32
	Conn     Client
}

// Subscription is what a group wants of a topic.
type Subscription struct {
	Topic          string
	Expression     string
	ExpressionType string // TAG or SQL92
	Version        int64  // the client's clock when it subscribed
	ClassFilter    bool
	Tags           filter.Tags // of a TAG expression
}

// ConsumerData is one consumer group of a heartbeat.
type ConsumerData struct {
	Group            string
	ConsumeType      string // CONSUME_ACTIVELY, CONSUME_PASSIVELY or CONSUME_POP
	MessageModel     string // CLUSTERING or BROADCASTING
	ConsumeFromWhere string
	Subscriptions    []Subscription
	// KeepSubscriptions says that Subscriptions is not filled in: the group's stay as they are.
	KeepSubscriptions bool
	// Quiet says that the group's members do not want to be told of changes.
	Quiet bool
}

// Member is a client as the member of a group.
type Member struct {
	Identity
	LastSeen time.Time
}

// Info is a snapshot of a consumer group's live state.
type Info struct {
	ConsumeType, MessageModel, ConsumeFromWhere string
	Members                                     []Member       // in order of client ids
	Subscriptions                               []Subscription // in order of topics
}

// Manager holds the live consumer and producer groups.
type Manager struct {
	cfg Config

	mu        sync.RWMutex // guards the two maps and what they hold
	consumers map[string]*consumerGroup
	producers map[string]map[string]*Member // group → client id
}

type consumerGroup struct {
	consumeType, messageModel, consumeFromWhere string
	quiet                                       bool

	members map[string]*Member
	ids     []string // sorted; replaced, never changed
	subs    map[string]*Subscription
}

// New makes an empty manager.
func New(cfg Config) *Manager {
	cfg.fill()
	return &Manager{cfg: cfg, consumers: map[string]*consumerGroup{}, producers: map[string]map[string]*Member{}}
}

// Heartbeat takes in what one client says of itself. Groups that it does not name are left as they are.
func (m *Manager) Heartbeat(id Identity, producerGroups []string, consumers []ConsumerData) {
	now := m.cfg.Clock()
	var changed []notification
	m.mu.Lock()
	for _, g := range producerGroups {
		members := m.producers[g]
		if members == nil {
			members = map[string]*Member{}
			m.producers[g] = members
		}
		members[id.ClientID] = &Member{Identity: id, LastSeen: now}
	}
	for i := range consumers {
		if m.joinLocked(id, &consumers[i], now) {
			changed = append(changed, m.notificationLocked(consumers[i].Group))
		}
	}
	m.mu.Unlock()
	notify(changed)
}

// joinLocked reports whether the group's members or subscriptions changed in a way that members must know of.
func (m *Manager) joinLocked(id Identity, d *ConsumerData, now time.Time) bool {
	g := m.consumers[d.Group]
	if g == nil {
		g = &consumerGroup{members: map[string]*Member{}, subs: map[string]*Subscription{}}
		m.consumers[d.Group] = g
	}
	g.consumeType, g.messageModel, g.consumeFromWhere, g.quiet = d.ConsumeType, d.MessageModel, d.ConsumeFromWhere, d.Quiet
	old, known := g.members[id.ClientID]
	switch {
	case !known:
		g.members[id.ClientID] = &Member{Identity: id, LastSeen: now}
		g.sortLocked()
	default:
		if old.Conn != id.Conn {
			m.cfg.Logger.Info("consumer has a new connection", "group", d.Group, "client_id", id.ClientID, "addr", id.Conn.RemoteAddr())
		}
		old.Identity, old.LastSeen = id, now
	}
	if d.KeepSubscriptions {
		return !known
	}
	return g.subscribeLocked(d.Subscriptions) || !known
}

func (g *consumerGroup) sortLocked() {
	ids := make([]string, 0, len(g.members))
	for id := range g.members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	g.ids = ids
}

// subscribeLocked takes the newer of each subscription, and drops topics that the newest heartbeat does not name.
func (g *consumerGroup) subscribeLocked(subs []Subscription) bool {
	changed := false
	for i := range subs {
		s := &subs[i]
		old := g.subs[s.Topic]
		if old == nil || s.Version > old.Version || (s.Version == old.Version && s.Expression != old.Expression) {
			c := *s
			g.subs[s.Topic] = &c
			changed = changed || old == nil || old.Expression != s.Expression
		}
	}
	for topic := range g.subs {
		if !slices.ContainsFunc(subs, func(s Subscription) bool { return s.Topic == topic }) {
			delete(g.subs, topic)
			changed = true
		}
	}
	return changed
}

// Unregister ends a client's membership of the named groups; an empty name is skipped.
func (m *Manager) Unregister(clientID, producerGroup, consumerGroup string) {
	var changed []notification
	m.mu.Lock()
	if producerGroup != "" {
		m.leaveProducerLocked(producerGroup, clientID)
	}
	if g := m.consumers[consumerGroup]; g != nil {
		if _, ok := g.members[clientID]; ok {
			m.leaveLocked(consumerGroup, g, clientID)
			changed = append(changed, m.notificationLocked(consumerGroup))
		}
	}
	m.mu.Unlock()
	notify(changed)
}

func (m *Manager) leaveLocked(name string, g *consumerGroup, clientID string) {
	delete(g.members, clientID)
	g.sortLocked()
	if len(g.members) == 0 {
		delete(m.consumers, name)
	}
}

func (m *Manager) leaveProducerLocked(group, clientID string) {
	members := m.producers[group]
	delete(members, clientID)
	if len(members) == 0 {
		delete(m.producers, group)
	}
}

// Disconnected ends every membership that rests on a connection.
func (m *Manager) Disconnected(conn Client) {
	m.drop(func(mem *Member) bool { return mem.Conn == conn })
}

// Expire drops the clients that have been silent for too long.
func (m *Manager) Expire() {
	deadline := m.cfg.Clock().Add(-m.cfg.Expiry)
	m.drop(func(mem *Member) bool { return mem.LastSeen.Before(deadline) })
}

func (m *Manager) drop(gone func(*Member) bool) {
	var changed []notification
	m.mu.Lock()
	for name, members := range m.producers {
		for id, mem := range members {
			if gone(mem) {
				m.leaveProducerLocked(name, id)
			}
		}
	}
	for name, g := range m.consumers {
		left := 0
		for id, mem := range g.members {
			if gone(mem) {
				m.leaveLocked(name, g, id)
				left++
			}
		}
		if left > 0 {
			changed = append(changed, m.notificationLocked(name))
		}
	}
	m.mu.Unlock()
	notify(changed)
}

// Run expires silent clients until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.Expiry / 12)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.Expire()
		case <-ctx.Done():
			return nil
		}
	}
}

// notification is who must hear of a change.
type notification struct {
	group string
	conns []Client
}

func (m *Manager) notificationLocked(name string) notification {
	n := notification{group: name}
	if g := m.consumers[name]; g != nil && !g.quiet {
		for _, mem := range g.members {
			n.conns = append(n.conns, mem.Conn)
		}
	}
	return n
}

func notify(changed []notification) {
	for _, n := range changed {
		for _, c := range n.conns {
			c.NotifyMembersChanged(n.group)
		}
	}
}

// MemberIDs returns the client ids of a group's members in order; nil when it has none. The slice must not be changed.
func (m *Manager) MemberIDs(group string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if g := m.consumers[group]; g != nil {
		return g.ids
	}
	return nil
}

// Subscription returns what a group wants of a topic. known says whether the group has any live member.
func (m *Manager) Subscription(group, topic string) (sub *Subscription, known bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	g := m.consumers[group]
	if g == nil {
		return nil, false
	}
	return g.subs[topic], true
}

// Model returns the group's message model, CLUSTERING or BROADCASTING; empty when the group has no live member.
func (m *Manager) Model(group string) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if g := m.consumers[group]; g != nil {
		return g.messageModel
	}
	return ""
}

// Info returns a snapshot of a group; false when it has no live member.
func (m *Manager) Info(group string) (Info, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	g := m.consumers[group]
	if g == nil {
		return Info{}, false
	}
	info := Info{ConsumeType: g.consumeType, MessageModel: g.messageModel, ConsumeFromWhere: g.consumeFromWhere}
	for _, id := range g.ids {
		info.Members = append(info.Members, *g.members[id])
	}
	for _, s := range g.subs {
		info.Subscriptions = append(info.Subscriptions, *s)
	}
	slices.SortFunc(info.Subscriptions, func(a, b Subscription) int { return strings.Compare(a.Topic, b.Topic) })
	return info, true
}

// Producers returns a producer group's members in order of client ids.
func (m *Manager) Producers(group string) []Member {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []Member
	for _, mem := range m.producers[group] {
		out = append(out, *mem)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.ClientID, b.ClientID) })
	return out
}

// GroupsOfTopic returns the live groups subscribed to a topic, in order.
func (m *Manager) GroupsOfTopic(topic string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []string
	for name, g := range m.consumers {
		if g.subs[topic] != nil {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Counts returns how many consumer and producer groups have live members.
func (m *Manager) Counts() (consumers, producers int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.consumers), len(m.producers)
}
