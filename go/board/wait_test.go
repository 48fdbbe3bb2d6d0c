package board_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

func TestAWaitEndsAsSoonAsAllItsConditionsHoldTogether(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	begin(t, client, "p", "a.go")
	conditions := []board.Condition{
		board.PhaseIn("p", board.StateFailed, board.StateDone),
		board.ContractPublished{Kind: board.KindType, Name: "T", Producer: "p", Package: "a"},
		board.ContractPublished{Producer: "p"},
		board.FileFree("a.go"),
		board.FileFree("never-claimed.go"),
	}
	met, ended := make(chan *board.Met, 1), make(chan error, 1)
	go func() {
		m, err := client.WaitFor(t.Context(), conditions...)
		met <- m
		ended <- err
	}()
	first := board.Contract{Producer: "p", Kind: board.KindFunction, Name: "F"}
	if err := client.PublishContract(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	contracts := []board.Contract{{Producer: "p", Kind: board.KindType, Name: "T", Package: "a"}}
	if _, err := client.CompletePhase(t.Context(), "p", board.StateDone, contracts); err != nil {
		t.Fatal(err)
	}
	m, err := <-met, <-ended
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Phases) != 1 || m.Phases[0].State != board.StateDone || m.Revision == 0 ||
		len(m.Contracts) != 2 || m.Contracts[0].Name != "T" || m.Contracts[1].Name != "F" {
		t.Errorf("got %+v", m)
	}
	again, err := client.WaitFor(t.Context(), conditions...)
	if err != nil || again.Revision != m.Revision {
		t.Errorf("conditions that hold already: got %+v, %v", again, err)
	}
}

func TestAWaitContinuesAfterARestart(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	between := newNetwork(t, server.Target)
	waits := sentCalls{"/board.v1.BoardService/WaitFor", make(chan struct{}, 100)}
	client := dial(t, between.target, board.WithDialOptions(grpc.WithStatsHandler(waits)))
	ended := make(chan error, 1)
	go func() {
		_, err := client.WaitFor(t.Context(), board.PhaseIn("p", board.StateDone))
		ended <- err
	}()
	<-waits.sent
	between.cut()
	between.mend()
	<-waits.sent
	server.Stop()
	server.Restart()
	if err := client.SetPhaseState(t.Context(), "p", board.StateDone); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// sentCalls reports each request of a method that is sent.
type sentCalls struct {
	method string
	sent   chan struct{}
}

type methodKey struct{}

func (s sentCalls) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, info.FullMethodName)
}

func (s sentCalls) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if _, is := event.(*stats.OutPayload); is && ctx.Value(methodKey{}) == s.method {
		s.sent <- struct{}{}
	}
}

func (s sentCalls) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (s sentCalls) HandleConn(context.Context, stats.ConnStats) {}

func TestAWaitLastsUntilItsContextEndsAndNotTheClientsTimeout(t *testing.T) {
	t.Parallel()
	client := fresh(t, board.WithTimeout(time.Nanosecond))
	if _, err := client.WaitFor(t.Context(), board.FileFree("a.go")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := client.WaitFor(ctx, board.PhaseIn("p", board.StateDone)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := client.WaitFor(ctx, board.PhaseIn("p", board.StateDone)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestAWaitThatRunsOutOfTimeSaysWhichConditionsAreNotMetAndWhy(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	begin(t, client, "a", "a.go")
	conditions := []board.Condition{
		board.PhaseIn("a", board.StateRunning), // holds
		board.PhaseIn("a", board.StateDone),
		board.PhaseIn("b", board.StateDone, board.StateFailed),
		board.ContractPublished{Kind: board.KindType, Name: "T", Producer: "a"},
		board.FileFree("a.go"),
		board.FileFree("b.go"), // holds
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.WaitFor(ctx, conditions...)
	var timedOut *board.WaitTimeoutError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timedOut) {
		t.Fatalf("got %v, want context.DeadlineExceeded as a *WaitTimeoutError", err)
	}
	want := `wait_for: deadline of 0.05 s passed; not met: phase "a" is RUNNING, wanted DONE; ` +
		`phase "b" does not exist, wanted DONE or FAILED; ` +
		`no contract with name "T", kind "type", producer "a" is published; file "a.go" is claimed by "a", wanted free`
	if err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var indexes []int
	var actual []string
	for _, n := range timedOut.NotMet {
		indexes, actual = append(indexes, n.Index), append(actual, n.Actual)
	}
	if !slices.Equal(indexes, []int{1, 2, 3, 4}) || !slices.Equal(actual, []string{board.StateRunning, "", "", "a"}) {
		t.Fatalf("got the conditions %v with %q", indexes, actual)
	}
	first, last := timedOut.NotMet[0], timedOut.NotMet[3]
	if first.Condition.String() != `phase "a" is DONE` || last.Condition != board.FileFree("a.go") {
		t.Errorf("got the conditions %v and %v", first.Condition, last.Condition)
	}
}

func TestAWaitOnAFrozenServerEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	client := dial(t, server.Target)
	server.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.WaitFor(ctx, board.PhaseIn("a", board.StateDone))
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "not met") {
		t.Errorf("got %v, want context.DeadlineExceeded without conditions", err)
	}
	server.Kill()
}

func TestAWaitWhoseServerStaysAwayEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	waits := sentCalls{"/board.v1.BoardService/WaitFor", make(chan struct{}, 100)}
	client := dial(t, server.Target, board.WithDialOptions(grpc.WithStatsHandler(waits)))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := client.WaitFor(ctx, board.PhaseIn("a", board.StateDone))
		ended <- err
	}()
	<-waits.sent
	server.Kill()
	err := <-ended
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, board.ErrUnavailable) {
		t.Errorf("got %v, want context.DeadlineExceeded and ErrUnavailable", err)
	}
}

func TestAWaitAndASnapshotEndWithTheirClient(t *testing.T) {
	t.Parallel()
	waits := sentCalls{"/board.v1.BoardService/WaitFor", make(chan struct{}, 1)}
	client := fresh(t, board.WithDialOptions(grpc.WithStatsHandler(waits)))
	ended := make(chan error, 1)
	go func() {
		_, err := client.WaitFor(context.WithoutCancel(t.Context()), board.PhaseIn("p", board.StateDone))
		ended <- err
	}()
	<-waits.sent
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, board.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if _, err := client.Snapshot(t.Context()); !errors.Is(err, board.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestTheErrorNamesAnInvalidCondition(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	for field, conditions := range map[string][]board.Condition{
		"conditions":                       nil,
		"conditions[0].phase.states":       {board.PhaseIn("p")},
		"conditions[1].phase.states[1]":    {board.FileFree("a"), board.PhaseIn("p", board.StateDone, "wish")},
		"conditions[0].phase.phase_id":     {board.PhaseIn("", board.StateDone)},
		"conditions[0].contract":           {board.ContractPublished{}},
		"conditions[0].contract.kind":      {board.ContractPublished{Kind: "wish"}},
		"conditions[0].file_free.filepath": {board.FileFree("")},
	} {
		_, err := client.WaitFor(t.Context(), conditions...)
		wantInvalid(t, field, err)
	}
}
