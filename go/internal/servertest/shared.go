package servertest

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	shared     *Server
	startOnce  sync.Once
	boardNames atomic.Int64
)

// Shared returns the one server of all tests of a package, which the first call
// starts. Each test uses boards of its own, and does not stop the server. The
// package's TestMain must call Run, which does.
func Shared(t testing.TB) *Server {
	t.Helper()
	python := Python(t)
	startOnce.Do(func() {
		dir, err := os.MkdirTemp("", "board-shared-")
		if err != nil {
			t.Fatal(err)
		}
		started := &Server{Targets: []string{"127.0.0.1:0"}, Dir: dir, t: t, python: python}
		started.run()
		shared = started
	})
	if shared == nil {
		t.Fatal("the shared board server did not start")
	}
	return shared
}

// Run runs the tests of a package, stops their shared server, and exits.
func Run(m *testing.M) {
	code := m.Run()
	if shared != nil {
		_ = shared.process.Process.Kill()
		_ = shared.process.Wait()
		if code != 0 && shared.stderr.Len() > 0 {
			fmt.Fprintf(os.Stderr, "the shared server's standard error:\n%s", shared.stderr.String())
		}
		_ = os.RemoveAll(shared.Dir)
	}
	os.Exit(code)
}

// FreshName returns a name for a board that no other test uses.
func FreshName() string { return fmt.Sprint("board-", boardNames.Add(1)) }
