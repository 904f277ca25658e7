package fsck

import (
	"fmt"
	"time"
)

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	// Error: data is lost, damaged or in danger.
	Error Severity = "error"
	// Warning: something is not as it should be, but all data is there.
	Warning Severity = "warning"
	// Info: nothing is wrong.
	Info Severity = "info"
)

// Kind is what a finding is about.
type Kind string

// The kinds of findings.
const (
	// KindMissing: an object is listed and not there.
	KindMissing Kind = "missing"
	// KindSize: an object has another size than is listed.
	KindSize Kind = "size"
	// KindDamaged: an object is damaged, or another one than is listed.
	KindDamaged Kind = "damaged"
	// KindMismatch: an intact object says something else of itself than what lists it.
	KindMismatch Kind = "mismatch"
	// KindListedTwice: two lists have an object.
	KindListedTwice Kind = "listed-twice"
	// KindLSNGap and KindLSNOverlap: records are in no segment, or in two.
	KindLSNGap     Kind = "lsn-gap"
	KindLSNOverlap Kind = "lsn-overlap"
	// KindChain: a segment does not follow the one before it.
	KindChain Kind = "chain"
	// KindQueueGap and KindQueueOverlap: offsets of a queue are in no segment, or in two.
	KindQueueGap     Kind = "queue-gap"
	KindQueueOverlap Kind = "queue-overlap"
	// KindQueueRow: the root's row of a queue is not what its pages have.
	KindQueueRow Kind = "queue-row"
	// KindOrphan: nothing refers to an object.
	KindOrphan Kind = "orphan"
	// KindIntent: an object of a former epoch was never committed; sweeping deletes it.
	KindIntent Kind = "intent"
	// KindStranger: an object has an epoch above the owner's, or a number that was never handed out.
	KindStranger Kind = "stranger"
	// KindUnknown: an object has a name that this program does not make.
	KindUnknown Kind = "unknown"
	// KindGarbageListed and KindIntentListed: what is to be deleted is listed.
	KindGarbageListed Kind = "garbage-listed"
	KindIntentListed  Kind = "intent-listed"
	// KindEpoch: the objects that mark epochs are not those that must be there.
	KindEpoch Kind = "epoch"
	// KindWALGap: the log does not have what no segment has.
	KindWALGap Kind = "wal-gap"
	// KindSkipped: something could not be checked because of another finding.
	KindSkipped Kind = "skipped"
)

// Finding is something that is not as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	Kind     Kind     `json:"kind"`
	// Key is that of the object, "" if it is about none.
	Key    string `json:"key,omitempty"`
	Detail string `json:"detail"`

	object uint64 // listed object that it is about, 0: none
}

// maxFindings bounds the findings of a report.
const maxFindings = 10_000

// Orphan is an object of a former epoch that nothing refers to.
type Orphan struct {
	Key           string
	Kind          string
	Epoch, Object uint64
	Size          int64
	Modified      time.Time
}

// Report is what a check found.
type Report struct {
	// Revision is etcd's, at which the lists were read.
	Revision int64
	// Segments, Pages and Bytes are what is listed: the bytes are those of the segments.
	Segments, Pages int
	Bytes           int64
	// Pending are the objects of which a record of garbage says that they will be deleted.
	Pending  int
	Findings []Finding
	// Suppressed counts the findings that are left out because there are too many.
	Suppressed int
	// Orphans are those that Repair may delete.
	Orphans []Orphan
}

// Errors returns the number of errors among the findings.
func (r *Report) Errors() int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == Error {
			n++
		}
	}
	return n
}

func (c *checker) find(s Severity, k Kind, key, format string, args ...any) {
	c.findObject(s, k, key, 0, format, args...)
}

// findObject takes a finding about a listed object, which is looked at again if it may have been deleted meanwhile.
func (c *checker) findObject(s Severity, k Kind, key string, object uint64, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.report.Findings) >= maxFindings {
		c.report.Suppressed++
		return
	}
	c.report.Findings = append(c.report.Findings, Finding{Severity: s, Kind: k, Key: key, Detail: fmt.Sprintf(format, args...), object: object})
}
