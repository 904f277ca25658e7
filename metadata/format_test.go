package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFormatPage holds docs/format/metadata.md against the constants.
func TestFormatPage(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docs/format/metadata.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for name, value := range map[string]int{
		"MaxTxnOps": MaxTxnOps, "MaxTxnBytes": MaxTxnBytes, "MaxValueBytes": MaxValueBytes, "MaxNameBytes": MaxNameBytes,
		"MaxQueuesPerTopic": MaxQueuesPerTopic, "MaxOrdinal": MaxOrdinal, "ChunkQueues": ChunkQueues, "MaxTxnGroups": MaxTxnGroups,
		"FormatVersion": FormatVersion, "MaxReserve": MaxReserve, "MaxReplaceOps": MaxReplaceOps, "MaxManifestOps": MaxManifestOps, "MaxLevel": MaxLevel,
	} {
		if !strings.Contains(page, fmt.Sprintf(" | %d | `%s` |", value, name)) {
			t.Errorf("the page does not say %s = %d", name, value)
		}
	}
	for _, key := range []string{
		"`" + KeyRoot + "`", "| `" + KeyClusterID + "` |", "| `" + KeyBrokers + "<broker>` |", "| `" + KeyShards + "<shard>` |",
		"| `" + KeyShards + "<shard>/" + KeyLive + "` |", "| `" + KeyTopics + "<topic>` |", "| `" + KeyTombstones + "<incarnation>` |",
		"| `" + KeyGroups + "<group>` |", "| `" + KeyOffsets + "<shard>/<group>/<chunk>` |", "| `" + KeyOrdinals + "` |",
		"| `" + KeyShards + "<shard>/" + KeyHead + "` |", "| `" + KeyShards + "<shard>/" + KeyManifest + "` |", "| `" + KeyShards + "<shard>/" + KeySegments + "<object>` |",
		"| `" + KeyShards + "<shard>/" + KeyUploads + "<object>` |", "| `" + KeyShards + "<shard>/" + KeyGarbage + "<object>` |", "| `" + KeyTrims + "<shard>/<chunk>` |",
		"`" + KindSegment + "`, `" + KindRoot + "` or `" + KindPage + "`", fmt.Sprintf("≤ %d chunks |", trimChunks),
		strings.Split(sealedKeys()["shards/s/head"], `"wal"`)[0], sealedKeys()["trims/s/0001"], strings.Split(sealedKeys()["shards/s/segments/0000000000000003"], `"min_store"`)[0],
		fmt.Sprintf("%d bytes", int64(ChunkQueues)*25+32), fmt.Sprintf(`"v":%d`, FormatVersion),
	} {
		if !strings.Contains(strings.ReplaceAll(page, "102,432", "102432"), key) {
			t.Errorf("the page does not have %s", key)
		}
	}
	if versionPrefix != fmt.Sprintf(`{"v":%d`, FormatVersion) {
		t.Error("version prefix")
	}
}

// TestGolden holds the bytes of version 1, for ever.
func TestGolden(t *testing.T) {
	t.Parallel()
	k := newKeys("c/1")
	for want, got := range map[string]string{
		"/varve/c~2F1/cluster-id":                  k.clusterID(),
		"/varve/c~2F1/ordinals":                    k.ordinals(),
		"/varve/c~2F1/brokers/b":                   k.broker("b"),
		"/varve/c~2F1/shards/s":                    k.shard("s"),
		"/varve/c~2F1/shards/s/live":               k.live("s"),
		"/varve/c~2F1/topics/%RETRY%g|x_-.":        k.topic("%RETRY%g|x_-."),
		"/varve/c~2F1/tombstones/000000000000001f": k.tombstone(31),
		"/varve/c~2F1/groups/g~7E~C3~BC":           k.group("g~ü"),
		"/varve/c~2F1/offsets/s/g~2Fh/ffff":        k.chunk("s", "g/h", MaxOrdinal>>ChunkBits),
	} {
		if got != want {
			t.Errorf("key %s, want %s", got, want)
		}
	}
	topic := Topic{Name: "t", ReadQueues: 4, WriteQueues: 4, Perm: 6, Incarnation: 12, Ordinals: []OrdinalRange{{0, 4093, 4}}, CreatedMs: 5, Shard: "s0"}
	got, err := encode("k", topic)
	want := `{"v":1,"name":"t","read_queues":4,"write_queues":4,"perm":6,"incarnation":12,"ordinals":[{"q":0,"o":4093,"n":4}],"created_ms":5,"shard":"s0"}`
	if string(got) != want || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	chunk := encodeChunk([]chunkEntry{{4093, 1000}, {4094, 980}, {4095, 0}})
	if want := `{"v":1,"q":[4093,1,1],"o":[1000,980,0]}`; string(chunk) != want {
		t.Errorf("%s", chunk)
	}
	if want := `{"v":1,"q":[],"o":[]}`; string(encodeChunk(nil)) != want {
		t.Errorf("%s", encodeChunk(nil))
	}
}

// TestFullChunk: the largest chunk keeps its limit, and comes back.
func TestFullChunk(t *testing.T) {
	t.Parallel()
	entries := make([]chunkEntry, ChunkQueues)
	for i := range entries {
		entries[i] = chunkEntry{low: uint16(i), offset: math.MaxInt64 - int64(i)}
	}
	b := encodeChunk(entries)
	if len(b) > maxChunkBytes || maxChunkBytes > MaxValueBytes {
		t.Fatalf("%d bytes", len(b))
	}
	got, err := decodeChunk(KeyValue{Value: b})
	if err != nil || len(got) != len(entries) || got[ChunkQueues-1] != entries[ChunkQueues-1] {
		t.Fatal(len(got), err)
	}
	if _, err := encode("k", map[string]string{"x": strings.Repeat("y", MaxValueBytes)}); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
}

// FuzzChunk: no value makes the decoder panic, and what it accepts comes back.
func FuzzChunk(f *testing.F) {
	for _, s := range []string{
		`{"v":1,"q":[1,1],"o":[1,2]}`, `{"v":1,"q":[],"o":[]}`, `{"v":1,"q":[4095,1],"o":[1,2]}`, `{"v":1,"q":[1,0],"o":[1,2]}`, `{"v":1,"q":[1],"o":[-1]}`,
		`{"v":2}`, `{}`, `{"v":1,"q":[1],"o":[]}`, `null`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeChunk(KeyValue{Value: b})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		again, err := decodeChunk(KeyValue{Value: encodeChunk(got)})
		if diff := cmp.Diff(got, again, cmp.AllowUnexported(chunkEntry{})); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
	})
}

// FuzzNames: the escaping is one to one and keeps a name within its part of the key.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"a", "%RETRY%g", "a/b", "~2F", "~", "a~", "ü", "..", "\x00", "~7e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		esc := EscapeName(name)
		if strings.ContainsAny(esc, "/\x00 ") {
			t.Fatalf("%q", esc)
		}
		if got, err := UnescapeName(esc); err != nil || got != name {
			t.Fatalf("%q became %q, %v", name, got, err)
		}
		if back, err := UnescapeName(name); err == nil && EscapeName(back) != name {
			t.Fatalf("%q is another name of %q", name, back)
		}
		if group, chunk, err := newKeys("c").parseChunk("s", newKeys("c").chunk("s", name, 5)); err != nil || group != name || chunk != 5 {
			t.Fatal(group, chunk, err)
		}
	})
}

// TestZapBridge: etcd's warnings reach slog, its chatter does not.
func TestZapBridge(t *testing.T) {
	t.Parallel()
	var logs logBuffer
	z := zapBridge(logs.logger(), false)
	z.Info("chatter")
	z.Sugar().With("a", 1).Errorw("trouble", "b", 2)
	for _, want := range []string{`level=WARN msg="etcd reports"`, "etcd.message=trouble", "etcd.severity=error", "etcd.a=1", "etcd.b=2"} {
		if logs.count(want) != 1 {
			t.Errorf("no %s in %s", want, &logs.b)
		}
	}
	z.Warn("simple token is not cryptographically signed")
	z.Sugar().Warnw("server error", "error", "accept tcp: use of closed network connection")
	zapBridge(logs.logger(), true).Warn("retrying of unary invoker failed")
	if n := logs.count("etcd reports"); bytes.Contains(logs.b.Bytes(), []byte("chatter")) || n != 1 {
		t.Errorf("chatter: %d lines", n)
	}
}
