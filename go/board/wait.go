package board

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Condition is something on the board to wait for: [PhaseIn],
// [ContractPublished] or [FileFree].
type Condition interface {
	fmt.Stringer

	// condition converts it to its message. The error names the invalid field; field is
	// the path of the condition itself.
	condition(field string) (*boardv1.WaitCondition, error)

	// evaluate reads whether the condition holds now, and the value of NotMet.Actual.
	evaluate(ctx context.Context, c *calls) (holds bool, actual string, err error)

	// reason returns why the condition does not hold.
	reason(actual string) string
}

// PhaseIn holds while the phase is in one of the states.
func PhaseIn(phaseID string, inStates ...string) Condition { return phaseIn{phaseID, inStates} }

type phaseIn struct {
	phaseID string
	states  []string
}

// String returns the condition, such as `phase "a" is DONE or FAILED`.
func (p phaseIn) String() string { return fmt.Sprintf("phase %q is %s", p.phaseID, p.wanted()) }

func (p phaseIn) wanted() string { return strings.Join(each(p.states, strings.ToUpper), " or ") }

func (p phaseIn) condition(field string) (*boardv1.WaitCondition, error) {
	condition := &boardv1.PhaseCondition{PhaseId: p.phaseID}
	for i, state := range p.states {
		number, err := states.required(fmt.Sprintf("%s.phase.states[%d]", field, i), state)
		if err != nil {
			return nil, err
		}
		condition.States = append(condition.States, number)
	}
	return &boardv1.WaitCondition{Condition: &boardv1.WaitCondition_Phase{Phase: condition}}, nil
}

// ContractPublished holds once a contract is published that equals each field that
// is set, whatever its status. At least one field must be set.
type ContractPublished struct {
	Producer string
	Kind     string
	Name     string
	Package  string
}

// String returns the condition, such as `contract with name "T", kind "type" is published`.
func (c ContractPublished) String() string {
	return fmt.Sprintf("contract with %s is published", c.fields())
}

// fields returns the fields that are set.
func (c ContractPublished) fields() string {
	var set []string
	for _, field := range []struct{ name, value string }{
		{"name", c.Name}, {"kind", c.Kind}, {"producer", c.Producer}, {"package", c.Package},
	} {
		if field.value != "" {
			set = append(set, fmt.Sprintf("%s %q", field.name, field.value))
		}
	}
	return strings.Join(set, ", ")
}

func (c ContractPublished) condition(field string) (*boardv1.WaitCondition, error) {
	kind, err := kinds.number(field+".contract.kind", c.Kind)
	if err != nil {
		return nil, err
	}
	condition := &boardv1.ContractCondition{Producer: c.Producer, Kind: kind, Name: c.Name, Package: c.Package}
	return &boardv1.WaitCondition{Condition: &boardv1.WaitCondition_Contract{Contract: condition}}, nil
}

// FileFree holds while no phase has claimed the file of this path.
type FileFree string

// String returns the condition, such as `file "a.go" is free`.
func (f FileFree) String() string { return fmt.Sprintf("file %q is free", string(f)) }

func (f FileFree) condition(string) (*boardv1.WaitCondition, error) {
	condition := &boardv1.FileCondition{Filepath: string(f)}
	return &boardv1.WaitCondition{Condition: &boardv1.WaitCondition_FileFree{FileFree: condition}}, nil
}

// Met has what met the conditions of a WaitFor, in their order.
type Met struct {
	Revision  int64 // at which they all held
	Phases    []Phase
	Contracts []Contract // the one with the lowest ID for each condition
}

// WaitFor returns as soon as all the conditions, 1 to 100, hold at one revision,
// and at once if they do already. It waits until ctx ends, whatever the client's
// timeout is, and survives restarts of the server.
//
// If the deadline of ctx passes, WaitFor reads which of the conditions do not
// hold, for a second at most, and returns a [*WaitTimeoutError].
func (c *calls) WaitFor(ctx context.Context, conditions ...Condition) (*Met, error) {
	request := &boardv1.WaitForRequest{Board: c.board}
	for i, one := range conditions {
		message, err := one.condition(fmt.Sprintf("conditions[%d]", i))
		if err != nil {
			return nil, err
		}
		request.Conditions = append(request.Conditions, message)
	}
	unbounded := *c
	unbounded.timeout = 0
	began := time.Now()
	response, err := call(ctx, &unbounded, c.stub.WaitFor, request)
	if err != nil {
		return nil, c.whyNotMet(ctx, began, conditions, err)
	}
	return &Met{response.GetRevision(), each(response.GetPhases(), phase), each(response.GetContracts(), contract)}, nil
}
