"""Contradictions: contracts of which at most one can be true."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from board_client.model import Contract


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One kind, package and name that several producers have given different signatures.

    `contracts` are theirs, by producer.
    """

    kind: str
    package: str
    name: str
    contracts: tuple[Contract, ...]


def contradictions(contracts: Iterable[Contract]) -> list[Contradiction]:
    """Return what a person must decide among contracts, by package, kind and name."""
    same: dict[tuple[str, str, str], list[Contract]] = defaultdict(list)
    for contract in contracts:
        same[contract.package, contract.kind, contract.name].append(contract)
    return [
        Contradiction(kind, package, name, tuple(sorted(those, key=lambda each: each.producer)))
        for (package, kind, name), those in sorted(same.items())
        if len({each.signature for each in those}) > 1
    ]
