package board

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// writes are the calls that bear an idempotency key: the board does them once,
// however often they are sent, and answers as it did.
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

// newRequestID begins with the time: the board then stores the latest side by side.
func newRequestID() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%x-%x", time.Now().UnixNano(), random)
}
