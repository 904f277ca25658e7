package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/client"
)

func TestBodies(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		flags produceFlags
		stdin string
		want  []string
		total int64
	}{
		{"lines", produceFlags{}, "one\n\ntwo\r\nthree", []string{"one", "two", "three"}, 0},
		{"nothing", produceFlags{}, "", nil, 0},
		{"file", produceFlags{file: file}, "", []string{"a\nb\n"}, 1},
		{"standard input whole", produceFlags{file: "-"}, "a\nb\n", []string{"a\nb\n"}, 1},
		{"made up", produceFlags{count: 2, size: "8"}, "", []string{"0 rve va", "1 rve va"}, 2},
		{"made up, short", produceFlags{count: 2, size: "1B"}, "", []string{"0", "1"}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			bodies, total, err := tc.flags.bodies(strings.NewReader(tc.stdin), false)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for body, err := range bodies {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(body))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || total != tc.total {
				t.Errorf("total %d, want %d (-want +got)\n%s", total, tc.total, diff)
			}
		})
	}
}

func TestBodiesFail(t *testing.T) {
	t.Parallel()
	f := produceFlags{file: "/nowhere/body"}
	bodies, _, err := f.bodies(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range bodies {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error = %v", err)
		}
	}
	for _, f := range []produceFlags{{count: -1}, {count: 1, size: "0"}, {count: 1, size: "1TiB"}, {count: 1, size: "x"}} {
		if _, _, err := f.bodies(nil, true); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	f := produceFlags{tag: "a", keys: []string{"k"}, properties: []string{"x=y"}, queue: 3, delayLevel: 2}
	got, err := f.template("t", true)
	want := client.Message{
		Topic: "t", Tag: "a", Keys: []string{"k"}, Properties: map[string]string{"x": "y"},
		Queue: &client.Queue{ID: 3}, DelayLevel: 2,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for _, f := range []produceFlags{{queue: -1}, {delayLevel: 19}, {delayLevel: -1}, {properties: []string{"x"}}} {
		if _, err := f.template("t", true); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
}

func TestSentLog(t *testing.T) {
	t.Parallel()
	var out, stderr bytes.Buffer
	s := streams{out: &out, err: &stderr}
	log := newSentLog(s, outputFlag{format: formatJSON}, 0, false)
	fault := errors.New("busy")
	log.answer(client.SendResult{Topic: "t", Queue: client.Queue{Broker: "b", ID: 1}, Offset: 7, MsgID: "id"}, nil)
	log.answer(client.SendResult{}, fault)
	log.answer(client.SendResult{}, errors.New("another"))
	err := log.finish(s)
	if !errors.Is(err, fault) || !strings.Contains(err.Error(), "2 messages failed, the first: busy") {
		t.Errorf("error = %v", err)
	}
	want := `{"topic":"t","broker":"b","queue":1,"offset":7,"msgId":"id","status":"SEND_OK"}` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !strings.HasPrefix(stderr.String(), "1 message stored in ") {
		t.Errorf("standard error %q", stderr.String())
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		terminal bool
		steps    []time.Duration
		want     string
	}{
		{"short work is not told", false, []time.Duration{time.Second, time.Second}, ""},
		{"a line now and then", false, []time.Duration{10 * time.Second, 10 * time.Second}, "50 of 100 msgs (50 %), 5/s\n" +
			"100 of 100 msgs (100 %), 5/s\n"},
		{"in place", true, []time.Duration{time.Second}, "\r50 of 100 msgs (50 %), 50/s\x1b[K\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			now := time.Unix(0, 0)
			p := &progress{w: &out, terminal: tc.terminal, what: "msgs", total: 100, now: func() time.Time { return now }}
			p.start, p.last = now, now
			for _, step := range tc.steps {
				now = now.Add(step)
				p.add(50)
			}
			p.end()
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
