package message

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testIDs() *IDGenerator {
	return NewIDGenerator(netip.MustParseAddr("10.0.0.1"), 0x1234, 0xdeadbeef)
}

func TestExplodeBatch(t *testing.T) {
	t.Parallel()
	items := []BatchItem{
		{Flag: 1, Body: []byte("one"), Properties: []byte("UNIQ_KEY\x01ID1\x02TAGS\x01a")},
		{Flag: 2, Body: []byte{}, Properties: []byte{}},
		{Body: []byte("three"), Properties: []byte("TAGS\x01b")},
	}
	var batch []byte
	for i := range items {
		batch = AppendBatchItem(batch, &items[i])
	}
	var again []BatchItem
	for b := batch; len(b) > 0; {
		item, rest, err := NextBatchItem(b)
		if err != nil {
			t.Fatal(err)
		}
		again, b = append(again, item), rest
	}
	if d := cmp.Diff(items, again); d != "" {
		t.Fatal(d)
	}
	shared := goldenFields()
	shared.QueueOffset, shared.Properties = 0, []byte("TRACE_ON\x01true\x02")
	out, n, err := ExplodeBatch([]byte("x"), &shared, batch, testIDs())
	if err != nil || n != 3 || out[0] != 'x' {
		t.Fatal(n, err)
	}
	out = out[1:]
	for i := range items {
		v, rest, err := Next(out)
		if err != nil {
			t.Fatal(i, err)
		}
		out = rest
		if v.Flag() != items[i].Flag || string(v.Body()) != string(items[i].Body) || string(v.Topic()) != "T" || v.CheckCRC() != nil {
			t.Errorf("item %d: %+v", i, v.Fields())
		}
		tag, _ := Property(items[i].Properties, PropertyTags)
		if got, _ := v.Property(PropertyTags); string(got) != string(tag) {
			t.Errorf("item %d: tag %q", i, got)
		}
		if got, _ := v.Property(PropertyTraceOn); string(got) != "true" {
			t.Errorf("item %d: shared property %q", i, got)
		}
		id, ok := v.Property(PropertyUniqKey)
		if !ok || i == 0 != (string(id) == "ID1") || i > 0 && len(id) != 32 {
			t.Errorf("item %d: id %q", i, id)
		}
		if err := ValidateProperties(v.Properties()); err != nil {
			t.Error(i, err)
		}
	}
	if len(out) != 0 {
		t.Error("bytes left", len(out))
	}
}

func TestMalformedBatch(t *testing.T) {
	t.Parallel()
	good := AppendBatchItem(nil, &BatchItem{Body: []byte("body"), Properties: []byte("a\x01b\x02")})
	shared := goldenFields()
	dst := []byte("dst")
	for cut := range good {
		if out, n, err := ExplodeBatch(dst, &shared, good[:cut], nil); !errors.Is(err, ErrTruncated) || n != 0 || string(out) != "dst" {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	for name, patch := range map[string]func(b []byte){
		"total":      func(b []byte) { binary.BigEndian.PutUint32(b, 21) },
		"body":       func(b []byte) { binary.BigEndian.PutUint32(b[16:], 5) },
		"negative":   func(b []byte) { binary.BigEndian.PutUint32(b[16:], 1<<31) },
		"properties": func(b []byte) { binary.BigEndian.PutUint16(b[24:], 3) },
		"sign":       func(b []byte) { binary.BigEndian.PutUint16(b[24:], 1<<15) },
	} {
		b := append([]byte{}, good...)
		patch(b)
		b = append(append([]byte{}, good...), b...)
		if out, n, err := ExplodeBatch(dst, &shared, b, nil); !errors.Is(err, ErrCorrupt) || n != 0 || string(out) != "dst" {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := AppendBatchItem(nil, &BatchItem{Properties: make([]byte, MaxProperties)})
	if _, _, err := ExplodeBatch(dst, &shared, big, nil); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if b := AppendBatchItem(dst, &BatchItem{Properties: make([]byte, MaxProperties+1)}); string(b) != "dst" {
		t.Error(len(b))
	}
}

func batchOf(n, size int) []byte {
	var batch []byte
	ids := testIDs()
	item := BatchItem{Body: make([]byte, size)}
	for range n {
		item.Properties = AppendProperty(item.Properties[:0], PropertyUniqKey, ids.Next(time.UnixMilli(1700000000000)))
		item.Properties = AppendProperty(item.Properties, PropertyTags, "TagA")
		batch = AppendBatchItem(batch, &item)
	}
	return batch
}

func BenchmarkExplodeBatch(b *testing.B) {
	for name, ids := range map[string]*IDGenerator{"with-ids": nil, "generate-check": testIDs()} {
		b.Run(name, func(b *testing.B) {
			batch := batchOf(1000, 100)
			shared := goldenFields()
			shared.Topic, shared.Properties = "BenchmarkTest", nil
			buf := make([]byte, 0, 1<<20)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, _, err = ExplodeBatch(buf[:0], &shared, batch, ids); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	m := goldenFields()
	m.Topic, m.Body = "BenchmarkTest", make([]byte, 128)
	buf := make([]byte, 0, 1<<10)
	b.SetBytes(int64(Size(&m)))
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], &m)
	}
}

func BenchmarkParse(b *testing.B) {
	m := goldenFields()
	raw := Append(nil, &m)
	b.ReportAllocs()
	for b.Loop() {
		v, err := Parse(raw)
		if err != nil || v.TagHash() == 0 {
			b.Fatal(err)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	batch := batchOf(10, 100)
	for len(batch) < 4000 {
		batch = AppendBatchItem(batch, &BatchItem{Body: make([]byte, 100)})
	}
	shared := goldenFields()
	ids := testIDs()
	buf := make([]byte, 0, 1<<16)
	if n := testing.AllocsPerRun(100, func() {
		buf = Append(buf[:0], &shared)
		v, err := Parse(buf)
		if err != nil || v.TagHash() == 0 || KeyHash(shared.Topic, v.Body()) == 0 {
			t.Fatal(err)
		}
		if buf, _, err = ExplodeBatch(buf[:0], &shared, batch, ids); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
