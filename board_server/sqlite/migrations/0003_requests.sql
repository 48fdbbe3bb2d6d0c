-- What the last calls that changed something were answered, by the ID that their
-- callers gave them, so that a call that comes again is not done again.
CREATE TABLE requests (
    revision   INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    reply      TEXT NOT NULL       -- JSON: what sort of value, and the value
);
