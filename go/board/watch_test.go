package board_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardv1"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

func TestAWatchDeliversEveryLaterChangeWithItsRecord(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	begin(t, client, "before", "before.go")
	watch := watching(t, client)
	session := open(t, client, "ada", board.WithOnExpiry(board.OnExpiryRequeue))
	begin(t, session, "p", "a.go")
	published := board.Contract{Producer: "p", Kind: board.KindMethod, Name: "T.M", Signature: "func (T) M()", Package: "a"}
	if err := session.PublishContract(t.Context(), published); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}

	opened := next(t, watch)
	if opened.Change != board.ChangeSessionOpened || opened.Cause != board.CauseCall || opened.Session.Worker != "ada" ||
		opened.Session.SessionID != session.ID() || opened.Session.OnExpiry != board.OnExpiryRequeue ||
		opened.Session.TTL != board.DefaultTTL || time.Since(opened.Time) > time.Minute {
		t.Errorf("got %+v of %+v", opened, opened.Session)
	}
	running := next(t, watch)
	if running.Change != board.ChangePhase || running.Phase.PhaseID != "p" || running.Phase.State != board.StateRunning ||
		running.Phase.SessionID != session.ID() || running.Revision != opened.Revision+1 {
		t.Errorf("got %+v of %+v", running, running.Phase)
	}
	claimed := next(t, watch)
	if claimed.Change != board.ChangeClaimed || claimed.Claim.Filepath != "a.go" || claimed.Claim.OwnerTask != "p" ||
		claimed.Claim.SessionID != session.ID() {
		t.Errorf("got %+v of %+v", claimed, claimed.Claim)
	}
	contract := next(t, watch)
	published.ID, published.Status = contract.Contract.ID, board.StatusFulfilled
	published.CreatedAt = contract.Contract.CreatedAt
	if contract.Change != board.ChangeContract || *contract.Contract != published || published.ID == 0 {
		t.Errorf("got %+v of %+v", contract, contract.Contract)
	}
	var ended []string
	for range 3 {
		e := next(t, watch)
		if e.Cause != board.CauseSessionClosed || e.Revision != contract.Revision+1 {
			t.Errorf("got %+v", e)
		}
		ended = append(ended, e.Change)
		if e.Phase != nil && e.Phase.State != board.StateQueued {
			t.Errorf("got the phase %+v", e.Phase)
		}
	}
	for _, change := range []string{board.ChangePhase, board.ChangeReleased, board.ChangeSessionEnded} {
		if !strings.Contains(strings.Join(ended, " "), change) {
			t.Errorf("%s is not among %v", change, ended)
		}
	}
}

// The server restarts twice while the board changes.
func TestAWatchResumesAfterARestartWithoutGapOrRepeat(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	client := dial(t, server.Target)
	watch := watching(t, client)
	const phases = 90
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range phases {
			if err := client.SetPhaseState(t.Context(), fmt.Sprint("p", i), board.StateQueued); err != nil {
				t.Errorf("p%d: %v", i, err)
				return
			}
		}
	})
	for i := range phases { // each once, also those whose reply was lost
		if e := next(t, watch); e.Revision != int64(i+1) || e.Phase.PhaseID != fmt.Sprint("p", i) {
			t.Fatalf("got revision %d of %+v, want p%d", e.Revision, e.Phase, i)
		}
		switch i {
		case phases / 3:
			server.Kill()
			server.Restart()
		case 2 * phases / 3:
			server.Stop()
			server.Restart()
		}
	}
	writer.Wait()
}

func TestArchivingEmptiesTheBoardAndItsWatchHasEachRemoval(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	begin(t, client, "p", "a.go")
	c := board.Contract{Producer: "p", Kind: board.KindType, Name: "T", Signature: "type T int"}
	if err := client.PublishContract(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	stored, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var mismatch *board.Error
	if _, err := client.ArchiveBoard(t.Context(), stored.Revision-1); !errors.Is(err, board.ErrRevisionMismatch) || !errors.As(err, &mismatch) ||
		mismatch.Int("expected") != stored.Revision-1 || mismatch.Int("actual") != stored.Revision || mismatch.Int("wish") != 0 {
		t.Errorf("got %v, want ErrRevisionMismatch with both revisions", err)
	}
	another := &board.Snapshot{BoardID: "another", Revision: stored.Revision}
	if _, err := client.ArchiveSnapshot(t.Context(), another); !errors.Is(err, board.ErrBoardReplaced) {
		t.Errorf("got %v, want ErrBoardReplaced", err)
	}
	watch := watching(t, client)
	archived, err := client.ArchiveSnapshot(t.Context(), stored)
	if err != nil || archived != (board.Archived{Phases: 1, Contracts: 1, Claims: 1}) {
		t.Errorf("got %+v, %v", archived, err)
	}
	went := map[string]bool{}
	for range 3 {
		e := next(t, watch)
		if e.Cause != board.CauseArchive || e.Revision != stored.Revision+1 {
			t.Errorf("got %+v", e)
		}
		switch e.Change {
		case board.ChangePhaseRemoved:
			went[e.Phase.PhaseID] = true
		case board.ChangeContractRemoved:
			went[e.Contract.Name] = true
		case board.ChangeReleased:
			went[e.Claim.Filepath] = true
		}
	}
	if !went["p"] || !went["T"] || !went["a.go"] {
		t.Errorf("the watch reported %v", went)
	}
}

func TestAWatchAfterARevisionBeginsThere(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	begin(t, client, "p", "a.go", "b.go")
	s, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	watch := watching(t, client, board.AfterRevision(s.Revision-2), board.OfBoard(s.BoardID))
	for _, want := range []string{"a.go", "b.go"} {
		if e := next(t, watch); e.Claim == nil || e.Claim.Filepath != want {
			t.Errorf("got %+v, want the claim of %s", e, want)
		}
	}
	if err := client.ReleaseClaims(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	next(t, watch)
	if got := watch.Revision(); got != s.Revision { // one of two files was taken: not yet the whole
		t.Errorf("the watch says revision %d, want %d", got, s.Revision)
	}
	if e := next(t, watch); e.Change != board.ChangeReleased || e.Revision != s.Revision+1 {
		t.Errorf("got %+v", e)
	}
}

func TestAWatchOfSomeKindsDeliversNoOthers(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	watch := watching(t, client, board.Kinds(board.EventContract, board.EventSession))
	begin(t, client, "p", "a.go")
	if err := client.PublishContract(t.Context(), board.Contract{Producer: "p", Kind: board.KindType, Name: "T"}); err != nil {
		t.Fatal(err)
	}
	if err := client.ReleaseClaims(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	open(t, client, "ada")
	for _, want := range []string{board.ChangeContract, board.ChangeSessionOpened} {
		if e := next(t, watch); e.Change != want {
			t.Errorf("got %+v, want %s", e, want)
		}
	}
	_, err := client.Watch(t.Context(), board.Kinds("wish"))
	wantInvalid(t, "kinds", err)
}

func TestAWatchFromASnapshotBeginsWithTheWholeBoard(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	begin(t, client, "p", "a.go")
	want, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	watch := watching(t, client, board.FromSnapshot())
	if err := client.ReleaseClaims(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	first := next(t, watch)
	if first.Change != board.ChangeSnapshot || first.Revision != want.Revision || len(first.Snapshot.Claims) != 1 {
		t.Errorf("got %+v of %+v", first, first.Snapshot)
	}
	if e := next(t, watch); e.Change != board.ChangeReleased || e.Revision != want.Revision+1 {
		t.Errorf("got %+v", e)
	}
}

// While the test does not receive, the server has more events than it queues for one
// watch.
func TestAWatchThatIsReadTooLateResumesWithoutGapOrRepeat(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	watch := watching(t, client)
	count := flood(t, client)
	for i := range count {
		if e := next(t, watch); e.Contract == nil || e.Contract.Name != fmt.Sprint("T", i) {
			t.Fatalf("got %+v, want the contract T%d", e, i)
		}
	}
}

func TestAWatchThatMissedCompactedEventsEndsOrTakesASnapshot(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t, "--keep-revisions", "3")
	client := dial(t, server.Target)
	plain, resumed := watching(t, client), watching(t, client, board.FromSnapshot())
	next(t, resumed)
	count := flood(t, client)
	for range plain.Events() {
	}
	if err := plain.Err(); !errors.Is(err, board.ErrRevisionCompacted) {
		t.Errorf("got %v, want ErrRevisionCompacted", err)
	}
	published := 0
	for published < count {
		e := next(t, resumed)
		switch {
		case e.Snapshot != nil:
			if published = len(e.Snapshot.Contracts); int64(published) != e.Snapshot.Revision {
				t.Errorf("got %d contracts at revision %d", published, e.Snapshot.Revision)
			}
		case e.Contract.Name != fmt.Sprint("T", published):
			t.Fatalf("got %+v after %d contracts", e, published)
		default:
			published++
		}
	}
	old := watching(t, client, board.AfterRevision(0))
	for e := range old.Events() {
		t.Errorf("got %+v", e)
	}
	var e *board.Error
	if err := old.Err(); !errors.Is(err, board.ErrRevisionCompacted) || !errors.As(err, &e) || e.Int("oldest_revision") == 0 {
		t.Errorf("got %v, want ErrRevisionCompacted with the oldest revision", err)
	}
}

// The server freezes when the watch asks for its second snapshot, which runs out of
// time, and thaws when the watch asks again.
func TestAWatchFromASnapshotSurvivesASnapshotThatRunsOutOfTime(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t, "--keep-revisions", "3")
	between := newNetwork(t, server.Target)
	var asked atomic.Int32
	snapshots := onBegin{"/board.v1.BoardService/GetSnapshot", func() {
		switch asked.Add(1) {
		case 2:
			server.Freeze()
		case 3:
			server.Thaw()
		}
	}}
	near := dial(t, server.Target)
	client := dial(t, between.target, board.WithTimeout(2*time.Second), board.WithDialOptions(grpc.WithStatsHandler(snapshots)))
	watch := watching(t, client, board.FromSnapshot())
	first := next(t, watch)
	between.cut()
	for range 10 {
		begin(t, near, "p")
	}
	between.mend()
	for e := next(t, watch); e.Revision < first.Revision+10; e = next(t, watch) {
		if e.Snapshot == nil {
			t.Errorf("got %v, want a snapshot", e)
		}
	}
	if asked.Load() < 3 {
		t.Errorf("the watch asked for %d snapshots, want a third", asked.Load())
	}
}

// onBegin calls a function before it sends each call of a method.
type onBegin struct {
	method string
	begun  func()
}

func (b onBegin) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, info.FullMethodName)
}

func (b onBegin) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if _, is := event.(*stats.Begin); is && ctx.Value(methodKey{}) == b.method {
		b.begun()
	}
}

func (b onBegin) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (b onBegin) HandleConn(context.Context, stats.ConnStats) {}

func TestAWatchOfABoardThatIsReplacedEndsOrTakesASnapshot(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	client := dial(t, server.Target)
	begin(t, client, "old")
	plain, resumed := watching(t, client), watching(t, client, board.FromSnapshot())
	old := next(t, resumed).Snapshot
	server.Stop()
	files, err := filepath.Glob(filepath.Join(server.Dir, "*.board.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got the files %v, %v", files, err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	server.Restart() // opens its default board, which is this one
	for e := range plain.Events() {
		t.Errorf("got %+v", e)
	}
	if err := plain.Err(); !errors.Is(err, board.ErrBoardReplaced) {
		t.Errorf("got %v, want ErrBoardReplaced", err)
	}
	begin(t, client, "new")
	for e := next(t, resumed); e.Snapshot == nil || len(e.Snapshot.Phases) == 0; e = next(t, resumed) {
		if e.Snapshot != nil && e.Snapshot.BoardID == old.BoardID {
			t.Errorf("got the old board: %+v", e.Snapshot)
		}
		if e.Phase != nil && e.Phase.PhaseID == "new" {
			break
		}
	}
	_, err = client.Watch(t.Context(), board.AfterRevision(old.Revision), board.OfBoard(old.BoardID))
	if !errors.Is(err, board.ErrBoardReplaced) {
		t.Errorf("got %v, want ErrBoardReplaced", err)
	}
}

func TestAWatchEndsWithItsContextAndWithItsClient(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancelled, err := client.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := cancelled.Err(); err != nil {
		t.Errorf("got %v while it goes on", err)
	}
	closed := watching(t, client)
	cancel()
	for range cancelled.Events() {
	}
	if err := cancelled.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	for range closed.Events() {
	}
	if err := closed.Err(); !errors.Is(err, board.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestTheErrorOfAWatchHasTheCauseOfItsContext(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	ctx, cancel := context.WithCancelCause(t.Context()) // as errgroup does
	watch, err := client.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other := errors.New("another goroutine failed")
	cancel(other)
	for range watch.Events() {
	}
	_, again := client.Watch(ctx)
	for _, err := range []error{watch.Err(), again} {
		if !errors.Is(err, context.Canceled) || !errors.Is(err, other) {
			t.Errorf("got %v, want context.Canceled and its cause", err)
		}
	}
}

func TestWatchReturnsWhyItCannotBegin(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	if _, err := client.Watch(t.Context(), board.AfterRevision(1_000_000)); err == nil {
		t.Error("a watch of the future began")
	} else {
		wantInvalid(t, "after_revision", err)
	}
	if _, err := client.On("nobody").Watch(t.Context(), board.FromSnapshot()); !errors.Is(err, board.ErrBoardNotFound) {
		t.Errorf("got %v, want ErrBoardNotFound", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Watch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestAWatchWithoutAFirstMessageEndsAfterTheClientsTimeout(t *testing.T) {
	t.Parallel()
	client := dial(t, serve(t, &silent{}), board.WithTimeout(100*time.Millisecond))
	if _, err := client.Watch(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
}

// silent accepts a watch and sends no message.
type silent struct{ scripted }

func (s *silent) Watch(_ *boardv1.WatchRequest, stream grpc.ServerStreamingServer[boardv1.WatchResponse]) error {
	<-stream.Context().Done()
	return stream.Context().Err()
}

// Not parallel: it counts the goroutines of the whole process.
func TestWatchesAndSessionsThatHaveEndedLeaveNoGoroutine(t *testing.T) {
	client := fresh(t)
	begin(t, client, "warm")
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	for range 20 {
		if _, err := client.Watch(ctx, board.FromSnapshot()); err != nil { // the snapshot is not received
			t.Fatal(err)
		}
		if _, err := client.Watch(ctx, board.Kinds(board.EventPhase)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Watch(ctx, board.AfterRevision(1_000_000)); err == nil {
			t.Fatal("a watch after a future revision began")
		}
		if _, err := client.Session(ctx, "ends with its context"); err != nil {
			t.Fatal(err)
		}
		closed, err := client.Session(ctx, "is closed")
		if err != nil {
			t.Fatal(err)
		}
		if err := closed.Close(); err != nil {
			t.Error(err)
		}
	}
	if during := runtime.NumGoroutine(); during < before+60 {
		t.Errorf("there were %d goroutines before and %d during", before, during)
	}
	cancel()
	giveUp := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > before {
		if time.Now().After(giveUp) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
	if sessions, err := client.ListSessions(t.Context()); err != nil || len(sessions) != 0 {
		t.Errorf("got the sessions %+v, %v", sessions, err)
	}
}

// flood publishes more than a server queues for a watch that does not receive. It
// returns the number of contracts, which are named T0, T1 and so on.
func flood(t *testing.T, client *board.Client) int {
	t.Helper()
	const count = 20
	large := strings.Repeat("x", 1<<20)
	for i := range count {
		c := board.Contract{Producer: "p", Kind: board.KindType, Name: fmt.Sprint("T", i), Signature: large}
		if err := client.PublishContract(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	return count
}

func watching(t *testing.T, client *board.Client, opts ...board.WatchOption) *board.Watch {
	t.Helper()
	watch, err := client.Watch(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return watch
}

// next waits for the next event.
func next(t *testing.T, watch *board.Watch) board.Event {
	t.Helper()
	select {
	case e, ok := <-watch.Events():
		if !ok {
			t.Fatalf("the watch has ended: %v", watch.Err())
		}
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event arrived within a minute")
		return board.Event{}
	}
}
