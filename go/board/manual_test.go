package board_test

import (
	"go/format"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// docs/go.md is complete, and its code is that of the examples.

var (
	optionFunc  = regexp.MustCompile(`(?m)^func (\w+)\(.*\) Option \{`)
	errorVar    = regexp.MustCompile(`(?m)^\t(Err\w+) += errors\.New`)
	exampleBody = regexp.MustCompile(`(?ms)^func Example\w+\(\) \{\n(.*?)^\}`)
	codeBlock   = regexp.MustCompile("(?ms)^```go\n(.*?)^```")
)

func TestTheManualNamesEachOptionAndEachError(t *testing.T) {
	t.Parallel()
	text, found := manual(t), 0
	files, err := filepath.Glob("[a-z]*[a-z].go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source := read(t, file)
		for _, name := range append(optionFunc.FindAllStringSubmatch(source, -1), errorVar.FindAllStringSubmatch(source, -1)...) {
			found++
			if !regexp.MustCompile("`" + name[1] + `\b`).MatchString(text) {
				t.Errorf("docs/go.md does not name %s", name[1])
			}
		}
	}
	if found < 25 {
		t.Errorf("found only %d options and errors in %v", found, files)
	}
}

func TestTheCodeOfTheManualIsFormattedAndHasEachExample(t *testing.T) {
	t.Parallel()
	text := manual(t)
	for _, block := range codeBlock.FindAllStringSubmatch(text, -1) {
		if formatted, err := format.Source([]byte(block[1])); err != nil || string(formatted) != block[1] {
			t.Errorf("%v, or not formatted:\n%s", err, block[1])
		}
	}
	for _, example := range exampleBody.FindAllStringSubmatch(read(t, "example_test.go"), -1) {
		body := strings.ReplaceAll(strings.TrimPrefix(example[1], "\t"), "\n\t", "\n")
		if !strings.Contains(text, "```go\n"+body+"```") {
			t.Errorf("docs/go.md lacks\n%s", body)
		}
	}
}

func manual(t *testing.T) string {
	t.Helper()
	return read(t, filepath.Join(servertest.Root(t), "docs", "go.md"))
}
