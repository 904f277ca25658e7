package metadata

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sealedKeys are the keys that make a whole state, by their name below the cluster's root. They are the golden values of version 1, for ever.
func sealedKeys() map[string]string {
	return map[string]string{
		"shards/s/head": `{"v":1,"next_object":9,"lsn":21,"wal":"w0","position":2100,"epoch":2,"footer_crc":7,"object":3,"settled_losses":1}`,
		"shards/s/segments/0000000000000003": `{"v":1,"object":3,"epoch":2,"level":0,"size":1000,"crc":7,"first":11,"end":21,"min_store":5,"max_store":6,` +
			`"messages":10,"raw":500,"queues":2,"cursors":[{"o":4,"c":77}]}`,
		"shards/s/uploads/0000000000000008": `{"v":1,"object":8,"epoch":2,"kind":"page","started_ms":123}`,
		"shards/s/manifest":                 `{"v":1,"object":5,"epoch":2,"size":300,"crc":9,"end":11,"segments":2}`,
		"shards/s/garbage/0000000000000001": `{"v":1,"objects":[{"object":1,"epoch":1,"kind":"seg","first":1,"end":5},{"object":4,"epoch":1,"kind":"root",` +
			`"first":0,"end":0}],"since_ms":456,"why":"merged"}`,
		"trims/s/0001": `{"v":1,"q":[3,1],"o":[1000,980]}`,
	}
}

func putAll(t *testing.T, s *Store, values map[string]string) int64 {
	t.Helper()
	var ops []Op
	for key, value := range values {
		ops = append(ops, Put(s.keys.root+key, []byte(value)))
	}
	return mustTxn(t, s.kv, nil, ops...).Rev
}

// TestSealedGolden: the values of version 1 are read as what they were, and written the same.
func TestSealedGolden(t *testing.T) {
	t.Parallel()
	s := newStore(t, NewMemory(), StoreConfig{})
	rev := putAll(t, s, sealedKeys())
	want := &SealedState{
		Head: SealHead{NextObject: 9, LSN: 21, WALUUID: "w0", Position: 2100, Epoch: 2, FooterCRC: 7, Object: 3, SettledLosses: 1, Revision: rev},
		Segments: []Segment{{
			Object: 3, Epoch: 2, Size: 1000, FooterCRC: 7, FirstLSN: 11, EndLSN: 21, MinStore: 5, MaxStore: 6, Messages: 10, RawBytes: 500, Queues: 2,
			Cursors: []QueueCursor{{4, 77}}, Revision: rev,
		}},
		Uploads:  []Upload{{Object: 8, Epoch: 2, Kind: KindPage, StartedMs: 123, Revision: rev}},
		Manifest: &ManifestPointer{Object: 5, Epoch: 2, Size: 300, CRC: 9, EndLSN: 11, Segments: 2, Revision: rev},
		Garbage: []Garbage{{
			Objects: []GarbageObject{{1, 1, KindSegment, 1, 5}, {4, 1, KindRoot, 0, 0}}, SinceMs: 456, Why: "merged", Key: 1, Revision: rev,
		}},
		Trims: map[uint32]uint64{4099: 1000, 4100: 980}, Revision: rev,
	}
	st := sealedState(t, s, "s")
	if diff := cmp.Diff(want, st); diff != "" {
		t.Fatal(diff)
	}
	k := s.keys
	for key, record := range map[string]any{
		k.head("s"): st.Head, k.segment("s", 3): st.Segments[0], k.upload("s", 8): st.Uploads[0], k.manifest("s"): st.Manifest, k.garbage("s", 1): st.Garbage[0],
	} {
		value, err := encode(key, record)
		if want := sealedKeys()[strings.TrimPrefix(key, k.root)]; string(value) != want || err != nil {
			t.Errorf("%s: %s, not %s, %v", key, value, want, err)
		}
	}
	if key := k.trimChunk("s", 1); key != k.root+"trims/s/0001" {
		t.Error(key)
	}
}

// TestSealedCorrupt: what cannot be read, or does not fit the rest, is refused with its key.
func TestSealedCorrupt(t *testing.T) {
	t.Parallel()
	const (
		head, segment, upload = "shards/s/head", "shards/s/segments/0000000000000003", "shards/s/uploads/0000000000000008"
		manifest, garbage     = "shards/s/manifest", "shards/s/garbage/0000000000000001"
		trims                 = "trims/s/0001"
	)
	type edit struct{ key, from, to string }
	tests := map[string]edit{
		"no first object":           {head, `"next_object":9`, `"next_object":0`},
		"no first LSN":              {head, `"lsn":21`, `"lsn":0`},
		"a head beyond its numbers": {head, `"object":3`, `"object":9`},
		"a head of no epoch":        {head, `"epoch":2`, `"epoch":0`},
		"a head of no object":       {head, `"object":3`, `"object":0`},
		"a negative position":       {head, `"position":2100`, `"position":-1`},
		"another segment":           {segment, `"object":3`, `"object":4`},
		"a segment of no epoch":     {segment, `"epoch":2`, `"epoch":0`},
		"a segment of level 2":      {segment, `"level":0`, `"level":2`},
		"a segment of level 256":    {segment, `"level":0`, `"level":256`},
		"a segment without bytes":   {segment, `"size":1000`, `"size":0`},
		"a segment without LSNs":    {segment, `"first":11`, `"first":21`},
		"a segment of LSN 0":        {segment, `"first":11`, `"first":0`},
		"store times":               {segment, `"min_store":5`, `"min_store":7`},
		"a cursor of queue 0":       {segment, `"o":4`, `"o":0`},
		"a cursor of 29 bits":       {segment, `"o":4`, `"o":268435456`},
		"cursors out of order":      {segment, `{"o":4,"c":77}`, `{"o":4,"c":77},{"o":4,"c":77}`},
		"a segment not committed":   {segment, `"end":21`, `"end":22`},
		"another upload":            {upload, `"object":8`, `"object":7`},
		"an upload of no epoch":     {upload, `"epoch":2`, `"epoch":0`},
		"an upload of no kind":      {upload, `"kind":"page"`, `"kind":"x"`},
		"a manifest of no object":   {manifest, `"object":5`, `"object":0`},
		"a manifest without bytes":  {manifest, `"size":300`, `"size":0`},
		"a manifest not reserved":   {manifest, `"object":5`, `"object":9`},
		"garbage of another":        {garbage, `"object":1`, `"object":2`},
		"garbage of no kind":        {garbage, `"kind":"root"`, `"kind":""`},
		"garbage twice":             {garbage, `"object":4`, `"object":1`},
		"garbage not reserved":      {garbage, `"object":4`, `"object":10`},
		"no garbage":                {garbage, sealedKeys()[garbage], `{"v":1,"objects":[]}`},
		"a negative trim":           {trims, "980", "-980"},
	}
	for key := range sealedKeys() {
		tests["no JSON in "+key] = edit{key, `{"v"`, `"v"`}
		tests["no version in "+key] = edit{key, `"v":1,`, ``}
		tests["newer "+key] = edit{key, `"v":1`, `"v":2`}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, NewMemory(), StoreConfig{})
			values, want := sealedKeys(), ErrCorrupt
			if strings.HasPrefix(name, "newer ") {
				want = ErrVersion
			}
			if values[tt.key] = strings.Replace(values[tt.key], tt.from, tt.to, 1); values[tt.key] == sealedKeys()[tt.key] {
				t.Fatal("nothing was changed")
			}
			putAll(t, s, values)
			_, err := s.SealedState(t.Context(), "s")
			named := strings.Contains(fmt.Sprint(err), s.keys.root+tt.key) || slices.ContainsFunc([]string{"not committed", "not reserved"}, func(s string) bool {
				return strings.HasSuffix(name, s)
			})
			if !errors.Is(err, want) || !named {
				t.Fatal(err)
			}
		})
	}
	for _, key := range []string{
		"shards/s/segments/3", "shards/s/segments/000000000000000A", "shards/s/segments/", "shards/s/uploads/8", "shards/s/garbage/1", "shards/s/heads",
		"shards/s/", "shards/s/more/1", "trims/s/1", "trims/s/10000", "trims/s/000A", "trims/s/", "trims/s/x/0001",
	} {
		t.Run("key "+key, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, NewMemory(), StoreConfig{})
			values := sealedKeys()
			values[key] = `{"v":1,"object":3,"epoch":2,"kind":"seg","size":1,"first":1,"end":2,"objects":[{"object":1,"epoch":1,"kind":"seg"}],"q":[],"o":[]}`
			putAll(t, s, values)
			if _, err := s.SealedState(t.Context(), "s"); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), s.keys.root+key) {
				t.Fatal(err)
			}
		})
	}
}

// TestSealingOnCorruptValues: no transaction is computed from a value that cannot be read, and none overwrites it.
func TestSealingOnCorruptValues(t *testing.T) {
	t.Parallel()
	for _, step := range sealingSteps() {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			mem := NewMemory()
			s := newStore(t, mem, StoreConfig{})
			f := fillShard(t, s, "s0")
			for _, prefix := range []string{s.keys.below("s0"), s.keys.trims("s0")} {
				page, err := mem.Range(t.Context(), RangeRequest{Prefix: prefix})
				if err != nil {
					t.Fatal(err)
				}
				for _, kv := range page.KVs {
					mustTxn(t, mem, nil, Put(kv.Key, []byte(strings.Replace(string(kv.Value), `"v":1`, `"v":2`, 1))))
				}
			}
			before := changesOf(mem)
			if err := step.do(t.Context(), f); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), s.keys.root) {
				t.Fatal(err)
			}
			if changesOf(mem) != before {
				t.Fatal("something was written")
			}
		})
	}
}

// FuzzSealed: no value makes a decoder panic, and what one accepts comes back.
func FuzzSealed(f *testing.F) {
	for _, key := range []string{"head", "segments", "uploads", "manifest", "garbage"} {
		for name, value := range sealedKeys() {
			if strings.Contains(name, key) {
				f.Add([]byte(value))
			}
		}
	}
	for _, s := range []string{`{"v":1}`, `{"v":2}`, `{}`, `null`, ``, `{"v":1,"objects":[{}]}`, `{"v":1,"next_object":1,"lsn":1,"position":0,"epoch":0}`} {
		f.Add([]byte(s))
	}
	k := newKeys("c")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, object := range []uint64{1, 3, 5, 8} {
			back(t, k.head("s"), b, k.decodeHead)
			back(t, k.manifest("s"), b, k.decodeManifest)
			back(t, k.segment("s", object), b, k.decodeSegment)
			back(t, k.upload("s", object), b, k.decodeUpload)
			back(t, k.garbage("s", object), b, k.decodeGarbage)
		}
	})
}

func back[T any](t *testing.T, key string, b []byte, decode func(string, KeyValue) (T, error)) {
	t.Helper()
	got, err := decode("s", KeyValue{Key: key, Value: b, ModRev: 7})
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), key) {
			t.Fatal(err)
		}
		return
	}
	value, err := encode(key, got)
	if errors.Is(err, ErrTooLarge) { // shorter as it was written
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	again, err := decode("s", KeyValue{Key: key, Value: value, ModRev: 7})
	if diff := cmp.Diff(got, again); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
}
