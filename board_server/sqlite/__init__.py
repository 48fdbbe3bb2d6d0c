"""The SQLite backend: one file per board, `<dir>/<name>.board.db`, in WAL mode."""

from board_server.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
