package wal

// Position is a byte's place in the stream of records, counted from 0 over the life of the WAL.
type Position uint64

// Stage is how far a record has come; as an argument, a set of stages.
type Stage uint8

// The stages of a record.
const (
	Written Stage = 1 << iota // write(2) has returned: the record survives the process
	Durable                   // an fdatasync covers it: the record survives a power cut
)

// PartKind says what a part of a record is.
type PartKind uint8

// The kinds of parts. A state is the WAL's own: every mark has one.
const (
	PartBatch     PartKind = 1
	PartOperation PartKind = 2
	partState     PartKind = 3
)

// Part is one part of a record. The fields behind Queue have their names from batches; of an operation Codec is the type
// and Base the argument.
type Part struct {
	Kind                       PartKind
	Codec                      uint8
	Queue                      uint32 // ordinal
	Count                      uint32 // messages
	Base                       uint64 // offset of the first message
	MinStoreTime, MaxStoreTime int64  // unix ms
	Payload                    []byte
}

// Shard names a shard and the epoch under which it is written.
type Shard struct{ ID, Epoch uint32 }

// Waiter is told how far a record has come, by the WAL's one delivery goroutine, in WAL order within each stage. It is
// told each stage it asked for once; after an error it is told nothing more. It must not block for long and must not
// wait for another record of the WAL.
type Waiter interface {
	Reached(stage Stage, err error)
}

// Appended says where a record is.
type Appended struct {
	Pos      Position
	LSN      uint64
	File     uint64   // sequence of its file
	FileBase Position // base position of its file
	Len      int      // bytes in the stream
}

// Record is a record as it stands in the WAL.
type Record struct {
	Pos     Position
	LSN     uint64
	Shard   Shard
	Len     int      // bytes in the stream
	Durable Position // what was known to be durable when the record was appended
	Parts   []Part
}

// FileRef names a file of the WAL: stream bytes [Base, End). End of the newest file grows.
type FileRef struct {
	Seq       uint64
	Base, End Position
	Closed    bool // it has its sections
}

// Owner builds and reads the sections of closed files, and is told at open what the WAL holds.
type Owner interface {
	// RecoverClosed is called for each closed file, RecoverRecord for each data record of the others: oldest first, in
	// order, before Open returns. The record's memory is valid only during the call. When RecoverClosed returns a
	// *CorruptError, because a section is damaged, it must have changed nothing: the file's records are given to
	// RecoverRecord instead, and the file is closed again.
	RecoverClosed(f *File) error
	RecoverRecord(f FileRef, r Record) error
	// What must survive the trimming of older files has to be in the sections of every file: they are cumulative.
	// SealFile returns the sections 1…7 of a file all of whose records have reached their last stage, their Reached calls
	// returned. It is called in the background, oldest file first.
	SealFile(f FileRef) ([][]byte, error)
}

// Stats is a snapshot of the WAL.
type Stats struct {
	First, Next, Written, Durable Position
	Bytes, Limit                  int64 // of the named files; spares are not counted
	Files, Spares                 int
	FileSize                      int64
	Pending                       int64 // bytes reserved or appended, and not yet written
	Syncs, Records, Groups        uint64
	TailBytes                     int64
	Err                           error // what has poisoned the WAL, or why no spare can be made
}

// Recovery says what Open found.
type Recovery struct {
	Fresh       bool  // there was no WAL
	Unclean     bool  // the last close was not an orderly one
	MachineLost bool  // unclean, not known to be the same boot of the machine, and records were delivered at Written; stays until SettleLoss
	AsyncCap    int64 // at most so many bytes were delivered at Written and lost, when MachineLost
	TornBytes   int64 // how far beyond the end of the log something was found that had been begun
	TornFile    string
	TornOffset  int64
}
