package board

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

var (
	states   = newWords[boardv1.PhaseState]("PHASE_STATE_", boardv1.PhaseState_value)
	kinds    = newWords[boardv1.ContractKind]("CONTRACT_KIND_", boardv1.ContractKind_value)
	statuses = newWords[boardv1.ContractStatus]("CONTRACT_STATUS_", boardv1.ContractStatus_value)
	expiries = newWords[boardv1.OnExpiry]("ON_EXPIRY_", boardv1.OnExpiry_value)
	causes   = newWords[boardv1.EventCause]("EVENT_CAUSE_", boardv1.EventCause_value)

	eventKinds = newWords[boardv1.EventKind]("EVENT_KIND_", boardv1.EventKind_value)
)

// words has the words of an enum of the proto, and their numbers on the wire. The
// number of UNSPECIFIED is that of the empty word.
type words[E ~int32] struct {
	numbers map[string]E
	words   map[E]string
}

func newWords[E ~int32](prefix string, values map[string]int32) words[E] {
	w := words[E]{map[string]E{}, map[E]string{}}
	for name, number := range values {
		word := strings.ToLower(strings.TrimPrefix(name, prefix))
		if number == 0 {
			word = ""
		}
		w.numbers[word], w.words[E(number)] = E(number), word
	}
	return w
}

// number returns the number of the word; the error names the field and the word.
func (w words[E]) number(field, word string) (E, error) {
	if number, ok := w.numbers[word]; ok {
		return number, nil
	}
	return 0, invalidArgument(field, fmt.Sprintf("%q is not one of %s", word, w.known()))
}

// required returns the number of a word, which must not be empty.
func (w words[E]) required(field, word string) (E, error) {
	if word == "" {
		return 0, invalidArgument(field, "must be one of "+w.known())
	}
	return w.number(field, word)
}

// word returns the empty word for a number that this client does not know.
func (w words[E]) word(number E) string {
	return w.words[number]
}

func (w words[E]) known() string {
	numbers := slices.Sorted(maps.Keys(w.words))[1:] // all but the unspecified one
	known := make([]string, len(numbers))
	for i, number := range numbers {
		known[i] = w.words[number]
	}
	return strings.Join(known, ", ")
}
