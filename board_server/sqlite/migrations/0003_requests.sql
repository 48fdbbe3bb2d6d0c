-- The replies of the last calls that changed something, by idempotency key, so that
-- a repeated call is not done again.
CREATE TABLE requests (
    revision   INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    reply      TEXT NOT NULL       -- JSON: what sort of value, and the value
);
