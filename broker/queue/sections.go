package queue

import (
	"errors"
	"fmt"

	"github.com/varvemq/varve/broker/wal"
)

// section returns a verified section of a file that has them: pinned, cached, read from the file, or rebuilt from the
// file's records if it is damaged there. wal.ErrTrimmed says that the file has gone.
func (l *Log) section(f *fileIndex, number int) ([]byte, error) {
	if b, ok := f.pinnedSection(number); ok {
		return b, nil
	}
	return l.cache.get(sectionKey{file: f.seq, section: number}, func() ([]byte, error) {
		file, err := l.w().File(f.seq)
		if err != nil {
			return nil, err
		}
		return l.load(f, file, number)
	})
}

// load reads and checks a section, and rebuilds all of them if that fails.
func (l *Log) load(f *fileIndex, file *wal.File, number int) ([]byte, error) {
	b, err := readSection(file, number)
	if err == nil && number == entriesNumber {
		var d []byte
		if d, err = l.section(f, directoryNumber); err == nil {
			err = checkEntries(f.seq, b, d)
		}
	}
	if err == nil || errors.Is(err, wal.ErrTrimmed) || errors.Is(err, wal.ErrClosed) {
		return b, err
	}
	if _, seen := l.warned.LoadOrStore(f.seq, true); !seen {
		l.cfg.Logger.Error("index of wal file damaged, rebuilt from its records", "file", f.seq, "section", number, "error", err)
	}
	l.stats.damaged.Add(1)
	if rerr := l.rebuild(f); rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	b, ok := f.pinnedSection(number)
	if !ok {
		return nil, err
	}
	return b, nil
}

// readSection reads a section and checks all that can be checked without the others.
func readSection(file *wal.File, number int) ([]byte, error) {
	b, err := file.Section(number)
	if err != nil {
		return nil, fmt.Errorf("section %d of wal file %d: %w", number, file.Seq, err)
	}
	switch number {
	case directoryNumber:
		err = checkDirectory(file.Seq, b)
	case entriesNumber:
		_, _, err = checkHeader(file.Seq, number, b)
	case keysNumber:
		err = checkKeys(file.Seq, b)
	case statesNumber:
		err = checkStates(file.Seq, b)
	}
	return b, err
}

// rebuild computes the sections 1 to 3 from the file's records and pins them. Section 4 is read at a start only.
func (l *Log) rebuild(f *fileIndex) error {
	tmp, scratch := newLog(l.cfg), newFileIndex(f.seq, f.base)
	if err := l.w().ScanFile(f.seq, func(r wal.Record) error {
		if r.Shard.ID != l.cfg.Shard.ID {
			return nil
		}
		return tmp.indexRecord(scratch, &r)
	}); err != nil {
		return fmt.Errorf("rebuild the index of wal file %d: %w", f.seq, err)
	}
	dir, ent, err := buildRows(scratch, scratch.sortedQueues())
	if err != nil {
		return err
	}
	pinned := &[sectionCount + 1][]byte{nil, dir, ent, scratch.buildKeys(), nil}
	f.mu.Lock()
	f.pinned, f.rebuilt = pinned, true
	f.mu.Unlock()
	return nil
}
