"""Timestamps as text in a board file: UTC, `2026-02-23 05:03:45.123456`.

Quasar's Go store reads that form. It writes whole seconds, with a space, or with `T` and `Z`
as RFC 3339 has it. All of these are read here.
"""

from datetime import UTC, datetime
from functools import lru_cache

from board_server.sqlite.rows import Damaged, shortened


def to_text(moment: datetime) -> str:
    """Format an aware datetime, always with six decimals, so that text order is time order."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


@lru_cache(4096)  # rows of one commit have the same time
def from_text(text: str) -> datetime:
    """Parse any of these forms to an aware datetime in UTC. Raises Damaged for anything else."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise Damaged(f"{shortened(text)} is not a time") from error
