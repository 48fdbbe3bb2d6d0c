"""Migrate a board file to this version's schema, by numbered scripts."""

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
    """Return the scripts in order; a file's user_version is the number of those applied."""
    folder = files("board_server.sqlite") / "migrations"
    scripts = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))
    return [(folder / name).read_text() for name in scripts]


@reading()
def check_schema(connection: apsw.Connection) -> None:
    """Refuse a file that is not a board, or is newer than this server; change nothing."""
    try:
        version = connection.pragma("user_version")
        tables = {
            name: {column for (column,) in connection.execute(_COLUMNS, (name,))}
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
    except apsw.NotADBError as error:
        raise StoreUnavailable("not a board file: it is not an SQLite database") from error
    except apsw.CorruptError as error:
        raise StoreUnavailable(
            "the file is corrupt or truncated; examine it with board doctor, replace it by "
            "the last good backup with board restore"
        ) from error
    if version > len(migrations()):
        raise StoreUnavailable(
            f"written by a newer version of the board (schema {version}, this server knows "
            f"{len(migrations())}); upgrade the server"
        )
    for table, columns in SPEC_TABLES.items():
        if tables and not columns <= tables.get(table, set()):
            raise StoreUnavailable(
                f'not a board file: it has tables, but not "{table}" as boards have it'
            )


# The first server that opens a file of quasar's own store adds the row of meta. The existing rows
# have no events; together they are revision 1. If there are events, meta had a row and has lost
# it, and no row is added.
_ADD_META = """
INSERT INTO meta (id, board_id, created_at, revision, compacted_revision)
SELECT 1, ?, ?, filled, filled FROM (
    SELECT EXISTS (SELECT 1 FROM board) OR EXISTS (SELECT 1 FROM contracts)
        OR EXISTS (SELECT 1 FROM file_claims) AS filled)
WHERE NOT EXISTS (SELECT 1 FROM events) ON CONFLICT (id) DO NOTHING
"""

# Quasar's store does not know these tables, so rows of phases and claims that it deletes stay.
_DELETE_ORPHANS = """
DELETE FROM phase_sessions WHERE task_id NOT IN (SELECT task_id FROM board);
DELETE FROM claim_sessions WHERE filepath NOT IN (SELECT filepath FROM file_claims);
"""

_RENAME = "UPDATE meta SET board_id = ? WHERE board_id = ? AND revision < ?"

_COLUMNS = "SELECT name FROM pragma_table_info(?)"


def migrate(connection: apsw.Connection, now: datetime) -> None:
    """Apply the missing migrations, each in its own transaction."""
    for number, script in enumerate(migrations(), start=1):
        if connection.pragma("user_version") >= number:
            continue
        with connection:
            connection.execute(script)
            connection.pragma("user_version", number)
            failpoint("before-migration-commit")
    with connection:
        connection.execute(_ADD_META, (uuid.uuid4().hex, to_text(now)))
        connection.execute(_DELETE_ORPHANS)


def rename_if_older(connection: apsw.Connection, board_id: str, revision: int) -> None:
    """Give the board a new ID if it is an older copy of the one that was served before.

    Clients that saw the later revisions then get BOARD_REPLACED, not a wrong "unchanged".
    """
    with connection:
        connection.execute(_RENAME, (uuid.uuid4().hex, board_id, revision))
