package remoting

// The bodies of Varve's own requests about storage, in JSON. Times are unix ms, sizes bytes.

// SealProgress is how far a request to seal is: done when LSN has reached Target.
type SealProgress struct {
	LSN       uint64 `json:"lsn"`    // all below is in segments
	Target    uint64 `json:"target"` // what was durable when it was asked for
	Done      bool   `json:"done"`
	LastError string `json:"lastError,omitempty"` // of the present attempts
}

// StorageStatus is where a shard's storage stands.
type StorageStatus struct {
	Shard           string `json:"shard"`
	ObjectStore     string `json:"objectStore"` // its URL, without secrets
	Epoch           uint64 `json:"epoch"`
	LSN             uint64 `json:"lsn"`             // all below is in segments
	NextLSN         uint64 `json:"nextLsn"`         // of the next record
	UnsealedBytes   int64  `json:"unsealedBytes"`   // of the log
	OldestUnsealed  int64  `json:"oldestUnsealed"`  // age of the oldest record that is in no segment, ms; 0: none
	RecentSegments  int    `json:"recentSegments"`  // listed in etcd
	ManifestObjects uint64 `json:"manifestObjects"` // segments listed in the manifest
	ManifestPages   int    `json:"manifestPages"`
	Queues          int    `json:"queues"`        // with sealed messages, now or before
	SealError       string `json:"sealError"`     // why the present segment does not get through; empty: all is well
	SealFailing     int64  `json:"sealFailing"`   // since when, unix ms
	MaintainError   string `json:"maintainError"` // the same of compaction, retention and sweeping
}

// SegmentInfo is a segment as the metadata lists it.
type SegmentInfo struct {
	Object    uint64 `json:"object"`
	Epoch     uint64 `json:"epoch"`
	Level     uint8  `json:"level"`
	Key       string `json:"key"`
	Size      int64  `json:"size"`
	RawBytes  uint64 `json:"rawBytes"`
	Messages  uint64 `json:"messages"`
	FirstLSN  uint64 `json:"firstLsn"`
	EndLSN    uint64 `json:"endLsn"`
	MinStore  int64  `json:"minStore"`
	MaxStore  int64  `json:"maxStore"`
	FooterCRC uint32 `json:"footerCrc"`
}

// SegmentList is a part of the list, newest first.
type SegmentList struct {
	Segments []SegmentInfo `json:"segments"`
	Next     int           `json:"next"` // offset to go on at; 0: that was all
}

// SegmentDetail is what a segment says of itself.
type SegmentDetail struct {
	SegmentInfo
	Cluster      string         `json:"cluster"`
	Shard        string         `json:"shard"`
	EtcdRevision uint64         `json:"etcdRevision"`
	Created      int64          `json:"created"`
	Blocks       uint64         `json:"blocks"`
	Holes        uint64         `json:"holes"`
	Keys         uint64         `json:"keys"`
	Queues       []SegmentQueue `json:"queues"`
}

// SegmentQueue is what a segment has of a queue.
type SegmentQueue struct {
	Topic       string `json:"topic"`
	Queue       int32  `json:"queue"`
	Ordinal     uint32 `json:"ordinal"`
	Incarnation uint64 `json:"incarnation"`
	First       uint64 `json:"first"`
	End         uint64 `json:"end"`
	Blocks      int    `json:"blocks"`
}

// SegmentCheck is the result of reading and checking a whole segment.
type SegmentCheck struct {
	SegmentInfo
	Faults []string `json:"faults"`
}

// FsckFinding is one thing that is not as it should be.
type FsckFinding struct {
	Severity string `json:"severity"`
	Kind     string `json:"kind"`
	Key      string `json:"key,omitempty"`
	Detail   string `json:"detail"`
}

// FsckStatus is how far a check of the storage is.
type FsckStatus struct {
	Running  bool          `json:"running"`
	Deep     bool          `json:"deep"`
	Started  int64         `json:"started"`
	Checked  int64         `json:"checked"` // objects
	Total    int64         `json:"total"`   // as far as known
	Findings []FsckFinding `json:"findings"`
	Repaired []string      `json:"repaired"` // keys of objects that were deleted
	Error    string        `json:"error,omitempty"`
}
