"""When to renew a session. Pure; both clients' `session` keeps to it."""

from datetime import timedelta


def pause_after_success(ttl: timedelta) -> float:
    """Return the seconds until the next renewal: two may fail before the ttl is over."""
    return ttl.total_seconds() / 3


def pause_after_failure(ttl: timedelta) -> float:
    """Return the seconds until a renewal that did not get through is tried again."""
    return min(1.0, ttl.total_seconds() / 10)


def patience(ttl: timedelta) -> float:
    """Return the seconds to wait for the answer to a renewal.

    Not less than the ttl: where a machine is so loaded that answers are late, a
    call that is given up and made again only comes to stand behind the others.
    """
    return ttl.total_seconds()
