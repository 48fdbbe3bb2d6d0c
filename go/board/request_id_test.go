package board_test

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardv1"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// A scene is a board at a revision, on which the phase `held` has claimed held.go and
// too.go, and a session bound.go. The reply of the far client's write is lost.
type scene struct {
	context.Context
	near, far *board.Client
	sessionID string
	revision  int64
}

type aWrite struct {
	make      func(s scene) (answer any, err error)
	want      any
	meanwhile func(s scene) error // a later write, which doing the first one again would undo
}

var (
	byFar  = board.Contract{Producer: "p", Kind: board.KindType, Name: "T", Signature: "far"}
	byNear = board.Contract{Producer: "p", Kind: board.KindType, Name: "T", Signature: "near"}
)

var allWrites = map[string]aWrite{
	"SetPhaseState": {
		func(s scene) (any, error) {
			p, err := s.far.SetPhase(s, "held", board.StateRunning, board.ByWorker("far"), board.IfState(board.StateQueued))
			return p.Worker, err
		},
		"far",
		func(s scene) error { return s.near.SetPhaseState(s, "held", board.StateFailed) },
	},
	"PublishContract": {
		func(s scene) (any, error) { return nil, s.far.PublishContract(s, byFar) },
		nil,
		func(s scene) error { return s.near.PublishContract(s, byNear) },
	},
	"PublishContracts": {
		func(s scene) (any, error) { return nil, s.far.PublishContracts(s, []board.Contract{byFar}) },
		nil,
		func(s scene) error { return s.near.PublishContract(s, byNear) },
	},
	"ClaimFile": {
		func(s scene) (any, error) { return nil, s.far.ClaimFile(s, "a.go", "p") },
		nil,
		func(s scene) error { return s.near.ReleaseClaims(s, "p") },
	},
	"ClaimFiles": {
		func(s scene) (any, error) {
			claims, err := s.far.ClaimFiles(s, []string{"b.go", "a.go"}, "p")
			return len(claims), err
		},
		2,
		func(s scene) error { return s.near.ReleaseClaims(s, "p") },
	},
	"ReleaseClaims": {
		func(s scene) (any, error) { return s.far.ReleaseFiles(s, "held", "held.go", "too.go") },
		2,
		func(s scene) error { return s.near.ClaimFile(s, "too.go", "held") },
	},
	"CompletePhase": {
		func(s scene) (any, error) {
			completion, err := s.far.CompletePhase(s, "held", board.StateDone, []board.Contract{byFar})
			return [3]any{completion.Phase.State, completion.Published, completion.Released}, err
		},
		[3]any{board.StateDone, 1, 2},
		func(s scene) error { return s.near.SetPhaseState(s, "held", board.StateQueued) },
	},
	"OpenSession": {
		func(s scene) (any, error) {
			_, err := s.far.Session(s, "far", board.WithTTL(time.Hour))
			return nil, err
		},
		nil,
		func(scene) error { return nil },
	},
	"CloseSession": {
		func(s scene) (any, error) { return s.far.CloseSession(s, s.sessionID) },
		1,
		func(scene) error { return nil },
	},
	"ArchiveBoard": {
		func(s scene) (any, error) { return s.far.ArchiveBoard(s, s.revision) },
		board.Archived{Phases: 1, Claims: 3},
		func(scene) error { return nil },
	},
}

func TestAWriteWhoseReplyIsLostIsDoneOnceAndItsRetryHasTheSameReply(t *testing.T) {
	t.Parallel()
	for method, write := range allWrites {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			name := board.WithBoard(servertest.FreshName())
			near := dial(t, servertest.Shared(t).Target, name)
			far, between := far(t, name)
			session := open(t, near, "ada", board.WithTTL(time.Hour))
			for _, err := range []error{
				near.SetPhaseState(t.Context(), "held", board.StateQueued),
				near.ClaimFile(t.Context(), "held.go", "held"),
				near.ClaimFile(t.Context(), "too.go", "held"),
				session.ClaimFile(t.Context(), "bound.go", "another"),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			s := scene{t.Context(), near, far, session.ID(), snapshot(t, near).Revision}
			watch := watching(t, near)

			between.loseReplies()
			var got any
			made := make(chan error)
			go func() {
				var err error
				got, err = write.make(s)
				made <- err
			}()
			if e := next(t, watch); e.Revision != s.revision+1 {
				t.Errorf("got %+v", e)
			}
			if err := write.meanwhile(s); err != nil {
				t.Fatal(err)
			}
			want := snapshot(t, near)
			between.cut()
			between.mend()
			if err := <-made; err != nil || got != write.want {
				t.Errorf("got %v, %v, want %v", got, err, write.want)
			}
			if after := snapshot(t, near); !reflect.DeepEqual(after, want) {
				t.Errorf("got %+v, want %+v", after, want)
			}
		})
	}
}

func TestEachMethodIsAWriteTestedHereOrMayBeRepeated(t *testing.T) {
	t.Parallel()
	methods := boardv1.File_board_v1_board_proto.Services().ByName("BoardService").Methods()
	for i := range methods.Len() {
		method := methods.Get(i)
		level := method.Options().(*descriptorpb.MethodOptions).GetIdempotencyLevel()
		repeatable := level != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
		if _, write := allWrites[string(method.Name())]; write == repeatable {
			t.Errorf("%s is neither in allWrites nor marked as repeatable in the proto", method.Name())
		}
	}
}

func TestTheAttemptsOfACallShareAnIdempotencyKeyThatNoOtherCallHas(t *testing.T) {
	t.Parallel()
	var writes, reads [][]string
	client := dial(t, serve(t, &scripted{
		publish: func(ctx context.Context) error {
			writes = append(writes, metadata.ValueFromIncomingContext(ctx, "board-request-id"))
			if len(writes) < 3 {
				return status.Error(codes.Unavailable, "not yet")
			}
			return nil
		},
		get: func(ctx context.Context) error {
			reads = append(reads, metadata.ValueFromIncomingContext(ctx, "board-request-id"))
			return nil
		},
	}))
	for range 2 {
		if err := client.PublishContracts(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.GetPhaseState(t.Context(), "p"); err != nil || len(reads) != 1 || reads[0] != nil {
		t.Errorf("a read has the keys %v, %v", reads, err)
	}
	if len(writes) != 4 || len(writes[0]) != 1 || !slices.Equal(writes[0], writes[2]) || slices.Equal(writes[2], writes[3]) {
		t.Fatalf("the attempts of two calls have the keys %v", writes)
	}
	nanoseconds, random, _ := strings.Cut(writes[0][0], "-")
	made, err := strconv.ParseInt(nanoseconds, 16, 64)
	if err != nil || time.Since(time.Unix(0, made)) > time.Minute || len(random) != 16 {
		t.Errorf("%s does not begin with the time: %v", writes[0][0], err)
	}
}

func snapshot(t *testing.T, client *board.Client) *board.Snapshot {
	t.Helper()
	s, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
