package segment

import (
	"encoding/binary"
)

// pageBuilder encodes the queue index. Positions of pages are relative to the index until the writer knows where that begins.
type pageBuilder struct {
	out  []byte
	rows []rootRow

	row    rootRow
	topics map[topicKey]int
	tags   map[int32]int
	names  []byte // the encoded topics
	values []byte // the encoded tag hashes
	table  []byte // of runs, places relative to the runs
	runs   []byte
	run    []byte // entries of the present run
	count  int    // its entries
}

type topicKey struct {
	incarnation uint64
	name        string
}

func (p *pageBuilder) init() {
	p.topics, p.tags = make(map[topicKey]int), make(map[int32]int)
}

// add encodes the entries of a queue, at least one.
func (p *pageBuilder) add(info *QueueInfo, entries []BlockRef) {
	base, from := info.First, 0
	runBase, runStore, last := base, int64(0), int64(0)
	begin := func(i int) {
		from, runBase, p.count, p.run = i, base, 0, p.run[:0]
		runStore = firstStore(entries[i:])
		if len(p.table) == 0 {
			p.row = rootRow{
				pos: int64(len(p.out)), block: entries[i].Pos, number: entries[i].Number, base: base, store: runStore, ordinal: info.Ordinal,
			}
		}
		if runStore == 0 {
			runStore = p.row.store
		}
		last = runStore
	}
	begin(0)
	for i := range entries {
		e := &entries[i]
		p.addEntry(e, &last)
		base += uint64(e.Count)
		if p.size() >= pageTarget && i < len(entries)-1 {
			p.endRun(info, entries, from, runBase, runStore)
			p.cut()
			begin(i + 1)
		}
	}
	p.endRun(info, entries, from, runBase, runStore)
	if p.size() >= pageTarget {
		p.cut()
	}
}

// firstStore returns the lowest store time of the first block with messages; 0: none. Entries of later pages may be among them.
func firstStore(entries []BlockRef) int64 {
	for i := range entries {
		if !entries[i].Hole {
			return entries[i].MinStore
		}
	}
	return 0
}

// size is about what the page would take.
func (p *pageBuilder) size() int {
	return len(p.names) + len(p.values) + len(p.table) + len(p.runs) + len(p.run)
}

func (p *pageBuilder) addEntry(e *BlockRef, last *int64) {
	p.count++
	p.run = append(p.run, e.ntags)
	p.run = binary.AppendUvarint(p.run, uint64(e.Count))
	p.run = binary.AppendUvarint(p.run, uint64(e.Size))
	p.run = le.AppendUint32(p.run, e.crc)
	if e.Hole {
		return
	}
	p.run = binary.AppendUvarint(p.run, uint64(e.Raw))
	p.run = binary.AppendVarint(p.run, e.MinStore-*last)
	p.run = binary.AppendUvarint(p.run, uint64(e.MaxStore-e.MinStore))
	*last = e.MinStore
	if e.ntags == tagsAny {
		return
	}
	for _, t := range e.tags[:e.ntags] {
		i, ok := p.tags[t]
		if !ok {
			i = len(p.tags)
			p.tags[t] = i
			p.values = le.AppendUint32(p.values, uint32(t))
		}
		p.run = binary.AppendUvarint(p.run, uint64(i))
	}
}

// endRun encodes the run that begins with entry from.
func (p *pageBuilder) endRun(info *QueueInfo, entries []BlockRef, from int, base uint64, store int64) {
	key := topicKey{info.Incarnation, info.Topic}
	topic, ok := p.topics[key]
	if !ok {
		topic = len(p.topics)
		p.topics[key] = topic
		p.names = binary.AppendUvarint(p.names, info.Incarnation)
		p.names = binary.AppendUvarint(p.names, uint64(len(info.Topic)))
		p.names = append(p.names, info.Topic...)
	}
	p.table = le.AppendUint32(p.table, info.Ordinal)
	p.table = le.AppendUint16(p.table, uint16(len(p.runs)))
	flags := byte(info.Keys)
	if from > 0 {
		flags |= runContinued
	}
	if from+p.count < len(entries) {
		flags |= runContinues
	}
	p.runs = append(p.runs, flags)
	for _, v := range [...]uint64{
		uint64(topic), uint64(info.QueueID), info.ExtentBase, info.First, info.End - info.First, uint64(info.Blocks), base - info.First,
		uint64(entries[from].Pos - p.row.block), entries[from].Number - p.row.number,
	} {
		p.runs = binary.AppendUvarint(p.runs, v)
	}
	p.runs = binary.AppendVarint(p.runs, store-p.row.store)
	p.runs = binary.AppendUvarint(p.runs, uint64(p.count))
	p.runs = append(p.runs, p.run...)
	p.run, p.count = p.run[:0], 0
}

// cut ends the page, if there is one.
func (p *pageBuilder) cut() {
	if len(p.table) == 0 {
		return
	}
	at := len(p.out)
	p.out = binary.AppendUvarint(p.out, uint64(len(p.topics)))
	p.out = append(p.out, p.names...)
	p.out = binary.AppendUvarint(p.out, uint64(len(p.tags)))
	p.out = append(p.out, p.values...)
	p.out = binary.AppendUvarint(p.out, uint64(len(p.table)/runTableRow))
	p.out = append(p.out, p.table...)
	p.out = append(p.out, p.runs...)
	p.row.crc = crcOf(p.out[at:])
	p.rows = append(p.rows, p.row)
	clear(p.topics)
	clear(p.tags)
	p.names, p.values, p.table, p.runs = p.names[:0], p.values[:0], p.table[:0], p.runs[:0]
}
