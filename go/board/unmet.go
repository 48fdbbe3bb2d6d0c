package board

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// explaining bounds how long WaitFor reads, after its deadline, why its conditions
// were not met.
const explaining = 500 * time.Millisecond

// WaitTimeoutError is the error of a WaitFor whose deadline passed. It is
// context.DeadlineExceeded for errors.Is.
type WaitTimeoutError struct {
	Timeout time.Duration // from the call to its deadline

	// Unmet has the conditions that did not hold just after the deadline, in the
	// order in which they were given. It is empty if each of them held by then.
	Unmet []Unmet

	cause error
}

// Unmet is a condition that does not hold, and why.
type Unmet struct {
	Index     int       // of the condition among those given to WaitFor
	Condition Condition // as it was given
	Reason    string    // such as `phase "a" is RUNNING, wanted DONE`

	Phase *Phase // of PhaseIn: the phase as it is; nil if there is none
	Owner string // of FileFree: ID of the phase that has claimed the file
}

// String returns the reason.
func (u Unmet) String() string { return u.Reason }

// Error returns the deadline and why each condition was not met.
func (e *WaitTimeoutError) Error() string {
	reasons := "the conditions hold now, but did not hold together in time"
	if len(e.Unmet) > 0 {
		reasons = "not met: " + strings.Join(each(e.Unmet, Unmet.String), "; ")
	}
	return fmt.Sprintf("wait_for: deadline of %g s passed; %s", e.Timeout.Round(time.Millisecond).Seconds(), reasons)
}

// Unwrap returns the error of the call.
func (e *WaitTimeoutError) Unwrap() error { return e.cause }

// whyUnmet adds to the error of a WaitFor which conditions were not met. If the
// error is not that time ran out, or the board cannot be read, it returns the
// error unchanged.
func (c *calls) whyUnmet(ctx context.Context, began time.Time, conditions []Condition, err error) error {
	deadline, ok := ctx.Deadline()
	if !ok || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
		return err
	}
	timedOut := &WaitTimeoutError{Timeout: max(0, deadline.Sub(began)), cause: err}
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), explaining)
	defer cancel()
	for i, condition := range conditions {
		unmet, failed := condition.check(reading, c)
		if failed != nil {
			return err
		}
		if unmet != nil {
			unmet.Index, unmet.Condition = i, condition
			timedOut.Unmet = append(timedOut.Unmet, *unmet)
		}
	}
	return timedOut
}

func (p phaseIn) check(ctx context.Context, c *calls) (*Unmet, error) {
	found, ok, err := c.GetPhase(ctx, p.phaseID)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return &Unmet{Reason: fmt.Sprintf("phase %q does not exist, wanted %s", p.phaseID, p.wanted())}, nil
	case slices.Contains(p.states, found.State):
		return nil, nil
	}
	reason := fmt.Sprintf("phase %q is %s, wanted %s", p.phaseID, strings.ToUpper(orUnknown(found.State)), p.wanted())
	return &Unmet{Reason: reason, Phase: &found}, nil
}

func (c ContractPublished) check(ctx context.Context, client *calls) (*Unmet, error) {
	kind, err := kinds.number("kind", c.Kind)
	if err != nil {
		return nil, err
	}
	request := &boardv1.ListContractsRequest{
		Board:    client.board,
		Producer: ifSet(c.Producer),
		Kind:     kind,
		Name:     ifSet(c.Name),
		Package:  ifSet(c.Package),
		PageSize: 1,
	}
	response, err := call(ctx, client, client.stub.ListContracts, request)
	if err != nil || len(response.GetContracts()) > 0 {
		return nil, err
	}
	return &Unmet{Reason: fmt.Sprintf("contract with %s is not published", c.fields())}, nil
}

func (f FileFree) check(ctx context.Context, c *calls) (*Unmet, error) {
	owner, err := c.FileOwner(ctx, string(f))
	if err != nil || owner == "" {
		return nil, err
	}
	return &Unmet{Reason: fmt.Sprintf("file %q is claimed by %q", string(f), owner), Owner: owner}, nil
}
