"""Contracts as JSON lines: one object a line, as `board contract publish` reads them."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from board_client.cli.failure import BadInput, Problem
from board_client.model import Contract, ContractKind, ContractStatus

KINDS = [kind.value for kind in ContractKind if kind]
STATUSES = [status.value for status in ContractStatus if status]

_KEYS = ("producer", "kind", "name", "signature", "package", "status")
_GIVEN_BY_THE_BOARD = ("id", "created_at")  # `board contract list --json` prints them too


def read_contracts(
    lines: Iterable[bytes], source: str, producer: str = ""
) -> list[tuple[int, Contract]]:
    """Return each contract with the number of its line, from 1; empty lines are skipped.

    `source` names the input in problems; `producer` is that of lines without one.
    Raises BadInput with every line that is wrong.
    """
    contracts: list[tuple[int, Contract]] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            contracts.append((number, _contract(line, producer)))
        except ValueError as error:
            problems.append(Problem(source, number, str(error)))
    if problems:
        raise BadInput(problems)
    return contracts


@contextmanager
def name_lines(numbered: Sequence[tuple[int, Contract]], source: str) -> Iterator[None]:
    """Raise BadInput with the line of a contract that the board refuses, of `read_contracts`."""
    from board_client.errors import InvalidArgument  # noqa: PLC0415  it imports grpc

    try:
        yield
    except InvalidArgument as error:
        if not (item := re.match(r"contracts\[(\d+)\]", error.field)):
            raise
        line, _ = numbered[int(item[1])]
        raise BadInput([Problem(source, line, str(error))]) from error


def source_of(file: BinaryIO) -> str:
    """Return the name of an open file for problems."""
    return "standard input" if file.name == "<stdin>" else file.name


def _contract(line: bytes, producer: str) -> Contract:
    """Raise ValueError for a line that is wrong."""
    values = {"producer": producer} | _strings(_object(line))
    for key in ("producer", "kind", "name"):
        if not values.get(key):
            raise ValueError(f'"{key}" is missing')
    return Contract(
        values["producer"],
        ContractKind(_one_of("kind", values["kind"], KINDS)),
        values["name"],
        signature=values.get("signature", ""),
        package=values.get("package", ""),
        status=ContractStatus(_one_of("status", values.get("status") or "fulfilled", STATUSES)),
    )


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line.decode().strip())
    except UnicodeDecodeError as error:
        raise ValueError("not valid UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  a wrong line, like the others
    return value


def _strings(record: Mapping[str, Any]) -> dict[str, str]:
    if unknown := [key for key in record if key not in (*_KEYS, *_GIVEN_BY_THE_BOARD)]:
        raise ValueError(f'unknown key "{unknown[0]}"; known are {", ".join(_KEYS)}')
    values = {key: record[key] for key in _KEYS if key in record}
    for key, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f'"{key}" must be a string')  # noqa: TRY004  as above
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f'"{key}" holds half of a surrogate pair') from error
    return values


def _one_of(key: str, word: str, words: list[str]) -> str:
    if word not in words:
        raise ValueError(f'"{key}" is "{word}", which is not one of {", ".join(words)}')
    return word
