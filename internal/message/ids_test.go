package message

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTagHash(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]int64{
		"": 0, "TagA": 2598919, "a": 97, "AaAa": 2031744, "BBBB": 2031744,
		"polygenelubricants": -1 << 31, "中": 0x4e2d, "é": 0xe9, "😀": 0xd83d*31 + 0xde00, "a中": 97*31 + 0x4e2d,
	} {
		if got := TagHash(tag); got != want {
			t.Errorf("%q: %d, want %d", tag, got, want)
		}
		if got := TagHash([]byte(tag)); got != want {
			t.Errorf("%q as bytes: %d, want %d", tag, got, want)
		}
	}
}

func TestPhysicalOffset(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		ordinal uint32
		delta   uint64
		want    int64
	}{{0, 0, 0}, {1, 0, 1 << 35}, {1, 2, 1<<35 + 2}, {MaxOrdinal, MaxDelta, 1<<63 - 1}} {
		got, err := PhysicalOffset(tc.ordinal, tc.delta)
		if err != nil || got != tc.want {
			t.Errorf("%+v: %d %v", tc, got, err)
		}
		o, d, err := SplitPhysicalOffset(got)
		if err != nil || o != tc.ordinal || d != tc.delta {
			t.Errorf("%+v: back %d %d %v", tc, o, d, err)
		}
	}
	if _, err := PhysicalOffset(MaxOrdinal+1, 0); !errors.Is(err, ErrInvalidID) {
		t.Error(err)
	}
	if _, err := PhysicalOffset(0, MaxDelta+1); !errors.Is(err, ErrInvalidID) {
		t.Error(err)
	}
	if _, _, err := SplitPhysicalOffset(-1); !errors.Is(err, ErrInvalidID) {
		t.Error(err)
	}
}

func TestOffsetID(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"10.0.0.1:10911":      "0A00000100002A9F0000000000000102",
		"[2001:db8::1]:10911": "20010DB800000000000000000000000100002A9F0000000000000102",
	} {
		addr := netip.MustParseAddrPort(host)
		if got := OffsetID(addr, 0x102); got != want {
			t.Errorf("%s: %s", host, got)
		}
		for _, id := range []string{want, strings.ToLower(want)} {
			if h, off, err := ParseOffsetID(id); err != nil || h != addr || off != 0x102 {
				t.Errorf("%s: %v %d %v", id, h, off, err)
			}
		}
	}
	for _, id := range []string{"", "0A", strings.Repeat("X", 32), "0A000001000100000000000000000102", strings.Repeat("0", 33)} {
		if _, _, err := ParseOffsetID(id); !errors.Is(err, ErrInvalidID) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestIDGenerator(t *testing.T) {
	t.Parallel()
	loc := time.FixedZone("x", 8*3600)
	now := time.Date(2024, 3, 15, 10, 0, 0, 123e6, loc)
	g := testIDs()
	span := now.Sub(time.Date(2024, 3, 1, 0, 0, 0, 0, loc)).Milliseconds()
	if got, want := g.Next(now), "0A0000011234DEADBEEF"+strings.ToUpper(hex32(uint32(span)))+"0000"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	seen := map[string]bool{}
	for range 65000 {
		id := g.Next(now)
		if seen[id] {
			t.Fatal("duplicate", id)
		}
		seen[id] = true
	}
	at, err := UniqKeyTime(g.Next(now), now.Add(time.Second))
	if err != nil || !at.Equal(now) {
		t.Errorf("%v %v", at, err)
	}
	// An id of last month, asked for in this one.
	if at, err = UniqKeyTime(g.Next(now), time.Date(2024, 4, 2, 0, 0, 0, 0, loc)); err != nil || !at.Equal(now) {
		t.Errorf("%v %v", at, err)
	}
	next := time.Date(2024, 4, 1, 0, 0, 0, 1e6, loc)
	if id := g.Next(next); id[20:28] != "00000001" {
		t.Error("the month did not change", id)
	}
	v6 := NewIDGenerator(netip.MustParseAddr("2001:db8::1"), 1, 2).Next(now)
	if at, err := UniqKeyTime(v6, now.Add(time.Second)); len(v6) != 56 || err != nil || !at.Equal(now) {
		t.Errorf("%s %v %v", v6, at, err)
	}
	for _, id := range []string{"", "xyz", strings.Repeat("Z", 32)} {
		if _, err := UniqKeyTime(id, now); !errors.Is(err, ErrInvalidID) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func hex32(n uint32) string {
	return string(appendHex(nil, []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}))
}

func TestKeyHash(t *testing.T) {
	t.Parallel()
	// The hash is on disk: these values must never change.
	for key, want := range map[string]uint64{"": keyHashEmpty, "k": keyHashK} {
		if got := KeyHash("TopicTest", key); got != want {
			t.Errorf("%q: %#x", key, got)
		}
	}
	if KeyHash("a", "b#c") == KeyHash([]byte("a"), []byte("bc")) {
		t.Error("collision")
	}
	long := strings.Repeat("x", 1000)
	if KeyHash("t", long) != KeyHash([]byte("t"), []byte(long)) {
		t.Error("long keys")
	}
	var got []string
	EachKey([]byte("  a bb  c"), func(k []byte) { got = append(got, string(k)) })
	if strings.Join(got, ",") != "a,bb,c" {
		t.Error(got)
	}
}

func TestDelayLevels(t *testing.T) {
	t.Parallel()
	d, err := ParseDelayLevels(DefaultDelayLevels)
	if err != nil || d.Max() != 18 {
		t.Fatal(d, err)
	}
	for level, want := range map[int]time.Duration{-1: 0, 0: 0, 1: time.Second, 5: time.Minute, 14: 10 * time.Minute, 18: 2 * time.Hour, 99: 2 * time.Hour} {
		if got := d.Delay(level); got != want {
			t.Errorf("level %d: %v", level, got)
		}
	}
	for _, s := range []string{"", "1", "s", "0s", "-1s", "1x", "1.5s", "9999999999d", strings.Repeat("1s ", 300)} {
		if _, err := ParseDelayLevels(s); err == nil {
			t.Errorf("%.20q accepted", s)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"TopicTest": true, "a-b_c|d%e9": true, "": false, "a b": false, "a.b": false, "é": false,
		strings.Repeat("x", 127): true, strings.Repeat("x", 128): false,
		RetryTopic(strings.Repeat("x", 248)): true, DLQTopic(strings.Repeat("x", 251)): false,
	} {
		if err := ValidateTopic(name); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalidName) {
			t.Errorf("topic %q: %v", name, err)
		}
	}
	if ValidateGroup(strings.Repeat("x", 120)) != nil || ValidateGroup(strings.Repeat("x", 121)) == nil {
		t.Error("group length")
	}
	for topic, want := range map[string]string{RetryTopic("g"): "g", DLQTopic("g"): "g"} {
		if g, ok := GroupOfRetryTopic(topic); !ok || g != want {
			t.Error(topic, g)
		}
	}
	if _, ok := GroupOfRetryTopic("t"); ok {
		t.Error("t is no retry topic")
	}
	if !IsSystemTopic("rmq_sys_x") || !IsSystemTopic(TopicAutoCreate) || IsSystemTopic("t") || !IsForbiddenSendTopic(TopicSchedule) || IsForbiddenSendTopic(TopicTrace) {
		t.Error("system topics")
	}
	if ReplyTopic("c") != "c_REPLY_TOPIC" {
		t.Error(ReplyTopic("c"))
	}
}

const (
	keyHashEmpty uint64 = 0xd437525073a7579a
	keyHashK     uint64 = 0x176f1b50d601f152
)
