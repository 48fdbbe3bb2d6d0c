-- The outcomes of the last calls with an idempotency key, also of those that were
-- refused or changed nothing. `position` is their order: the sum of the bytes of this
-- and all earlier outcomes, each its reply and 1024 more. Rows of earlier versions
-- have no method.
ALTER TABLE requests RENAME TO earlier_requests;
CREATE TABLE requests (
    position   INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    method     TEXT,
    payload    BLOB,               -- digest of the request
    revision   INTEGER NOT NULL,   -- of the board after the call
    reply      TEXT NOT NULL       -- JSON: the type of value or error, and what it holds
);
INSERT INTO requests (position, request_id, revision, reply)
SELECT sum(octet_length(reply) + 1024) OVER (ORDER BY revision), request_id, revision, reply
FROM earlier_requests;
DROP TABLE earlier_requests;

-- The bytes of the kept events, each its record and 100 more.
ALTER TABLE meta ADD COLUMN event_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET event_bytes = (SELECT coalesce(sum(octet_length(record) + 100), 0) FROM events);
