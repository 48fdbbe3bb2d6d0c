-- Every change, in the order of the revisions. `record` is a JSON array of the
-- columns of the record's table, followed by its session_id.
CREATE TABLE events (
    revision INTEGER NOT NULL,
    position INTEGER NOT NULL,     -- within the revision, from 0
    time     TIMESTAMP NOT NULL,
    change   TEXT NOT NULL,        -- phase, contract, claimed, released, session_opened, session_ended
    cause    TEXT NOT NULL,        -- call, session_expired, session_closed, archive
    record   TEXT NOT NULL,
    PRIMARY KEY (revision, position)
) WITHOUT ROWID;

-- The live sessions. Renewals are not written: a restarted server gives each its full
-- ttl.
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    worker     TEXT NOT NULL,
    ttl_ms     INTEGER NOT NULL,
    on_expiry  TEXT NOT NULL,      -- fail, requeue
    opened_at  TIMESTAMP NOT NULL
);

-- The phases and claims that are bound to a session. These are tables of our own,
-- because the columns of the specification's tables are fixed.
CREATE TABLE phase_sessions (
    task_id    TEXT PRIMARY KEY REFERENCES board ON DELETE CASCADE,
    session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX phase_sessions_by_session ON phase_sessions (session_id);

CREATE TABLE claim_sessions (
    filepath   TEXT PRIMARY KEY REFERENCES file_claims ON DELETE CASCADE,
    session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX claim_sessions_by_session ON claim_sessions (session_id);

-- Events up to this revision are no longer kept, or never were.
ALTER TABLE meta ADD COLUMN compacted_revision INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET compacted_revision = revision;
