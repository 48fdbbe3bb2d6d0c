package sqliteboard

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// quasar's own store and the board server use each other's files.

func TestTheServerServesAFileOfAGoStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := openStore(t, filepath.Join(dir, "old.board.db"))
	written := []board.Contract{
		{Producer: "p", Kind: board.KindMethod, Name: "(*T).M", Signature: "func (*T) M()", Package: "internal", Status: board.StatusDisputed},
		{Producer: "p", Kind: board.KindFile, Name: "main.go", Status: board.StatusFulfilled},
	}
	for _, err := range []error{
		store.SetPhaseState(t.Context(), "p", board.StateHumanDecision),
		store.PublishContracts(t.Context(), written),
		store.ClaimFile(t.Context(), "main.go", "p"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	contracts, err := store.AllContracts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Such a store has written two formats: CURRENT_TIMESTAMP's, as above, and RFC 3339.
	rfc3339 := time.Date(2026, 2, 23, 5, 3, 45, 0, time.UTC)
	text := rfc3339.Format(time.RFC3339)
	if _, err := store.db.Exec(`
		INSERT INTO board (task_id, state, posted_at, updated_at) VALUES ('early', 'done', ?1, ?1);
		INSERT INTO file_claims (filepath, owner_task, claimed_at) VALUES ('z.go', 'early', ?1)`, text); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	client := dial(t, servertest.StartIn(t, dir, "127.0.0.1:0").Target, "old")
	phases, err := client.ListPhases(t.Context())
	if err != nil || len(phases) != 2 || phases[0].PhaseID != "early" || !phases[0].PostedAt.Equal(rfc3339) ||
		phases[1].State != board.StateHumanDecision || time.Since(phases[1].PostedAt) > time.Minute {
		t.Errorf("got the phases %+v, %v", phases, err)
	}
	served, err := client.AllContracts(t.Context())
	if err != nil || !reflect.DeepEqual(served, contracts) {
		t.Errorf("got the contracts %+v, %v, want %+v", served, err, contracts)
	}
	claims, err := client.ListClaims(t.Context(), "")
	if err != nil || len(claims) != 2 || claims[0].OwnerTask != "p" || !claims[1].ClaimedAt.Equal(rfc3339) {
		t.Errorf("got the claims %+v, %v", claims, err)
	}
	if err := client.SetPhaseState(t.Context(), "p", board.StateDone); err != nil {
		t.Error(err)
	}
}

func TestAGoStoreOpensAFileOfTheServer(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	client := dial(t, server.Target, "new")
	for _, err := range []error{
		client.SetPhaseState(t.Context(), "p", board.StateDecomposed),
		client.PublishContract(t.Context(), board.Contract{Producer: "p", Kind: board.KindType, Name: "T", Signature: "type T int", Package: "a"}),
		client.ClaimFile(t.Context(), "a/t.go", "p"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	served, err := client.AllContracts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	phase, _, err := client.GetPhase(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()

	store := openStore(t, filepath.Join(server.Dir, "new.board.db"))
	state, err := store.GetPhaseState(t.Context(), "p")
	if err != nil || state != board.StateDecomposed {
		t.Errorf("got the state %q, %v", state, err)
	}
	contracts, err := store.AllContracts(t.Context()) // scans the timestamps as time.Time
	if err != nil || !reflect.DeepEqual(contracts, served) {
		t.Errorf("got the contracts %+v, %v, want %+v", contracts, err, served)
	}
	owner, err := store.FileOwner(t.Context(), "a/t.go")
	if err != nil || owner != "p" {
		t.Errorf("got the owner %q, %v", owner, err)
	}
	var postedAt, updatedAt, claimedAt time.Time
	row := store.db.QueryRow("SELECT posted_at, updated_at, claimed_at FROM board, file_claims")
	if err := row.Scan(&postedAt, &updatedAt, &claimedAt); err != nil {
		t.Fatal(err)
	}
	if !postedAt.Equal(phase.PostedAt) || !updatedAt.Equal(phase.UpdatedAt) || time.Since(claimedAt) > time.Minute {
		t.Errorf("got the times %v, %v, %v, want %+v", postedAt, updatedAt, claimedAt, phase)
	}

	// Each then uses what the other has written.
	if err := store.SetPhaseState(t.Context(), "p", board.StateQueued); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	state, err = client.GetPhaseState(t.Context(), "p")
	if err != nil || state != board.StateQueued {
		t.Errorf("after the store: got the state %q, %v", state, err)
	}
}
