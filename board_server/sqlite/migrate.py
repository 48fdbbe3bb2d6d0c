"""Bring a board file to this version's schema, one numbered migration at a time."""

import uuid
from datetime import datetime
from functools import cache
from importlib.resources import files

import apsw

from board_server.errors import StoreUnavailable
from board_server.failpoints import failpoint
from board_server.sqlite.rows import reading
from board_server.sqlite.timestamps import to_text

SPEC_TABLES = {
    "board": {"task_id", "state", "worker", "posted_at", "updated_at"},
    "contracts": {
        *("id", "producer", "kind", "name", "signature", "package", "status", "created_at"),
    },
    "file_claims": {"filepath", "owner_task", "claimed_at"},
}


@cache
def migrations() -> list[str]:
    """Read the scripts, in order; the number of those applied is the file's user_version."""
    folder = files("board_server.sqlite") / "migrations"
    scripts = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))
    return [(folder / name).read_text() for name in scripts]


@reading()
def check_schema(connection: apsw.Connection) -> None:
    """Refuse, changing nothing, a file that is no board or is newer than this server."""
    try:
        version = connection.pragma("user_version")
        tables = {
            name: {column for (column,) in connection.execute(_COLUMNS, (name,))}
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
    except apsw.NotADBError as error:
        raise StoreUnavailable("not a board file: it is no SQLite database") from error
    except apsw.CorruptError as error:
        raise StoreUnavailable(
            "the file is spoiled or cut short; board doctor examines it, board restore "
            "puts the last good backup in its place"
        ) from error
    if version > len(migrations()):
        raise StoreUnavailable(
            f"written by a newer version of the board (schema {version}, this server knows "
            f"{len(migrations())}); upgrade the server"
        )
    for table, columns in SPEC_TABLES.items():
        if tables and not columns <= tables.get(table, set()):
            raise StoreUnavailable(
                f'not a board file: it has other tables, and no "{table}" as boards have'
            )


# Rows that quasar's own store wrote have no events: revision 1 stands for them all. Where
# there are events, the row of meta was there and is lost, and must not be made up.
_INTRODUCE = """
INSERT INTO meta (id, board_id, created_at, revision, compacted_revision)
SELECT 1, ?, ?, filled, filled FROM (
    SELECT EXISTS (SELECT 1 FROM board) OR EXISTS (SELECT 1 FROM contracts)
        OR EXISTS (SELECT 1 FROM file_claims) AS filled)
WHERE NOT EXISTS (SELECT 1 FROM events) ON CONFLICT (id) DO NOTHING
"""

# That store knows no sessions either, and leaves behind the bonds of what it deletes.
_TIDY = """
DELETE FROM phase_sessions WHERE task_id NOT IN (SELECT task_id FROM board);
DELETE FROM claim_sessions WHERE filepath NOT IN (SELECT filepath FROM file_claims);
"""

_RENAME = "UPDATE meta SET board_id = ? WHERE board_id = ? AND revision < ?"

_COLUMNS = "SELECT name FROM pragma_table_info(?)"


def migrate(connection: apsw.Connection, now: datetime) -> None:
    """Apply what is missing, each migration in a transaction of its own."""
    for number, script in enumerate(migrations(), start=1):
        if connection.pragma("user_version") >= number:
            continue
        with connection:
            connection.execute(script)
            connection.pragma("user_version", number)
            failpoint("before-migration-commit")
    with connection:
        connection.execute(_INTRODUCE, (uuid.uuid4().hex, to_text(now)))
        connection.execute(_TIDY)


def rename_if_older(connection: apsw.Connection, board_id: str, revision: int) -> None:
    """Give a board that has come back at an earlier revision an ID of its own.

    Whoever has seen the later one is then told BOARD_REPLACED, and never that nothing changed.
    """
    with connection:
        connection.execute(_RENAME, (uuid.uuid4().hex, board_id, revision))
