"""The whole suite that a backend of the Store has to pass.

A backend's tests subclass StoreConformance as `TestXStore`, and override the
fixture `open_store`. See `tests/conformance/test_sqlite.py`.
"""

from tests.conformance.boards import BoardsConformance
from tests.conformance.claims import ClaimsConformance
from tests.conformance.completion import CompletionConformance
from tests.conformance.concurrency import ConcurrencyConformance
from tests.conformance.conditions import ConditionsConformance
from tests.conformance.contracts import ContractsConformance
from tests.conformance.events import EventsConformance
from tests.conformance.lifecycle import LifecycleConformance
from tests.conformance.phases import PhasesConformance
from tests.conformance.repeats import RepeatsConformance
from tests.conformance.revisions import RevisionsConformance
from tests.conformance.sessions import SessionsConformance
from tests.conformance.snapshots import SnapshotsConformance


class StoreConformance(
    BoardsConformance,
    PhasesConformance,
    ContractsConformance,
    ClaimsConformance,
    CompletionConformance,
    SessionsConformance,
    SnapshotsConformance,
    ConditionsConformance,
    EventsConformance,
    RevisionsConformance,
    RepeatsConformance,
    ConcurrencyConformance,
    LifecycleConformance,
):
    """Every promise of the Store protocol, one test each."""
