package board_test

import (
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardv1"
)

func TestASnapshotEqualsTheListsAtItsRevision(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	session := open(t, client, "ada")
	begin(t, session, "p", "b.go", "a.go")
	begin(t, client, "q", "c.go")
	long := strings.Repeat("x", 300_000) // so that the snapshot has several parts
	for i := range 8 {
		c := board.Contract{Producer: "q", Kind: board.KindType, Name: fmt.Sprint("T", i), Signature: long}
		if err := client.PublishContract(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	got, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &board.Snapshot{}
	info, err := client.OpenBoard(t.Context())
	want.BoardID, want.Revision = info.BoardID, info.Revision
	for _, list := range []func() error{
		func() error { return err },
		func() (err error) { want.Phases, err = client.ListPhases(t.Context()); return },
		func() (err error) { want.Contracts, err = client.AllContracts(t.Context()); return },
		func() (err error) { want.Claims, err = client.ListClaims(t.Context(), ""); return },
		func() (err error) { want.Sessions, err = client.ListSessions(t.Context()); return },
	} {
		if err := list(); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range [][]board.SessionInfo{got.Sessions, want.Sessions} {
		if len(s) != 1 || s[0].SessionID != session.ID() || s[0].Worker != "ada" {
			t.Errorf("got the sessions %+v", s)
		}
	}
	got.Sessions, want.Sessions = nil, nil // expires_at moves
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestASnapshotWhoseStreamBreaksIsReadAgain(t *testing.T) {
	t.Parallel()
	server := &cutOff{}
	s, err := dial(t, serve(t, server)).Snapshot(t.Context())
	if err != nil || len(s.Phases) != 2 || s.Revision != 7 || server.calls.Load() != 2 {
		t.Errorf("after %d calls: %+v, %v", server.calls.Load(), s, err)
	}
}

// cutOff breaks the stream of its first snapshot in the middle.
type cutOff struct {
	scripted
	calls atomic.Int64
}

func (c *cutOff) GetSnapshot(_ *boardv1.GetSnapshotRequest, stream grpc.ServerStreamingServer[boardv1.GetSnapshotResponse]) error {
	first := c.calls.Add(1) == 1
	for _, id := range []string{"p", "q"} {
		part := &boardv1.GetSnapshotResponse{Revision: 7, Phases: []*boardv1.Phase{{PhaseId: id}}}
		if err := stream.Send(part); err != nil {
			return err
		}
		if first {
			return status.Error(codes.Unavailable, "the server is killed")
		}
	}
	return nil
}
