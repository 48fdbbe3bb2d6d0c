"""What callers may give: an argument of a wrong type is refused by its name, with TypeError."""

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from board_client.errors import InvalidArgument

P = ParamSpec("P")
T = TypeVar("T")

FilePath = str | os.PathLike[str]

_CHECKED = (str, str | None, int)


def checked(build: Callable[P, T]) -> Callable[P, T]:
    """Hold a function to what it says of its arguments that are plain text or numbers.

    protobuf would take None for nothing at all, and not say which of the others is wrong.
    """
    parameters = inspect.signature(build).parameters
    names = tuple(parameters)
    kinds = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if parameter.annotation in _CHECKED
    }

    @functools.wraps(build)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in kinds and not isinstance(value, kinds[name]):
                raise wrong_type(name, getattr(kinds[name], "__name__", str(kinds[name])), value)
            if name in kinds and isinstance(value, str):
                text(name, value)
            elif name in kinds and isinstance(value, int):
                number(name, value)
        return build(*args, **kwargs)

    return call


def text(name: str, value: object) -> str:
    """Return a value that has to be text. Raises InvalidArgument for what UTF-8 cannot write.

    So are the surrogates by which Python names files whose names are not UTF-8.
    """
    if not isinstance(value, str):
        raise wrong_type(name, "str", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument.of(name, f"cannot be written as UTF-8: {error.reason}") from None
    return value


def number(name: str, value: int) -> int:
    """Return a number. Raises InvalidArgument for one that 64 bits do not hold."""
    if not -(2**63) <= value < 2**63:
        raise InvalidArgument.of(name, f"{value} does not fit into 64 bits")
    return value


def path(name: str, value: object) -> str:
    """Return the text of a path on the board, which has to be UTF-8."""
    return text(name, local_path(name, value))


def local_path(name: str, value: object) -> str:
    """Return the text of a path on this machine."""
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(found, str):
        raise wrong_type(name, "a str or os.PathLike", value)
    return found


def paths(name: str, values: object) -> list[str]:
    """Return the texts of several paths; one alone is refused: it would count as its letters."""
    if isinstance(values, str | bytes | os.PathLike) or not isinstance(values, Iterable):
        raise wrong_type(name, 'several paths, as in ["a.go", "b.go"],', values)
    return [path(f"{name}[{index}]", value) for index, value in enumerate(values)]


def wrong_type(name: str, wanted: str, value: object) -> TypeError:
    """Make the error that tells which argument is not what it has to be."""
    return TypeError(f"{name} must be {wanted} and not {type(value).__name__}")
