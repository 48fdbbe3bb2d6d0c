package sqliteboard

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardtest"
)

// TestClientOfAServer of package board runs the same tests, so the client can replace a
// store in the process.
func TestSQLiteBoard(t *testing.T) {
	t.Parallel()
	boardtest.Run(t, func(t *testing.T) boardtest.Open {
		dbPath := filepath.Join(t.TempDir(), "test.board.db")
		return func() board.Board { return openStore(t, dbPath) }
	})
}

func openStore(t *testing.T, dbPath string) *SQLiteBoard {
	t.Helper()
	b, err := NewSQLiteBoard(t.Context(), dbPath)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	if _, err := b.db.ExecContext(t.Context(), "PRAGMA synchronous = OFF"); err != nil { // no test loses power
		t.Fatal(err)
	}
	return b
}

func dial(t *testing.T, target, name string) *board.Client {
	t.Helper()
	client, err := board.Dial(t.Context(), target, board.WithBoard(name),
		board.WithDialTimeout(time.Minute), board.WithTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
