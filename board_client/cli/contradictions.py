"""Contradictions: contracts with one name and different signatures."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from board_client.model import Contract


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A kind, package and name for which producers have published different signatures.

    `contracts` are theirs, ordered by producer.
    """

    kind: str
    package: str
    name: str
    contracts: tuple[Contract, ...]


def contradictions(contracts: Iterable[Contract]) -> list[Contradiction]:
    """Return the contradictions among contracts, ordered by package, kind and name."""
    same: dict[tuple[str, str, str], list[Contract]] = defaultdict(list)
    for contract in contracts:
        same[contract.package, contract.kind, contract.name].append(contract)
    return [
        Contradiction(kind, package, name, tuple(sorted(those, key=lambda each: each.producer)))
        for (package, kind, name), those in sorted(same.items())
        if len({each.signature for each in those}) > 1
    ]
