"""Archive a board: write its records to a file as JSON lines, then empty the board.

The first line has the board's name, ID and revision. Every other line is an
object with one key, `phase`, `contract` or `claim`, and the record under it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from board_client.errors import BoardError, BoardReplaced, PermissionDenied, RevisionMismatch
from board_client.model import Archived, Contract, FileClaim, Phase, Snapshot
from board_client.sync import BoardClient

ATTEMPTS = 5
"""How often archiving is tried on a board that changes meanwhile."""

REFUSED = (RevisionMismatch, BoardReplaced, PermissionDenied)
"""Errors after which no attempt of the call, not even a late one, empties the board.

After any other error the board may be empty: STORE_FULL, for example, answers one
attempt, and an earlier attempt without an answer may still arrive.
"""


def archive(client: BoardClient, file: Path) -> Archived:
    """Write the client's board to a new file, sync it, and remove its records from the board.

    Nothing is removed that is not in the file. On an error the file is deleted, unless the
    board may be empty. Raises FileExistsError if the file exists, RevisionMismatch if the
    board changes during each attempt, BoardReplaced if another board takes its place, and
    the other errors of the calls.
    """
    file.open("x").close()  # the file is ours now, and may be deleted
    may_be_empty = False
    try:
        for attempt in range(1, ATTEMPTS + 1):
            snapshot = client.get_snapshot()
            _write(file, snapshot, _name(client, snapshot))
            may_be_empty = True  # even if no answer comes
            try:
                return client.archive_board(snapshot.revision, snapshot.board_id)
            except BoardError as error:
                may_be_empty = not isinstance(error, REFUSED)
                if attempt == ATTEMPTS or not isinstance(error, RevisionMismatch):
                    raise
    finally:
        if not may_be_empty:
            file.unlink(missing_ok=True)
    raise AssertionError("the last attempt returns or raises")


def _name(client: BoardClient, snapshot: Snapshot) -> str:
    """Return the board's name, also if the client uses the default board."""
    boards = client.list_boards() if not client.board else []
    return next((b.name for b in boards if b.board_id == snapshot.board_id), client.board)


def lines(snapshot: Snapshot, board: str) -> Iterator[str]:
    """Yield the lines of an archive, without line ends."""
    yield _line("board", {"name": board, "id": snapshot.board_id, "revision": snapshot.revision})
    for phase in snapshot.phases:
        yield _line("phase", _plain(phase))
    for contract in snapshot.contracts:
        yield _line("contract", _plain(contract))
    for claim in snapshot.claims:
        yield _line("claim", _plain(claim))


def _write(file: Path, snapshot: Snapshot, board: str) -> None:
    with file.open("w", encoding="utf-8") as opened:
        opened.writelines(f"{line}\n" for line in lines(snapshot, board))
        opened.flush()
        os.fsync(opened.fileno())
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _line(kind: str, record: dict[str, Any]) -> str:
    return json.dumps({kind: record}, ensure_ascii=False)


def _plain(record: Phase | Contract | FileClaim) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }
