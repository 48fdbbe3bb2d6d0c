package board_test

import (
	"errors"
	"testing"

	"github.com/papapumpkin/quasar-board/go/board"
)

func TestCompletePhaseSetsTheStatePublishesAndReleasesInOneTransaction(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	begin(t, client, "p", "a.go", "b.go")
	watch := watching(t, client)
	contracts := []board.Contract{
		{Producer: "p", Kind: board.KindType, Name: "T"},
		{Producer: "p", Kind: board.KindFile, Name: "a.go"},
		{Producer: "p", Kind: board.KindFile, Name: "a.go", Signature: "the last one wins"},
	}
	completion, err := client.CompletePhase(t.Context(), "p", board.StateDone, contracts)
	if err != nil || completion.Phase.State != board.StateDone || completion.Published != 2 || completion.Released != 2 {
		t.Errorf("got %+v, %v", completion, err)
	}
	changes := map[string]int{}
	first := next(t, watch)
	for e := first; ; e = next(t, watch) {
		changes[e.Change]++
		if e.Revision != first.Revision {
			t.Errorf("%+v is in another transaction than %+v", e, first)
		}
		if changes[board.ChangeContract] == 2 && changes[board.ChangePhase] == 1 && changes[board.ChangeReleased] == 2 {
			return
		}
	}
}

func TestRepeatingACompletionLeavesTheSameBoard(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	begin(t, client, "p", "a.go")
	contracts := []board.Contract{{Producer: "p", Kind: board.KindType, Name: "T"}}
	for range 2 {
		if _, err := client.CompletePhase(t.Context(), "p", board.StateFailed, contracts); err != nil {
			t.Fatal(err)
		}
	}
	s, err := client.Snapshot(t.Context())
	if err != nil || s.Phases[0].State != board.StateFailed || len(s.Contracts) != 1 || len(s.Claims) != 0 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestACompletionThatIsRefusedChangesNothing(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	begin(t, client, "p", "a.go")
	before, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good := board.Contract{Producer: "p", Kind: board.KindType, Name: "T"}
	bad, nameless := good, good
	bad.Kind, nameless.Name = "wish", ""
	for _, refused := range []struct {
		field     string
		state     string
		contracts []board.Contract
	}{
		{"state", "", nil},
		{"state", "wish", nil},
		{"state", board.StateRunning, nil},
		{"contracts[1].kind", board.StateDone, []board.Contract{good, bad}},
		{"contracts[1].name", board.StateDone, []board.Contract{good, nameless}},
	} {
		_, err := client.CompletePhase(t.Context(), "p", refused.state, refused.contracts)
		wantInvalid(t, refused.field, err)
	}
	after, err := client.Snapshot(t.Context())
	if err != nil || after.Revision != before.Revision {
		t.Errorf("got %+v, %v, want %+v", after, err, before)
	}
}

func TestFilesAreClaimedAllOrNoneAndTheErrorNamesEveryConflict(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	claimed, err := client.ClaimFiles(t.Context(), []string{"b.go", "a.go", "b.go"}, "p")
	if err != nil || len(claimed) != 3 || claimed[0].Filepath != "b.go" || claimed[1].OwnerTask != "p" || claimed[2] != claimed[0] {
		t.Errorf("got %+v, %v", claimed, err)
	}
	if err := client.ClaimFile(t.Context(), "c.go", "q"); err != nil {
		t.Fatal(err)
	}
	_, err = client.ClaimFiles(t.Context(), []string{"free.go", "c.go", "mine.go", "b.go"}, "r")
	var conflict *board.FileAlreadyClaimedError
	if !errors.Is(err, board.ErrFileAlreadyClaimed) || !errors.As(err, &conflict) {
		t.Fatalf("got %v, want a FileAlreadyClaimedError", err)
	}
	if want := `file already claimed by another phase: "c.go" owned by "q"`; err.Error() != want {
		t.Errorf("got the text %q, want %q", err, want)
	}
	want := []board.Conflict{{Filepath: "c.go", Owner: "q"}, {Filepath: "b.go", Owner: "p"}}
	if len(conflict.Conflicts) != 2 || conflict.Conflicts[0] != want[0] || conflict.Conflicts[1] != want[1] {
		t.Errorf("got the conflicts %+v, want %+v", conflict.Conflicts, want)
	}
	if claims, err := client.ListClaims(t.Context(), "r"); err != nil || len(claims) != 0 {
		t.Errorf("got %+v, %v, want nothing claimed", claims, err)
	}
	if none, err := client.ClaimFiles(t.Context(), nil, "r"); err != nil || len(none) != 0 {
		t.Errorf("got %+v, %v for no files", none, err)
	}
}

// begin sets the phase running, and claims the files for it.
func begin(t *testing.T, b board.Board, phase string, files ...string) {
	t.Helper()
	if err := b.SetPhaseState(t.Context(), phase, board.StateRunning); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := b.ClaimFile(t.Context(), file, phase); err != nil {
			t.Fatal(err)
		}
	}
}
