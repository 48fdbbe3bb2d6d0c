-- The three tables of the specification, column for column, so that files made
-- by quasar's own Go store open here and files made here open there.
CREATE TABLE IF NOT EXISTS board (
    task_id    TEXT PRIMARY KEY,
    state      TEXT NOT NULL,     -- queued, polling, running, blocked, done, failed, ...
    worker     TEXT NOT NULL DEFAULT '',
    posted_at  TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS contracts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    producer   TEXT NOT NULL,      -- phase ID that produced this
    kind       TEXT NOT NULL,      -- type, function, interface, method, package, file
    name       TEXT NOT NULL,      -- symbol name or file path
    signature  TEXT NOT NULL,      -- full signature / type definition
    package    TEXT NOT NULL DEFAULT '',
    status     TEXT NOT NULL DEFAULT 'fulfilled',  -- fulfilled, disputed, pending
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(producer, kind, name)
);

CREATE TABLE IF NOT EXISTS file_claims (
    filepath   TEXT PRIMARY KEY,
    owner_task TEXT NOT NULL,
    claimed_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- Not in the specification: one row about the board itself.
CREATE TABLE meta (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    board_id   TEXT NOT NULL,
    revision   INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- Quasar's store writes a timestamp as `2026-02-23 05:03:45` or as RFC 3339. The
-- expression of this index sorts both correctly, and leaves the rows as they are.
CREATE INDEX board_by_posted_at ON board (replace(rtrim(posted_at, 'Z'), 'T', ' '), task_id);
CREATE INDEX contracts_by_name ON contracts (name, kind);
CREATE INDEX contracts_by_package ON contracts (package);
CREATE INDEX file_claims_by_owner ON file_claims (owner_task, filepath);
