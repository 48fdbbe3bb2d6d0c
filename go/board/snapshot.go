package board

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Snapshot is a whole board at one revision, each list in the order of its List
// method.
type Snapshot struct {
	BoardID   string // differs from that of a later board of the same name
	Revision  int64
	Phases    []Phase
	Contracts []Contract
	Claims    []FileClaim
	Sessions  []SessionInfo
}

// Snapshot reads the whole board at one revision. To watch from there, use Watch
// with AfterRevision and OfBoard; Watch with FromSnapshot does both.
func (c *calls) Snapshot(ctx context.Context) (*Snapshot, error) {
	return call(ctx, c, c.readSnapshot, &boardv1.GetSnapshotRequest{Board: c.board})
}

// readSnapshot reads a snapshot, and starts again if its stream breaks.
func (c *calls) readSnapshot(ctx context.Context, request *boardv1.GetSnapshotRequest, opts ...grpc.CallOption) (s *Snapshot, err error) {
	err = c.conns.retry(ctx, maxAttempts, func() error {
		s, err = c.readParts(ctx, request, opts...)
		return err
	})
	return s, err
}

// readParts reads the parts of a snapshot, and joins them.
func (c *calls) readParts(ctx context.Context, request *boardv1.GetSnapshotRequest, opts ...grpc.CallOption) (*Snapshot, error) {
	stream, err := c.stub.GetSnapshot(ctx, request, opts...)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		s.BoardID, s.Revision = part.GetBoardId(), part.GetRevision()
		s.Phases = append(s.Phases, each(part.GetPhases(), phase)...)
		s.Contracts = append(s.Contracts, each(part.GetContracts(), contract)...)
		s.Claims = append(s.Claims, each(part.GetClaims(), claim)...)
		s.Sessions = append(s.Sessions, each(part.GetSessions(), sessionInfo)...)
	}
}
