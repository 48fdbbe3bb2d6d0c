package board

import (
	"context"
	"time"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Phase is a unit of work, its state and its worker.
type Phase struct {
	PhaseID   string
	State     string    // one of the State constants; "" if this client does not know it
	Worker    string    // worker that has it; "" for none
	PostedAt  time.Time // when it was first set, UTC
	UpdatedAt time.Time // when it was last set, UTC
	SessionID string    // session that it is bound to; "" for none
}

// SetPhaseState implements [Board]. An unknown state is ErrInvalidArgument, and
// nothing is sent.
func (c *calls) SetPhaseState(ctx context.Context, phaseID, state string) error {
	_, err := c.SetPhase(ctx, phaseID, state)
	return err
}

// PhaseOption is an option of SetPhase. The zero PhaseOption sets nothing.
type PhaseOption struct {
	apply func(*boardv1.SetPhaseStateRequest) error
}

// ByWorker sets the worker of the phase; "" removes it. Without this option the
// worker stays the same.
func ByWorker(worker string) PhaseOption {
	return PhaseOption{func(r *boardv1.SetPhaseStateRequest) error {
		r.Worker = &worker
		return nil
	}}
}

// IfState makes SetPhase a compare-and-set: unless the phase is in this state, it
// returns ErrStateMismatch and changes nothing. For a phase that must not exist, use
// [IfAbsent]; IfState("") is ErrInvalidArgument.
func IfState(state string) PhaseOption {
	return PhaseOption{func(r *boardv1.SetPhaseStateRequest) error {
		number, err := states.required("expected_state", state)
		r.ExpectedState = &number
		return err
	}}
}

// IfAbsent makes SetPhase create the phase: if the phase exists, in any state, it
// returns ErrStateMismatch and changes nothing.
func IfAbsent() PhaseOption {
	return PhaseOption{func(r *boardv1.SetPhaseStateRequest) error {
		r.ExpectedState = boardv1.PhaseState_PHASE_STATE_UNSPECIFIED.Enum()
		return nil
	}}
}

// SetPhase creates or updates a phase, and returns it as it now is.
func (c *calls) SetPhase(ctx context.Context, phaseID, state string, opts ...PhaseOption) (Phase, error) {
	number, err := states.required("state", state)
	if err != nil {
		return Phase{}, err
	}
	request := &boardv1.SetPhaseStateRequest{Board: c.board, PhaseId: phaseID, State: number, SessionId: c.sessionID}
	for _, opt := range opts {
		if opt.apply == nil {
			continue
		}
		if err := opt.apply(request); err != nil {
			return Phase{}, err
		}
	}
	response, err := call(ctx, c, c.stub.SetPhaseState, request)
	if err != nil {
		return Phase{}, err
	}
	return phase(response.GetPhase()), nil
}

// GetPhaseState implements [Board]. A state that this client does not know is
// "" too; use GetPhase to distinguish the two.
func (c *calls) GetPhaseState(ctx context.Context, phaseID string) (string, error) {
	request := &boardv1.GetPhaseStateRequest{Board: c.board, PhaseId: phaseID}
	response, err := call(ctx, c, c.stub.GetPhaseState, request)
	return states.word(response.GetPhase().GetState()), err
}

// GetPhase returns a phase with its worker and times; ok is false if there is
// no such phase.
func (c *calls) GetPhase(ctx context.Context, phaseID string) (p Phase, ok bool, err error) {
	request := &boardv1.GetPhaseStateRequest{Board: c.board, PhaseId: phaseID}
	response, err := call(ctx, c, c.stub.GetPhaseState, request)
	if err != nil || response.GetPhase() == nil {
		return Phase{}, false, err
	}
	return phase(response.GetPhase()), true, nil
}

// ListPhases returns the phases that are in one of the states, or all of them,
// in the order they were posted.
func (c *calls) ListPhases(ctx context.Context, inStates ...string) ([]Phase, error) {
	request := &boardv1.ListPhasesRequest{Board: c.board}
	for _, state := range inStates {
		number, err := states.required("states", state)
		if err != nil {
			return nil, err
		}
		request.States = append(request.States, number)
	}
	return pages(ctx, c, func(ctx context.Context, token string) ([]Phase, string, error) {
		request.PageToken = token
		response, err := call(ctx, c, c.stub.ListPhases, request)
		return each(response.GetPhases(), phase), response.GetNextPageToken(), err
	})
}

func phase(p *boardv1.Phase) Phase {
	return Phase{
		PhaseID:   p.GetPhaseId(),
		State:     states.word(p.GetState()),
		Worker:    p.GetWorker(),
		PostedAt:  p.GetPostedAt().AsTime(),
		UpdatedAt: p.GetUpdatedAt().AsTime(),
		SessionID: p.GetSessionId(),
	}
}
