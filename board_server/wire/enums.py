"""The words of the model's enums, and their numbers on the wire."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol, TypeVar

from board_client.v1 import board_pb2 as pb
from board_server.model import Cause, Change, ContractKind, ContractStatus, OnExpiry, PhaseState

Word = TypeVar("Word", bound=StrEnum)


class _EnumNumbers(Protocol):
    def Value(self, name: str) -> int: ...  # noqa: N802  protobuf's name


def _words(enum: type[Word], numbers: _EnumNumbers, prefix: str) -> dict[int, Word]:
    return {numbers.Value(f"{prefix}_{word.name}"): word for word in enum}


def _without_zero(words: Mapping[int, Word]) -> dict[int, Word]:
    return {number: word for number, word in words.items() if number}


STATES = _words(PhaseState, pb.PhaseState, "PHASE_STATE")
KINDS = _words(ContractKind, pb.ContractKind, "CONTRACT_KIND")
STATUSES = _words(ContractStatus, pb.ContractStatus, "CONTRACT_STATUS")
ENDINGS = _words(OnExpiry, pb.OnExpiry, "ON_EXPIRY")
CAUSES = _words(Cause, pb.EventCause, "EVENT_CAUSE")

WRITABLE_STATES = _without_zero(STATES)
WRITABLE_KINDS = _without_zero(KINDS)
WRITABLE_STATUSES = {**STATUSES, pb.CONTRACT_STATUS_UNSPECIFIED: ContractStatus.FULFILLED}

WRITABLE_ON_EXPIRY = {pb.ON_EXPIRY_UNSPECIFIED: OnExpiry.FAIL, **ENDINGS}

ENDS = {pb.PHASE_STATE_DONE: PhaseState.DONE, pb.PHASE_STATE_FAILED: PhaseState.FAILED}

CHANGES: Mapping[int, frozenset[Change]] = {
    pb.EVENT_KIND_PHASE: frozenset({Change.PHASE, Change.PHASE_REMOVED}),
    pb.EVENT_KIND_CONTRACT: frozenset({Change.CONTRACT, Change.CONTRACT_REMOVED}),
    pb.EVENT_KIND_CLAIM: frozenset({Change.CLAIMED, Change.RELEASED}),
    pb.EVENT_KIND_SESSION: frozenset({Change.SESSION_OPENED, Change.SESSION_ENDED}),
}

STATE_NUMBERS = {word: pb.PhaseState.ValueType(number) for number, word in STATES.items()}
KIND_NUMBERS = {word: pb.ContractKind.ValueType(number) for number, word in KINDS.items()}
STATUS_NUMBERS = {word: pb.ContractStatus.ValueType(number) for number, word in STATUSES.items()}
ON_EXPIRY_NUMBERS = {word: pb.OnExpiry.ValueType(number) for number, word in ENDINGS.items()}
CAUSE_NUMBERS = {word: pb.EventCause.ValueType(number) for number, word in CAUSES.items()}
