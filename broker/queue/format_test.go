package queue

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/vfs"
)

var update = flag.Bool("update", false, "write the golden file anew: only for a new format version")

// TestFormatPage holds docs/format/queue-index.md against the code.
func TestFormatPage(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/format/queue-index.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, want := range []string{
		"magic `" + sectionMagic + "`",
		fmt.Sprintf("format version, %d", sectionVersion),
		fmt.Sprintf("%d directory, %d entries, %d keys, %d states", directoryNumber, entriesNumber, keysNumber, statesNumber),
		fmt.Sprintf("rows of %d bytes, sorted by ordinal", directoryRow),
		fmt.Sprintf("entries of %d bytes", entryRow),
		fmt.Sprintf("keyed records (%d bytes each", keyedRecordRow),
		fmt.Sprintf("then the keys (%d bytes each", keyRow),
		fmt.Sprintf("states of %d bytes", stateRow),
		fmt.Sprintf("flags; bit %d: there is a cursor", stateHasCursor-1),
		fmt.Sprintf("Per file %d bytes of headers", sectionCount*headerSize),
		"record length; bit 31: a hole",
		fmt.Sprintf("/ %d` in 32 bits", placeUnit),
		fmt.Sprintf("| %d cursor |", opCursor),
		fmt.Sprintf("| %d hole |", opHole),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if holeFlag != 1<<31 {
		t.Error("bit of holes")
	}
	var e entry
	for name, n := range map[string][2]int{
		"header":    {len(appendHeader(nil, 1, 0, 0)), headerSize},
		"directory": {len(appendDirRow(nil, &dirRow{})), directoryRow},
		"entry":     {len(appendEntry(nil, &e)), entryRow},
		"state":     {len(appendState(nil, &savedState{})), stateRow},
	} {
		if n[0] != n[1] {
			t.Errorf("%s: %d bytes, %d on the page", name, n[0], n[1])
		}
	}
}

// goldenSections are the sections of a made-up file.
func goldenSections() [sectionCount + 1][]byte {
	dir := appendHeader(nil, directoryNumber, 2, 0)
	dir = appendDirRow(dir, &dirRow{ordinal: 3, entries: 2, first: 10, end: 30, minStore: 1000, maxStore: 1005})
	dir = appendDirRow(dir, &dirRow{ordinal: 8, entries: 1, firstEntry: 2, first: 0, end: 1, minStore: 1001, maxStore: 1001})
	ent := appendHeader(nil, entriesNumber, 3, 0)
	for _, e := range []entry{
		{count: 5, place: 12, length: 800, maxStore: 1000},
		{delta: 5, count: 15, place: 200, length: 104 | holeFlag, maxStore: 1005},
		{count: 1, place: 112, length: 300, maxStore: 1001},
	} {
		ent = appendEntry(ent, &e)
	}
	f := newFileIndex(1, 0)
	f.addKeysLocked(12, 800, []uint32{7, 3, 9})
	f.addKeysLocked(112, 300, []uint32{3})
	st := appendHeader(nil, statesNumber, 2, 0)
	st = appendState(st, &savedState{ordinal: 3, queueState: queueState{next: 30, lastStore: 1005, cursor: 13}})
	st = appendState(st, &savedState{ordinal: 4, queueState: queueState{next: 99, lastStore: 7}})
	return [sectionCount + 1][]byte{nil, dir, ent, f.buildKeys(), st}
}

func checkSection(i int, b, dir []byte) error {
	switch i {
	case directoryNumber:
		return checkDirectory(1, b)
	case entriesNumber:
		return checkEntries(1, b, dir)
	case keysNumber:
		return checkKeys(1, b)
	default:
		return checkStates(1, b)
	}
}

// TestGolden: version 1 is what it always was, and every damage to a byte that matters is seen.
func TestGolden(t *testing.T) {
	t.Parallel()
	sections := goldenSections()
	for i := 1; i <= sectionCount; i++ {
		name := filepath.Join("testdata", fmt.Sprintf("section-%d-v1.golden", i))
		if *update {
			if err := os.WriteFile(name, sections[i], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(sections[i], want) {
			t.Errorf("section %d is not what version 1 was", i)
		}
		if err := checkSection(i, want, sections[1]); err != nil {
			t.Error(err)
		}
		for n := range want {
			if err := checkSection(i, want[:n], sections[1]); err == nil {
				t.Errorf("section %d cut at %d passes", i, n)
			}
		}
		for _, at := range []int{0, 4, 6, 8, 12} {
			bad := bytes.Clone(want)
			bad[at] ^= 0x55
			if err := checkSection(i, bad, sections[1]); err == nil {
				t.Errorf("section %d passes with byte %d changed", i, at)
			}
		}
	}
}

// FuzzSection: no bytes make a check panic, nor what may be called after it.
func FuzzSection(f *testing.F) {
	sections := goldenSections()
	for i := 1; i <= sectionCount; i++ {
		f.Add(i, sections[i])
	}
	f.Fuzz(func(_ *testing.T, section int, b []byte) {
		if section < 1 || section > sectionCount || checkSection(section, b, sections[1]) != nil {
			return
		}
		switch section {
		case directoryNumber:
			for i := range directory(b).len() {
				directory(b).row(i)
			}
		case entriesNumber:
			for i := range 2 {
				row := directory(sections[1]).row(i)
				entries(b).ofRow(&row).find(row.first, row.first)
			}
		case keysNumber:
			for i := range keyIndex(b).len() {
				keyIndex(b).record(int(uint32(keyIndex(b).key(i))))
			}
		default:
			for i := range states(b).len() {
				states(b).at(i)
			}
		}
	})
}

// damage flips a byte in a section of the oldest closed file.
func damage(t *testing.T, fs *vfs.Crash, section int) {
	t.Helper()
	for _, name := range fs.Names() {
		if !strings.HasSuffix(name, "00000001.wal") {
			continue
		}
		data := fs.Data(name)
		magic := appendHeader(nil, section, 0, 0)[:8]
		at := bytes.LastIndex(data, magic)
		if at < 0 {
			t.Fatal("no section", section)
		}
		data[at+headerSize+3] ^= 1
		fs.SetData(name, data)
	}
}

// TestDamagedSections: damage to a section is reported, and costs no message.
func TestDamagedSections(t *testing.T) {
	t.Parallel()
	for section := 1; section <= sectionCount; section++ {
		t.Run(fmt.Sprint(section), func(t *testing.T) {
			t.Parallel()
			fs := vfs.NewCrash(nil)
			var log bytes.Buffer
			cfg := testConfig(fs)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			l := openLog(t, cfg)
			q := l.Queue(1)
			for i := 0; closedFiles(l) < 3; i++ {
				put(t, l, q, false, msg("T", uint64(i), 300, props(i)...))
			}
			hi := q.Max()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, fs, section)
			l = openLog(t, cfg)
			q = l.Queue(1)
			if got := readAll(t, l, q, 0); uint64(len(got)) != hi || idOf(got[5]) != 5 {
				t.Fatal(len(got), hi)
			}
			if _, n, err := l.ByKey(context.Background(), KeyQuery{Topic: "T", Key: "k5"}, nil); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), fmt.Sprintf("file=1 section=%d", section)) {
				t.Fatalf("%d errors logged:\n%s", n, log.String())
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestMemory: what a queue costs, idle and empty, with messages in the active file, and after a restart.
func TestMemory(t *testing.T) {
	const queues = 100_000
	dir := t.TempDir()
	cfg := Config{
		WAL:   wal.Config{Dir: dir, FileSize: 64 << 20, TailBytes: 1 << 20, SyncInterval: time.Second},
		Shard: wal.Shard{ID: 1, Epoch: 1}, IndexCache: 16 << 20,
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	per := func(what string, before, limit int64) {
		t.Helper()
		n := (heap() - before) / queues
		t.Logf("%s: %d bytes a queue", what, n)
		if n > limit {
			t.Errorf("%s: %d bytes a queue, at most %d wanted", what, n, limit)
		}
	}
	l := openLog(t, cfg)
	before := heap()
	for i := range queues {
		l.Queue(uint32(i))
	}
	per("idle and empty", before, 512)
	op := &Op{}
	for i := 0; i < queues; {
		op.Batches = op.Batches[:0]
		for ; len(op.Batches) < 200 && i < queues; i++ {
			op.Batches = append(op.Batches, Batch{Queue: l.Queue(uint32(i)), Messages: msg("T", uint64(i), 100, props(i)...), Count: 1})
		}
		if err := l.AppendWait(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	per("one message each", before, 1024)
	fill := l.Queue(queues)
	for closedFiles(l) < 1 {
		put(t, l, fill, false, msg("T", 0, 500_000))
	}
	per("in a closed file", before, 1024)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	*op = Op{}
	closedHeap := heap()
	start := time.Now()
	l2 := openLog(t, cfg)
	t.Logf("opened in %v", time.Since(start))
	per("after a restart", closedHeap, 1024)
	if got := readAll(t, l2, l2.Queue(queues/2), 0); len(got) != 1 || idOf(got[0]) != queues/2 {
		t.Fatal(len(got))
	}
	runtime.KeepAlive(l)
	runtime.KeepAlive(l2)
}
