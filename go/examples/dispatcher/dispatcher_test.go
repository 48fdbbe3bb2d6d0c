package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Run(m) }

func TestPhasesRunAfterTheirDependenciesAndPublishTheirContracts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []testPhase{
		{id: "last", dependsOn: []string{"left", "right"}, scope: []string{"c.go"}},
		{id: "left", dependsOn: []string{"first"}, scope: []string{"a/left.go"}},
		{id: "right", dependsOn: []string{"first"}, scope: []string{"a/right.go", "b/"}},
		{id: "first", scope: []string{"a/**"}},
	})
	f.wantExit(f.dispatch(t.Context(), 4), 0)
	f.wantStates("last done", "left done", "right done", "first done")
	f.wantFiles("a/first.go", "a/left.go", "a/right.go", "b/right.go", "c.go")
	contracts, err := f.board.ContractsFor(t.Context(), "right")
	if err != nil || len(contracts) != 4 {
		t.Errorf("got the contracts %+v, %v", contracts, err)
	}
	if text := f.read("c.go"); !strings.Contains(text, "It builds on a/left.go") {
		t.Errorf("the last phase does not have the contracts of its dependencies:\n%s", text)
	}
}

func TestAFailedPhaseStopsOnlyThePhasesThatDependOnIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []testPhase{
		{id: "fails", scope: []string{"a.go", "../outside.go"}},
		{id: "after", dependsOn: []string{"fails"}, scope: []string{"b.go"}},
		{id: "long-after", dependsOn: []string{"after", "apart"}, scope: []string{"c.go"}},
		{id: "apart", scope: []string{"d.go"}},
		{id: "after-apart", dependsOn: []string{"apart"}, scope: []string{"e.go"}},
	})
	f.wantExit(f.dispatch(t.Context(), 2), 1)
	f.wantStates("fails failed", "after queued", "long-after queued", "apart done", "after-apart done")
	f.wantFiles("d.go", "e.go")
}

func TestAPhaseIsBlockedUntilItsFilesAreFree(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []testPhase{
		{id: "wants", scope: []string{"a.go", "taken.go"}},
		{id: "after", dependsOn: []string{"wants"}, scope: []string{"b.go"}},
		{id: "apart", scope: []string{"c.go"}},
	})
	if err := f.board.ClaimFile(t.Context(), "taken.go", "somebody"); err != nil {
		t.Fatal(err)
	}
	exit := f.dispatch(t.Context(), 1)
	f.waitForState("wants", board.StateBlocked)
	f.waitForState("apart", board.StateDone) // the blocked phase keeps no worker
	f.wantStates("wants blocked", "after queued", "apart done")
	if claims, err := f.board.ClaimsFor(t.Context(), "wants"); err != nil || len(claims) != 0 {
		t.Errorf("the blocked phase holds %v, %v", claims, err)
	}
	if err := f.board.ReleaseClaims(t.Context(), "somebody"); err != nil {
		t.Fatal(err)
	}
	f.wantExit(exit, 0)
	f.wantStates("wants done", "after done", "apart done")
}

func TestThePhaseOfAKilledWorkerFailsAndItsFilesAreReleased(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []testPhase{
		{id: "killed", scope: []string{"a.go"}},
		{id: "after", dependsOn: []string{"killed"}, scope: []string{"b.go"}},
		{id: "wants", scope: []string{"a.go", "taken.go"}},
	})
	if err := f.board.ClaimFile(t.Context(), "taken.go", "somebody"); err != nil {
		t.Fatal(err)
	}
	watch, err := f.board.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	slow := `case $* in *killed.md) echo $$ >` + pidFile + `; exec "$@" --pace 600 ;; *) exec "$@" ;; esac`
	f.worker = append([]string{"sh", "-c", slow, "sh"}, append(f.worker, "--ttl", "2")...)
	exit := f.dispatch(t.Context(), 2)
	f.waitForState("killed", board.StateRunning)
	if err := f.board.ReleaseClaims(t.Context(), "somebody"); err != nil {
		t.Fatal(err)
	}
	f.kill(pidFile)
	killedAt := time.Now()
	for e := range watch.Events() {
		if e.Cause == board.CauseSessionExpired && e.Phase != nil {
			if e.Phase.PhaseID != "killed" || e.Phase.State != board.StateFailed {
				t.Errorf("got %+v", e.Phase)
			}
			if took := e.Time.Sub(killedAt); took > 10*time.Second {
				t.Errorf("its phase failed after %v", took)
			}
			break
		}
		if e.Phase != nil && e.Phase.PhaseID == "wants" && e.Phase.State == board.StateRunning {
			t.Error("another phase ran with the file of one whose session had not ended")
		}
	}
	f.wantExit(exit, 1)
	f.wantStates("killed failed", "after queued", "wants done")
	f.wantFiles("a.go", "taken.go")
}

func TestTwoWorkersNeverEditOneFileAtOnce(t *testing.T) {
	t.Parallel()
	var phases []testPhase
	for i := range 3 {
		phases = append(phases, testPhase{id: fmt.Sprint("phase-", i), scope: []string{"shared.go", fmt.Sprint(i, ".go")}})
	}
	f := newFixture(t, phases)
	f.wantExit(f.dispatch(t.Context(), 3), 0)
	text := f.read("shared.go")
	for i := range phases {
		if want := fmt.Sprintf("func Phase%dInShared() string", i); strings.Count(text, want) != 1 {
			t.Errorf("%s was lost:\n%s", want, text)
		}
	}
}

func TestThePhaseOfAWorkerThatDoesNotCompleteItFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []testPhase{{id: "p"}})
	f.worker = []string{"true"}
	f.wantExit(f.dispatch(t.Context(), 1), 1)
	f.wantStates("p failed")
}

func TestAnInterruptQueuesTheRunningPhasesAndReleasesTheirFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []testPhase{
		{id: "begun", scope: []string{"a.go"}},
		{id: "after", dependsOn: []string{"begun"}},
		{id: "blocked", scope: []string{"taken.go"}},
	})
	if err := f.board.ClaimFile(t.Context(), "taken.go", "somebody"); err != nil {
		t.Fatal(err)
	}
	f.worker = append(f.worker, "--pace", "600")
	ctx, interrupt := context.WithCancel(t.Context())
	exit := f.dispatch(ctx, 2)
	f.waitForState("blocked", board.StateBlocked)
	f.waitForState("begun", board.StateRunning)
	interrupt()
	f.wantExitWith(exit, 130, "taken.go")
	f.wantStates("begun queued", "after queued", "blocked queued")
	f.wantFiles()
}

func TestANewRunQueuesEveryPhase(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []testPhase{{id: "p", scope: []string{"a.go"}}, {id: "q", scope: []string{"b.go"}}})
	for _, err := range []error{
		f.board.SetPhaseState(t.Context(), "p", board.StateFailed),
		f.board.ClaimFile(t.Context(), "b.go", "p"), // by a worker that died
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f.wantExit(f.dispatch(t.Context(), 2), 0)
	f.wantStates("p done", "q done")
}

func TestTheErrorOfAMalformedNebulaNamesTheFile(t *testing.T) {
	t.Parallel()
	const plan = "[nebula]\nname = \"n\"\n"
	for name, files := range map[string]map[string]string{
		"nebula.toml: no such file":    {},
		"nebula.toml: names no nebula": {"nebula.toml": "[nebula]\n"},
		"a.md: does not begin":         {"nebula.toml": plan, "a.md": "# A\n"},
		"a.md: toml: line 1":           {"nebula.toml": plan, "a.md": "+++\nid = \n+++\n"},
		"a.md: has no id":              {"nebula.toml": plan, "a.md": "+++\n+++\n"},
		"b.md: p is the ID of":         {"nebula.toml": plan, "a.md": "+++\nid = \"p\"\n+++\n", "b.md": "+++\nid = \"p\"\n+++\n"},
		"a.md: depends on q, which":    {"nebula.toml": plan, "a.md": "+++\nid = \"p\"\ndepends_on = [\"q\"]\n+++\n"},
		"a.md: depends on itself":      {"nebula.toml": plan, "a.md": "+++\nid = \"p\"\ndepends_on = [\"p\"]\n+++\n"},
	} {
		dir := t.TempDir()
		for file, text := range files {
			write(t, filepath.Join(dir, file), text)
		}
		want := filepath.Join(dir, strings.SplitN(name, ":", 2)[0]) + ":"
		_, err := readNebula(dir)
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), strings.SplitN(name, ": ", 2)[1]) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAWrongCommandLineExitsWith2(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{
		{}, {"--wish"}, {"nebula"}, {"nebula", "--"}, {"--workers", "0", "nebula", "--", "true"}, {t.TempDir(), "--", "true"},
	} {
		if code := start(t.Context(), arguments); code != 2 {
			t.Errorf("%v: got the exit code %d", arguments, code)
		}
	}
}

// fixture is a test's board, nebula and repository.
type fixture struct {
	t          *testing.T
	board      *board.Client
	target     string
	nebula     string
	repository string
	worker     []string
}

type testPhase struct {
	id        string
	dependsOn []string
	scope     []string
}

func newFixture(t *testing.T, phases []testPhase) *fixture {
	t.Helper()
	target, name := servertest.Shared(t).Target, servertest.FreshName()
	client, err := board.Dial(t.Context(), target, board.WithBoard(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	f := &fixture{t: t, board: client, target: target, nebula: t.TempDir(), repository: filepath.Join(t.TempDir(), "repository")}
	if err := os.Mkdir(f.repository, 0o755); err != nil {
		t.Fatal(err)
	}
	f.worker = []string{
		servertest.Python(t), filepath.Join(servertest.Root(t), "examples", "worker.py"), "--repository", f.repository,
	}
	write(t, filepath.Join(f.nebula, "nebula.toml"), fmt.Sprintf("[nebula]\nname = %q\n", name))
	for i, p := range phases {
		head := fmt.Sprintf("+++\nid = %q\ntitle = %q\ndepends_on = %s\nscope = %s\n+++\n\nText.\n", p.id, p.id, list(p.dependsOn), list(p.scope))
		write(t, filepath.Join(f.nebula, fmt.Sprintf("%02d-%s.md", i, p.id)), head)
	}
	return f
}

func list(words []string) string {
	if len(words) == 0 {
		return "[]"
	}
	return `["` + strings.Join(words, `", "`) + `"]`
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// dispatch starts the dispatcher, and returns a channel with its exit code.
func (f *fixture) dispatch(ctx context.Context, workers int) <-chan int {
	arguments := []string{"--target", f.target, "--workers", fmt.Sprint(workers), f.nebula, "--"}
	exit := make(chan int, 1)
	go func() { exit <- start(ctx, append(arguments, f.worker...)) }()
	return exit
}

func (f *fixture) wantExit(exit <-chan int, want int) {
	f.t.Helper()
	f.wantExitWith(exit, want)
}

// wantExitWith also checks that only these files are claimed.
func (f *fixture) wantExitWith(exit <-chan int, want int, claimed ...string) {
	f.t.Helper()
	if code := <-exit; code != want {
		f.t.Errorf("got the exit code %d, want %d", code, want)
	}
	claims, err := f.board.ListClaims(f.t.Context(), "")
	var paths []string
	for _, claim := range claims {
		paths = append(paths, claim.Filepath)
	}
	if err != nil || !slices.Equal(paths, claimed) {
		f.t.Errorf("got the claims %v, %v, want %v", paths, err, claimed)
	}
}

func (f *fixture) wantStates(want ...string) {
	f.t.Helper()
	phases, err := f.board.ListPhases(f.t.Context())
	var states []string
	for _, p := range phases {
		states = append(states, p.PhaseID+" "+p.State)
	}
	slices.Sort(states)
	slices.Sort(want)
	if err != nil || !slices.Equal(states, want) {
		f.t.Errorf("got the phases %v, %v, want %v", states, err, want)
	}
}

func (f *fixture) wantFiles(want ...string) {
	f.t.Helper()
	var files []string
	err := filepath.WalkDir(f.repository, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			relative, _ := filepath.Rel(f.repository, path)
			files = append(files, relative)
		}
		return err
	})
	if err != nil || !slices.Equal(files, want) {
		f.t.Errorf("got the files %v, %v, want %v", files, err, want)
	}
}

func (f *fixture) read(file string) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.repository, file))
	if err != nil {
		f.t.Error(err)
	}
	return string(text)
}

func (f *fixture) waitForState(phase, want string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	if _, err := f.board.WaitFor(ctx, board.PhaseIn(phase, want)); err != nil {
		f.t.Fatalf("waiting for %s to be %s: %v", phase, want, err)
	}
}

// kill kills the process with SIGKILL.
func (f *fixture) kill(pidFile string) {
	f.t.Helper()
	text, err := os.ReadFile(pidFile)
	if err != nil {
		f.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		f.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
}
