package client

import (
	"context"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/remoting"
)

// TestCancelHeldPull: whoever cancels a pull that the broker holds, or whose
// deadline passes meanwhile, does not break the connection for others.
func TestCancelHeldPull(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(context.Context, time.Duration) (context.Context, context.CancelFunc){
		"cancelled": func(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			timer := time.AfterFunc(d, cancel)
			return ctx, func() { timer.Stop(); cancel() }
		},
		"deadline": context.WithTimeout,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFake(t, 1)
			s.on(remoting.ReqPullMessage, func(*fakeConn, *remoting.Command) bool { return true })
			other := make(chan *remoting.Command, 1) // a request that takes its time, too
			s.on(remoting.ReqGetMaxOffset, func(_ *fakeConn, cmd *remoting.Command) bool {
				other <- cmd
				return true
			})
			p := s.producer()
			if _, err := p.core.routes.get(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := limit(t.Context(), maxSilence+500*time.Millisecond)
			defer cancel()
			held := make(chan error, 1)
			go func() {
				_, err := p.core.pull(ctx, s.addr(), &pullRequest{
					group: "g", sub: &subscription{topic: "t", expr: "*"}, queue: Queue{Broker: "b"}, max: 1, suspend: time.Minute,
				})
				held <- err
			}()
			time.Sleep(maxSilence)
			answer := make(chan error, 1)
			go func() {
				_, err := p.core.maxOffset(t.Context(), "t", Queue{Broker: "b"})
				answer <- err
			}()
			req := <-other
			if err := <-held; err == nil {
				t.Error("the pull was answered")
			}
			s.mu.Lock()
			for c := range s.conns {
				c.reply(req, 0, "", nil, "offset", "7")
			}
			s.mu.Unlock()
			if err := <-answer; err != nil {
				t.Errorf("another request: %v", err)
			}
			if n := s.connections(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}
