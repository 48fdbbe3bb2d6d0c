package board_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

func TestTheEndOfASessionEndsItsRunningPhasesAndReleasesItsFiles(t *testing.T) {
	t.Parallel()
	for _, end := range []struct {
		opts       []board.SessionOption
		wantState  string
		wantWorker string
	}{
		{nil, board.StateFailed, "ada"},
		{[]board.SessionOption{board.WithOnExpiry(board.OnExpiryFail)}, board.StateFailed, "ada"},
		{[]board.SessionOption{board.WithOnExpiry(board.OnExpiryRequeue)}, board.StateQueued, ""},
	} {
		client := fresh(t)
		session := open(t, client, "ada", end.opts...)
		if _, err := session.SetPhase(t.Context(), "running", board.StateRunning, board.ByWorker("ada")); err != nil {
			t.Fatal(err)
		}
		if _, err := session.ClaimFiles(t.Context(), []string{"a.go"}, "running"); err != nil {
			t.Fatal(err)
		}
		begin(t, client, "another's", "b.go")
		if err := session.Close(); err != nil {
			t.Fatal(err)
		}
		p, _, err := client.GetPhase(t.Context(), "running")
		if err != nil || p.State != end.wantState || p.Worker != end.wantWorker || p.SessionID != "" {
			t.Errorf("got %+v, %v, want it %s", p, err, end.wantState)
		}
		claims, err := client.ListClaims(t.Context(), "")
		if err != nil || len(claims) != 1 || claims[0].Filepath != "b.go" {
			t.Errorf("got the claims %+v, %v", claims, err)
		}
		if state, err := client.GetPhaseState(t.Context(), "another's"); err != nil || state != board.StateRunning {
			t.Errorf("another's phase is %q, %v", state, err)
		}
	}
}

func TestAPhaseThatASessionHasCompletedStaysDone(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	session := open(t, client, "ada")
	begin(t, session, "p", "a.go")
	if p, _, err := client.GetPhase(t.Context(), "p"); err != nil || p.SessionID != session.ID() {
		t.Errorf("got %+v, %v, want it bound to the session", p, err)
	}
	contracts := []board.Contract{{Producer: "p", Kind: board.KindType, Name: "T"}}
	if _, err := session.CompletePhase(t.Context(), "p", board.StateDone, contracts); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	if state, err := client.GetPhaseState(t.Context(), "p"); err != nil || state != board.StateDone {
		t.Errorf("got %q, %v", state, err)
	}
}

func TestASessionIsRenewedUntilItIsClosedAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	client := dial(t, server.Target)
	session := open(t, client, "ada", board.WithTTL(12*time.Second)) // longer than the restart takes
	begin(t, session, "p")
	server.Kill()
	server.Restart()
	restarted := waitUntilRenewed(t, client, session, time.Time{})
	waitUntilRenewed(t, client, session, restarted)
	if _, err := session.CompletePhase(t.Context(), "p", board.StateDone, nil); err != nil {
		t.Error(err)
	}
}

// waitUntilRenewed waits until the session expires later than after, and returns when
// it expires.
func waitUntilRenewed(t *testing.T, client *board.Client, session *board.Session, after time.Time) time.Time {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		sessions, err := client.ListSessions(t.Context())
		if err != nil || len(sessions) != 1 || sessions[0].SessionID != session.ID() {
			t.Fatalf("got the sessions %+v, %v", sessions, err)
		}
		if sessions[0].ExpiresAt.After(after) {
			return sessions[0].ExpiresAt
		}
		<-tick.C
	}
}

func TestTheCallsOfALostSessionAreRefused(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	session := open(t, client, "ada", board.WithTTL(time.Second))
	begin(t, session, "p", "a.go")
	select {
	case <-session.Lost():
		t.Fatal("the session is lost before it was closed")
	default:
	}
	if released, err := client.CloseSession(t.Context(), session.ID()); err != nil || released != 1 {
		t.Errorf("released %d, %v", released, err)
	}
	<-session.Lost()
	s := session
	_, complete := s.CompletePhase(t.Context(), "p", board.StateDone, nil)
	_, claimMany := s.ClaimFiles(t.Context(), []string{"a.go"}, "p")
	c := board.Contract{Producer: "p", Kind: board.KindType, Name: "T"}
	for name, err := range map[string]error{
		"CompletePhase":    complete,
		"ClaimFiles":       claimMany,
		"ClaimFile":        s.ClaimFile(t.Context(), "a.go", "p"),
		"SetPhaseState":    s.SetPhaseState(t.Context(), "p", board.StateRunning),
		"PublishContract":  s.PublishContract(t.Context(), c),
		"PublishContracts": s.PublishContracts(t.Context(), []board.Contract{c}),
		"in the session":   client.InSession(s.ID()).ClaimFile(t.Context(), "a.go", "p"),
	} {
		var e *board.Error
		if !errors.Is(err, board.ErrSessionExpired) || !errors.As(err, &e) || e.Metadata["session_id"] != s.ID() {
			t.Errorf("%s: got %v, want ErrSessionExpired", name, err)
		}
	}
	if err := session.Close(); err != nil {
		t.Errorf("closing a lost session: %v", err)
	}
}

func TestASessionMayBeClosedAgainAndLeavesTheConnectionOpen(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	session := open(t, client, "ada")
	for range 2 {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	}
	if sessions, err := client.ListSessions(t.Context()); err != nil || len(sessions) != 0 {
		t.Errorf("got %+v, %v", sessions, err)
	}
	select {
	case <-session.Lost():
		t.Error("a session that was closed counts as lost")
	default:
	}
}

func TestASessionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	watch := watching(t, client)
	ctx, cancel := context.WithCancel(t.Context())
	session, err := client.Session(ctx, "ada")
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, watch); e.Change != board.ChangeSessionOpened {
		t.Errorf("got %+v", e)
	}
	cancel()
	if e := next(t, watch); e.Change != board.ChangeSessionEnded || e.Session.SessionID != session.ID() || e.Cause != board.CauseSessionClosed {
		t.Errorf("got %+v", e)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
}

func TestClosingASessionOfAClosedClientIsAnError(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	session := open(t, client, "ada")
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(); !errors.Is(err, board.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestTheErrorNamesAnInvalidFieldOfASession(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	for field, opts := range map[string][]board.SessionOption{
		"ttl":       {board.WithTTL(time.Millisecond)},
		"on_expiry": {board.WithOnExpiry("wish")},
	} {
		_, err := client.Session(t.Context(), "ada", opts...)
		wantInvalid(t, field, err)
	}
	_, err := client.Session(t.Context(), "a\nb")
	wantInvalid(t, "worker", err)
}

func TestAClientOfAnotherBoardBelongsToNoSession(t *testing.T) {
	t.Parallel()
	session := open(t, fresh(t), "ada")
	other := session.On(servertest.FreshName())
	if _, err := other.OpenBoard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.ClaimFile(t.Context(), "a.go", "p"); err != nil {
		t.Error(err)
	}
}

func open(t *testing.T, client *board.Client, worker string, opts ...board.SessionOption) *board.Session {
	t.Helper()
	session, err := client.Session(t.Context(), worker, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func TestASessionIsABoardWhoseCloseLeavesTheConnectionOpen(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	var inTheSession board.Board = open(t, client, "ada")
	if err := inTheSession.ClaimFile(t.Context(), "a.go", "p"); err != nil {
		t.Fatal(err)
	}
	if err := inTheSession.Close(); err != nil {
		t.Fatal(err)
	}
	if owner, err := client.FileOwner(t.Context(), "a.go"); err != nil || owner != "" {
		t.Errorf("got the owner %q, %v", owner, err)
	}
	if _, embeds := reflect.TypeFor[board.Session]().FieldByName("Client"); embeds {
		t.Error("Session embeds Client, whose Close would close the connection")
	}
}

func TestTheZeroValueOfAnOptionSetsNothing(t *testing.T) {
	t.Parallel()
	client := fresh(t, board.Option{})
	if _, err := client.SetPhase(t.Context(), "p", board.StateDone, board.PhaseOption{}); err != nil {
		t.Error(err)
	}
	watching(t, client, board.WatchOption{})
	open(t, client, "ada", board.SessionOption{})
}
