package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/fsck"
)

// fsckJob is the check of the storage that an administrator has asked for: one at a time, in the background.
type fsckJob struct {
	b *broker

	mu     sync.Mutex // guards status
	status wire.FsckStatus
}

// errNoFsck says that none was started.
var errNoFsck = errors.New("no check of the storage was started since the broker's start")

// Fsck implements remoting.Storage.
func (s *storage) Fsck(start, deep, repair bool) (wire.FsckStatus, error) {
	return s.fsck.run(start, deep, repair)
}

func (j *fsckJob) run(start, deep, repair bool) (wire.FsckStatus, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case start && !j.status.Running:
		j.status = wire.FsckStatus{Running: true, Deep: deep, Started: time.Now().UnixMilli(), Findings: []wire.FsckFinding{}, Repaired: []string{}}
		j.b.tier.background(func(ctx context.Context) { j.check(ctx, deep, repair) })
	case j.status.Started == 0:
		return wire.FsckStatus{}, errNoFsck
	}
	st := j.status
	st.Findings = slices.Clone(st.Findings)
	st.Repaired = slices.Clone(st.Repaired)
	return st, nil
}

// check makes the check, whose end is that of the broker at the latest.
func (j *fsckJob) check(ctx context.Context, deep, repair bool) {
	err := j.checkAll(ctx, deep, repair)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.status.Running = false
	if err != nil {
		j.status.Error = err.Error()
	}
}

// checkAll compares, and deletes orphans if asked to.
func (j *fsckJob) checkAll(ctx context.Context, deep, repair bool) error {
	b := j.b
	read := func(ctx context.Context) (*metadata.SealedState, error) {
		return b.store.SealedState(ctx, b.own.Shard())
	}
	report, err := fsck.Run(ctx, fsck.Input{
		Bucket: b.bucket, Cluster: b.clusterID, Shard: b.own.Shard(), Epoch: b.own.Epoch(), Read: read, Dead: b.tier.topics.Dead, Deep: deep,
		WAL: func() *fsck.WALInfo {
			st := b.queues.WAL().Stats()
			return &fsck.WALInfo{UUID: b.walID(), First: uint64(st.First), End: uint64(st.Next)}
		},
		Progress: func(checked, total int64) {
			j.mu.Lock()
			j.status.Checked, j.status.Total = checked, total
			j.mu.Unlock()
		},
	})
	if err != nil {
		return err
	}
	j.mu.Lock()
	for i := range report.Findings {
		f := &report.Findings[i]
		j.status.Findings = append(j.status.Findings, wire.FsckFinding{Severity: string(f.Severity), Kind: string(f.Kind), Key: f.Key, Detail: f.Detail})
	}
	j.mu.Unlock()
	if !repair {
		return nil
	}
	deleted, err := fsck.Repair(ctx, fsck.RepairInput{
		Bucket: b.bucket, Cluster: b.clusterID, Shard: b.own.Shard(), Epoch: b.own.Epoch(), Read: read, Valid: func() bool { return b.fence.check() == nil }, Grace: b.cfg.DeleteGrace,
	}, report.Orphans)
	j.mu.Lock()
	j.status.Repaired = append(j.status.Repaired, deleted...)
	j.mu.Unlock()
	return err
}
