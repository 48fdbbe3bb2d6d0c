package board_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardv1"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// The benchmarks compare a call of the client with one of the generated stub:
//
//	go test ./board -run '^$' -bench . -count 5

func BenchmarkGetPhaseState(b *testing.B) {
	compare(b,
		func(ctx context.Context, client *board.Client, phase string) error {
			_, err := client.GetPhaseState(ctx, phase)
			return err
		},
		func(ctx context.Context, stub boardv1.BoardServiceClient, phase string) error {
			_, err := stub.GetPhaseState(ctx, &boardv1.GetPhaseStateRequest{PhaseId: phase})
			return err
		})
}

func BenchmarkSetPhaseState(b *testing.B) {
	compare(b,
		func(ctx context.Context, client *board.Client, phase string) error {
			return client.SetPhaseState(ctx, phase, board.StateRunning)
		},
		func(ctx context.Context, stub boardv1.BoardServiceClient, phase string) error {
			// With an idempotency key, as the client sends: the server's time for it is not the client's.
			ctx = metadata.AppendToOutgoingContext(ctx, "board-request-id", fmt.Sprintf("%x-stub", time.Now().UnixNano()))
			_, err := stub.SetPhaseState(ctx, &boardv1.SetPhaseStateRequest{
				PhaseId: phase, State: boardv1.PhaseState_PHASE_STATE_RUNNING,
			})
			return err
		})
}

// compare runs one call of each, serially and from 32 goroutines.
func compare(
	b *testing.B,
	byClient func(context.Context, *board.Client, string) error,
	byStub func(context.Context, boardv1.BoardServiceClient, string) error,
) {
	server := servertest.Start(b)
	client := dial(b, server.Target)
	conn, err := grpc.NewClient(server.Target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stub := boardv1.NewBoardServiceClient(conn)
	calls := []struct {
		through string
		call    func(ctx context.Context, phase string) error
	}{
		{"client", func(ctx context.Context, phase string) error { return byClient(ctx, client, phase) }},
		{"stub", func(ctx context.Context, phase string) error { return byStub(ctx, stub, phase) }},
	}
	b.Run("serial", func(b *testing.B) { alternately(b, calls[0].call, calls[1].call) })
	for _, c := range calls {
		b.Run("32_goroutines/"+c.through, func(b *testing.B) { concurrently(b, 32, c.call) })
	}
}

// alternately makes the two calls in turn, so that other load on the machine affects
// both, and reports the median of each and their ratio.
func alternately(b *testing.B, byClient, byStub func(context.Context, string) error) {
	var throughClient, throughStub []time.Duration
	timed := func(call func(context.Context, string) error) time.Duration {
		start := time.Now()
		if err := call(b.Context(), "p"); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	for b.Loop() {
		throughClient = append(throughClient, timed(byClient))
		throughStub = append(throughStub, timed(byStub))
	}
	client, stub := median(throughClient), median(throughStub)
	b.ReportMetric(0, "ns/op") // an operation is two calls
	b.ReportMetric(float64(client.Microseconds()), "client-p50-µs")
	b.ReportMetric(float64(stub.Microseconds()), "stub-p50-µs")
	b.ReportMetric(float64(client)/float64(stub), "client/stub")
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func concurrently(b *testing.B, goroutines int, call func(context.Context, string) error) {
	b.SetParallelism((goroutines + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	var workers atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		phase := fmt.Sprint("p", workers.Add(1))
		for pb.Next() {
			if err := call(b.Context(), phase); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
