package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

// appendKeys appends the hashes of a message's UNIQ_KEY and of each word of its KEYS.
func appendKeys(dst []uint32, v message.View) []uint32 {
	topic := v.Topic()
	for name, value := range message.EachProperty(v.Properties()) {
		switch string(name) {
		case message.PropertyUniqKey:
			dst = append(dst, keyHash(topic, value))
		case message.PropertyKeys:
			message.EachKey(value, func(key []byte) { dst = append(dst, keyHash(topic, key)) })
		}
	}
	return dst
}

// keyHash is what the index keeps of a key's hash.
func keyHash[T, K string | []byte](topic T, key K) uint32 {
	return uint32(message.KeyHash(topic, key) >> 32)
}

// ByKey appends the visible messages that q asks for, newest first, to dst and returns their number. A key is looked up
// in each file's index, newest first, and verified in the messages.
func (l *Log) ByKey(ctx context.Context, q KeyQuery, dst []byte) ([]byte, int, error) {
	s := keySearch{log: l, q: q, hash: keyHash(q.Topic, q.Key), left: q.Max, dst: dst}
	if s.left <= 0 {
		s.left = 64
	}
	setDefault(&s.q.MaxBytes, defaultKeyBytes)
	if s.q.End == 0 {
		s.q.End = math.MaxInt64
	}
	files := l.allFiles()
	for _, f := range slices.Backward(files) {
		if lo, hi, ok := f.times(); !ok || hi < s.q.Begin || lo > s.q.End {
			continue
		}
		if err := ctx.Err(); err != nil {
			return dst, 0, err
		}
		err := s.file(f)
		if errors.Is(err, wal.ErrTrimmed) {
			break // what is older has gone too
		}
		if err != nil {
			return dst, 0, fmt.Errorf("query key of topic %s: %w", q.Topic, err)
		}
		if s.left == 0 {
			break
		}
	}
	if err := s.sealedKeys(ctx); err != nil {
		return dst, 0, fmt.Errorf("query key of topic %s: %w", q.Topic, err)
	}
	return s.dst, s.found, nil
}

// keySearch is one running ByKey.
type keySearch struct {
	log   *Log
	q     KeyQuery
	hash  uint32
	left  int
	found int
	bytes int
	dst   []byte
	views []message.View // matches in one record, oldest first
	taken []int64        // physical offsets of what was found: a message may be in the log and in a segment
}

// file looks through the index of one file.
func (s *keySearch) file(f *fileIndex) error {
	f.mu.Lock()
	live, records, keys := f.live, f.records, f.keys
	if live {
		records, keys = slices.Clone(records), slices.Clone(keys)
	}
	f.mu.Unlock()
	if live {
		return s.liveFile(f, records, keys)
	}
	b, err := s.log.section(f, keysNumber)
	if err != nil {
		return err
	}
	k := keyIndex(b)
	from := sort.Search(k.len(), func(i int) bool { return k.key(i)>>32 >= uint64(s.hash) })
	to := from + sort.Search(k.len()-from, func(i int) bool { return k.key(from+i)>>32 > uint64(s.hash) })
	last := -1
	for i := to - 1; i >= from && s.left > 0; i-- {
		if n := int(uint32(k.key(i))); n != last {
			last = n
			if err := s.record(f, k.record(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *keySearch) liveFile(f *fileIndex, records [][]keyedRecord, keys [][]uint64) error {
	last := -1
	for _, chunk := range slices.Backward(keys) {
		for _, k := range slices.Backward(chunk) {
			if uint32(k>>32) != s.hash || int(uint32(k)) == last {
				continue
			}
			last = int(uint32(k))
			if err := s.record(f, records[last/keyChunk][last%keyChunk]); err != nil || s.left == 0 {
				return err
			}
		}
	}
	return nil
}

// record takes the matches of one record, the newest first.
func (s *keySearch) record(f *fileIndex, r keyedRecord) error {
	rec, err := s.log.w().Record(f.base+wal.Position(r.place)*placeUnit, int(r.length), nil)
	if err != nil {
		return err
	}
	s.views = s.views[:0]
	for i := range rec.Parts {
		p := &rec.Parts[i]
		if p.Kind != wal.PartBatch || p.Codec != codecMessages || p.MaxStoreTime < s.q.Begin || p.MinStoreTime > s.q.End {
			continue
		}
		q := s.log.Lookup(p.Queue)
		if q == nil {
			continue
		}
		lo, hi := q.bounds()
		if err := eachMessage(p.Payload, func(v message.View) {
			if off := uint64(v.QueueOffset()); off >= lo && off < hi && s.matches(v) {
				s.views = append(s.views, v)
			}
		}); err != nil {
			return corrupt(f.seq, 0, "record at %d: %v", rec.Pos, err)
		}
	}
	for _, v := range slices.Backward(s.views) {
		if s.left == 0 {
			break
		}
		s.take(v)
	}
	return nil
}

// take appends a match.
func (s *keySearch) take(v message.View) {
	if s.found > 0 && s.bytes+len(v) > s.q.MaxBytes {
		s.left = 0
		return
	}
	s.dst = s.log.appendMessage(s.dst, v)
	s.bytes += len(v)
	s.left--
	s.found++
	s.taken = append(s.taken, v.PhysicalOffset())
}

func (s *keySearch) seen(v message.View) bool { return slices.Contains(s.taken, v.PhysicalOffset()) }

func (s *keySearch) matches(v message.View) bool {
	if t := v.StoreTimestamp(); t < s.q.Begin || t > s.q.End || string(v.Topic()) != s.q.Topic {
		return false
	}
	if id, ok := v.Property(message.PropertyUniqKey); ok && string(id) == s.q.Key {
		return true
	}
	if s.q.Unique {
		return false
	}
	found := false
	if words, ok := v.Property(message.PropertyKeys); ok {
		message.EachKey(words, func(key []byte) { found = found || bytes.Equal(key, []byte(s.q.Key)) })
	}
	return found
}

// eachMessage calls f for every message of a batch.
func eachMessage(batch []byte, f func(message.View)) error {
	for len(batch) > 0 {
		v, rest, err := message.Next(batch)
		if err != nil {
			return err
		}
		f(v)
		batch = rest
	}
	return nil
}
