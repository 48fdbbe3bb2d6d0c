"""Board files as quasar's Go store writes them: the spec's tables, with times in seconds."""

import sqlite3
from contextlib import closing
from pathlib import Path

SCHEMA = (Path(__file__).parents[1] / "fixtures" / "spec_schema.sql").read_text()


def make_spec_file(path: Path) -> None:
    """Make a board file whose timestamps have both formats and are not in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(SCHEMA)
        db.executemany(
            "INSERT INTO board VALUES (?, ?, ?, ?, ?)",
            [
                ("third", "running", "w3", "2026-02-23 05:03:47", "2026-02-23 05:04:00"),
                ("second", "done", "w2", "2026-02-23T05:03:46Z", "2026-02-23T05:03:59Z"),
                ("first", "queued", "", "2026-02-23 05:03:45", "2026-02-23 05:03:45"),
                ("fourth", "human_decision", "", "2026-02-23T05:03:48Z", "2026-02-23T05:03:48Z"),
            ],
        )
        db.executemany(
            "INSERT INTO contracts (producer, kind, name, signature, package, status, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    "second",
                    "method",
                    "Close",
                    "func()",
                    "board",
                    "fulfilled",
                    "2026-02-23T05:03:59Z",
                ),
                ("second", "file", "go.mod", "", "", "pending", "2026-02-23 05:03:59"),
            ],
        )
        db.executemany(
            "INSERT INTO file_claims VALUES (?, ?, ?)",
            [
                ("internal/board/board.go", "third", "2026-02-23 05:04:00"),
                ("internal/board/sqlite.go", "third", "2026-02-23T05:04:00Z"),
            ],
        )
