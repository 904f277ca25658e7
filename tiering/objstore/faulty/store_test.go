package faulty_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// always has one fault in every call.
func always(f faulty.Fault) faulty.Config {
	return faulty.Config{Seed: 7, Plan: func(faulty.Op) faulty.Fault { return f }}
}

func put(t *testing.T, s objstore.Store, key, content string) {
	t.Helper()
	if err := objstore.PutBytes(t.Context(), s, key, []byte(content), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, s objstore.Store) (out []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Key)
	}
	return out
}

// TestPuts: what each fault says, and what it did.
func TestPuts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault   faulty.Fault
		class   error
		written bool
	}{
		{faulty.None, nil, true},
		{faulty.Throttled, objstore.ErrThrottled, false},
		{faulty.ServerError, objstore.ErrTransient, false},
		{faulty.LostAnswer, objstore.ErrTransient, true},
		{faulty.OwnPrecondition, objstore.ErrPrecondition, true},
		{faulty.FlipBit, nil, true}, // none of a put's
	} {
		t.Run(tt.fault.String(), func(t *testing.T) {
			t.Parallel()
			mem := objstore.NewMem()
			s := faulty.New(mem, always(tt.fault))
			err := objstore.PutBytes(t.Context(), s, "k", []byte("whole"), objstore.PutOptions{IfNoneMatch: true})
			if !errors.Is(err, tt.class) || objstore.Class(err) != tt.class { //nolint:errorlint // the class itself
				t.Errorf("%v, want %v", err, tt.class)
			}
			got, err := objstore.ReadAll(t.Context(), mem, "k", 10)
			if tt.written != (err == nil) || tt.written && string(got) != "whole" {
				t.Errorf("%q, %v, want written %t", got, err, tt.written)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("0123456789", 100)
	mem := objstore.NewMem()
	put(t, mem, "k", content)
	for _, tt := range []struct {
		fault faulty.Fault
		class error
		short bool
		diff  int
	}{
		{faulty.ResetBody, objstore.ErrTransient, true, 0},
		{faulty.TruncateBody, nil, true, 0},
		{faulty.FlipBit, nil, false, 1},
	} {
		s := faulty.New(mem, always(tt.fault))
		r, err := s.Get(t.Context(), "k", 100, 500)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if !errors.Is(err, tt.class) {
			t.Errorf("%s: %v", tt.fault, err)
		}
		if tt.short != (len(got) < 500) {
			t.Errorf("%s: %d bytes", tt.fault, len(got))
		}
		diff := 0
		for i := range got {
			if got[i] != content[100+i] {
				diff++
			}
		}
		if diff != tt.diff {
			t.Errorf("%s: %d bytes differ", tt.fault, diff)
		}
	}
}

// TestSeed: the same seed is the same faults.
func TestSeed(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (out []string) {
		s := faulty.New(objstore.NewMem(), faulty.Config{Seed: seed, Rates: map[faulty.Fault]float64{faulty.Throttled: 0.2, faulty.LostAnswer: 0.2, faulty.ServerError: 0.2}})
		for i := range 50 {
			out = append(out, fmt.Sprint(objstore.PutBytes(t.Context(), s, fmt.Sprint(i), nil, objstore.PutOptions{})))
		}
		return out
	}
	if diff := cmp.Diff(run(1), run(1)); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(run(1), run(2)) {
		t.Error("two seeds, the same faults")
	}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := faulty.New(objstore.NewMem(), faulty.Config{Burst: time.Minute, Plan: func(op faulty.Op) faulty.Fault {
			if op.N == 1 {
				return faulty.Throttled
			}
			return faulty.None
		}})
		head := func() error {
			_, err := s.Head(t.Context(), "k")
			return objstore.Class(err)
		}
		want := func(what string, class error) {
			t.Helper()
			if got := head(); !errors.Is(got, class) {
				t.Errorf("%s: %v, want %v", what, got, class)
			}
		}
		want("first", objstore.ErrThrottled)
		time.Sleep(59 * time.Second)
		want("in the burst", objstore.ErrThrottled)
		time.Sleep(2 * time.Second)
		want("after the burst", objstore.ErrNotFound)
		s.Outage(10 * time.Minute)
		time.Sleep(9 * time.Minute)
		want("in the outage", objstore.ErrTransient)
		time.Sleep(2 * time.Minute)
		want("after the outage", objstore.ErrNotFound)
		s.Outage(time.Hour)
		s.Outage(0)
		want("an outage that was ended", objstore.ErrNotFound)
		if s.Calls() != 6 || s.Count(faulty.Throttled) != 2 {
			t.Errorf("%d calls, %d throttled", s.Calls(), s.Count(faulty.Throttled))
		}
		// Latency and a hanging call end with their context.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, f := range []objstore.Store{faulty.New(objstore.NewMem(), always(faulty.Hang)), faulty.New(objstore.NewMem(), faulty.Config{Latency: 1e6 * time.Hour})} {
			if _, err := f.Head(ctx, "k"); !errors.Is(err, objstore.ErrTransient) {
				t.Error(err)
			}
		}
	})
}

func TestStaleList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stale := false
		s := faulty.New(objstore.NewMem(), faulty.Config{StaleFor: time.Minute, Plan: func(faulty.Op) faulty.Fault {
			if stale {
				return faulty.StaleList
			}
			return faulty.None
		}})
		put(t, s, "a", "1")
		put(t, s, "b", "1")
		time.Sleep(2 * time.Minute)
		put(t, s, "c", "1")
		if err := s.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		fresh := keys(t, s)
		stale = true
		old := keys(t, s)
		time.Sleep(2 * time.Minute)
		caughtUp := keys(t, s)
		if diff := cmp.Diff([][]string{{"b", "c"}, {"a", "b"}, {"b", "c"}}, [][]string{fresh, old, caughtUp}); diff != "" {
			t.Error(diff)
		}
	})
}
