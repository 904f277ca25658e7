package message

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// goldenV1 is laid out by hand from the package comment. The CRC of "hello" is
// 0x3610a686, below 2^31, so that it is stored as it is.
const goldenV1 = "0000006e" + "daa320a7" + "3610a686" + "00000003" + "00000007" + // size, magic, crc, queue, flag
	"0000000000000102" + "0000080000000102" + "00000000" + // queue offset, physical offset, sysflag
	"0000018bcfe568ff" + "0a000002" + "00001234" + // born
	"0000018bcfe56900" + "0a000001" + "00002a9f" + // stored
	"00000001" + "0000000000000000" + // reconsume times, prepared offset
	"00000005" + "68656c6c6f" + // hello
	"01" + "54" + // T
	"000d" + "54414753" + "01" + "546167413132" + "32" + "02" // TAGS=TagA122

func goldenFields() Fields {
	return Fields{
		Topic: "T", QueueID: 3, Flag: 7, QueueOffset: 0x102, PhysicalOffset: 1<<43 | 0x102,
		BornTimestamp: 0x18bcfe568ff, BornHost: netip.MustParseAddrPort("10.0.0.2:4660"),
		StoreTimestamp: 0x18bcfe56900, StoreHost: netip.MustParseAddrPort("10.0.0.1:10911"),
		ReconsumeTimes: 1, Body: []byte("hello"), Properties: []byte("TAGS\x01TagA122\x02"),
	}
}

// golden returns the bytes of goldenV1.
func golden(tb testing.TB) []byte {
	tb.Helper()
	b, err := hex.DecodeString(goldenV1)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// comparable forms of addresses for cmp.
var addrs = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestGolden(t *testing.T) {
	t.Parallel()
	m := goldenFields()
	if got := hex.EncodeToString(Append(nil, &m)); got != goldenV1 {
		t.Fatalf("got  %s\nwant %s", got, goldenV1)
	}
	if Size(&m) != len(goldenV1)/2 {
		t.Errorf("size %d", Size(&m))
	}
	v, err := Parse(golden(t))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m, v.Fields(), addrs); d != "" {
		t.Error(d)
	}
	if v.Magic() != MagicV1 || v.BodyCRC() != 0x3610a686 || v.TotalSize() != len(v) || v.CheckCRC() != nil {
		t.Error("magic, crc or size")
	}
	if tag, ok := v.Property(PropertyTags); !ok || string(tag) != "TagA122" || v.TagHash() != TagHash("TagA122") {
		t.Errorf("tag %q", tag)
	}
}

func TestVariants(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddrPort("10.0.0.1:10911"), netip.MustParseAddrPort("[2001:db8::1]:10911")
	for _, topic := range []string{"", "T", strings.Repeat("x", 127), strings.Repeat("x", 128), strings.Repeat("x", 255)} {
		for _, born := range []netip.AddrPort{{}, v4, v6, netip.MustParseAddrPort("[::ffff:10.0.0.1]:1")} {
			for _, store := range []netip.AddrPort{v4, v6} {
				m := goldenFields()
				m.Topic, m.BornHost, m.StoreHost = topic, born, store
				m.SysFlag = SysFlagCompressed | SysFlagBornHostV6 | SysFlagStoreHostV6
				b := Append([]byte{}, &m)
				v, err := Parse(b)
				if err != nil || len(b) != Size(&m) {
					t.Fatalf("%q %v %v: %v, %d bytes", topic, born, store, err, len(b))
				}
				want := m
				want.SysFlag = SysFlagCompressed
				if !born.IsValid() {
					want.BornHost = netip.MustParseAddrPort("0.0.0.0:0")
				} else if born.Addr().Is4In6() {
					want.BornHost = netip.MustParseAddrPort("10.0.0.1:1")
				}
				if isV6(born) {
					want.SysFlag |= SysFlagBornHostV6
				}
				if isV6(store) {
					want.SysFlag |= SysFlagStoreHostV6
				}
				if d := cmp.Diff(want, v.Fields(), addrs); d != "" {
					t.Fatal(d)
				}
				if isV2 := v.Magic() == MagicV2; isV2 != (len(topic) > MaxTopicV1) {
					t.Errorf("topic of %d bytes: magic %x", len(topic), v.Magic())
				}
				for _, host := range []netip.AddrPort{v4, v6} {
					moved, err := Parse(AppendWithStoreHost(nil, v, host))
					if err != nil || moved.StoreHost() != host || string(moved.Body()) != "hello" || string(moved.Topic()) != topic {
						t.Fatalf("moved to %v: %v", host, err)
					}
				}
			}
		}
	}
}

func TestPatch(t *testing.T) {
	t.Parallel()
	v := View(golden(t))
	host := netip.MustParseAddrPort("192.168.1.1:1")
	v.PatchQueueID(9)
	v.PatchQueueOffset(10)
	v.PatchPhysicalOffset(11)
	v.PatchStoreTimestamp(12)
	if err := v.PatchStoreHost(host); err != nil {
		t.Fatal(err)
	}
	want := goldenFields()
	want.QueueID, want.QueueOffset, want.PhysicalOffset, want.StoreTimestamp, want.StoreHost = 9, 10, 11, 12, host
	if d := cmp.Diff(want, v.Fields(), addrs); d != "" {
		t.Error(d)
	}
	if err := v.PatchStoreHost(netip.MustParseAddrPort("[::1]:1")); !errors.Is(err, ErrHostFamily) {
		t.Error(err)
	}
}

func TestCorruption(t *testing.T) {
	t.Parallel()
	good := golden(t)
	for cut := range good {
		if _, _, err := Next(good[:cut]); !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	for name, tc := range map[string]struct {
		pos  int
		val  uint32
		want error
	}{
		"size too small": {0, 5, ErrCorrupt}, "size one less": {0, uint32(len(good) - 1), ErrCorrupt},
		"size too large": {0, uint32(len(good) + 1), ErrTruncated}, "size huge": {0, 1 << 31, ErrTruncated},
		"blank": {4, MagicBlank, ErrUnknownMagic}, "magic": {4, 1, ErrUnknownMagic}, "v2 magic": {4, MagicV2, ErrCorrupt},
		"body": {84, 6, ErrCorrupt}, "body negative": {84, 1 << 31, ErrCorrupt}, "body max": {84, 1<<31 - 1, ErrCorrupt},
		"born v6": {36, uint32(SysFlagBornHostV6), ErrCorrupt}, "store v6": {36, uint32(SysFlagStoreHostV6), ErrCorrupt},
	} {
		b := golden(t)
		binary.BigEndian.PutUint32(b[tc.pos:], tc.val)
		if _, err := Parse(b); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, err := Parse(append(golden(t), 0)); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	b := golden(t)
	b[88] ^= 1
	if v, err := Parse(b); err != nil || !errors.Is(v.CheckCRC(), ErrCorrupt) {
		t.Error("crc", err)
	}
	for _, m := range []Fields{
		{Topic: strings.Repeat("x", MaxTopicV2+1)}, {Properties: make([]byte, MaxProperties+1)}, {Body: make([]byte, MaxBody+1)},
	} {
		if got := Append([]byte("a"), &m); string(got) != "a" || !errors.Is(m.Validate(), ErrTooLarge) {
			t.Errorf("%d bytes", len(got))
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	var b []byte
	for i := range 5 {
		m := goldenFields()
		m.QueueOffset = int64(i)
		m.Body = make([]byte, i*10)
		b = Append(b, &m)
	}
	n := 0
	for len(b) > 0 {
		v, rest, err := Next(b)
		if err != nil || v.QueueOffset() != int64(n) || len(v.Body()) != n*10 {
			t.Fatal(n, err)
		}
		b = rest
		n++
	}
	if n != 5 {
		t.Error(n)
	}
}
