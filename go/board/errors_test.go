package board_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardv1"
)

func TestAConflictHasTheWholePathAndTheOwner(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	path := strings.Repeat("sehr/lang/ü", 340) // nearly 4,096 bytes
	if err := client.ClaimFile(t.Context(), path, "board-store"); err != nil {
		t.Fatal(err)
	}
	err := client.ClaimFile(t.Context(), path, "other")
	var conflict *board.FileAlreadyClaimedError
	if !errors.As(err, &conflict) || !errors.Is(err, board.ErrFileAlreadyClaimed) {
		t.Fatalf("got %v, want a FileAlreadyClaimedError", err)
	}
	if conflict.Filepath != path || conflict.Owner != "board-store" {
		t.Errorf("got %+v", conflict)
	}
	if want := `file already claimed by another phase: "` + path + `" owned by "board-store"`; err.Error() != want {
		t.Errorf("got the text %q, want %q", err, want)
	}
	var e *board.Error
	if !errors.As(err, &e) || e.Code != codes.AlreadyExists || e.Reason != "FILE_ALREADY_CLAIMED" {
		t.Errorf("got %+v, want the status too", e)
	}
}

func TestAFileAlreadyClaimedErrorCanBeMadeWithoutAServer(t *testing.T) {
	t.Parallel()
	var err error = &board.FileAlreadyClaimedError{Filepath: "f.go", Owner: "p"}
	if !errors.Is(err, board.ErrFileAlreadyClaimed) {
		t.Errorf("%v is not ErrFileAlreadyClaimed", err)
	}
}

func TestTheErrorNamesABoardThatDoesNotExist(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	_, err := client.On("nobody").GetPhaseState(t.Context(), "p")
	var e *board.Error
	if !errors.Is(err, board.ErrBoardNotFound) || !errors.As(err, &e) || e.Metadata["board"] != "nobody" {
		t.Errorf("got %v, want ErrBoardNotFound of nobody", err)
	}
	if status.Code(err) != codes.NotFound {
		t.Errorf("gRPC's functions see %v, want NotFound", status.Code(err))
	}
}

func TestTheErrorNamesAFieldThatTheServerRefuses(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	good := board.Contract{Producer: "p", Kind: board.KindType, Name: "T"}
	nameless := good
	nameless.Name = ""
	for field, err := range map[string]error{
		"phase_id":          client.SetPhaseState(t.Context(), "", board.StateDone),
		"filepath":          client.ClaimFile(t.Context(), "a\x00b", "p"),
		"owner":             client.ReleaseClaims(t.Context(), strings.Repeat("p", 257)),
		"contract.name":     client.PublishContract(t.Context(), nameless),
		"contracts[1].name": client.PublishContracts(t.Context(), []board.Contract{good, nameless}),
	} {
		wantInvalid(t, field, err)
	}
}

func TestAnUnknownWordIsRefusedByItsFieldAndNothingIsSent(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	count := func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		sent.Add(1)
		return invoke(ctx, method, req, reply, conn, opts...)
	}
	client := fresh(t, board.WithDialOptions(grpc.WithChainUnaryInterceptor(count)))
	sent.Store(0)
	good := board.Contract{Producer: "p", Kind: board.KindType, Name: "T"}
	bad, worse := good, good
	bad.Kind, worse.Status = "wish", "wish"
	ctx := t.Context()
	_, ifState := client.SetPhase(ctx, "p", board.StateDone, board.IfState("wish"))
	_, inStates := client.ListPhases(ctx, board.StateDone, "wish")
	_, ofKind := client.ListContracts(ctx, board.ContractFilter{Kind: "wish"})
	_, ofStatus := client.ListContracts(ctx, board.ContractFilter{Status: "wish"})
	for _, refused := range []struct {
		field string
		err   error
	}{
		{"state", client.SetPhaseState(ctx, "p", "wish")},
		{"expected_state", ifState},
		{"states", inStates},
		{"contract.kind", client.PublishContract(ctx, bad)},
		{"contracts[1].kind", client.PublishContracts(ctx, []board.Contract{good, bad})},
		{"contracts[1].status", client.PublishContracts(ctx, []board.Contract{good, worse})},
		{"kind", ofKind},
		{"status", ofStatus},
	} {
		wantInvalid(t, refused.field, refused.err)
		if !strings.Contains(refused.err.Error(), `"wish"`) {
			t.Errorf("%v does not name the word", refused.err)
		}
	}
	wantInvalid(t, "state", client.SetPhaseState(ctx, "p", ""))
	if sent.Load() != 0 {
		t.Errorf("%d calls were sent", sent.Load())
	}
}

func TestTheErrorNamesAFieldThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	client := fresh(t)
	good := board.Contract{Producer: "p", Kind: board.KindType, Name: "T"}
	bad := good
	bad.Signature = "\xff"
	wantInvalid(t, "filepath", client.ClaimFile(t.Context(), "a\xff.go", "p"))
	wantInvalid(t, "contracts[1].signature", client.PublishContracts(t.Context(), []board.Contract{good, bad}))
	_, err := client.ReleaseFiles(t.Context(), "p", "a", "b\xff")
	wantInvalid(t, "filepaths[1]", err)
}

func wantInvalid(t *testing.T, field string, err error) {
	t.Helper()
	var e *board.Error
	if !errors.As(err, &e) || !errors.Is(err, board.ErrInvalidArgument) || e.Metadata["field"] != field {
		t.Errorf("got %v, want ErrInvalidArgument of %s", err, field)
	} else if !strings.HasPrefix(err.Error(), field+": ") {
		t.Errorf("%q does not name %s", err, field)
	}
}

// A test cannot make the real server fail in each of these ways, so a scripted server
// sends the statuses over a real connection.

func TestEveryReasonOfTheProtoIsAnErrorOfItsOwn(t *testing.T) {
	t.Parallel()
	want := map[string]error{
		"INVALID_ARGUMENT":     board.ErrInvalidArgument,
		"BOARD_NOT_FOUND":      board.ErrBoardNotFound,
		"FILE_ALREADY_CLAIMED": board.ErrFileAlreadyClaimed,
		"STATE_MISMATCH":       board.ErrStateMismatch,
		"REVISION_MISMATCH":    board.ErrRevisionMismatch,
		"SESSION_EXPIRED":      board.ErrSessionExpired,
		"REVISION_COMPACTED":   board.ErrRevisionCompacted,
		"BOARD_REPLACED":       board.ErrBoardReplaced,
		"WATCH_TOO_SLOW":       board.ErrWatchTooSlow,
		"STORE_UNAVAILABLE":    board.ErrUnavailable,
		"SHUTTING_DOWN":        board.ErrUnavailable,
		"STORE_FULL":           board.ErrStoreFull,
		"UNAUTHENTICATED":      board.ErrUnauthenticated,
		"PERMISSION_DENIED":    board.ErrPermissionDenied,
		"LIMIT_EXCEEDED":       board.ErrLimitExceeded,
		"INTERNAL":             board.ErrInternal,
	}
	for name := range boardv1.ErrorReason_value {
		reason := strings.TrimPrefix(name, "ERROR_REASON_")
		if reason == "UNSPECIFIED" {
			continue
		}
		client := dial(t, serveStatus(t, codes.Unknown, "board.v1", reason))
		_, err := client.GetPhaseState(t.Context(), "p")
		var e *board.Error
		if !errors.Is(err, want[reason]) || !errors.As(err, &e) || e.Reason != reason || e.Metadata["key"] != "value" {
			t.Errorf("%s: got %#v, want %v with its metadata", reason, err, want[reason])
		}
	}
}

func TestAnUnknownReasonIsKept(t *testing.T) {
	t.Parallel()
	client := dial(t, serveStatus(t, codes.FailedPrecondition, "board.v1", "NEWER"))
	_, err := client.GetPhaseState(t.Context(), "p")
	var e *board.Error
	if !errors.As(err, &e) || e.Reason != "NEWER" || e.Code != codes.FailedPrecondition {
		t.Errorf("got %#v", err)
	}
}

func TestAnErrorInfoOfAnotherDomainIsIgnored(t *testing.T) {
	t.Parallel()
	client := dial(t, serveStatus(t, codes.AlreadyExists, "example.com", "FILE_ALREADY_CLAIMED"))
	_, err := client.GetPhaseState(t.Context(), "p")
	var e *board.Error
	if errors.Is(err, board.ErrFileAlreadyClaimed) || !errors.As(err, &e) || e.Reason != "" {
		t.Errorf("got %#v", err)
	}
}

func TestADeadlineThatTheServerDetectsIsDeadlineExceeded(t *testing.T) {
	t.Parallel()
	client := dial(t, serveStatus(t, codes.DeadlineExceeded, "", ""))
	_, err := client.GetPhaseState(t.Context(), "p")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, board.ErrUnavailable) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
}

func TestACallThatTheServerCancelsIsErrUnavailable(t *testing.T) {
	t.Parallel()
	client := dial(t, serveStatus(t, codes.Canceled, "", ""))
	_, err := client.GetPhaseState(t.Context(), "p")
	if !errors.Is(err, board.ErrUnavailable) || errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrUnavailable and not context.Canceled", err)
	}
}

func TestACallIsRetriedWhileTheServerIsUnavailable(t *testing.T) {
	t.Parallel()
	large := board.Contract{Producer: "p", Kind: board.KindType, Name: "T", Signature: strings.Repeat("x", 1<<20)}
	for _, refusal := range []error{
		errorStatus(codes.Unavailable, "board.v1", "STORE_UNAVAILABLE"),
		status.Error(codes.Canceled, "shutting down before the call began"),
	} {
		var calls atomic.Int64
		target := serve(t, &scripted{publish: func(context.Context) error {
			if calls.Add(1) < 3 {
				return refusal
			}
			return nil
		}})
		if err := dial(t, target).PublishContracts(t.Context(), []board.Contract{large}); err != nil {
			t.Errorf("after %d calls: %v", calls.Load(), err)
		}
	}
}

func TestAStreamIsRetriedByTheClientAndNotByGRPC(t *testing.T) {
	t.Parallel()
	refusals := []error{status.Error(codes.Unavailable, "unavailable"), status.Error(codes.Canceled, "shutting down"), nil}
	calls := 0
	client := dial(t, serve(t, &scripted{snapshot: func(ctx context.Context) error {
		if attempts := metadata.ValueFromIncomingContext(ctx, "grpc-previous-rpc-attempts"); attempts != nil {
			t.Errorf("gRPC has retried call %d: %v", calls, attempts)
		}
		calls++
		return refusals[calls-1]
	}}))
	if _, err := client.Snapshot(t.Context()); err != nil || calls != len(refusals) {
		t.Errorf("after %d calls: %v", calls, err)
	}
}

func TestACallFailsAfterSixAttempts(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	target := serve(t, &scripted{publish: func(context.Context) error {
		calls.Add(1)
		return status.Error(codes.Unavailable, "not today")
	}})
	err := dial(t, target).PublishContracts(t.Context(), nil)
	if !errors.Is(err, board.ErrUnavailable) || calls.Load() != 6 {
		t.Errorf("after %d calls: %v", calls.Load(), err)
	}
}

// scripted is a server that answers as a test requires; a nil function succeeds.
type scripted struct {
	boardv1.UnimplementedBoardServiceServer
	open     func(ctx context.Context) error
	get      func(ctx context.Context) error
	publish  func(ctx context.Context) error
	snapshot func(ctx context.Context) error
}

func (s *scripted) OpenBoard(ctx context.Context, _ *boardv1.OpenBoardRequest) (*boardv1.OpenBoardResponse, error) {
	return &boardv1.OpenBoardResponse{}, answered(ctx, s.open)
}

func (s *scripted) GetPhaseState(ctx context.Context, _ *boardv1.GetPhaseStateRequest) (*boardv1.GetPhaseStateResponse, error) {
	return &boardv1.GetPhaseStateResponse{}, answered(ctx, s.get)
}

func (s *scripted) PublishContracts(ctx context.Context, _ *boardv1.PublishContractsRequest) (*boardv1.PublishContractsResponse, error) {
	return &boardv1.PublishContractsResponse{}, answered(ctx, s.publish)
}

func (s *scripted) GetSnapshot(_ *boardv1.GetSnapshotRequest, stream grpc.ServerStreamingServer[boardv1.GetSnapshotResponse]) error {
	return answered(stream.Context(), s.snapshot)
}

func answered(ctx context.Context, answer func(context.Context) error) error {
	if answer == nil {
		return nil
	}
	return answer(ctx)
}

// serve runs the service on a free port until the test ends, and returns its address.
func serve(t *testing.T, service boardv1.BoardServiceServer, opts ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, listener, service, opts...)
	return listener.Addr().String()
}

func serveOn(t *testing.T, listener net.Listener, service boardv1.BoardServiceServer, opts ...grpc.ServerOption) {
	t.Helper()
	opts = append(opts, grpc.MaxRecvMsgSize(64<<20))
	server := grpc.NewServer(opts...)
	boardv1.RegisterBoardServiceServer(server, service)
	served := make(chan error)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// serveStatus runs a server whose GetPhaseState fails with this code and reason.
func serveStatus(t *testing.T, code codes.Code, domain, reason string) string {
	t.Helper()
	err := errorStatus(code, domain, reason)
	return serve(t, &scripted{get: func(context.Context) error { return err }})
}

func errorStatus(code codes.Code, domain, reason string) error {
	s := status.New(code, "what the server says")
	if domain == "" {
		return s.Err()
	}
	info := &errdetails.ErrorInfo{Domain: domain, Reason: reason, Metadata: map[string]string{"key": "value"}}
	detailed, err := s.WithDetails(info)
	if err != nil {
		panic(err)
	}
	return detailed.Err()
}
