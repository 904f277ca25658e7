package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is the manager written down simply: who is a member of what, by which connection, and since when.
type model struct {
	consumers map[string]map[string]modelMember
	producers map[string]map[string]modelMember
}

type modelMember struct {
	conn *fakeClient
	seen time.Time
}

func (m *model) join(table map[string]map[string]modelMember, group, client string, mem modelMember) {
	if table[group] == nil {
		table[group] = map[string]modelMember{}
	}
	table[group][client] = mem
}

func (m *model) drop(gone func(modelMember) bool) {
	for _, table := range []map[string]map[string]modelMember{m.consumers, m.producers} {
		for group, members := range table {
			maps.DeleteFunc(members, func(_ string, mem modelMember) bool { return gone(mem) })
			if len(members) == 0 {
				delete(table, group)
			}
		}
	}
}

// TestManagerAgainstModel runs random operations and compares the members after each, and who was told of it.
func TestManagerAgainstModel(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)

	now := time.Unix(1_700_000_000, 0)
	m := New(Config{Clock: func() time.Time { return now }})
	want := &model{consumers: map[string]map[string]modelMember{}, producers: map[string]map[string]modelMember{}}
	groups := []string{"g0", "g1", "g2"}
	conns := make([]*fakeClient, 12)
	for i := range conns {
		conns[i] = newFakeClient(fmt.Sprint("conn", i))
	}

	for step := range 20_000 {
		before := snapshot(want.consumers)
		conn := conns[rng.IntN(len(conns))]
		client := fmt.Sprint("c", rng.IntN(6)) // fewer than connections: clients come back on new ones
		g := groups[rng.IntN(len(groups))]
		switch op := rng.IntN(10); {
		case op < 5:
			m.Heartbeat(id(client, conn), []string{g}, consumer(g, sub("t", "*", 1)))
			want.join(want.consumers, g, client, modelMember{conn, now})
			want.join(want.producers, g, client, modelMember{conn, now})
		case op < 7:
			m.Unregister(client, g, g)
			for _, table := range []map[string]map[string]modelMember{want.consumers, want.producers} {
				if delete(table[g], client); len(table[g]) == 0 {
					delete(table, g)
				}
			}
		case op < 8:
			m.Disconnected(conn)
			want.drop(func(mem modelMember) bool { return mem.conn == conn })
		default:
			now = now.Add(time.Duration(rng.IntN(50)) * time.Second)
			m.Expire()
			want.drop(func(mem modelMember) bool { return now.Sub(mem.seen) > 120*time.Second })
		}
		for _, g := range groups {
			ids := slices.Sorted(maps.Keys(want.consumers[g]))
			if got := m.MemberIDs(g); !slices.Equal(got, ids) {
				t.Fatalf("step %d: members of %s are %v, want %v", step, g, got, ids)
			}
			var producers []string
			for _, p := range m.Producers(g) {
				producers = append(producers, p.ClientID)
			}
			if ids := slices.Sorted(maps.Keys(want.producers[g])); !slices.Equal(producers, ids) {
				t.Fatalf("step %d: producers of %s are %v, want %v", step, g, producers, ids)
			}
			changed := !slices.Equal(before[g], ids)
			for _, c := range conns {
				members := 0
				for _, mem := range want.consumers[g] {
					if mem.conn == c {
						members++
					}
				}
				told := c.take(g)
				if (changed && told != members) || (!changed && told != 0) {
					t.Fatalf("step %d: %s has %d members of %s (changed: %v) and was told %d times", step, c.name, members, g, changed, told)
				}
			}
		}
	}
}

func snapshot(table map[string]map[string]modelMember) map[string][]string {
	out := map[string][]string{}
	for g, members := range table {
		out[g] = slices.Sorted(maps.Keys(members))
	}
	return out
}
