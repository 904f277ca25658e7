package segment

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/varvemq/varve/internal/message"
)

var update = flag.Bool("update", false, "write the golden file and the fuzz corpus anew: only for a new format version")

// TestFormatPage holds docs/format/segment.md against the code.
func TestFormatPage(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/format/segment.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for name, want := range map[string]int64{
		"format version": formatVersion, "footer size": footerSize, "block header": blockHeader, "block raw at most": MaxBlock, "one message at most": MaxMessage,
		"index page": pageTarget, "index page at most": maxPage, "root row": rootRowSize, "root at most": maxRoot, "tag hashes per block": MaxTags,
		"key page entries": keyPageEntries, "bloom block": bloomBlock, "bloom page": bloomPageSize, "bloom bits per key": bloomBitsPerKey,
		"keys per message": MaxKeysPerMessage, "tail read": TailBytes, "topic name at most": maxTopicName, "shard name at most": maxShardName,
		"ordinal at most": message.MaxOrdinal, "messages at most": maxMessages,
	} {
		m := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(name) + ` \| (\d+) \|$`).FindStringSubmatch(page)
		if m == nil {
			t.Errorf("the page does not say %q", name)
		} else if got, _ := strconv.ParseInt(m[1], 10, 64); got != want {
			t.Errorf("%s: %d on the page, %d in the code", name, got, want)
		}
	}
	// Where fields stand, as the code has them.
	foot := Footer{Identity: Identity{Shard: "s"}}
	footer, h := foot.append(nil), (&header{host: hostA}).append(nil, 0)
	r := root{pages: make([]rootRow, 1), keys: make([]keyRow, 1), bloom: make([]uint32, 1)}
	if len(footer) != footerSize || len(h) != blockHeader+hostFieldV4 || len(r.encode()) != rootHeader+rootRowSize+keyRowSize+4 {
		t.Errorf("footer of %d, header of %d, root of %d bytes", len(footer), len(h), len(r.encode()))
	}
	if h := (&header{host: hostB}).append(nil, 0); len(h) != maxHeader {
		t.Errorf("header of %d bytes", len(h))
	}
	for _, want := range []string{
		"magic `" + blockMagic + "`", "magic `" + rootMagic + "`", "magic `" + footerMagic + "`", "footer (512 bytes)",
		"255 × stored length + 64", "content: 1 RocketMQ stored messages, 255 a hole", "codec: 0 none, 1 lz4 block",
		"254: a hole; 255: any tag", "| 496 | 4 | crc32c of bytes 0–495 and 500–511 |", "| 24 | 48 each |", "| | 8 each |",
		"one byte in " + strconv.Itoa(minGain), "one byte in " + strconv.Itoa(sampleGain), "two samples of " + strconv.Itoa(sampleSize>>10) + " KiB",
		"A block of " + strconv.Itoa(sampleFrom>>10) + " KiB or more", "| 64, 72, 88 |", "in pieces of 4 MiB",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if windowBytes != 4<<20 || expansion != 255 || expansionSlack != 64 || runKeysMask != 3 || runContinued != 4 || runContinues != 8 {
		t.Error("constants in the text of the page")
	}
}

// golden is the segment that is kept.
func golden(tb testing.TB) []modelQueue {
	tb.Helper()
	a := modelQueue{Queue: Queue{Ordinal: 4, Topic: "orders", QueueID: 1, Incarnation: 17, ExtentBase: 0}}
	b := modelQueue{Queue: Queue{Ordinal: 9, Topic: "%RETRY%group", QueueID: 0, Incarnation: 18, ExtentBase: 1 << 35, Keys: KeysOnly}}
	fill := func(q *modelQueue, base uint64, msgs ...msg) {
		p := piece{base: base, count: uint64(len(msgs)), msgs: msgs}
		for i := range msgs {
			p.raw = append(p.raw, stored(tb, &q.Queue, base+uint64(i), &msgs[i])...)
		}
		q.pieces = append(q.pieces, p)
	}
	fill(&a, 100, msg{tag: "TagA", uniq: "ID0001", keys: "k1 k2", body: bytes.Repeat([]byte("hello "), 50), store: 1_700_000_000_000, host: hostA},
		msg{uniq: "ID0002", body: []byte("second"), store: 1_700_000_000_001, host: hostA})
	a.pieces = append(a.pieces, piece{base: 102, count: 1000, hole: true})
	fill(&a, 1102, msg{tag: "TagB", uniq: "ID0003", keys: "k1", body: []byte("after the hole"), store: 1_700_000_000_500, host: hostB})
	fill(&b, 1<<35+7, msg{tag: "TagA", uniq: "ID0001", keys: "k3", body: []byte("retry"), store: 1_700_000_000_002, host: hostA},
		msg{tag: "TagC", body: nil, store: 1_700_000_000_003, host: hostB})
	return []modelQueue{a, b}
}

// TestGolden: version 1 is what it always was. Should a new lz4 library compress otherwise, reading the file must still pass; only then may writing differ.
func TestGolden(t *testing.T) {
	t.Parallel()
	queues := golden(t)
	b, _ := write(t, testConfig(), queues)
	name := filepath.Join("testdata", "v1.segment")
	if *update {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, src := open(t, want)
	if got := r.Footer(); got.Identity != testConfig().Identity || got.Messages != 5 || got.Holes != 1 || got.Keys != 7 || got.EndLSN != 250 || src.gets.Load() != 1 {
		t.Errorf("footer %+v", got)
	}
	check(t, rand.New(rand.NewPCG(1, 1)), r, queues)
	if err := Verify(t.Context(), r); err != nil {
		t.Error(err)
	}
	hits := 0
	for hit, err := range r.Lookup(t.Context(), message.KeyHash("orders", "k1")) {
		if err != nil || hit.Ordinal != 4 || hit.Offset != []uint64{1102, 100}[hits] {
			t.Errorf("%+v, %v", hit, err)
		}
		hits++
	}
	if hits != 2 {
		t.Errorf("%d hits", hits)
	}
	if !bytes.Equal(b, want) {
		t.Error("a segment is no longer written as in version 1")
	}
}
