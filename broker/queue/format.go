package queue

import (
	"encoding/binary"
)

// The sections of a closed file; docs/format/queue-index.md.
const (
	sectionMagic   = "VQIX"
	sectionVersion = 1

	headerSize      = 16
	directoryRow    = 48
	entryRow        = 24
	keyedRecordRow  = 8
	keyRow          = 8
	stateRow        = 32
	stateHasCursor  = 1
	directoryNumber = 1
	entriesNumber   = 2
	keysNumber      = 3
	statesNumber    = 4
	sectionCount    = 4
)

var le = binary.LittleEndian

// appendHeader begins a section.
func appendHeader(dst []byte, section, n, records int) []byte {
	dst = append(dst, sectionMagic...)
	dst = le.AppendUint16(dst, sectionVersion)
	dst = le.AppendUint16(dst, uint16(section))
	dst = le.AppendUint32(dst, uint32(n))
	return le.AppendUint32(dst, uint32(records))
}

// checkHeader checks a section's header and length, and returns the number of its rows and of its keyed records.
func checkHeader(file uint64, section int, b []byte) (n, records int, err error) {
	if len(b) < headerSize {
		return 0, 0, corrupt(file, section, "%d bytes", len(b))
	}
	if string(b[:4]) != sectionMagic {
		return 0, 0, corrupt(file, section, "magic %q", b[:4])
	}
	if v := le.Uint16(b[4:]); v != sectionVersion {
		return 0, 0, corrupt(file, section, "version %d", v)
	}
	if s := le.Uint16(b[6:]); int(s) != section {
		return 0, 0, corrupt(file, section, "it says it is section %d", s)
	}
	n, records = int(le.Uint32(b[8:])), int(le.Uint32(b[12:]))
	row := [...]int{directoryNumber: directoryRow, entriesNumber: entryRow, keysNumber: keyRow, statesNumber: stateRow}[section]
	if section != keysNumber && records != 0 || len(b) != headerSize+n*row+records*keyedRecordRow {
		return 0, 0, corrupt(file, section, "%d bytes for %d rows and %d records", len(b), n, records)
	}
	return n, records, nil
}

// dirRow is a row of the directory.
type dirRow struct {
	ordinal, entries, firstEntry uint32
	first, end                   uint64
	minStore, maxStore           int64
}

func appendDirRow(dst []byte, r *dirRow) []byte {
	dst = le.AppendUint32(dst, r.ordinal)
	dst = le.AppendUint32(dst, r.entries)
	dst = le.AppendUint32(dst, r.firstEntry)
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint64(dst, r.first)
	dst = le.AppendUint64(dst, r.end)
	dst = le.AppendUint64(dst, uint64(r.minStore))
	return le.AppendUint64(dst, uint64(r.maxStore))
}

// directory is section 1, checked.
type directory []byte

func (d directory) len() int { return (len(d) - headerSize) / directoryRow }

func (d directory) row(i int) dirRow {
	b := d[headerSize+i*directoryRow:][:directoryRow]
	return dirRow{
		ordinal: le.Uint32(b), entries: le.Uint32(b[4:]), firstEntry: le.Uint32(b[8:]),
		first: le.Uint64(b[16:]), end: le.Uint64(b[24:]),
		minStore: int64(le.Uint64(b[32:])), maxStore: int64(le.Uint64(b[40:])),
	}
}

func checkDirectory(file uint64, b []byte) error {
	n, _, err := checkHeader(file, directoryNumber, b)
	if err != nil {
		return err
	}
	entries, last := uint64(0), int64(-1)
	for i := range n {
		r := directory(b).row(i)
		if int64(r.ordinal) <= last {
			return corrupt(file, directoryNumber, "row %d: ordinal %d after %d", i, r.ordinal, last)
		}
		if uint64(r.firstEntry) != entries || r.entries == 0 || r.first >= r.end || r.minStore > r.maxStore {
			return corrupt(file, directoryNumber, "row %d of queue %d breaks an invariant", i, r.ordinal)
		}
		last, entries = int64(r.ordinal), entries+uint64(r.entries)
	}
	return nil
}

func appendEntry(dst []byte, e *entry) []byte {
	dst = le.AppendUint32(dst, e.delta)
	dst = le.AppendUint32(dst, e.count)
	dst = le.AppendUint32(dst, e.place)
	dst = le.AppendUint32(dst, e.length)
	return le.AppendUint64(dst, uint64(e.maxStore))
}

// entries is section 2, or a row's part of it without the header.
type entries []byte

func (s entries) len() int { return len(s) / entryRow }

func (s entries) at(i int) entry {
	b := s[i*entryRow:][:entryRow]
	return entry{
		delta: le.Uint32(b), count: le.Uint32(b[4:]), place: le.Uint32(b[8:]), length: le.Uint32(b[12:]),
		maxStore: int64(le.Uint64(b[16:])),
	}
}

// ofRow returns a row's entries of a whole section.
func (s entries) ofRow(r *dirRow) entries {
	from := headerSize + int(r.firstEntry)*entryRow
	return s[from : from+int(r.entries)*entryRow]
}

func checkEntries(file uint64, b []byte, d directory) error {
	n, _, err := checkHeader(file, entriesNumber, b)
	if err != nil {
		return err
	}
	rows := d.len()
	total := 0
	for i := range rows {
		r := d.row(i)
		total += int(r.entries)
		if total > n {
			return corrupt(file, entriesNumber, "%d entries, the directory has more", n)
		}
		if err := checkRow(file, &r, entries(b).ofRow(&r)); err != nil {
			return err
		}
	}
	if total != n {
		return corrupt(file, entriesNumber, "%d entries, %d in the directory", n, total)
	}
	return nil
}

func checkRow(file uint64, r *dirRow, es entries) error {
	off, place, store := r.first, int64(-1), int64(0)
	for i := range es.len() {
		e := es.at(i)
		if r.first+uint64(e.delta) != off || e.count == 0 || int64(e.place) < place || e.maxStore < store {
			return corrupt(file, entriesNumber, "entry %d of queue %d breaks an invariant", i, r.ordinal)
		}
		off, place, store = off+uint64(e.count), int64(e.place), e.maxStore
	}
	if off != r.end {
		return corrupt(file, entriesNumber, "queue %d ends at %d, %d in the directory", r.ordinal, off, r.end)
	}
	return nil
}

// keyIndex is section 3, checked.
type keyIndex []byte

func (k keyIndex) records() int { return int(le.Uint32(k[12:])) }

func (k keyIndex) record(i int) keyedRecord {
	b := k[headerSize+i*keyedRecordRow:][:keyedRecordRow]
	return keyedRecord{place: le.Uint32(b), length: le.Uint32(b[4:])}
}

func (k keyIndex) len() int { return int(le.Uint32(k[8:])) }

func (k keyIndex) key(i int) uint64 {
	return le.Uint64(k[headerSize+k.records()*keyedRecordRow+i*keyRow:])
}

func checkKeys(file uint64, b []byte) error {
	n, records, err := checkHeader(file, keysNumber, b)
	if err != nil {
		return err
	}
	k := keyIndex(b)
	last := uint64(0)
	for i := range n {
		v := k.key(i)
		if v < last || int(uint32(v)) >= records {
			return corrupt(file, keysNumber, "key %d breaks an invariant", i)
		}
		last = v
	}
	return nil
}

// savedState is a row of section 4.
type savedState struct {
	ordinal uint32
	queueState
}

func appendState(dst []byte, s *savedState) []byte {
	flags, cursor := uint32(0), uint64(0)
	if s.cursor > 0 {
		flags, cursor = stateHasCursor, s.cursor-1
	}
	dst = le.AppendUint32(dst, s.ordinal)
	dst = le.AppendUint32(dst, flags)
	dst = le.AppendUint64(dst, s.next)
	dst = le.AppendUint64(dst, uint64(s.lastStore))
	return le.AppendUint64(dst, cursor)
}

// states is section 4, checked.
type states []byte

func (s states) len() int { return (len(s) - headerSize) / stateRow }

func (s states) at(i int) savedState {
	b := s[headerSize+i*stateRow:][:stateRow]
	st := savedState{ordinal: le.Uint32(b)}
	st.next, st.lastStore = le.Uint64(b[8:]), int64(le.Uint64(b[16:]))
	if le.Uint32(b[4:])&stateHasCursor != 0 {
		st.cursor = le.Uint64(b[24:]) + 1
	}
	return st
}

func checkStates(file uint64, b []byte) error {
	n, _, err := checkHeader(file, statesNumber, b)
	if err != nil {
		return err
	}
	last := int64(-1)
	for i := range n {
		s := states(b).at(i)
		if int64(s.ordinal) <= last {
			return corrupt(file, statesNumber, "row %d: ordinal %d after %d", i, s.ordinal, last)
		}
		last = int64(s.ordinal)
	}
	return nil
}
