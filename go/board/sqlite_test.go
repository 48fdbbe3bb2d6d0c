package board_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/papapumpkin/quasar-board/go/board"
)

// sqliteBoard is the specification's store in the process, written from its
// text alone: what the client of a server is held against.
type sqliteBoard struct{ db *sql.DB }

const specTables = `
CREATE TABLE IF NOT EXISTS board (
    task_id    TEXT PRIMARY KEY,
    state      TEXT NOT NULL,
    worker     TEXT NOT NULL DEFAULT '',
    posted_at  TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE IF NOT EXISTS contracts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    producer   TEXT NOT NULL,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    signature  TEXT NOT NULL,
    package    TEXT NOT NULL DEFAULT '',
    status     TEXT NOT NULL DEFAULT 'fulfilled',
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(producer, kind, name)
);
CREATE TABLE IF NOT EXISTS file_claims (
    filepath   TEXT PRIMARY KEY,
    owner_task TEXT NOT NULL,
    claimed_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);`

func newSQLiteBoard(dbPath string) (board.Board, error) {
	pragmas := url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(OFF)"}, // no test cuts the power
		"_txlock": {"immediate"},
	}
	db, err := sql.Open("sqlite", "file:"+dbPath+"?"+pragmas.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite's lock is not fair: who waits in the pool gets his turn
	if _, err := db.Exec(specTables); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &sqliteBoard{db}, nil
}

func openSQLiteBoard(t testing.TB, dbPath string) board.Board {
	t.Helper()
	b, err := newSQLiteBoard(dbPath)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func (b *sqliteBoard) Close() error { return b.db.Close() }

func (b *sqliteBoard) SetPhaseState(ctx context.Context, phaseID, state string) error {
	_, err := b.db.ExecContext(ctx, `
		INSERT INTO board (task_id, state) VALUES (?, ?)
		ON CONFLICT (task_id) DO UPDATE SET state = excluded.state, updated_at = CURRENT_TIMESTAMP`,
		phaseID, state)
	return err
}

func (b *sqliteBoard) GetPhaseState(ctx context.Context, phaseID string) (string, error) {
	return b.text(ctx, "SELECT state FROM board WHERE task_id = ?", phaseID)
}

func (b *sqliteBoard) FileOwner(ctx context.Context, filepath string) (string, error) {
	return b.text(ctx, "SELECT owner_task FROM file_claims WHERE filepath = ?", filepath)
}

func (b *sqliteBoard) PublishContract(ctx context.Context, c board.Contract) error {
	return b.PublishContracts(ctx, []board.Contract{c})
}

func (b *sqliteBoard) PublishContracts(ctx context.Context, contracts []board.Contract) error {
	return b.transaction(ctx, func(tx *sql.Tx) error {
		for _, c := range contracts {
			if c.Status == "" {
				c.Status = board.StatusFulfilled
			}
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO contracts (producer, kind, name, signature, package, status)
				VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (producer, kind, name) DO UPDATE SET
					signature = excluded.signature, package = excluded.package, status = excluded.status`,
				c.Producer, c.Kind, c.Name, c.Signature, c.Package, c.Status); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *sqliteBoard) ContractsFor(ctx context.Context, phaseID string) ([]board.Contract, error) {
	return b.contracts(ctx, "WHERE producer = ?", phaseID)
}

func (b *sqliteBoard) AllContracts(ctx context.Context) ([]board.Contract, error) {
	return b.contracts(ctx, "")
}

func (b *sqliteBoard) contracts(ctx context.Context, where string, args ...any) ([]board.Contract, error) {
	return list(ctx, b, func(row *sql.Rows) (c board.Contract, err error) {
		err = row.Scan(&c.ID, &c.Producer, &c.Kind, &c.Name, &c.Signature, &c.Package, &c.Status, &c.CreatedAt)
		return c, err
	}, `SELECT id, producer, kind, name, signature, package, status, created_at
		FROM contracts `+where+` ORDER BY id`, args...)
}

func (b *sqliteBoard) ClaimFile(ctx context.Context, filepath, ownerPhaseID string) error {
	return b.transaction(ctx, func(tx *sql.Tx) error {
		var owner string
		if _, err := tx.ExecContext(ctx,
			"INSERT INTO file_claims (filepath, owner_task) VALUES (?, ?) ON CONFLICT DO NOTHING",
			filepath, ownerPhaseID); err != nil {
			return err
		}
		row := tx.QueryRowContext(ctx, "SELECT owner_task FROM file_claims WHERE filepath = ?", filepath)
		if err := row.Scan(&owner); err != nil {
			return err
		}
		if owner != ownerPhaseID {
			return fmt.Errorf("%w: %q owned by %q", board.ErrFileAlreadyClaimed, filepath, owner)
		}
		return nil
	})
}

func (b *sqliteBoard) ReleaseClaims(ctx context.Context, ownerPhaseID string) error {
	_, err := b.db.ExecContext(ctx, "DELETE FROM file_claims WHERE owner_task = ?", ownerPhaseID)
	return err
}

func (b *sqliteBoard) ClaimsFor(ctx context.Context, phaseID string) ([]string, error) {
	return list(ctx, b, func(row *sql.Rows) (path string, err error) {
		err = row.Scan(&path)
		return path, err
	}, "SELECT filepath FROM file_claims WHERE owner_task = ? ORDER BY filepath", phaseID)
}

func (b *sqliteBoard) transaction(ctx context.Context, work func(tx *sql.Tx) error) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := work(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (b *sqliteBoard) text(ctx context.Context, query, key string) (value string, err error) {
	err = b.db.QueryRowContext(ctx, query, key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

func list[T any](ctx context.Context, b *sqliteBoard, scan func(*sql.Rows) (T, error), query string, args ...any) (items []T, err error) {
	rows, err := b.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, rows.Err()
}
