package board_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

func TestASessionSurvivesAConnectionThatNoLongerAnswers(t *testing.T) {
	t.Parallel()
	name := board.WithBoard(servertest.FreshName())
	client, between := far(t, name)
	near := dial(t, servertest.Shared(t).Target, name)
	session := open(t, client, "ada", board.WithTTL(2*time.Second))
	opened := waitUntilRenewed(t, near, session, time.Time{})
	between.silence()
	waitUntilRenewed(t, near, session, opened.Add(4*time.Second))
	if err := session.ClaimFile(t.Context(), "a.go", "p"); err != nil || session.Err() != nil {
		t.Errorf("got %v, lost: %v", err, session.Err())
	}
}

func TestASessionIsLostOneTTLAfterItsLastRenewalByTheClientsClock(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	session := open(t, dial(t, server.Target), "ada", board.WithTTL(time.Second))
	if err := session.Err(); err != nil {
		t.Errorf("before it is lost: %v", err)
	}
	server.Freeze()
	<-session.Lost()
	var e *board.Error
	if err := session.Err(); !errors.Is(err, board.ErrSessionExpired) || !errors.As(err, &e) || e.Metadata["session_id"] != session.ID() ||
		!strings.Contains(err.Error(), "could not be renewed for 1s") {
		t.Errorf("got %v", err)
	}
	server.Kill()
}

func TestASessionIsLostWhenItsTokenIsRevoked(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.toml")
	token := servertest.Token(t, file, "ada", "--role", "dispatcher")
	servertest.Token(t, file, "other", "--role", "reader")
	server := servertest.Start(t, "--tokens", file)
	session := open(t, dial(t, server.Target, board.WithToken(token)), "ada", board.WithTTL(3*time.Second))
	servertest.Revoke(t, file, "ada")
	<-session.Lost()
	if err := session.Err(); !errors.Is(err, board.ErrUnauthenticated) {
		t.Errorf("got %v, want ErrUnauthenticated", err)
	}
}

func TestClosingASessionOfAFrozenServerEndsSoonAfterItsContext(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	client := dial(t, server.Target)
	ctx, cancel := withCancel(t)
	session, err := client.Session(ctx, "ada", board.WithTTL(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	server.Freeze()
	cancel()
	began := time.Now()
	if err := session.Close(); err == nil {
		t.Error("a frozen server has closed the session")
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("it took %v", took)
	}
	server.Kill()
}
