package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestChaos breaks all connections again and again while messages go in and
// out. What was acknowledged has to come out; what failed without doubt must not.
func TestChaos(t *testing.T) {
	t.Parallel()
	for _, orderly := range []bool{false, true} {
		t.Run(fmt.Sprintf("orderly=%v", orderly), func(t *testing.T) {
			t.Parallel()
			s := newFake(t, 4)
			s.setMembers("m1")
			var mu sync.Mutex
			acked, refused, seen := make(map[string]bool), make(map[string]bool), make(map[string]int)
			lastOffset := make(map[int]int64)
			for q := range 4 {
				lastOffset[q] = -1
			}
			opts := []Option{WithCommitInterval(20 * time.Millisecond), WithRetryPause(time.Millisecond)}
			if orderly {
				opts = append(opts, WithOrderly())
			}
			c := s.consumer(func(_ context.Context, m *MessageExt) error {
				mu.Lock()
				defer mu.Unlock()
				if orderly && m.Offset > lastOffset[m.Queue.ID]+1 {
					t.Errorf("queue %d: offset %d after %d", m.Queue.ID, m.Offset, lastOffset[m.Queue.ID])
				}
				if lastOffset[m.Queue.ID] = m.Offset; orderly && rand.N(20) == 0 {
					return errors.New("again")
				}
				seen[string(m.Body)]++
				return nil
			}, opts...)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(5+rand.N(40)) * time.Millisecond):
						s.dropAll()
					}
				}
			})
			p := s.producer()
			for i := range 3000 {
				body := fmt.Sprint(i)
				err := p.SendAsync(t.Context(), &Message{Topic: "t", Body: []byte(body), ShardingKey: fmt.Sprint(i % 7)}, func(_ SendResult, err error) {
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						acked[body] = true
					} else if !OutcomeUnknown(err) {
						refused[body] = true
					}
				})
				if err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					time.Sleep(3 * time.Millisecond)
				}
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			close(stop)
			wg.Wait()
			eventually(t, "what was acknowledged", func() bool {
				mu.Lock()
				defer mu.Unlock()
				for b := range acked {
					if seen[b] == 0 {
						return false
					}
				}
				return true
			})
			_ = c.Close()
			mu.Lock()
			defer mu.Unlock()
			for b := range refused {
				if seen[b] > 0 {
					t.Errorf("message %s was refused and is there", b)
				}
			}
			again := 0
			for _, n := range seen {
				again += n - 1
			}
			t.Logf("%d acknowledged, %d refused, %d unknown, %d delivered again",
				len(acked), len(refused), 3000-len(acked)-len(refused), again)
		})
	}
}
