package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// startServer runs `varve server` in this process and returns its name server.
func startServer(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	logs := &testLog{t: t}
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, streams{in: strings.NewReader(""), out: in, err: logs}, []string{
			"server", "--data-dir", t.TempDir(), "--namesrv-listen", "127.0.0.1:0",
			"--broker-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--log-level", "warn",
		})
		_ = in.CloseWithError(fmt.Errorf("the server ended with %d", code))
		ended <- code
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("the server ended with %d", code)
		}
	})
	lines := bufio.NewScanner(out)
	namesrv := ""
	for lines.Scan() && !strings.Contains(lines.Text(), "varve consume") {
		if name, addr, ok := strings.Cut(strings.TrimSpace(lines.Text()), " "); ok && name == "namesrv" {
			namesrv = strings.TrimSpace(addr)
		}
	}
	if namesrv == "" {
		t.Fatalf("the server did not say where it is: %v", lines.Err())
	}
	return namesrv
}

// testLog shows a server's log with the test's.
type testLog struct{ t *testing.T }

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Logf("server: %s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// jsonLines runs a command with -o json and returns its lines as objects.
func jsonLines[T any](t *testing.T, stdin string, args ...string) []T {
	t.Helper()
	code, out, stderr := runVarve(t, stdin, append(args, "-o", "json")...)
	if code != exitOK {
		t.Fatalf("varve %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	var objects []T
	for line := range strings.Lines(out) {
		var o T
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("varve %s: %v in %q", strings.Join(args, " "), err, line)
		}
		objects = append(objects, o)
	}
	return objects
}

// TestCommands takes messages through a broker with the command line alone.
func TestCommands(t *testing.T) {
	t.Parallel()
	at := "--server=" + startServer(t)

	created := jsonLines[topicObject](t, "", "topic", "create", "orders", "--queues", "2", at)
	if len(created) != 1 || len(created[0].Queues) != 2 || created[0].Queues[1].Max != 0 {
		t.Fatalf("created %+v", created)
	}
	if code, _, stderr := runVarve(t, "", "topic", "create", "orders", at); code != exitFailed {
		t.Errorf("creating it again: exit code %d: %s", code, stderr)
	}
	if topics := jsonLines[topicName](t, "", "topic", "list", at); len(topics) != 1 || topics[0].Topic != "orders" {
		t.Errorf("topics %+v", topics)
	}

	before := time.Now().Add(-time.Second)
	sent := jsonLines[sentRow](t, "one\ntwo\nthree\n", "produce", "orders", "--tag", "paid", "--key", "k1", "--queue", "1",
		"--property", "colour=red", at)
	if len(sent) != 3 || sent[2].Offset != 2 || sent[2].Queue != 1 || sent[2].Status != "SEND_OK" {
		t.Fatalf("sent %+v", sent)
	}
	jsonLines[sentRow](t, "\xff\x00", "produce", "orders", "--file", "-", "--queue", "0", at)

	read := jsonLines[messageRow](t, "", "read", "orders", "--queue", "1", "--offset", "1", "--max", "1", at)
	if len(read) != 1 {
		t.Fatalf("read %+v", read)
	}
	m := read[0]
	if m.Topic != "orders" || m.Queue != 1 || m.Offset != 1 || m.MsgID != sent[1].MsgID || m.Tag != "paid" ||
		len(m.Keys) != 1 || m.Keys[0] != "k1" || m.Properties["colour"] != "red" || m.Body == nil || *m.Body != "two" {
		t.Errorf("read %+v", m)
	}
	if stored, err := time.Parse(time.RFC3339Nano, m.StoreTime); err != nil || stored.Before(before) {
		t.Errorf("store time %q, %v", m.StoreTime, err)
	}
	if raw := jsonLines[messageRow](t, "", "read", "orders", "--queue", "0", at); len(raw) != 1 || raw[0].BodyBase64 != "/wA=" {
		t.Errorf("read %+v", raw)
	}
	if all := jsonLines[messageRow](t, "", "read", "orders", "--time=-1h", at); len(all) != 4 {
		t.Errorf("read %d messages, want 4", len(all))
	}

	consumed := jsonLines[messageRow](t, "", "consume", "orders", "--group", "billing", "--from", "first",
		"--tag", "paid || refunded", "--max", "3", "--idle", "20s", at)
	if len(consumed) != 3 || *consumed[0].Body != "one" || *consumed[2].Body != "three" {
		t.Errorf("consumed %+v", consumed)
	}
	after := time.Now().Add(time.Hour).Format(time.RFC3339)
	for _, from := range []string{"last", after} {
		if got := jsonLines[messageRow](t, "", "consume", "orders", "--group", "from-"+from[:4], "--from", from, "--idle", "1s", at); len(got) != 0 {
			t.Errorf("--from %s: consumed %+v", from, got)
		}
	}
	if groups := jsonLines[groupName](t, "", "group", "list", at); len(groups) != 3 || groups[0].Group != "billing" {
		t.Errorf("groups %+v", groups)
	}
	if committed := committedIn(t, at, 1); committed != 3 {
		t.Errorf("committed %d in queue 1, want 3", committed)
	}
	jsonLines[resetRow](t, "", "group", "reset-offset", "billing", "--topic", "orders", "--to", "first", at)
	if committed := committedIn(t, at, 1); committed != 0 {
		t.Errorf("committed %d in queue 1 after the reset, want 0", committed)
	}

	status := jsonLines[statusObject](t, "", "status", at)
	if len(status) != 1 || status[0].Broker != "varve-a" || len(status[0].Status) == 0 {
		t.Errorf("status %+v", status)
	}
	for _, args := range [][]string{
		{"status"},
		{"topic", "list"},
		{"topic", "describe", "orders"},
		{"group", "list"},
		{"group", "describe", "billing"},
		{"read", "orders"},
		{"produce", "orders", "--count", "100"},
	} {
		if code, _, stderr := runVarve(t, "", append(args, at)...); code != exitOK {
			t.Errorf("varve %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
		}
	}
	if code, _, stderr := runVarve(t, "", "topic", "delete", "orders", at); code != exitOK {
		t.Errorf("delete: exit code %d: %s", code, stderr)
	}
	if topics := jsonLines[topicName](t, "", "topic", "list", at); len(topics) != 0 {
		t.Errorf("topics %+v after the deletion", topics)
	}
	if code, _, stderr := runVarve(t, "", "topic", "delete", "orders", at); code != exitFailed || !strings.Contains(stderr, "topic orders: ") {
		t.Errorf("delete it again: exit code %d: %s", code, stderr)
	}
}

func committedIn(t *testing.T, at string, queue int) int64 {
	t.Helper()
	for _, g := range jsonLines[groupObject](t, "", "group", "describe", "billing", at) {
		for _, p := range g.Progress {
			if p.Topic == "orders" && p.Queue == queue {
				return p.Committed
			}
		}
	}
	return -1
}

// A server that is not there is an error within the timeout, not a wait.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"status"}, {"topic", "list"}, {"read", "orders"}, {"produce", "orders", "--count", "1"},
	} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			code, _, stderr := runVarve(t, "", append(args, "--server=127.0.0.1:1", "--timeout=300ms")...)
			if code != exitFailed || !strings.Contains(stderr, "varve: ") {
				t.Errorf("exit code %d: %q", code, stderr)
			}
		})
	}
}

// TestConsumeInPieces: what one consumer fetched beyond its --max is the next one's, in order, and nothing takes the way of a retry.
func TestConsumeInPieces(t *testing.T) {
	t.Parallel()
	at := "--server=" + startServer(t)
	jsonLines[topicObject](t, "", "topic", "create", "pieces", "--queues", "1", at)
	jsonLines[sentRow](t, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n", "produce", "pieces", "--queue", "0", at)
	next := int64(0)
	for _, n := range []string{"4", "4", "2"} {
		for _, m := range jsonLines[messageRow](t, "", "consume", "pieces", "--group", "g", "--from", "first", "--max", n, at) {
			if m.Offset != next {
				t.Fatalf("offset %d, want %d", m.Offset, next)
			}
			next++
		}
	}
	if next != 10 {
		t.Errorf("%d messages, want 10", next)
	}
}
