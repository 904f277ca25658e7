package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/varvemq/varve/internal/message"
)

// TestRoundTrip writes random queues under many configurations and reads them back in every way.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		block int
		shape shape
	}{
		{"one message a block", 1, shape{queues: 5, pieces: 20, batch: 5, body: 200, holes: 0.2}},
		{"tiny blocks", 2000, shape{queues: 20, pieces: 10, batch: 20, body: 300, noise: 0.3, holes: 0.1}},
		{"one queue over many pages", 100, shape{queues: 1, pieces: 1500, batch: 3, body: 10, holes: 0.3}},
		{"many queues", 0, shape{queues: 1000, pieces: 2, batch: 3, body: 200, noise: 0.1, holes: 0.05}},
		{"large blocks", 0, shape{queues: 4, pieces: 10, batch: 150, body: 3000, noise: 0.5}},
		{"large messages", 64 << 10, shape{queues: 2, pieces: 3, batch: 2, body: 2 << 20, noise: 0.5}},
		{"holes only", 0, shape{queues: 3, pieces: 3, batch: 1, holes: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rng := seed(t)
			queues := build(t, rng, tc.shape)
			cfg := testConfig()
			cfg.BlockBytes = tc.block
			b, s := write(t, cfg, queues)
			r, _ := open(t, b)
			if f := r.Footer(); f != s.Footer || f.Identity != cfg.Identity || f.Previous != cfg.Previous || f.Queues != uint64(len(queues)) {
				t.Fatalf("footer %+v, summary %+v", f, s.Footer)
			}
			check(t, rng, r, queues)
			checkKeys(t, r, queues)
			checkScan(t, b, r)
			if err := Verify(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if again, _ := write(t, cfg, queues); !bytes.Equal(again, b) {
				t.Fatal("the same input gave other bytes")
			}
			checkAbsent(t, rng, r, queues)
		})
	}
}

// checkKeys looks up every key there is.
func checkKeys(t *testing.T, r *Reader, queues []modelQueue) {
	t.Helper()
	for i := range queues {
		q := &queues[i]
		for _, p := range q.pieces {
			for j, m := range p.msgs {
				if m.uniq != "" && j%7 == 0 {
					checkKey(t, r, q, p.base+uint64(j), m.uniq, q.Keys == KeysAll)
				}
				if words := bytes.Fields([]byte(m.keys)); len(words) > 0 && j%50 == 0 {
					checkKey(t, r, q, p.base+uint64(j), string(words[0]), q.Keys != KeysNone)
				}
			}
		}
	}
}

func checkKey(t *testing.T, r *Reader, q *modelQueue, offset uint64, key string, want bool) {
	t.Helper()
	found, last := false, uint64(1<<63)
	for hit, err := range r.Lookup(t.Context(), message.KeyHash(q.Topic, key)) {
		if err != nil {
			t.Fatal(err)
		}
		if n := hit.Block.Number + hit.Offset - hit.Block.Base; n >= last {
			t.Fatalf("message %d after %d", n, last)
		} else {
			last = n
		}
		if hit.Block.Ordinal != hit.Ordinal || hit.Offset < hit.Block.Base || hit.Offset >= hit.Block.End() {
			t.Fatalf("hit %+v", hit)
		}
		if hit.Ordinal == q.Ordinal && hit.Offset == offset {
			found = true
			break
		}
	}
	if found != want {
		t.Fatalf("queue %d, offset %d, key %s: found %v", q.Ordinal, offset, key, found)
	}
}

func checkAbsent(t *testing.T, rng *rand.Rand, r *Reader, queues []modelQueue) {
	t.Helper()
	ctx := t.Context()
	q := &queues[rng.IntN(len(queues))]
	if _, err := r.FindOffset(ctx, q.Ordinal, q.end()); !errors.Is(err, ErrNotFound) {
		t.Error("past the end:", err)
	}
	if q.first() > 0 {
		if _, err := r.FindOffset(ctx, q.Ordinal, q.first()-1); !errors.Is(err, ErrNotFound) {
			t.Error("before the start:", err)
		}
	}
	has := make(map[uint32]bool)
	for i := range queues {
		has[queues[i].Ordinal] = true
	}
	for o := range uint32(200) {
		if has[o] {
			continue
		}
		if _, err := r.Queue(ctx, o); !errors.Is(err, ErrNotFound) {
			t.Error("absent queue:", err)
		}
		if _, err := r.FindOffset(ctx, o, 0); !errors.Is(err, ErrNotFound) {
			t.Error("offset in an absent queue:", err)
		}
		if _, err := r.FindTime(ctx, o, 0); !errors.Is(err, ErrNotFound) {
			t.Error("time in an absent queue:", err)
		}
	}
	hits := 0
	for i := range 2000 {
		for range r.Lookup(ctx, message.KeyHash("topic-0", fmt.Sprint("absent", i))) {
			hits++
		}
	}
	if hits > 2 {
		t.Errorf("%d hits for 2000 absent keys", hits)
	}
}

// checkScan compares a scan with the index.
func checkScan(t *testing.T, b []byte, r *Reader) {
	t.Helper()
	ctx := t.Context()
	scanned := scan(t, b, nil)
	n := 0
	for info, err := range r.Queues(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range r.Blocks(ctx, info.Ordinal, info.First) {
			if err != nil || n >= len(scanned) {
				t.Fatal(n, len(scanned), err)
			}
			s := &scanned[n]
			n++
			want, err := r.ReadBlock(ctx, &e, nil)
			if err != nil || s.Damage != nil || s.Ordinal != e.Ordinal || s.Base != e.Base || s.Count != e.Count || s.Pos != e.Pos || s.Size != e.Size ||
				s.MinStore != e.MinStore || s.MaxStore != e.MaxStore || s.StoreHost != want.StoreHost || !bytes.Equal(s.Messages, want.Messages) {
				t.Fatalf("scanned %+v, index %+v, %v", s.BlockRef, e, err)
			}
		}
	}
	if n != len(scanned) {
		t.Fatalf("%d blocks scanned, %d in the index", len(scanned), n)
	}
}

func scan(t *testing.T, b []byte, id *Identity) []Scanned {
	t.Helper()
	var out []Scanned
	for s, err := range Scan(t.Context(), &memory{b: b}, int64(len(b)), id) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// TestEmpty: a segment may have no queues.
func TestEmpty(t *testing.T) {
	t.Parallel()
	b, s := write(t, testConfig(), nil)
	r, src := open(t, b)
	if len(b) != rootHeader+footerSize || s.Footer.Queues != 0 || src.gets.Load() != 1 {
		t.Errorf("%d bytes, %+v", len(b), s.Footer)
	}
	if err := Verify(t.Context(), r); err != nil {
		t.Error(err)
	}
	if got := scan(t, b, nil); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if _, err := r.FindOffset(t.Context(), 1, 0); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for range r.Lookup(t.Context(), 1) {
		t.Error("a key in an empty segment")
	}
}

// TestWriterRefuses: what cannot be in a segment never gets there.
func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	q := Queue{Ordinal: 5, Topic: "t", ExtentBase: 10}
	good := stored(t, &q, 12, &msg{store: 1, host: hostA})
	other := q
	other.Ordinal = 6
	for name, f := range map[string]func(w *Writer) error{
		"no queue":       func(w *Writer) error { return w.Append(12, 1, good) },
		"count too high": func(w *Writer) error { return errors.Join(w.Queue(q, Fast), w.Append(12, 2, good)) },
		"count too low": func(w *Writer) error {
			return errors.Join(w.Queue(q, Fast), w.Append(12, 1, append(bytes.Clone(good), good...)))
		},
		"count zero":       func(w *Writer) error { return errors.Join(w.Queue(q, Fast), w.Append(12, 0, good)) },
		"other offset":     func(w *Writer) error { return errors.Join(w.Queue(q, Fast), w.Append(13, 1, good)) },
		"other queue":      func(w *Writer) error { return errors.Join(w.Queue(other, Fast), w.Append(12, 1, good)) },
		"below the extent": func(w *Writer) error { return errors.Join(w.Queue(q, Fast), w.Append(9, 1, good)) },
		"gap":              func(w *Writer) error { return errors.Join(w.Queue(q, Fast), w.Append(12, 1, good), w.Hole(14, 1)) },
		"twice": func(w *Writer) error {
			return errors.Join(w.Queue(q, Fast), w.Append(12, 1, good), w.Append(12, 1, good))
		},
		"torn message":      func(w *Writer) error { return errors.Join(w.Queue(q, Fast), w.Append(12, 1, good[:len(good)-1])) },
		"hole of nothing":   func(w *Writer) error { return errors.Join(w.Queue(q, Fast), w.Hole(12, 0)) },
		"hole too wide":     func(w *Writer) error { return errors.Join(w.Queue(q, Fast), w.Hole(12, 1<<35)) },
		"hole too long":     func(w *Writer) error { return errors.Join(w.Queue(q, Fast), w.Hole(12, 1<<63)) },
		"queues fall":       func(w *Writer) error { return errors.Join(w.Queue(other, Fast), w.Queue(q, Fast)) },
		"ordinal too high":  func(w *Writer) error { return w.Queue(Queue{Ordinal: message.MaxOrdinal + 1}, Fast) },
		"topic too long":    func(w *Writer) error { return w.Queue(Queue{Topic: string(make([]byte, 256))}, Fast) },
		"negative queue id": func(w *Writer) error { return w.Queue(Queue{QueueID: -1}, Fast) },
		"unknown level":     func(w *Writer) error { return w.Queue(q, 10) },
		"unknown key mode":  func(w *Writer) error { return w.Queue(Queue{Keys: 3}, Fast) },
	} {
		w, err := NewWriter(&bytes.Buffer{}, testConfig())
		if err != nil {
			t.Fatal(err)
		}
		if err := f(w); err == nil {
			t.Error(name, "passes")
		}
		if _, err := w.Finish(); err == nil {
			t.Error(name, "and then it can be finished")
		}
	}
	for _, bad := range []Config{{BlockBytes: MaxBlock + 1}, {BlockBytes: -1}, {Level: 2}, {FirstLSN: 2, EndLSN: 1}, {Identity: Identity{Shard: strings.Repeat("s", 256)}}, {}} {
		if bad != (Config{}) && bad.Shard == "" {
			bad.Shard = "s"
		}
		if _, err := NewWriter(&bytes.Buffer{}, bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// failing is a writer that fails, or writes short, after so many bytes.
type failing struct{ left int }

var errDisk = errors.New("disk")

func (f *failing) Write(b []byte) (int, error) {
	if len(b) > f.left {
		return f.left, errDisk
	}
	f.left -= len(b)
	return len(b), nil
}

// TestWriteFails: wherever the spool fails, the error comes out and sticks.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	q := Queue{Ordinal: 5, Topic: "t"}
	one := stored(t, &q, 0, &msg{store: 1, host: hostA, uniq: "u"})
	whole, _ := write(t, testConfig(), []modelQueue{{Queue: q, pieces: []piece{{count: 1, raw: one}}}})
	for n := range whole {
		if raceDetector && n%7 != 0 {
			continue
		}
		w, err := NewWriter(&failing{left: n}, testConfig())
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(w.Queue(q, Uncompressed), w.Append(0, 1, one))
		if err == nil {
			_, err = w.Finish()
		}
		if _, again := w.Finish(); !errors.Is(err, errDisk) || !errors.Is(again, errDisk) {
			t.Fatal(n, err, again)
		}
	}
}
