package queue

import (
	"container/heap"
	"sync"
	"time"
)

// timers wakes waiters at their deadlines: a heap and one goroutine. mu is the last lock to be taken.
type timers struct {
	mu   sync.Mutex // guards heap
	heap waiterHeap

	kick chan struct{} // the first deadline has changed
	quit chan struct{}
	done sync.WaitGroup
	log  *Log
}

func (t *timers) init(l *Log) {
	t.log = l
	t.kick = make(chan struct{}, 1)
	t.quit = make(chan struct{})
}

// start starts the goroutine, stop ends it and waits.
func (t *timers) start() { t.done.Go(t.run) }

func (t *timers) stop() {
	close(t.quit)
	t.done.Wait()
}

func (t *timers) add(w *Waiter) {
	t.mu.Lock()
	heap.Push(&t.heap, w)
	first := w.heapIndex == 1
	t.mu.Unlock()
	if first {
		select {
		case t.kick <- struct{}{}:
		default:
		}
	}
}

// remove takes a waiter out if it is in; afterwards the timers do not know it.
func (t *timers) remove(w *Waiter) {
	t.mu.Lock()
	if w.heapIndex != 0 {
		heap.Remove(&t.heap, w.heapIndex-1)
	}
	t.mu.Unlock()
}

func (t *timers) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		expired, wait := t.expired(time.Now())
		for _, w := range expired {
			t.log.expire(w)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-t.kick:
		case <-t.quit:
			return
		}
	}
}

// expired takes the waiters whose deadline has passed, and returns how long the next one has.
func (t *timers) expired(now time.Time) (taken []*Waiter, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.heap) > 0 {
		w := t.heap[0]
		if d := w.Deadline.Sub(now); d > 0 {
			return taken, d
		}
		heap.Pop(&t.heap)
		if w.state.CompareAndSwap(waiterWaiting, waiterTaken) {
			taken = append(taken, w)
		}
	}
	return taken, time.Hour
}

// waiterHeap is a heap by deadline; a waiter knows its place in it.
type waiterHeap []*Waiter

// Len implements heap.Interface.
func (h *waiterHeap) Len() int { return len(*h) }

// Less implements heap.Interface.
func (h *waiterHeap) Less(i, j int) bool { return (*h)[i].Deadline.Before((*h)[j].Deadline) }

// Swap implements heap.Interface.
func (h *waiterHeap) Swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].heapIndex, s[j].heapIndex = i+1, j+1
}

// Push implements heap.Interface.
func (h *waiterHeap) Push(x any) {
	w := x.(*Waiter)
	*h = append(*h, w)
	w.heapIndex = len(*h)
}

// Pop implements heap.Interface.
func (h *waiterHeap) Pop() any {
	n := len(*h) - 1
	w := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	w.heapIndex = 0
	return w
}
