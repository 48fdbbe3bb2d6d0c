// Package sqliteboard implements the specification's board in the process: three
// tables in one SQLite file, without a server. Its tests show how to run package
// boardtest on an implementation of your own.
package sqliteboard

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/papapumpkin/quasar-board/go/board"
)

// SQLiteBoard is a [board.Board] in one SQLite file.
type SQLiteBoard struct{ db *sql.DB }

var _ board.Board = (*SQLiteBoard)(nil)

const tables = `
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

// NewSQLiteBoard opens the board in the file at dbPath, and creates the file and
// its tables if they do not exist.
func NewSQLiteBoard(ctx context.Context, dbPath string) (*SQLiteBoard, error) {
	pragmas := url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)"},
		"_txlock": {"immediate"},
	}
	db, err := sql.Open("sqlite", "file:"+dbPath+"?"+pragmas.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite's lock is not fair; the pool serves callers in order
	if _, err := db.ExecContext(ctx, tables); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &SQLiteBoard{db}, nil
}

// Close implements [board.Board].
func (b *SQLiteBoard) Close() error { return b.db.Close() }

// SetPhaseState implements [board.Board].
func (b *SQLiteBoard) SetPhaseState(ctx context.Context, phaseID, state string) error {
	_, err := b.db.ExecContext(ctx, `
		INSERT INTO board (task_id, state) VALUES (?, ?)
		ON CONFLICT (task_id) DO UPDATE SET state = excluded.state, updated_at = CURRENT_TIMESTAMP`,
		phaseID, state)
	return err
}

// GetPhaseState implements [board.Board].
func (b *SQLiteBoard) GetPhaseState(ctx context.Context, phaseID string) (string, error) {
	return b.text(ctx, "SELECT state FROM board WHERE task_id = ?", phaseID)
}

// FileOwner implements [board.Board].
func (b *SQLiteBoard) FileOwner(ctx context.Context, filepath string) (string, error) {
	return b.text(ctx, "SELECT owner_task FROM file_claims WHERE filepath = ?", filepath)
}

// PublishContract implements [board.Board].
func (b *SQLiteBoard) PublishContract(ctx context.Context, c board.Contract) error {
	return b.PublishContracts(ctx, []board.Contract{c})
}

// PublishContracts implements [board.Board].
func (b *SQLiteBoard) PublishContracts(ctx context.Context, contracts []board.Contract) error {
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

// ContractsFor implements [board.Board].
func (b *SQLiteBoard) ContractsFor(ctx context.Context, phaseID string) ([]board.Contract, error) {
	return b.contracts(ctx, "WHERE producer = ?", phaseID)
}

// AllContracts implements [board.Board].
func (b *SQLiteBoard) AllContracts(ctx context.Context) ([]board.Contract, error) {
	return b.contracts(ctx, "")
}

func (b *SQLiteBoard) contracts(ctx context.Context, where string, args ...any) ([]board.Contract, error) {
	return list(ctx, b, func(row *sql.Rows) (c board.Contract, err error) {
		err = row.Scan(&c.ID, &c.Producer, &c.Kind, &c.Name, &c.Signature, &c.Package, &c.Status, &c.CreatedAt)
		return c, err
	}, `SELECT id, producer, kind, name, signature, package, status, created_at
		FROM contracts `+where+` ORDER BY id`, args...)
}

// ClaimFile implements [board.Board].
func (b *SQLiteBoard) ClaimFile(ctx context.Context, filepath, ownerPhaseID string) error {
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

// ReleaseClaims implements [board.Board].
func (b *SQLiteBoard) ReleaseClaims(ctx context.Context, ownerPhaseID string) error {
	_, err := b.db.ExecContext(ctx, "DELETE FROM file_claims WHERE owner_task = ?", ownerPhaseID)
	return err
}

// ClaimsFor implements [board.Board].
func (b *SQLiteBoard) ClaimsFor(ctx context.Context, phaseID string) ([]string, error) {
	return list(ctx, b, func(row *sql.Rows) (path string, err error) {
		err = row.Scan(&path)
		return path, err
	}, "SELECT filepath FROM file_claims WHERE owner_task = ? ORDER BY filepath", phaseID)
}

func (b *SQLiteBoard) transaction(ctx context.Context, work func(tx *sql.Tx) error) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := work(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (b *SQLiteBoard) text(ctx context.Context, query, key string) (value string, err error) {
	err = b.db.QueryRowContext(ctx, query, key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

func list[T any](ctx context.Context, b *SQLiteBoard, scan func(*sql.Rows) (T, error), query string, args ...any) (items []T, err error) {
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
