"""When to renew a session. Pure; both clients' `session` keeps to it."""

from datetime import timedelta


def pause_after_success(ttl: timedelta) -> float:
    """Return the seconds until the next renewal: two may fail before the ttl is over."""
    return ttl.total_seconds() / 3


def pause_after_failure(ttl: timedelta) -> float:
    """Return the seconds until a renewal that did not get through is tried again."""
    return min(1.0, ttl.total_seconds() / 10)
