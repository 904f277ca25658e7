package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells on standard error how far long work is: in place on a
// terminal, a line now and then elsewhere, nothing for work that is short. It
// belongs to one goroutine at a time.
type progress struct {
	w        io.Writer
	terminal bool
	what     string
	total    int64 // 0 if unknown
	done     int64
	start    time.Time
	last     time.Time
	now      func() time.Time
	drawn    int64 // what done was when it was told last, 0 if never
}

// How often progress is told.
const (
	progressOnTerminal = 200 * time.Millisecond
	progressElsewhere  = 10 * time.Second
)

// newProgress starts to count. Nothing is told where data goes to the same
// terminal: they would overwrite each other.
func newProgress(s streams, what string, total int64, dataFollows bool) *progress {
	p := &progress{w: s.err, terminal: isTerminal(s.err), what: what, total: total, now: time.Now}
	if dataFollows && isTerminal(s.out) {
		p.w = io.Discard
	}
	p.start = p.now()
	p.last = p.start
	return p
}

func (p *progress) add(n int64) {
	p.done += n
	every := progressElsewhere
	if p.terminal {
		every = progressOnTerminal
	}
	if now := p.now(); now.Sub(p.last) >= every {
		p.last = now
		p.draw(now)
	}
}

func (p *progress) draw(now time.Time) {
	text := fmt.Sprintf("%d %s", p.done, p.what)
	if p.total > 0 {
		text = fmt.Sprintf("%d of %d %s (%d %%)", p.done, p.total, p.what, p.done*100/p.total)
	}
	text += fmt.Sprintf(", %.0f/s", rate(p.done, now.Sub(p.start)))
	if p.terminal {
		text = "\r" + text + "\x1b[K"
	} else {
		text += "\n"
	}
	p.drawn = p.done
	// Nobody to tell is no failure of the work.
	_, _ = io.WriteString(p.w, text)
}

// end leaves the last figures standing, if any were shown.
func (p *progress) end() {
	if p.drawn == 0 {
		return
	}
	if p.drawn != p.done {
		p.draw(p.now())
	}
	if p.terminal {
		_, _ = io.WriteString(p.w, "\n")
	}
}

// counted is "1 message", "2 messages".
func counted(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func rate(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
