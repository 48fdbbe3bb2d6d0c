package board_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardv1"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// The methods of the client beyond those of Board.

func TestBoardsOfOneServerNeverMix(t *testing.T) {
	t.Parallel()
	oneName, twoName := servertest.FreshName(), servertest.FreshName()
	one := dial(t, servertest.Shared(t).Target, board.WithBoard(oneName))
	two := one.On(twoName)
	if _, err := two.OpenBoard(t.Context()); err != nil {
		t.Fatal(err)
	}
	for client, state := range map[*board.Client]string{one: board.StateDone, two: board.StateFailed} {
		if err := client.SetPhaseState(t.Context(), "p", state); err != nil {
			t.Fatal(err)
		}
		if err := client.ClaimFile(t.Context(), "f.go", "owner-"+state); err != nil {
			t.Error(err)
		}
	}
	state, err := one.GetPhaseState(t.Context(), "p")
	if state != board.StateDone || err != nil {
		t.Errorf("got %q, %v", state, err)
	}
	boards, err := one.ListBoards(t.Context())
	var names []string
	for _, b := range boards {
		names = append(names, b.Name)
	}
	if err != nil || !slices.Contains(names, oneName) || !slices.Contains(names, twoName) || !slices.IsSorted(names) {
		t.Errorf("got %v, %v", names, err)
	}
}

func TestOpeningABoardAgainReturnsTheSameBoard(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	before, err := client.OpenBoard(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := client.SetPhaseState(t.Context(), "p", board.StateDone); err != nil {
		t.Fatal(err)
	}
	after, err := client.OpenBoard(t.Context())
	before.Revision++
	if err != nil || after != before || after.Name == "" || after.BoardID == "" || time.Since(after.CreatedAt) > time.Minute {
		t.Errorf("got %+v, %v, want %+v", after, err, before)
	}
}

func TestAPhaseKeepsItsWorkerUntilAnotherIsNamed(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	for _, step := range []struct {
		opts []board.PhaseOption
		want string
	}{
		{nil, ""},
		{[]board.PhaseOption{board.ByWorker("ada")}, "ada"},
		{nil, "ada"},
		{[]board.PhaseOption{board.ByWorker("bob")}, "bob"},
		{[]board.PhaseOption{board.ByWorker("")}, ""},
	} {
		set, err := client.SetPhase(t.Context(), "p", board.StateRunning, step.opts...)
		if err != nil || set.Worker != step.want {
			t.Errorf("got %+v, %v, want the worker %q", set, err, step.want)
		}
		got, ok, err := client.GetPhase(t.Context(), "p")
		if err != nil || !ok || got != set {
			t.Errorf("read %+v, %v, %v, want %+v", got, ok, err, set)
		}
	}
}

func TestAPhaseKeepsTheTimeItWasPosted(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	first, err := client.SetPhase(t.Context(), "p", board.StateQueued)
	if err != nil {
		t.Fatal(err)
	}
	second, err := client.SetPhase(t.Context(), "p", board.StateQueued)
	if err != nil || second.PostedAt != first.PostedAt || second.UpdatedAt.Before(first.UpdatedAt) {
		t.Errorf("got %+v, %v after %+v", second, err, first)
	}
}

func TestAnUnknownPhaseIsNotAnError(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	if got, ok, err := client.GetPhase(t.Context(), "nobody"); ok || err != nil || got != (board.Phase{}) {
		t.Errorf("got %+v, %v, %v", got, ok, err)
	}
}

func TestAStateMismatchNamesTheActualState(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	if _, err := client.SetPhase(t.Context(), "p", board.StateQueued); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SetPhase(t.Context(), "p", board.StateRunning, board.IfState(board.StateQueued)); err != nil {
		t.Error(err)
	}
	_, err := client.SetPhase(t.Context(), "p", board.StateRunning, board.IfState(board.StateQueued))
	var e *board.Error
	if !errors.Is(err, board.ErrStateMismatch) || !errors.As(err, &e) || e.Metadata["actual"] != board.StateRunning {
		t.Errorf("got %v, want ErrStateMismatch", err)
	}
}

func TestIfAbsentCreatesAPhaseOnce(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	if _, err := client.SetPhase(t.Context(), "p", board.StateQueued, board.IfAbsent()); err != nil {
		t.Error(err)
	}
	_, err := client.SetPhase(t.Context(), "p", board.StateRunning, board.IfAbsent())
	var e *board.Error
	if !errors.Is(err, board.ErrStateMismatch) || !errors.As(err, &e) || e.Metadata["actual"] != board.StateQueued {
		t.Errorf("got %v, want ErrStateMismatch", err)
	}
	_, err = client.SetPhase(t.Context(), "q", board.StateRunning, board.IfState(""))
	wantInvalid(t, "expected_state", err)
}

func TestPhasesAreListedAsTheyWerePostedAndByState(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	for _, phase := range []struct{ id, state string }{
		{"z", board.StateDone}, {"a", board.StateQueued}, {"m", board.StateDone}, {"b", board.StateFailed},
	} {
		if err := client.SetPhaseState(t.Context(), phase.id, phase.state); err != nil {
			t.Fatal(err)
		}
	}
	for _, list := range []struct {
		states []string
		want   string
	}{
		{nil, "z a m b"},
		{[]string{board.StateDone}, "z m"},
		{[]string{board.StateFailed, board.StateQueued}, "a b"},
		{[]string{board.StateDecomposed}, ""},
	} {
		phases, err := client.ListPhases(t.Context(), list.states...)
		var ids []string
		for _, phase := range phases {
			ids = append(ids, phase.PhaseID)
		}
		if err != nil || strings.Join(ids, " ") != list.want {
			t.Errorf("%v: got %v, %v, want %s", list.states, ids, err, list.want)
		}
	}
}

func TestAListOfPhasesLongerThanAPageIsReturnedWhole(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	const many, at = 1005, 15
	var writers sync.WaitGroup
	for i := range at {
		writers.Go(func() {
			for j := i; j < many; j += at {
				if err := client.SetPhaseState(t.Context(), fmt.Sprint("p", j), board.StateQueued); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	phases, err := client.ListPhases(t.Context())
	distinct := map[string]bool{}
	for _, phase := range phases {
		distinct[phase.PhaseID] = true
	}
	if err != nil || len(phases) != many || len(distinct) != many {
		t.Errorf("got %d phases, %d of them distinct, %v", len(phases), len(distinct), err)
	}
}

func TestContractsAreListedByEveryFilter(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	root, internal := "", "internal"
	if err := client.PublishContracts(t.Context(), []board.Contract{
		{Producer: "p", Kind: board.KindType, Name: "A", Package: internal},
		{Producer: "p", Kind: board.KindFile, Name: "B", Package: root, Status: board.StatusDisputed},
		{Producer: "q", Kind: board.KindType, Name: "C", Package: internal, Status: board.StatusPending},
	}); err != nil {
		t.Fatal(err)
	}
	for _, list := range []struct {
		filter board.ContractFilter
		want   string
	}{
		{board.ContractFilter{}, "ABC"},
		{board.ContractFilter{Producer: "p"}, "AB"},
		{board.ContractFilter{Kind: board.KindType}, "AC"},
		{board.ContractFilter{Name: "B"}, "B"},
		{board.ContractFilter{Package: &internal}, "AC"},
		{board.ContractFilter{Package: &root}, "B"},
		{board.ContractFilter{Status: board.StatusFulfilled}, "A"},
		{board.ContractFilter{Producer: "q", Kind: board.KindType, Name: "C", Package: &internal, Status: board.StatusPending}, "C"},
		{board.ContractFilter{Producer: "nobody"}, ""},
	} {
		contracts, err := client.ListContracts(t.Context(), list.filter)
		names := ""
		for _, contract := range contracts {
			names += contract.Name
		}
		if err != nil || names != list.want {
			t.Errorf("%+v: got %q, %v, want %q", list.filter, names, err, list.want)
		}
	}
}

func TestClaimingAFileAgainKeepsTheTimeOfTheClaim(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	claim := func(path, owner string) {
		t.Helper()
		if err := client.ClaimFile(t.Context(), path, owner); err != nil {
			t.Fatal(err)
		}
	}
	claim("b.go", "p")
	claim("a.go", "q")
	before, err := client.ListClaims(t.Context(), "")
	if err != nil || len(before) != 2 || before[0].Filepath != "a.go" || before[0].OwnerTask != "q" ||
		time.Since(before[0].ClaimedAt) > time.Minute || before[1].OwnerTask != "p" {
		t.Fatalf("got %+v, %v", before, err)
	}
	claim("a.go", "q")
	after, err := client.ListClaims(t.Context(), "")
	if err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("got %+v, %v, want %+v", after, err, before)
	}
	of, err := client.ListClaims(t.Context(), "p")
	if err != nil || len(of) != 1 || of[0] != before[1] {
		t.Errorf("got %+v, %v, want those of p", of, err)
	}
}

func TestSomeFilesAreReleasedAndTheOthersKept(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	for path, owner := range map[string]string{"a.go": "p", "b.go": "p", "c.go": "q"} {
		if err := client.ClaimFile(t.Context(), path, owner); err != nil {
			t.Fatal(err)
		}
	}
	for _, release := range []struct {
		files []string
		want  int
	}{
		{nil, 0}, {[]string{"a.go", "c.go", "d.go"}, 1}, {[]string{"a.go"}, 0},
	} {
		released, err := client.ReleaseFiles(t.Context(), "p", release.files...)
		if err != nil || released != release.want {
			t.Errorf("%v: released %d, %v, want %d", release.files, released, err, release.want)
		}
	}
	left, err := client.ListClaims(t.Context(), "")
	if err != nil || len(left) != 2 || left[0].Filepath != "b.go" || left[1].Filepath != "c.go" {
		t.Errorf("got %+v, %v", left, err)
	}
}

func TestThePagesOfAListShareOneTimeout(t *testing.T) {
	t.Parallel()
	var ends []time.Time
	note := func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if end, ok := ctx.Deadline(); ok && method == boardv1.BoardService_ListContracts_FullMethodName {
			ends = append(ends, end)
		}
		return invoke(ctx, method, req, reply, conn, opts...)
	}
	client := fresh(t, board.WithDialOptions(grpc.WithChainUnaryInterceptor(note)))
	contracts := make([]board.Contract, 2100)
	for i := range contracts {
		contracts[i] = board.Contract{Producer: "p", Kind: board.KindType, Name: fmt.Sprint("T", i)}
	}
	if err := client.PublishContracts(t.Context(), contracts); err != nil {
		t.Fatal(err)
	}
	if all, err := client.AllContracts(t.Context()); err != nil || len(all) != len(contracts) {
		t.Fatalf("got %d contracts, %v", len(all), err)
	}
	if len(ends) < 2 || !ends[0].Equal(ends[len(ends)-1]) {
		t.Errorf("the pages end at %v, want one deadline for several", ends)
	}
}
