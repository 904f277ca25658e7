package manifest

// Entry is a listed segment.
type Entry struct {
	Object, Epoch      uint64
	Level              uint8
	Size               int64
	FooterCRC          uint32
	FirstLSN, EndLSN   uint64 // [FirstLSN, EndLSN); of level 1 the hull of what was merged
	MinStore, MaxStore int64  // unix ms; 0 without messages
	Messages, RawBytes uint64
}

// Run is what a segment has of a queue.
type Run struct {
	Ordinal    uint32
	First, End uint64 // offsets [First, End), holes included
	Bytes      uint64 // of its blocks as stored, headers included
}

// QueueRow is what must outlive a queue's messages.
type QueueRow struct {
	Ordinal uint32
	// First and End are the offsets [First, End) of its runs in pages. Without any both are the end of what it ever had.
	First, End uint64
	LastStore  int64  // unix ms; 0: none
	Cursor     uint64 // what its internal reader has consumed, + 1; 0: it has none
	Bytes      uint64 // stored, of its runs in pages
}

// PageRef names a page.
type PageRef struct {
	Object, Epoch      uint64
	Size               int64
	CRC                uint32 // of the page's footer: stands for the whole page
	FirstLSN, EndLSN   uint64 // the hull of its segments'
	MinStore, MaxStore int64  // the hull of its segments' that have messages; 0 if none has
	Segments           uint32
	Bytes              uint64 // of its segments' objects
}

// Root is the list of a shard's pages and queues.
type Root struct {
	Cluster       [16]byte // the cluster id, a uuid
	Shard         string   // its name
	Epoch, Object uint64   // of the root itself
	EtcdRevision  uint64   // known when it was made
	Created       int64    // unix ms, information only
	EndLSN        uint64   // above every LSN of the segments it lists
	Pages         []PageRef
	Queues        []QueueRow // by ordinal
}

// PageIdentity says which page an object is.
type PageIdentity struct {
	Cluster       [16]byte
	Shard         string
	Epoch, Object uint64
}

// PageSegment is a segment with what it has of each queue, by ordinal.
type PageSegment struct {
	Entry

	Runs []Run
}
