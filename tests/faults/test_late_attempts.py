"""The first attempt of a call arrives after its retry was answered, and does nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from board_client import BoardClient, Contract, FileAlreadyClaimed, StateMismatch
from board_server.sqlite import SqliteStore
from tests.faults.network import Proxy
from tests.support.servers import server_thread

PATIENT = 60


class Noting(SqliteStore):
    """Notifies the test of each call with a key, after its effects are committed."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        for name in ("set_phase_state", "publish_contract", "claim_file", "release_claims"):
            setattr(self, name, self._noting(getattr(self, name)))

    ended = threading.Semaphore(0)

    def _noting(self, method):
        async def noting(*arguments):
            try:
                return await method(*arguments)
            finally:
                self.ended.release()

        return noting


@pytest.fixture
def ended(monkeypatch):
    """The number of calls that have ended and were not waited for."""
    monkeypatch.setattr(Noting, "ended", threading.Semaphore(0))
    return Noting.ended


@pytest.fixture
def proxy(tmp_path, ended):  # noqa: ARG001  it counts from the start
    with (
        server_thread(tmp_path, board="nebula", store=Noting) as address,
        Proxy(address) as proxy,
    ):
        proxy.server_address = address
        yield proxy


@pytest.fixture
def near(proxy):
    """A client with a direct connection to the server."""
    with BoardClient(proxy.server_address, timeout=PATIENT) as client:
        yield client


@pytest.fixture
def far(proxy):
    """A client behind the proxy, connected."""
    with BoardClient(proxy.address, timeout=PATIENT) as client:
        assert client.get_phase_state("far") == ""
        yield client


def retried(proxy, call):
    """Make a call of "far" whose first attempt is held; return the outcome of its retry."""
    proxy.hold_requests()
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(call)
        assert proxy.wait_for_held(b"far")
        proxy.cut_off_clients()
        return outcome.exception(PATIENT) or outcome.result()


def arrives(proxy, ended, writes):
    """Forward the held attempt after this many writes; wait until it has ended."""
    for _ in range(writes + 1):
        assert ended.acquire(timeout=PATIENT)
    proxy.deliver()
    assert ended.acquire(timeout=PATIENT)


def test_a_late_release_that_released_nothing_releases_no_later_claim(near, far, proxy, ended):
    assert retried(proxy, lambda: far.release_claims("far")) == 0
    near.claim_file("x.go", "far")
    arrives(proxy, ended, 1)
    assert near.file_owner("x.go") == "far"
    assert near.get_snapshot().revision == 1


def test_a_late_publish_of_an_unchanged_contract_replaces_no_newer_one(near, far, proxy, ended):
    near.publish_contract(Contract("far", "type", "T", signature="old"))
    retried(proxy, lambda: far.publish_contract(Contract("far", "type", "T", signature="old")))
    near.publish_contract(Contract("far", "type", "T", signature="new"))
    arrives(proxy, ended, 2)
    assert [contract.signature for contract in near.all_contracts()] == ["new"]


def test_a_late_attempt_of_a_refused_compare_and_set_changes_nothing(near, far, proxy, ended):
    outcome = retried(proxy, lambda: far.set_phase_state("far", "running", expected_state="queued"))
    assert isinstance(outcome, StateMismatch)
    near.set_phase_state("far", "queued")
    arrives(proxy, ended, 1)
    assert near.get_phase_state("far") == "queued"


def test_a_late_attempt_of_a_refused_claim_claims_no_file(near, far, proxy, ended):
    near.claim_file("x.go", "near")
    outcome = retried(proxy, lambda: far.claim_file("x.go", "far"))
    assert isinstance(outcome, FileAlreadyClaimed)
    near.release_claims("near")
    arrives(proxy, ended, 2)
    assert near.file_owner("x.go") == ""


def test_without_a_key_a_late_attempt_is_done(near, far, proxy, ended, monkeypatch):
    monkeypatch.setattr("board_client.transport.metadata", lambda _: ())
    assert retried(proxy, lambda: far.release_claims("far")) == 0
    near.claim_file("x.go", "far")
    arrives(proxy, ended, 1)
    assert near.file_owner("x.go") == ""
