"""What an SqliteStore can be told."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Synchronous = Literal["full", "normal"]


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Read the machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Settings:
    """`keep_revisions` is how many revisions Watch can go back; `clock` gives aware UTC."""

    synchronous: Synchronous
    keep_revisions: int
    clock: Clock
