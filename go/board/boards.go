package board

import (
	"context"
	"time"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Info describes a board.
type Info struct {
	Name      string
	BoardID   string    // differs from that of a later board of the same name
	Revision  int64     // number of its latest change
	CreatedAt time.Time // UTC
}

// OpenBoard creates the board if it does not exist, and describes it. It may be
// repeated. Dial calls it.
func (c *calls) OpenBoard(ctx context.Context) (Info, error) {
	response, err := call(ctx, c, c.stub.OpenBoard, &boardv1.OpenBoardRequest{Board: c.board})
	if err != nil {
		return Info{}, err
	}
	return info(response.GetBoard()), nil
}

// ListBoards describes every board of the server, in the byte order of their
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

// ArchiveSnapshot empties the board in one transaction, if it has not changed
// since the snapshot, which the caller has stored. It returns ErrRevisionMismatch
// if the board has changed, and ErrBoardReplaced if it was replaced by another;
// then nothing is removed. Sessions are kept.
func (c *calls) ArchiveSnapshot(ctx context.Context, stored *Snapshot) (Archived, error) {
	return c.archive(ctx, stored.Revision, stored.BoardID)
}

// ArchiveBoard does what ArchiveSnapshot does, for any board at this revision. It
// does not notice that the board was replaced by another.
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
