"""No table of the server leaves out a member of an enum of the model or the proto."""

import pytest

from board_client.v1 import board_pb2 as pb
from board_server.model import Cause, Change, ContractKind, ContractStatus, OnExpiry, PhaseState
from board_server.sqlite import audit, events, idempotency
from board_server.wire import enums


def numbers(enum) -> set[int]:
    """Return the numbers of an enum of the proto, without 0, which means unspecified."""
    return {number for number in enum.values() if number}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (enums.STATE_NUMBERS, PhaseState),
        (enums.KIND_NUMBERS, ContractKind),
        (enums.STATUS_NUMBERS, ContractStatus),
        (enums.ON_EXPIRY_NUMBERS, OnExpiry),
        (enums.CAUSE_NUMBERS, Cause),
        (events._READ, Change),
        (audit._EFFECTS, Change),
    ],
)
def test_every_word_of_the_model_has_an_entry(table, words):
    assert set(table) == set(words)


@pytest.mark.parametrize(
    ("table", "enum"),
    [
        (enums.WRITABLE_STATES, pb.PhaseState),
        (enums.WRITABLE_KINDS, pb.ContractKind),
        (enums.WRITABLE_STATUSES, pb.ContractStatus),
        (enums.WRITABLE_ON_EXPIRY, pb.OnExpiry),
        (enums.CHANGES, pb.EventKind),
        ({number: cause for cause, number in enums.CAUSE_NUMBERS.items()}, pb.EventCause),
    ],
)
def test_every_number_of_the_proto_has_an_entry(table, enum):
    assert {number for number in table if number} == numbers(enum)


def test_every_change_is_of_one_kind_of_event():
    kinds = [change for changes in enums.CHANGES.values() for change in changes]
    assert sorted(kinds) == sorted(Change)


def test_every_table_that_the_audit_compares_has_a_change_that_fills_and_one_that_empties_it():
    for table in audit._TABLES:
        assert {there for name, there in audit._EFFECTS.values() if name == table} == {True, False}


def test_every_final_error_can_be_remembered_and_read_again():
    assert {error.__name__ for error in idempotency.FINAL} <= set(idempotency._READ)
