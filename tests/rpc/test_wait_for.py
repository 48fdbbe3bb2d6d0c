"""WaitFor: a call that returns once its conditions are met."""

import time

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from tests.rpc.conftest import DEFAULT_BOARD, NotifyingStore
from tests.rpc.service import invalid, refusal, refusal_of
from tests.support.servers import server_thread

PATIENCE = 30
"""Seconds after which a test fails."""


@pytest.fixture(scope="module")
def grpc_server(grpc_directory):
    with server_thread(grpc_directory, board=DEFAULT_BOARD, store=NotifyingStore) as address:
        yield address


@pytest.fixture
def wait(grpc_stub, board):
    """A function that begins a WaitFor and returns after the server's lookup of its conditions."""

    def wait(*conditions, timeout=PATIENCE):
        request = pb.WaitForRequest(board=board, conditions=conditions)
        call = grpc_stub.WaitFor.future(request, timeout=timeout)
        assert NotifyingStore.found.acquire(timeout=PATIENCE)
        return call

    return wait


@pytest.fixture
def set_state(grpc_stub, board):
    return lambda phase, state: grpc_stub.SetPhaseState(
        pb.SetPhaseStateRequest(board=board, phase_id=phase, state=f"PHASE_STATE_{state}")
    )


@pytest.fixture
def claim(grpc_stub, board):
    return lambda path: (
        grpc_stub.ClaimFile(pb.ClaimFileRequest(board=board, filepath=path, owner="p")).revision
    )


@pytest.fixture
def release(grpc_stub, board):
    return lambda: grpc_stub.ReleaseClaims(pb.ReleaseClaimsRequest(board=board, owner="p")).revision


@pytest.fixture
def publish(grpc_stub, board):
    def publish(name="T", producer="p", kind=pb.CONTRACT_KIND_TYPE, **fields):
        contract = pb.Contract(producer=producer, kind=kind, name=name, **fields)
        return grpc_stub.PublishContract(pb.PublishContractRequest(board=board, contract=contract))

    return publish


def in_state(phase, *states):
    numbers = [f"PHASE_STATE_{state}" for state in states]
    return pb.WaitCondition(phase=pb.PhaseCondition(phase_id=phase, states=numbers))


def published(**fields):
    return pb.WaitCondition(contract=pb.ContractCondition(**fields))


def free(path):
    return pb.WaitCondition(file_free=pb.FileCondition(filepath=path))


def test_conditions_that_hold_already_are_answered_at_once(wait, set_state, publish):
    phase = set_state("p", "DONE").phase
    contract = publish().contract
    reply = wait(published(name="T"), free("a.go"), in_state("p", "DONE")).result()
    assert reply == pb.WaitForResponse(revision=2, phases=[phase], contracts=[contract])


def test_a_phase_is_waited_for_until_it_is_in_one_of_the_states(wait, set_state):
    set_state("p", "QUEUED")
    call = wait(in_state("p", "DONE", "FAILED"))
    for state in ("RUNNING", "BLOCKED", "RUNNING"):
        set_state("p", state)
        set_state("q", "DONE")
    failed = set_state("p", "FAILED")
    set_state("p", "QUEUED")
    reply = call.result()
    assert (reply.revision, list(reply.phases)) == (failed.revision, [failed.phase])


def test_wait_for_waits_for_a_phase_that_does_not_exist_yet(wait, set_state):
    call = wait(in_state("new", "QUEUED"))
    reply = set_state("new", "QUEUED")
    assert list(call.result().phases) == [reply.phase]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Open"},
        {"kind": pb.CONTRACT_KIND_FUNCTION},
        {"producer": "store"},
        {"package": "board"},
        {"name": "Open", "kind": 2, "producer": "store", "package": "board"},
    ],
    ids=str,
)
def test_a_contract_is_waited_for_until_one_equals_every_field(wait, publish, fields):
    call = wait(published(**fields))
    wanted = {"name": "Open", "producer": "store", "kind": 2, "package": "board"}
    for field in fields:  # each contract differs in one field of the condition
        publish(**(wanted | {field: "other" if field != "kind" else 1}))
    reply = publish(**wanted)
    found = call.result()
    assert (found.revision, list(found.contracts)) == (reply.revision, [reply.contract])


def test_the_reply_has_the_contract_at_the_revision_that_meets_all_conditions(
    wait, publish, set_state
):
    call = wait(published(name="T"), in_state("p", "DONE"))
    publish(signature="first")
    latest = publish(signature="second").contract
    set_state("p", "DONE")
    assert list(call.result().contracts) == [latest]


def test_a_file_is_waited_for_until_it_is_free(wait, claim, release):
    claim("a.go")
    call = wait(free("a.go"))
    claim("b.go")
    claim("a.go")
    revision = release()
    claim("a.go")
    assert call.result() == pb.WaitForResponse(revision=revision)


def test_conditions_that_hold_one_after_the_other_do_not_hold_together(
    wait, set_state, claim, release
):
    claim("a.go")
    call = wait(free("a.go"), in_state("p", "DONE"))
    release()
    claim("a.go")
    set_state("p", "DONE")
    set_state("p", "RUNNING")
    release()
    reply = set_state("p", "DONE")
    assert call.result().revision == reply.revision


def test_conditions_that_one_transaction_meets_are_met_at_its_revision(
    grpc_stub, board, wait, set_state, claim
):
    set_state("p", "RUNNING")
    claim("a.go")
    calls = [wait(c) for c in (in_state("p", "DONE"), published(name="T"), free("a.go"))]
    calls.append(wait(in_state("p", "DONE"), published(name="T"), free("a.go")))
    contract = pb.Contract(producer="p", kind=pb.CONTRACT_KIND_TYPE, name="T")
    reply = grpc_stub.CompletePhase(
        pb.CompletePhaseRequest(
            board=board, phase_id="p", state=pb.PHASE_STATE_DONE, contracts=[contract]
        )
    )
    assert {call.result().revision for call in calls} == {reply.revision}
    assert list(calls[-1].result().phases) == [reply.phase]


def test_the_answers_are_in_the_order_of_the_conditions(wait, set_state, publish):
    for phase in "qp":
        set_state(phase, "DONE")
    for name in "UT":
        publish(name)
    reply = wait(
        *(published(name="T"), in_state("p", "DONE"), published(name="U")),
        *(in_state("q", "DONE"), in_state("p", "DONE"), published(producer="p")),
    ).result()
    assert [phase.phase_id for phase in reply.phases] == ["p", "q", "p"]
    # Of several contracts that meet a condition, the one that was published first.
    assert [contract.name for contract in reply.contracts] == ["T", "U", "U"]


def test_a_hundred_conditions_can_be_waited_for(wait, claim, release):
    paths = [f"{number}.go" for number in range(100)]
    for path in paths[::10]:
        claim(path)
    call = wait(*map(free, paths))
    revision = release()
    assert call.result().revision == revision


def test_a_waiter_of_another_board_is_not_woken(grpc_stub, board, wait, set_state):
    other = f"{board}-other"
    grpc_stub.OpenBoard(pb.OpenBoardRequest(board=other))
    call = wait(in_state("p", "DONE"))
    grpc_stub.SetPhaseState(
        pb.SetPhaseStateRequest(board=other, phase_id="p", state=pb.PHASE_STATE_DONE)
    )
    set_state("q", "DONE")
    revision = set_state("p", "DONE").revision
    assert call.result().revision == revision


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ([], "conditions"),
        ([free("a.go")] * 101, "conditions"),
        ([pb.WaitCondition()], "conditions[0]"),
        ([free("a.go"), pb.WaitCondition()], "conditions[1]"),
        ([in_state("p")], "conditions[0].phase.states"),
        ([in_state("", "DONE")], "conditions[0].phase.phase_id"),
        ([in_state("p", "DONE", "UNSPECIFIED")], "conditions[0].phase.states[1]"),
        ([published()], "conditions[0].contract"),
        ([free("a.go"), free("")], "conditions[1].file_free.filepath"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_condition_is_refused_with_its_field(grpc_stub, board, conditions, field):
    request = pb.WaitForRequest(board=board, conditions=conditions)
    assert invalid(grpc_stub.WaitFor, request) == (field,)


def test_a_wait_whose_conditions_are_not_met_ends_at_its_deadline(wait):
    began = time.monotonic()
    call = wait(in_state("p", "DONE"), timeout=0.3)
    assert call.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.25 < time.monotonic() - began < 10


def test_waiters_that_give_up_leave_no_trace(wait, set_state, caplog):
    for _ in range(20):
        wait(in_state("p", "DONE")).cancel()
    call = wait(in_state("p", "DONE"))
    revision = set_state("p", "DONE").revision
    assert call.result().revision == revision
    assert caplog.records == []


def test_waiting_on_a_board_that_nobody_opened_is_refused(grpc_stub):
    found = refusal(grpc_stub.WaitFor, pb.WaitForRequest(board="nowhere", conditions=[free("a")]))
    assert (found.reason, found.metadata) == ("BOARD_NOT_FOUND", {"board": "nowhere"})


@pytest.mark.parametrize("reopened", [True, False])
def test_a_waiter_fails_if_its_board_is_deleted(grpc_stub, grpc_directory, board, wait, reopened):
    call = wait(in_state("p", "DONE"))
    for file in grpc_directory.glob(f"{board}.board.db*"):
        file.unlink()
    if reopened:
        grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board))
    found = refusal_of(call.exception())
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BOARD_REPLACED")


def test_waiters_end_with_the_server_which_ends_well(tmp_path):
    request = pb.WaitForRequest(conditions=[in_state("p", "DONE")])
    with server_thread(tmp_path, store=NotifyingStore) as address:
        channel = grpc.insecure_channel(address)
        stub = BoardServiceStub(channel)
        calls = [stub.WaitFor.future(request, timeout=PATIENCE) for _ in range(10)]
        for _ in calls:
            assert NotifyingStore.found.acquire(timeout=PATIENCE)
    with channel:
        all_of_them = [refusal_of(call.exception()) for call in calls]
    assert {(one.code, one.reason) for one in all_of_them} == {
        (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    }
