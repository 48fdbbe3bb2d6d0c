package board_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardtest"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// The same table of behaviours, for the store in the process and for the client
// of a server: where it passes for both, nothing differs.

func TestStoreInTheProcess(t *testing.T) {
	t.Parallel()
	boardtest.Run(t, func(t *testing.T) boardtest.Open {
		dbPath := filepath.Join(t.TempDir(), "test.board.db")
		return func() board.Board { return openSQLiteBoard(t, dbPath) }
	})
}

func TestClientOfAServer(t *testing.T) {
	t.Parallel()
	server := servertest.Start(t)
	boardtest.Run(t, func(t *testing.T) boardtest.Open {
		name := freshName()
		return func() board.Board { return dial(t, server.Target, board.WithBoard(name)) }
	})
}

var names atomic.Int64

// freshName names a board that no other test uses.
func freshName() string { return fmt.Sprint("board-", names.Add(1)) }

func dial(t testing.TB, target string, opts ...board.Option) *board.Client {
	t.Helper()
	client, err := board.Dial(t.Context(), target, opts...)
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
