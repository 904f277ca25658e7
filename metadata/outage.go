package metadata

import (
	"log/slog"
	"sync"
	"time"
)

// outage says once that etcd does not answer and once that it does again, whichever part of the store meets it first and last.
type outage struct {
	log *slog.Logger

	mu    sync.Mutex // guards the rest
	parts map[string]struct{}
	since time.Time
}

// began notes that a part cannot do its work.
func (o *outage) began(part string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.parts[part]; ok {
		return
	}
	if o.parts == nil {
		o.parts = map[string]struct{}{}
	}
	first := len(o.parts) == 0
	o.parts[part] = struct{}{}
	if first {
		o.since = time.Now()
		o.log.Warn("etcd does not answer: what is cached is served as long as the lease holds", "met_by", part, "error", err)
	}
}

// forget notes that a part has no work any more, which says nothing of etcd.
func (o *outage) forget(part string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.parts, part)
}

// ended notes that a part can do its work.
func (o *outage) ended(part string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.parts[part]; !ok {
		return
	}
	delete(o.parts, part)
	if len(o.parts) == 0 {
		o.log.Info("etcd answers again", "away_for", time.Since(o.since).Round(time.Millisecond))
	}
}
