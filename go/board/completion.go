package board

import (
	"context"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Completion is what CompletePhase did.
type Completion struct {
	Phase     Phase // as it now is
	Published int   // number of distinct contracts in the call
	Released  int   // number of claims released
}

// CompletePhase ends a phase's work in one transaction: it publishes the
// contracts, sets the state, StateDone or StateFailed, and releases every file
// that the phase has claimed. Repeating it leaves the same board.
//
// In a session that has ended, it returns ErrSessionExpired: another worker may
// have the phase. Drop the work.
func (c *calls) CompletePhase(ctx context.Context, phaseID, state string, contracts []Contract) (Completion, error) {
	number, err := states.required("state", state)
	if err != nil {
		return Completion{}, err
	}
	messages, err := batch(contracts)
	if err != nil {
		return Completion{}, err
	}
	request := &boardv1.CompletePhaseRequest{
		Board:     c.board,
		PhaseId:   phaseID,
		State:     number,
		Contracts: messages,
		SessionId: c.sessionID,
	}
	response, err := call(ctx, c, c.stub.CompletePhase, request)
	if err != nil {
		return Completion{}, err
	}
	return Completion{phase(response.GetPhase()), int(response.GetPublished()), int(response.GetReleased())}, nil
}
