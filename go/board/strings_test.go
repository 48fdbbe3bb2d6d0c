package board_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/papapumpkin/quasar-board/go/board"
)

func TestEachRecordPrintsAsOneReadableLine(t *testing.T) {
	t.Parallel()
	phase := board.Phase{PhaseID: "a", State: board.StateRunning, Worker: "ada", SessionID: "4f"}
	contract := board.Contract{Producer: "a", Kind: board.KindMethod, Name: "T.M", Package: "p", Signature: "func (T) M()"}
	claim := board.FileClaim{Filepath: "a.go", OwnerTask: "a"}
	session := board.SessionInfo{SessionID: "4f", Worker: "ada", TTL: 30 * time.Second, OnExpiry: board.OnExpiryFail}
	snapshot := &board.Snapshot{Revision: 7, Phases: []board.Phase{phase}, Claims: []board.FileClaim{claim, claim}}
	for want, record := range map[string]any{
		`phase "a": running, worker "ada", session "4f"`:         phase,
		`phase "b": unknown`:                                     board.Phase{PhaseID: "b"},
		`method "T.M" in package "p" by phase "a": fulfilled`:    contract,
		`file "m.go" by phase "a": disputed`:                     board.Contract{Producer: "a", Kind: board.KindFile, Name: "m.go", Status: board.StatusDisputed},
		`file "a.go": claimed by phase "a"`:                      claim,
		`file "b.go": claimed by phase "b"`:                      board.Conflict{Filepath: "b.go", Owner: "b"},
		`session "4f": worker "ada", ttl 30s, on expiry fail`:    session,
		`board "n" at revision 3`:                                board.Info{Name: "n", Revision: 3},
		`revision 7: 1 phase, 0 contracts, 2 claims, 0 sessions`: snapshot,
		`revision 7: released (call): file "a.go": claimed by phase "a"`: board.Event{
			Revision: 7, Change: board.ChangeReleased, Cause: board.CauseCall, Claim: &claim},
		`revision 7: snapshot: revision 7: 1 phase, 0 contracts, 2 claims, 0 sessions`: board.Event{
			Revision: 7, Change: board.ChangeSnapshot, Snapshot: snapshot},
		`revision 8: unknown`: board.Event{Revision: 8},
		`revision 7; phase "b": unknown; method "T.M" in package "p" by phase "a": fulfilled`: board.Met{
			Revision: 7, Phases: []board.Phase{{PhaseID: "b"}}, Contracts: []board.Contract{contract}},
		`phase "b": unknown; 1 contract published, 2 claims released`: board.Completion{
			Phase: board.Phase{PhaseID: "b"}, Published: 1, Released: 2},
		`1 phase, 2 contracts, 0 claims removed`: board.Archived{Phases: 1, Contracts: 2},
	} {
		if got := fmt.Sprint(record); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
