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

// readingTimeout bounds how long WaitFor reads after its deadline which conditions do
// not hold.
const readingTimeout = time.Second

// WaitTimeoutError is the error of a WaitFor whose deadline passed. It is
// context.DeadlineExceeded for errors.Is.
type WaitTimeoutError struct {
	Timeout time.Duration // from the call to its deadline

	// NotMet has the conditions that did not hold just after the deadline, in the
	// order in which they were given. It is empty if each of them held by then.
	NotMet []NotMet

	cause error
}

// NotMet is a condition that did not hold when WaitFor ran out of time.
type NotMet struct {
	Index     int       // of the condition among those given to WaitFor
	Condition Condition // as it was given

	// Actual is the state of the phase ("" if it does not exist) or the owner of the
	// file, and "" for a contract.
	Actual string
}

// String returns why the condition did not hold, such as
// `phase "a" is RUNNING, wanted DONE`.
func (n NotMet) String() string { return n.Condition.reason(n.Actual) }

// Error returns the time that was given and why each condition was not met.
func (e *WaitTimeoutError) Error() string {
	why := "all conditions hold now, but did not hold together before"
	if len(e.NotMet) > 0 {
		why = "not met: " + strings.Join(each(e.NotMet, NotMet.String), "; ")
	}
	return fmt.Sprintf("wait_for: deadline of %g s passed; %s", e.Timeout.Round(time.Millisecond).Seconds(), why)
}

// Unwrap returns the error of the call.
func (e *WaitTimeoutError) Unwrap() error { return e.cause }

// whyNotMet adds to the error of a WaitFor which conditions do not hold. If time did
// not run out, or the board cannot be read, it returns the error unchanged.
func (c *calls) whyNotMet(ctx context.Context, began time.Time, conditions []Condition, err error) error {
	deadline, ok := ctx.Deadline()
	if !ok || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
		return err
	}
	timedOut := &WaitTimeoutError{Timeout: max(0, deadline.Sub(began)), cause: err}
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), readingTimeout)
	defer cancel()
	for i, condition := range conditions {
		holds, actual, failed := condition.evaluate(reading, c)
		if failed != nil {
			return err
		}
		if !holds {
			timedOut.NotMet = append(timedOut.NotMet, NotMet{i, condition, actual})
		}
	}
	return timedOut
}

func (p phaseIn) evaluate(ctx context.Context, c *calls) (holds bool, actual string, err error) {
	found, ok, err := c.GetPhase(ctx, p.phaseID)
	if err != nil || !ok {
		return false, "", err
	}
	return slices.Contains(p.states, found.State), orUnknown(found.State), nil
}

func (p phaseIn) reason(actual string) string {
	is := "does not exist"
	if actual != "" {
		is = "is " + strings.ToUpper(actual)
	}
	return fmt.Sprintf("phase %q %s, wanted %s", p.phaseID, is, p.wanted())
}

func (c ContractPublished) evaluate(ctx context.Context, client *calls) (holds bool, actual string, err error) {
	kind, err := kinds.number("kind", c.Kind)
	if err != nil {
		return false, "", err
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
	return len(response.GetContracts()) > 0, "", err
}

func (c ContractPublished) reason(string) string {
	return fmt.Sprintf("no contract with %s is published", c.fields())
}

func (f FileFree) evaluate(ctx context.Context, c *calls) (holds bool, actual string, err error) {
	owner, err := c.FileOwner(ctx, string(f))
	return owner == "", owner, err
}

func (f FileFree) reason(actual string) string {
	return fmt.Sprintf("file %q is claimed by %q, wanted free", string(f), actual)
}
