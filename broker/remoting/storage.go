package remoting

import (
	"context"
	"time"

	wire "github.com/varvemq/varve/internal/remoting"
)

// Storage is what the front end's own requests about sealed history are answered from.
type Storage interface {
	// Seal seals what is durable, or what is below lsn if that is not 0, as far as it gets until ctx ends.
	Seal(ctx context.Context, lsn uint64) (wire.SealProgress, error)
	Status() wire.StorageStatus
	Segments(ctx context.Context, offset, limit int) (wire.SegmentList, error)
	// Inspect and Verify return an error that wraps objstore.ErrNotFound for an object that is not listed.
	Inspect(ctx context.Context, object uint64) (wire.SegmentDetail, error)
	Verify(ctx context.Context, object uint64) (wire.SegmentCheck, error)
	// Fsck starts a check unless one runs, if asked to, and says how far the present or the last one is.
	Fsck(start, deep, repair bool) (wire.FsckStatus, error)
}

const (
	// sealWait is how long a request to seal waits before it says how far it is: less than clients wait for an answer.
	sealWait        = 3 * time.Second
	maxListSegments = 1000
)

// seal serves SEAL.
func (s *Server) seal(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	lsn, err := req.Ext.Int64("lsn", 0)
	if err != nil {
		return nil, err
	}
	if err := s.deps.Ready(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sealWait)
	defer cancel()
	progress, err := s.deps.Storage.Seal(ctx, uint64(max(lsn, 0)))
	if err != nil {
		return nil, err
	}
	return bodyResponse(&progress)
}

// storageStatus serves STORAGE_STATUS.
func (s *Server) storageStatus(context.Context, *conn, *wire.Command) (*wire.Command, error) {
	return bodyResponse(s.deps.Storage.Status())
}

// listSegments serves LIST_SEGMENTS.
func (s *Server) listSegments(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	offset, err := req.Ext.Int32("offset", 0)
	if err != nil {
		return nil, err
	}
	limit, err := req.Ext.Int32("limit", maxListSegments)
	if err != nil {
		return nil, err
	}
	if offset < 0 || limit <= 0 {
		return nil, status(wire.RespInvalidParameter, "offset %d, limit %d", offset, limit)
	}
	list, err := s.deps.Storage.Segments(ctx, int(offset), int(min(limit, maxListSegments)))
	if err != nil {
		return nil, err
	}
	return bodyResponse(&list)
}

// inspectSegment serves INSPECT_SEGMENT.
func (s *Server) inspectSegment(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	object, err := req.Ext.RequireInt64("object")
	if err != nil {
		return nil, err
	}
	detail, err := s.deps.Storage.Inspect(ctx, uint64(object))
	if err != nil {
		return nil, err
	}
	return bodyResponse(&detail)
}

// verifySegment serves VERIFY_SEGMENT.
func (s *Server) verifySegment(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	object, err := req.Ext.RequireInt64("object")
	if err != nil {
		return nil, err
	}
	check, err := s.deps.Storage.Verify(ctx, uint64(object))
	if err != nil {
		return nil, err
	}
	return bodyResponse(&check)
}

// fsck serves FSCK.
func (s *Server) fsck(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	st, err := s.deps.Storage.Fsck(req.Ext.Bool("start", false), req.Ext.Bool("deep", false), req.Ext.Bool("repair", false))
	if err != nil {
		return nil, err
	}
	return bodyResponse(&st)
}
