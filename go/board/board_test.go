package board_test

import (
	"testing"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardtest"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Run(m) }

// go/examples/sqliteboard runs the same tests on a store in the process.
func TestClientOfAServer(t *testing.T) {
	t.Parallel()
	boardtest.Run(t, func(t *testing.T) boardtest.Open {
		name := servertest.FreshName()
		return func() board.Board { return dial(t, servertest.Shared(t).Target, board.WithBoard(name)) }
	})
}

// fresh returns a client of a new board.
func fresh(t testing.TB, opts ...board.Option) *board.Client {
	t.Helper()
	opts = append(opts, board.WithBoard(servertest.FreshName()))
	return dial(t, servertest.Shared(t).Target, opts...)
}

func dial(t testing.TB, target string, opts ...board.Option) *board.Client {
	t.Helper()
	timeouts := []board.Option{board.WithDialTimeout(patient), board.WithTimeout(patient)}
	client, err := board.Dial(t.Context(), target, append(timeouts, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("closing the client: %v", err)
		}
	})
	return client
}
