package board

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// writes are the calls that the board does once, however often they are sent.
var writes = map[string]bool{
	boardv1.BoardService_SetPhaseState_FullMethodName:    true,
	boardv1.BoardService_PublishContract_FullMethodName:  true,
	boardv1.BoardService_PublishContracts_FullMethodName: true,
	boardv1.BoardService_ClaimFile_FullMethodName:        true,
	boardv1.BoardService_ClaimFiles_FullMethodName:       true,
	boardv1.BoardService_ReleaseClaims_FullMethodName:    true,
	boardv1.BoardService_CompletePhase_FullMethodName:    true,
	boardv1.BoardService_OpenSession_FullMethodName:      true,
	boardv1.BoardService_CloseSession_FullMethodName:     true,
	boardv1.BoardService_ArchiveBoard_FullMethodName:     true,
}

// identifyWrites gives each write an ID, by which the board knows it again when
// gRPC sends it again: then it answers as it did, and does nothing.
func identifyWrites(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if writes[method] {
		ctx = metadata.AppendToOutgoingContext(ctx, "board-request-id", newRequestID())
	}
	return invoke(ctx, method, req, reply, conn, opts...)
}

// newRequestID begins with the time: the board then stores the latest side by side.
func newRequestID() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%x-%x", time.Now().UnixNano(), random)
}
