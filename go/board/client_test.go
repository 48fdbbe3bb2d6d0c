package board_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

func TestDialOpensTheBoardThatItNames(t *testing.T) {
	t.Parallel()
	client := dial(t, servertest.Shared(t).Target, board.WithBoard("my-nebula"))
	boards, err := client.ListBoards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range boards {
		if b.Name == "my-nebula" {
			return
		}
	}
	t.Errorf("my-nebula is not among %+v", boards)
}

func TestDialWithoutANameOpensTheDefaultBoard(t *testing.T) {
	t.Parallel()
	server := servertest.Shared(t)
	info, err := dial(t, server.Target).OpenBoard(t.Context())
	if err != nil || info.Name != filepath.Base(server.Dir) {
		t.Errorf("got %+v, %v, want the board named after %s", info, err, server.Dir)
	}
}

func TestDialWaitsForAServerThatIsJustStarting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "board.sock")
	attempts := make(chan struct{}, 1000)
	dialer := func(ctx context.Context, _ string) (net.Conn, error) {
		attempts <- struct{}{}
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	dialled := make(chan error)
	go func() {
		client, err := board.Dial(t.Context(), "unix:"+socket,
			board.WithDialTimeout(time.Minute), board.WithDialOptions(grpc.WithContextDialer(dialer)))
		dialled <- errors.Join(err, client.Close())
	}()
	for range 8 { // more than a call has attempts
		select {
		case <-attempts:
		case err := <-dialled:
			t.Fatalf("Dial did not wait: %v", err)
		}
	}
	servertest.StartIn(t, dir, "unix:"+socket)
	if err := <-dialled; err != nil {
		t.Error(err)
	}
}

func TestDialNamesTheTargetThatDoesNotAnswerAndWhatToDo(t *testing.T) {
	t.Parallel()
	target := "unix:" + filepath.Join(t.TempDir(), "nobody.sock")
	_, err := board.Dial(t.Context(), target, board.WithDialTimeout(3*time.Second))
	if !errors.Is(err, board.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want ErrUnavailable and context.DeadlineExceeded", err)
	}
	for _, part := range []string{target, "is it running?", "board serve"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err := board.Dial(ctx, "unix:"+filepath.Join(t.TempDir(), "nobody.sock"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestDialRefusesAnInvalidTarget(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"", "unix:", ":7447", "host:", "host:port", "host:70000", "http://host/", "a b:1", "[::1", "::1:x", "a..b:1", strings.Repeat("x", 64)} {
		client, err := board.Dial(t.Context(), target)
		if err == nil || !strings.Contains(err.Error(), `"`+target+`"`) {
			t.Errorf("%q: got %v, want an error that names it", target, err)
		}
		if client != nil {
			t.Errorf("%q: got a client", target)
		}
	}
}

func TestDialRefusesAnInvalidBoardName(t *testing.T) {
	t.Parallel()
	_, err := board.Dial(t.Context(), servertest.Shared(t).Target, board.WithBoard("../x"))
	var e *board.Error
	if !errors.As(err, &e) || e.Metadata["field"] != "board" || !errors.Is(err, board.ErrInvalidArgument) {
		t.Errorf("got %v, want ErrInvalidArgument of the field board", err)
	}
}

func TestCloseMayBeRepeatedAndTakesNil(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	for range 2 {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
	var none *board.Client
	if err := none.Close(); err != nil {
		t.Error(err)
	}
	if err := client.SetPhaseState(t.Context(), "p", board.StateDone); !errors.Is(err, board.ErrClosed) {
		t.Errorf("a call after Close: got %v, want ErrClosed", err)
	}
}

func TestCloseEndsCallsInProgress(t *testing.T) {
	t.Parallel()
	client, between := far(t)
	between.loseReplies()
	ended := make(chan error)
	go func() { ended <- client.SetPhaseState(t.Context(), "p", board.StateDone) }()
	var closers sync.WaitGroup
	for range 4 {
		closers.Go(func() { _ = client.Close() })
	}
	closers.Wait()
	if err := <-ended; !errors.Is(err, board.ErrClosed) || errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestACallThatIsCancelledEndsAtOnce(t *testing.T) {
	t.Parallel()
	client, between := far(t)
	between.loseReplies()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := client.GetPhaseState(ctx, "p"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestACallThatIsCancelledBeforeItsClientIsClosedFailsWithCanceled(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := client.WaitFor(ctx, board.ContractPublished{Name: "never"})
		waited <- err
	}()
	watch, err := client.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	for range watch.Events() {
	}
	for _, err := range []error{<-waited, watch.Err(), client.SetPhaseState(ctx, "p", board.StateDone)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	}
}

func TestACallWithoutADeadlineEndsAfterTheClientsTimeout(t *testing.T) {
	t.Parallel()
	client, between := far(t, board.WithTimeout(200*time.Millisecond))
	between.loseReplies()
	_, err := client.GetPhaseState(t.Context(), "p")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), between.target) {
		t.Errorf("got %v, want context.DeadlineExceeded with the target", err)
	}
}

func TestTheDeadlineOfAContextOverridesTheClientsTimeout(t *testing.T) {
	t.Parallel()
	client, between := far(t, board.WithTimeout(time.Nanosecond))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := client.SetPhaseState(ctx, "p", board.StateDone); err != nil {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	between.loseReplies()
	if _, err := client.GetPhaseState(ctx, "p"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
}

func TestAClientWithoutATimeoutWorks(t *testing.T) {
	t.Parallel()
	client := fresh(t, board.WithTimeout(0), board.WithDialTimeout(0))
	if err := client.SetPhaseState(t.Context(), "p", board.StateDone); err != nil {
		t.Error(err)
	}
}

func TestTheErrorOfAnUnavailableServerNamesTheTarget(t *testing.T) {
	t.Parallel()
	client, between := far(t, board.WithTimeout(3*time.Second))
	between.cut()
	_, err := client.GetPhaseState(t.Context(), "p")
	if !errors.Is(err, board.ErrUnavailable) || !strings.Contains(err.Error(), between.target) {
		t.Errorf("got %v, want ErrUnavailable with the target", err)
	}
}

func TestTheLogHasEachConnectionMadeAndLostAndEachCall(t *testing.T) {
	t.Parallel()
	between := newNetwork(t, servertest.Shared(t).Target)
	log := newLogged()
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client := dial(t, between.target, board.WithLogger(logger), board.WithToken("secret"))
	log.wait("board connected", 1)
	log.wait("method=/board.v1.BoardService/OpenBoard code=OK", 1)
	if _, err := client.Snapshot(t.Context()); err != nil {
		t.Error(err)
	}
	log.wait("method=/board.v1.BoardService/GetSnapshot code=OK", 1)
	between.cut()
	set := make(chan error)
	go func() { set <- client.SetPhaseState(t.Context(), "p", board.StateDone) }()
	log.wait("board disconnected", 1)
	between.mend()
	if err := <-set; err != nil {
		t.Error(err)
	}
	log.wait("board connected", 2)
	if strings.Contains(log.String(), "secret") {
		t.Error("the log holds the token")
	}
}

// logged is a log that a test can wait for.
type logged struct {
	more *sync.Cond
	text strings.Builder
}

func newLogged() *logged { return &logged{more: sync.NewCond(&sync.Mutex{})} }

func (l *logged) Write(line []byte) (int, error) {
	l.more.L.Lock()
	defer l.more.L.Unlock()
	l.more.Broadcast()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.more.L.Lock()
	defer l.more.L.Unlock()
	return l.text.String()
}

// wait waits until the log has the text this many times.
func (l *logged) wait(text string, times int) {
	l.more.L.Lock()
	defer l.more.L.Unlock()
	for strings.Count(l.text.String(), text) < times {
		l.more.Wait()
	}
}
