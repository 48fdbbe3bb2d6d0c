package board

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// One table has the values of all clients. The tests of the Python client compare it
// with its constants too.
func TestTheDocumentedValuesOfRetriesAreThoseOfTheClient(t *testing.T) {
	t.Parallel()
	seconds := func(n float64) string { return fmt.Sprintf("%g s", n) }
	for what, want := range map[string]string{
		"first pause":                           seconds(firstPause.Seconds()),
		"largest pause":                         seconds(largestPause.Seconds()),
		"factor":                                fmt.Sprint(pauseFactor),
		"jitter":                                fmt.Sprintf("%g to %g", leastJitter, mostJitter),
		"attempts of a call":                    fmt.Sprint(attemptsOf("")),
		"attempts of a stream":                  fmt.Sprint(maxAttempts),
		"attempts of WaitFor":                   "unlimited",
		"timeout of a call":                     seconds(DefaultTimeout.Seconds()),
		"silence before a connection is pinged": seconds(alive.Time.Seconds()),
		"wait for the answer to a ping":         seconds(alive.Timeout.Seconds()),
		"first pause before a connection is opened again":   seconds(reconnect.Backoff.BaseDelay.Seconds()),
		"largest pause before a connection is opened again": seconds(reconnect.Backoff.MaxDelay.Seconds()),
		"largest message": fmt.Sprint(maxMessage, " bytes"),

		"reading of WaitFor's conditions after its deadline": seconds(readingTimeout.Seconds()),
	} {
		if got := retries(t)[what]; got != want {
			t.Errorf("docs/retries.md has %q for %s, and Go's client %s", got, what, want)
		}
	}
}

// retries returns the table of docs/retries.md.
func retries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(servertest.Root(t), "docs", "retries.md"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no docs/retries.md")
	}
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) == 4 {
			values[strings.TrimSpace(cells[1])] = strings.TrimSpace(cells[2])
		}
	}
	return values
}
