package board

import (
	"context"
	"time"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Info tells about one board.
type Info struct {
	Name      string
	BoardID   string    // tells it from another of the same name that was made later
	Revision  int64     // counts its changes
	CreatedAt time.Time // UTC
}

// OpenBoard creates the board if it is absent, and tells about it. Idempotent.
// Dial has called it.
func (c *calls) OpenBoard(ctx context.Context) (Info, error) {
	response, err := call(ctx, c, c.stub.OpenBoard, &boardv1.OpenBoardRequest{Board: c.board})
	if err != nil {
		return Info{}, err
	}
	return info(response.GetBoard()), nil
}

// ListBoards tells about every board of the server, in the byte order of their
// names.
func (c *calls) ListBoards(ctx context.Context) ([]Info, error) {
	return pages(ctx, c, func(ctx context.Context, token string) ([]Info, string, error) {
		response, err := call(ctx, c, c.stub.ListBoards, &boardv1.ListBoardsRequest{PageToken: token})
		return each(response.GetBoards(), info), response.GetNextPageToken(), err
	})
}

// Archived counts what ArchiveBoard removed.
type Archived struct {
	Phases    int
	Contracts int
	Claims    int
}

// ArchiveSnapshot empties the board in one transaction, provided that it is
// still as it is in the snapshot, which is stored safely. It is
// ErrRevisionMismatch where the board has changed since, and ErrBoardReplaced
// where another has taken its place; then nothing was removed. Sessions live on.
func (c *calls) ArchiveSnapshot(ctx context.Context, stored *Snapshot) (Archived, error) {
	return c.archive(ctx, stored.Revision, stored.BoardID)
}

// ArchiveBoard does what ArchiveSnapshot does for any board at this revision,
// also for one that was restored or made anew since the snapshot was taken.
func (c *calls) ArchiveBoard(ctx context.Context, revision int64) (Archived, error) {
	return c.archive(ctx, revision, "")
}

func (c *calls) archive(ctx context.Context, revision int64, boardID string) (Archived, error) {
	request := &boardv1.ArchiveBoardRequest{Board: c.board, Revision: revision, BoardId: boardID}
	response, err := call(ctx, c, c.stub.ArchiveBoard, request)
	if err != nil {
		return Archived{}, err
	}
	return Archived{int(response.GetPhases()), int(response.GetContracts()), int(response.GetClaims())}, nil
}

func info(b *boardv1.BoardInfo) Info {
	return Info{b.GetName(), b.GetBoardId(), b.GetRevision(), b.GetCreatedAt().AsTime()}
}
