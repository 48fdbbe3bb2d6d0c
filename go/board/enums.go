package board

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

var (
	states   = newEnum[boardv1.PhaseState]("PHASE_STATE_", boardv1.PhaseState_value)
	kinds    = newEnum[boardv1.ContractKind]("CONTRACT_KIND_", boardv1.ContractKind_value)
	statuses = newEnum[boardv1.ContractStatus]("CONTRACT_STATUS_", boardv1.ContractStatus_value)
	expiries = newEnum[boardv1.OnExpiry]("ON_EXPIRY_", boardv1.OnExpiry_value)
	causes   = newEnum[boardv1.EventCause]("EVENT_CAUSE_", boardv1.EventCause_value)

	eventKinds = newEnum[boardv1.EventKind]("EVENT_KIND_", boardv1.EventKind_value)
)

// enum maps the words of an enum of the proto, such as "running", to its numbers and
// back. The empty word is UNSPECIFIED.
type enum[E ~int32] struct {
	numbers map[string]E
	words   map[E]string
}

func newEnum[E ~int32](prefix string, values map[string]int32) enum[E] {
	e := enum[E]{map[string]E{}, map[E]string{}}
	for name, number := range values {
		word := strings.ToLower(strings.TrimPrefix(name, prefix))
		if number == 0 {
			word = ""
		}
		e.numbers[word], e.words[E(number)] = E(number), word
	}
	return e
}

// number returns the number of the word; the error names the field and the word.
func (e enum[E]) number(field, word string) (E, error) {
	if number, ok := e.numbers[word]; ok {
		return number, nil
	}
	return 0, invalidArgument(field, fmt.Sprintf("%q is not one of %s", word, e.known()))
}

// required returns the number of a word, which must not be empty.
func (e enum[E]) required(field, word string) (E, error) {
	if word == "" {
		return 0, invalidArgument(field, "must be one of "+e.known())
	}
	return e.number(field, word)
}

// word returns the empty word for a number that this client does not know.
func (e enum[E]) word(number E) string {
	return e.words[number]
}

func (e enum[E]) known() string {
	numbers := slices.Sorted(maps.Keys(e.words))[1:] // all but the unspecified one
	known := make([]string, len(numbers))
	for i, number := range numbers {
		known[i] = e.words[number]
	}
	return strings.Join(known, ", ")
}
