package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

func TestPhasesRunAfterWhatTheyDependOnAndLeaveTheirContracts(t *testing.T) {
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
		t.Errorf("the last phase was not given the contracts of those before it:\n%s", text)
	}
}

func TestAFailingWorkerStopsOnlyWhatDependsOnIt(t *testing.T) {
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

func TestAFileThatIsTakenBlocksAPhaseUntilItIsFree(t *testing.T) {
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
	f.waitForState("apart", board.StateDone) // the one worker is not kept waiting
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

func TestWorkersNeverEditOneFileAtOnce(t *testing.T) {
	t.Parallel()
	var phases []testPhase
	for i := range 4 {
		phases = append(phases, testPhase{id: fmt.Sprint("phase-", i), scope: []string{"shared.go", fmt.Sprint(i, ".go")}})
	}
	f := newFixture(t, phases)
	f.wantExit(f.dispatch(t.Context(), 4), 0)
	text := f.read("shared.go")
	for i := range phases {
		if want := fmt.Sprintf("func Phase%dInShared() string", i); strings.Count(text, want) != 1 {
			t.Errorf("%s was lost:\n%s", want, text)
		}
	}
}

func TestAWorkerThatEndsWithoutCompletingHasFailed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []testPhase{{id: "p"}})
	f.worker = []string{"true"}
	f.wantExit(f.dispatch(t.Context(), 1), 1)
	f.wantStates("p failed")
}

func TestAnInterruptGivesBackWhatWasBegun(t *testing.T) {
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
	f.waitFor("the claim of a.go", func() bool {
		owner, err := f.board.FileOwner(t.Context(), "a.go")
		return err == nil && owner == "begun"
	})
	interrupt()
	f.wantExitWith(exit, 130, "taken.go")
	f.wantStates("begun queued", "after queued", "blocked queued")
	f.wantFiles()
}

func TestANewRunStartsFromTheBeginning(t *testing.T) {
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

func TestAMalformedNebulaIsToldWithItsFile(t *testing.T) {
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

func TestAWrongCommandLineIsExitCode2(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{
		{}, {"--wish"}, {"nebula"}, {"nebula", "--"}, {"--workers", "0", "nebula", "--", "true"}, {t.TempDir(), "--", "true"},
	} {
		if code := start(t.Context(), arguments); code != 2 {
			t.Errorf("%v: got the exit code %d", arguments, code)
		}
	}
}

// A fixture is a server, a nebula of a test's own, and a repository to work in.
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
	server := servertest.Start(t)
	client, err := board.Dial(t.Context(), server.Target, board.WithBoard("test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	f := &fixture{t: t, board: client, target: server.Target, nebula: t.TempDir(), repository: filepath.Join(t.TempDir(), "repository")}
	if err := os.Mkdir(f.repository, 0o755); err != nil {
		t.Fatal(err)
	}
	f.worker = []string{
		servertest.Python(t), filepath.Join(servertest.Root(t), "examples", "worker.py"), "--repository", f.repository,
	}
	write(t, filepath.Join(f.nebula, "nebula.toml"), "[nebula]\nname = \"test\"\n")
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

// dispatch starts the dispatcher; its exit code comes on the channel.
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

// wantExitWith also wants that no files are claimed but these.
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
	f.waitFor(phase+" to be "+want, func() bool {
		state, err := f.board.GetPhaseState(f.t.Context(), phase)
		return err == nil && state == want
	})
}

// waitFor looks at the board until something holds.
func (f *fixture) waitFor(what string, holds func() bool) {
	f.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	giveUp := time.After(time.Minute)
	for !holds() {
		select {
		case <-look.C:
		case <-giveUp:
			f.t.Fatalf("waited in vain for %s", what)
		}
	}
}
