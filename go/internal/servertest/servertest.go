// Package servertest runs the board server in a process of its own, for tests.
package servertest

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a running board server.
type Server struct {
	Target  string   // the first of Targets
	Targets []string // the addresses that it listens on, as Dial takes them
	Dir     string   // the directory of the board files, NAME.board.db

	t         testing.TB
	python    string
	arguments []string
	process   *exec.Cmd
	stderr    bytes.Buffer
}

// Start serves a new directory on a free port until the test ends. The arguments are
// added to the command line. Python says what happens if there is no Python.
func Start(t testing.TB, arguments ...string) *Server {
	t.Helper()
	return StartIn(t, t.TempDir(), "127.0.0.1:0", arguments...)
}

// StartIn is like Start, but serves an existing directory at the address listen.
func StartIn(t testing.TB, dir, listen string, arguments ...string) *Server {
	t.Helper()
	return start(t, dir, []string{listen}, arguments)
}

// StartOn is like Start, but listens on several addresses.
func StartOn(t testing.TB, listen []string, arguments ...string) *Server {
	t.Helper()
	return start(t, t.TempDir(), listen, arguments)
}

func start(t testing.TB, dir string, listen, arguments []string) *Server {
	t.Helper()
	s := &Server{Targets: listen, Dir: dir, t: t, python: Python(t), arguments: arguments}
	s.run()
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() && s.stderr.Len() > 0 {
			t.Logf("the server's standard error:\n%s", s.stderr.String())
		}
	})
	return s
}

// Kill kills the server with SIGKILL, and waits for its end.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Freeze suspends the server with SIGSTOP: its connections stay open, and it answers
// nothing.
func (s *Server) Freeze() {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
}

// Thaw resumes a frozen server with SIGCONT.
func (s *Server) Thaw() {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
}

// Stop shuts the server down with SIGTERM, and waits for its end.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Restart starts the server again, at the same addresses, after Kill or Stop.
func (s *Server) Restart() {
	s.t.Helper()
	s.run()
}

func (s *Server) run() {
	s.t.Helper()
	command := append([]string{"-m", "board_server", s.Dir}, s.arguments...)
	for _, target := range s.Targets {
		command = append(command, "--listen", target)
	}
	s.process = exec.Command(s.python, command...)
	s.process.Stderr = &s.stderr
	stdout, err := s.process.StdoutPipe()
	if err == nil {
		err = s.process.Start()
	}
	if err != nil {
		s.t.Fatalf("cannot start the board server: %v", err)
	}
	stuck := time.AfterFunc(time.Minute, func() { _ = s.process.Process.Kill() })
	defer stuck.Stop()
	lines := bufio.NewReader(stdout)
	targets := make([]string, len(s.Targets))
	for i := range targets {
		line, err := lines.ReadString('\n')
		target, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
		if err != nil || !ok {
			s.Kill()
			s.t.Fatalf("the board server did not start: %q\n%s", line, s.stderr.String())
		}
		targets[i] = target
	}
	s.Target, s.Targets = targets[0], targets
}

func (s *Server) end(signal syscall.Signal) {
	if s.process.ProcessState != nil { // it has ended already
		return
	}
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Errorf("sending %v to the board server: %v", signal, err)
	}
	var exit *exec.ExitError
	if err := s.process.Wait(); err != nil && !errors.As(err, &exit) {
		s.t.Errorf("waiting for the board server: %v", err)
	}
}

// Python returns the path of an interpreter that has the board server: $BOARD_PYTHON,
// or the one in the repository's .venv. If there is none, it skips the test, or fails
// it if CI is set.
func Python(t testing.TB) string {
	t.Helper()
	python := os.Getenv("BOARD_PYTHON")
	if python == "" {
		python = filepath.Join(Root(t), ".venv", "bin", "python")
	}
	_, err := os.Stat(python)
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("no Python to run the board server: %v", err)
	default:
		t.Skipf("no Python to run the board server (%v); `make test` makes one, or set BOARD_PYTHON", err)
	}
	return python
}

// Root returns the root of the repository: the closest directory above the test that
// has a pyproject.toml.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "pyproject.toml")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no pyproject.toml above the test")
		}
		dir = parent
	}
}
