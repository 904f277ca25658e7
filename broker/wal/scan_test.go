package wal

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/vfs"
)

// FuzzScan gives arbitrary bytes to the scanner: it neither panics nor holds more than what is there, and says that a
// record is valid only if it can be encoded to the same bytes.
func FuzzScan(f *testing.F) {
	const seed = 7
	rec := make([]byte, RecordSize(batch(1, 50)))
	putRecord(rec, header{typ: typeData, lsn: 1, shard: Shard{1, 2}}, batch(1, 50), seed)
	f.Add(rec, uint64(0))
	f.Add(rec[:60], uint64(0))
	f.Add(append(slices.Clone(rec), rec...), uint64(8))
	mark := []Part{{Kind: partState, Codec: uint8(markIdle), Payload: state{}.put()}}
	rec = make([]byte, RecordSize(mark))
	putRecord(rec, header{typ: typeMark, pos: 1 << 20}, mark, seed)
	f.Add(rec, uint64(1<<20))
	f.Fuzz(func(t *testing.T, data []byte, base uint64) {
		file := append(make([]byte, pageSize), data...)
		sc := &scanner{r: bytes.NewReader(file), name: "f", size: int64(len(file)), base: Position(base), seed: seed}
		off := int64(pageSize)
		for off < sc.size {
			h, parts, err := sc.record(off)
			if err != nil {
				break
			}
			again := make([]byte, RecordSize(parts))
			putRecord(again, h, parts, seed)
			if !bytes.Equal(again, file[off:off+int64(h.n)]) {
				t.Fatal("accepted what it would not write")
			}
			if h.typ == typeMark {
				if st, ok := parseState(parts[0].Payload); ok && !bytes.Equal(st.put(), parts[0].Payload) && slices.IsSortedFunc(tableIDs(parts[0].Payload), func(a, b uint32) int { return int(a) - int(b) }) {
					t.Fatal("state changed")
				}
			}
			off += int64(h.n)
		}
		if _, _, err := sc.lookAhead(off); err != nil {
			t.Fatal(err)
		}
		if cap(sc.win) > len(file) {
			t.Fatalf("window of %d bytes for %d", cap(sc.win), len(file))
		}
		parseCloseMark(append(slices.Clone(data), make([]byte, pageSize)...))
		_, _ = parseHeader("f", append(slices.Clone(data), make([]byte, pageSize)...))
	})
}

func tableIDs(b []byte) (ids []uint32) {
	st, _ := parseState(b)
	for id := range st.shards {
		ids = append(ids, id)
	}
	return ids
}

var update = flag.Bool("update", false, "write the golden file of this format version anew")

// TestGolden opens a WAL of format version 1 that was written once and for all.
func TestGolden(t *testing.T) {
	t.Parallel()
	const golden = "testdata/v1.wal"
	if *update {
		fs := vfs.NewCrash(nil)
		w := mustOpen(t, testConfig(fs, nil))
		if err := w.SetEpoch(1, 5, 1); err != nil {
			t.Fatal(err)
		}
		for id := range uint64(20) {
			mustAdd(t, w, id, int(id)*50, Durable)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		data := bytes.TrimRight(fs.Data(path(1)), "\x00")
		if err := os.WriteFile(golden, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	fs := vfs.NewCrash(nil)
	_ = fs.MkdirAll("/data/wal")
	fs.SetData(path(1), append(data, make([]byte, minFileSize-len(data))...))
	o := &owner{}
	w := mustOpen(t, testConfig(fs, o))
	if diff := cmp.Diff(seq(0, 20), o.ids()); diff != "" {
		t.Error(diff)
	}
	if r := w.Recovery(); r.Unclean || o.records[19].Shard != (Shard{1, 5}) || o.records[19].LSN != 20 {
		t.Errorf("%+v %+v", r, o.records[19])
	}
}

// TestFormatPage holds docs/format/wal.md against the constants of the code.
func TestFormatPage(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/format/wal.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for name, want := range map[string]int{
		"page size": pageSize, "format version": formatVersion, "bytes under the header's checksum": headerCovered,
		"close mark at": closeMarkOffset, "close mark size": closeMarkSize, "sections at most": maxSections,
		"section entry": sectionEntry, "first section entry at": firstSection, "alignment": align,
		"record header": recordHeader, "part header": partHeader, "parts at most": maxParts, "state header": stateHeader,
		"shard entry": tableEntry, "data record": typeData, "mark": typeMark, "batch part": int(PartBatch),
		"operation part": int(PartOperation), "state part": int(partState), "mark of a file": int(markFile),
		"mark of a start": int(markOpen), "mark of an idle log": int(markIdle), "mark of a close": int(markClose),
		"mark of a settled loss": int(markLoss), "mark of mode async": int(markAsync),
	} {
		m := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(name) + ` \| (\d+) \|$`).FindStringSubmatch(page)
		if m == nil {
			t.Errorf("the page does not say %q", name)
		} else if got, _ := strconv.Atoi(m[1]); got != want {
			t.Errorf("%s: %d on the page, %d in the code", name, got, want)
		}
	}
	for _, s := range []string{magic, closeMagic, "`%020d.wal`", "spare-%d.tmp"} {
		if !strings.Contains(page, s) {
			t.Errorf("the page does not say %q", s)
		}
	}
}

// TestConcurrent has writers, readers and a trimmer at the same time.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	c := testConfig(vfs.OS(), &owner{})
	c.Dir = t.TempDir() + "/wal"
	c.FileSize, c.Limit, c.TailBytes = 256<<10, 8<<20, 1<<20
	c.SyncInterval, c.IdleMark = time.Millisecond, 3*time.Millisecond
	w := mustOpen(t, c)
	const writers, each = 64, 60
	type entry struct {
		a  Appended
		id uint64
		n  int
	}
	var mu sync.Mutex
	var log []entry
	var lastDelivered atomic.Uint64
	var wg sync.WaitGroup
	for k := range uint64(writers) {
		wg.Go(func() {
			var last uint64
			for i := range uint64(each) {
				id := k*each + i
				n := int(id*37) % 3000
				a, wt, err := add(w, uint32(k%3), id, n, Stage(1+id%3))
				if err != nil {
					t.Error(err)
					return
				}
				<-wt.done
				if _, err := wt.state(); err != nil || uint64(a.Pos) < last {
					t.Error(a, err)
					return
				}
				last = uint64(a.Pos)
				lastDelivered.Store(max(last, lastDelivered.Load()))
				mu.Lock()
				log = append(log, entry{a, id, n})
				mu.Unlock()
			}
		})
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for k := range 4 {
		others.Go(func() {
			read, trimmed := 0, 0
			for i := k; ; i += 7 {
				select {
				case <-stop:
					if read == 0 {
						t.Error("nothing read")
					}
					return
				default:
				}
				mu.Lock()
				if len(log) == 0 {
					mu.Unlock()
					time.Sleep(time.Millisecond)
					continue
				}
				e := log[i%len(log)]
				mu.Unlock()
				r, err := w.Record(e.a.Pos, e.a.Len, nil)
				if errors.Is(err, ErrTrimmed) {
					trimmed++
					continue
				}
				if err != nil || r.LSN != e.a.LSN || !bytes.Equal(r.Parts[0].Payload, payload(e.id, e.n)) {
					t.Error(r, err)
					return
				}
				read++
			}
		})
	}
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if p := lastDelivered.Load(); p > 1<<20 {
				if err := w.TrimTo(Position(p - 1<<20)); err != nil {
					t.Error(err)
				}
			}
			w.Stats()
		}
	})
	wg.Wait()
	close(stop)
	others.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	o := &owner{}
	c.Owner = o
	w = mustOpen(t, c)
	slices.SortFunc(log, func(a, b entry) int { return int(a.a.Pos) - int(b.a.Pos) })
	log = log[len(log)-len(o.records):]
	if len(log) < 100 || len(log) == writers*each {
		t.Errorf("%d records of %d are left", len(log), writers*each)
	}
	for i, r := range o.records {
		if r.ID != log[i].id || r.LSN != log[i].a.LSN {
			t.Fatal(i, r, log[i])
		}
	}
	for i := 1; i < len(log); i++ {
		if p := log[i-1].a; p.LSN >= log[i].a.LSN && o.records[i].Shard == o.records[i-1].Shard {
			t.Fatal("LSNs are not in order")
		}
	}
}

// TestIdleMark shows that an idle log is marked, once.
func TestIdleMark(t *testing.T) {
	t.Parallel()
	c := testConfig(vfs.NewCrash(nil), nil)
	c.IdleMark, c.SyncInterval = 5*time.Millisecond, time.Millisecond
	w := mustOpen(t, c)
	a := mustAdd(t, w, 1, 100, Written)
	end := a.Pos + Position(a.Len)
	mark := Position(recordHeader + partHeader + stateHeader + tableEntry)
	for deadline := time.Now().Add(10 * time.Second); w.Stats().Durable != end+mark; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v, the record ends at %d", w.Stats(), end)
		}
	}
	time.Sleep(50 * time.Millisecond)
	if next := w.Stats().Next; next != end+mark {
		t.Errorf("marked again: %d", next-end)
	}
}

// TestEpochs shows that LSNs jump with an epoch only, and survive in files that have no record of the shard.
func TestEpochs(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrash(nil)
	c := testConfig(fs, &owner{})
	open := func() *WAL {
		w, err := Open(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := open()
	for _, err := range []error{w.SetEpoch(1, 1, 0), w.SetEpoch(9, 4, 500)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a, _, err := add(w, 9, 1, 10, 0)
	if err != nil || a.LSN != 500 {
		t.Fatal(a, err)
	}
	if w.SetEpoch(9, 3, 0) == nil || w.SetEpoch(9, 4, 600) == nil {
		t.Error("an epoch went back, or an lsn jumped")
	}
	if err := w.SetEpoch(9, 5, 700); err != nil {
		t.Fatal(err)
	}
	a, _, err = add(w, 9, 2, 10, 0)
	if err != nil || a.LSN != 700 {
		t.Fatal(a, err)
	}
	var last Appended
	for id := range uint64(100) {
		last = mustAdd(t, w, id, 2000, Written)
	}
	if err := w.TrimTo(last.FileBase); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w = open()
		if got := w.NextLSN(9); got != 701 {
			t.Errorf("next lsn %d", got)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMachineLost shows when a loss is reported, and that it is reported until it is settled.
func TestMachineLost(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrash(nil)
	c := testConfig(fs, nil)
	open := func(boot string) (*WAL, Recovery) {
		c.FS, c.BootID = fs, boot
		w, err := Open(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		return w, w.Recovery()
	}
	crash := func(w *WAL) {
		dead := fs
		fs = dead.Kill()
		_ = w.Close()
	}
	w, _ := open("a")
	mustAdd(t, w, 0, 10, Durable)
	mustAdd(t, w, 1, 10, Written|Durable)
	crash(w)
	w, r := open("b")
	if !r.Unclean || r.MachineLost {
		t.Errorf("another boot, and nothing was delivered at Written: %+v", r)
	}
	mustAdd(t, w, 2, 10, Written)
	crash(w)
	w, r = open("b")
	if !r.Unclean || r.MachineLost {
		t.Errorf("killed: %+v", r)
	}
	mustAdd(t, w, 3, 10, Durable) // no more at Written
	crash(w)
	w, r = open("b")
	if r.MachineLost {
		t.Errorf("killed again: %+v", r)
	}
	crash(w)
	w, r = open("c")
	if !r.Unclean || !r.MachineLost || r.AsyncCap != 4*8<<20 {
		t.Errorf("another boot: %+v", r)
	}
	crash(w)
	w, r = open("c")
	if !r.MachineLost {
		t.Errorf("not settled: %+v", r)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w, r = open("c")
	if r.Unclean || !r.MachineLost {
		t.Errorf("closed, and not settled: %+v", r)
	}
	if err := w.SettleLoss(t.Context()); err != nil {
		t.Fatal(err)
	}
	crash(w)
	w, r = open("c")
	if r.MachineLost {
		t.Errorf("settled: %+v", r)
	}
	crash(w)
	w, r = open("")
	if r.MachineLost {
		t.Errorf("unknown boot, nothing delivered at Written: %+v", r)
	}
	mustAdd(t, w, 4, 10, Written)
	crash(w)
	w, r = open("")
	if !r.MachineLost {
		t.Errorf("unknown boot: %+v", r)
	}
	if err := w.SettleLoss(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, w, 5, 10, Written)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w, _ = open("d")
	crash(w)
	w, r = open("e")
	if r.MachineLost {
		t.Errorf("closed in order since the last was delivered at Written: %+v", r)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAsyncMarkFirst cuts the power as soon as the first record has been delivered at Written: that there was one is known, whatever of it is found.
func TestAsyncMarkFirst(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 1, 30} { // 30 fill a file
		fs := vfs.NewCrash(nil)
		c := testConfig(fs, nil)
		c.BootID = "a"
		w := mustOpen(t, c)
		for id := range before {
			mustAdd(t, w, uint64(id), 2000, Durable)
		}
		mustAdd(t, w, 100, 10, Written)
		c.FS, c.BootID = fs.Crash(rand.New(rand.NewPCG(1, 1))), "b"
		_ = w.Close()
		w = mustOpen(t, c)
		if r := w.Recovery(); !r.MachineLost || r.AsyncCap == 0 {
			t.Errorf("after %d records: %+v", before, r)
		}
		if err := w.SettleLoss(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
