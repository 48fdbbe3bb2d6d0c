package board_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

func TestATargetWithoutAPortMeans7447(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"127.0.0.1":   "127.0.0.1:7447",
		"[::1]":       "[::1]:7447",
		"::1":         "[::1]:7447",
		"127.0.0.1:9": "127.0.0.1:9",
	} {
		ctx, cancel := withCancel(t)
		var dialled atomic.Value
		dialer := func(_ context.Context, address string) (net.Conn, error) {
			dialled.Store(address)
			cancel()
			return nil, ctx.Err()
		}
		_, err := board.Dial(ctx, target, board.WithDialOptions(grpc.WithContextDialer(dialer)))
		if dialled.Load() != want || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: dialled %v, got %v", target, dialled.Load(), err)
		}
	}
}

// Not parallel: net/http reads the environment once, at its first request.
func TestAProxyIsNeverUsed(t *testing.T) {
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	var connections atomic.Int64
	go func() {
		for {
			conn, err := elsewhere.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = conn.Close()
		}
	}()
	t.Setenv("HTTPS_PROXY", "http://"+elsewhere.Addr().String())
	t.Setenv("https_proxy", "http://"+elsewhere.Addr().String())
	_, port, err := net.SplitHostPort(servertest.Shared(t).Target)
	if err != nil {
		t.Fatal(err)
	}
	// An address of this machine that Go does not exempt from proxies.
	client := dial(t, net.JoinHostPort("0.0.0.0", port))
	if _, err := client.GetPhaseState(t.Context(), "p"); err != nil || connections.Load() != 0 {
		t.Errorf("got %v, and %d connections to the proxy", err, connections.Load())
	}
}

func withCancel(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}
