"""Checks of what callers pass: an argument of a wrong type is refused by its name.

protobuf takes None for a field that is not set and bytes for text, and its errors
do not name the argument. A wrong type raises TypeError, a value that no request
can hold InvalidArgument.
"""

import math
import os
from collections.abc import Iterable

from board_client.errors import InvalidArgument

FilePath = str | os.PathLike[str]

LONGEST_TIMEOUT = 365 * 86_400.0
"""Seconds of the longest timeout: the clocks of gRPC and of Python take no infinite one."""


def text(name: str, value: object) -> str:
    """Return a value that must be text.

    Raises InvalidArgument for text that UTF-8 cannot encode, such as the surrogates
    that Python puts into the names of files that are not UTF-8.
    """
    if not isinstance(value, str):
        raise wrong_type(name, "str", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument.of(name, f"cannot be written as UTF-8: {error.reason}") from None
    return value


def optional_text(name: str, value: object) -> str | None:
    """Return a value that must be text or None."""
    if value is not None and not isinstance(value, str):
        raise wrong_type(name, "str | None", value)
    return None if value is None else text(name, value)


def number(name: str, value: object) -> int:
    """Return a whole number. Raises InvalidArgument for one that does not fit into 64 bits."""
    if not isinstance(value, int):
        raise wrong_type(name, "int", value)
    if not -(2**63) <= value < 2**63:
        raise InvalidArgument.of(name, f"{value} does not fit into 64 bits")
    return value


def seconds(name: str, value: object) -> float:
    """Return a number of seconds from 0 to LONGEST_TIMEOUT, the nearest to the one given.

    Raises InvalidArgument for NaN.
    """
    if not isinstance(value, int | float):
        raise wrong_type(name, "a number of seconds", value)
    if isinstance(value, float) and math.isnan(value):
        raise InvalidArgument.of(name, "must be a number of seconds and not NaN")
    return min(max(value, 0), LONGEST_TIMEOUT)


def path(name: str, value: object) -> str:
    """Return the text of a path on the board, which must be UTF-8."""
    return text(name, local_path(name, value))


def local_path(name: str, value: object) -> str:
    """Return the text of a path on this machine."""
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(found, str):
        raise wrong_type(name, "a str or os.PathLike", value)
    return found


def paths(name: str, values: object) -> list[str]:
    """Return the texts of several paths. A single str is refused: it would count as its letters."""
    if isinstance(values, str | bytes | os.PathLike) or not isinstance(values, Iterable):
        raise wrong_type(name, 'several paths, as in ["a.go", "b.go"],', values)
    return [path(f"{name}[{index}]", value) for index, value in enumerate(values)]


def wrong_type(name: str, wanted: str, value: object) -> TypeError:
    """Return the error that names an argument of a wrong type."""
    return TypeError(f"{name} must be {wanted} and not {type(value).__name__}")
