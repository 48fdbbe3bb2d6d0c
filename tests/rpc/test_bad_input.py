"""A request that breaks a limit is refused with the name of the field, and changes nothing."""

from datetime import timedelta

import pytest

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import GOOD, call_of, invalid, make, names_a_field, refusal

BAD_NAMES = ["../x", "x" * 129, "x" * 200, ".hidden", "-x", "a b", "a/b", "é", "a\n", "a\0", " "]


@pytest.mark.parametrize("rpc", GOOD)
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_board_name_is_refused_by_every_rpc(grpc_stub, rpc, name):
    request = make(rpc, **(GOOD[rpc] | {"board": name}))
    assert invalid(call_of(grpc_stub, rpc), request) == ("board",)


def test_a_bad_board_name_makes_no_file(grpc_stub, grpc_directory):
    before = sorted(grpc_directory.parent.rglob("*"))
    for name in BAD_NAMES:
        refusal(grpc_stub.OpenBoard, pb.OpenBoardRequest(board=name))
    assert sorted(grpc_directory.parent.rglob("*")) == before


CONTRACT = {"producer": "p", "kind": 1, "name": "T"}
PHASE = {"phase_id": "p", "state": 1}
CLAIM = {"filepath": "a.go", "owner": "p"}
TOO_LONG = "x" * 257
TOO_LONG_IN_BYTES = "é" * 129  # 258 bytes, though only 129 characters


CLAIMED = {"filepath": "a.go"}
LISTS = ["ListBoards", "ListPhases", "ListContracts", "ListClaims", "ListSessions"]
IN_A_SESSION = [
    *("SetPhaseState", "PublishContract", "PublishContracts"),
    *("ClaimFile", "ClaimFiles", "CompletePhase"),
]
WAITED = "conditions[1]"


def wait_for(**condition):
    """Return a valid condition, followed by the given one."""
    good = pb.WaitCondition(file_free=pb.FileCondition(**CLAIMED))
    return {"conditions": [good, pb.WaitCondition(**condition)]}


def bad_contract_fields():
    """Yield contracts with one invalid field, for every RPC that takes contracts."""
    for field, values in {
        "producer": ["", TOO_LONG, TOO_LONG_IN_BYTES, "a\tb", "\x7f", "\x85"],
        "kind": [0, 7, -1, 2**31 - 1],
        "name": ["", "x" * 4097, "é" * 2049],
        "signature": ["x" * (2**20 + 1), "é" * (2**19 + 1)],
        "package": ["x" * 1025],
        "status": [4, -1],
    }.items():
        for value in values:
            yield field, CONTRACT | {field: value}


def bad_ids():
    """Yield requests with an invalid ID of a phase, session or worker, for each field of one."""
    for bad in ("", TOO_LONG, TOO_LONG_IN_BYTES, "a\nb", "a\0", "\x1b[31m", "\x7f", "\x9b"):
        yield "SetPhaseState", PHASE | {"phase_id": bad}, "phase_id"
        yield "GetPhaseState", {"phase_id": bad}, "phase_id"
        yield "CompletePhase", {"phase_id": bad, "state": 5}, "phase_id"
        yield "ClaimFile", CLAIM | {"owner": bad}, "owner"
        yield "ClaimFiles", {"filepaths": ["a.go"], "owner": bad}, "owner"
        yield "ReleaseClaims", {"owner": bad}, "owner"
        yield "ListClaims", {"owner": bad}, "owner"
        yield "ListContracts", {"producer": bad}, "producer"
        yield "RenewSession", {"session_id": bad}, "session_id"
        yield "CloseSession", {"session_id": bad}, "session_id"
        yield (
            "WaitFor",
            wait_for(phase={"phase_id": bad, "states": [1]}),
            f"{WAITED}.phase.phase_id",
        )
        if not bad:
            continue  # the other fields may be empty
        yield "SetPhaseState", PHASE | {"worker": bad}, "worker"
        yield "OpenSession", GOOD["OpenSession"] | {"worker": bad}, "worker"
        yield "Watch", {"board_id": bad}, "board_id"
        yield "WaitFor", wait_for(contract={"producer": bad}), f"{WAITED}.contract.producer"
        for rpc in IN_A_SESSION:
            yield rpc, GOOD[rpc] | {"session_id": bad}, "session_id"


def bad_paths():
    for bad in ("", "x" * 4097, "é" * 2049, "a\0b"):
        yield "ClaimFile", CLAIM | {"filepath": bad}, "filepath"
        yield "GetFileOwner", {"filepath": bad}, "filepath"
        yield "ReleaseClaims", {"owner": "p", "filepaths": ["ok", bad]}, "filepaths[1]"
        yield "ClaimFiles", {"owner": "p", "filepaths": ["ok", bad]}, "filepaths[1]"
        yield "WaitFor", wait_for(file_free={"filepath": bad}), f"{WAITED}.file_free.filepath"


def bad_states():
    for number in (0, 9, 99, -1, -(2**31), 2**31 - 1):
        yield "SetPhaseState", PHASE | {"state": number}, "state"
        if number:  # 0 expects that there is no such phase
            yield "SetPhaseState", PHASE | {"expected_state": number}, "expected_state"
        yield "ListPhases", {"states": [1, number]}, "states[1]"
        states = {"phase_id": "p", "states": [1, number]}
        yield "WaitFor", wait_for(phase=states), f"{WAITED}.phase.states[1]"
        yield "CompletePhase", {"phase_id": "p", "state": number}, "state"
    for number in (1, 2, 3, 4, 7, 8):
        yield "CompletePhase", {"phase_id": "p", "state": number}, "state"


def bad_contracts():
    yield "PublishContract", {}, "contract"
    for field, contract in bad_contract_fields():
        yield "PublishContract", {"contract": pb.Contract(**contract)}, f"contract.{field}"
        batch = [pb.Contract(**CONTRACT), pb.Contract(**contract)]
        yield "PublishContracts", {"contracts": batch}, f"contracts[1].{field}"
        yield "CompletePhase", GOOD["CompletePhase"] | {"contracts": batch}, f"contracts[1].{field}"


def bad_filters_and_pages():
    for number in (7, -1):
        yield "ListContracts", {"kind": number}, "kind"
        yield "ListContracts", {"status": number}, "status"
    yield "ListContracts", {"name": "x" * 4097}, "name"
    yield "ListContracts", {"package": "x" * 1025}, "package"
    for rpc in LISTS:
        for number in (-1, -(2**31)):
            yield rpc, {"page_size": number}, "page_size"


def bad_watches_and_waits():
    for number in (-1, 1000, 2**63 - 1, -(2**63)):
        yield "Watch", {"after_revision": number}, "after_revision"
    for number in (0, 5, -1):
        yield "Watch", {"kinds": [1, number]}, "kinds[1]"
    yield "WaitFor", {}, "conditions"
    yield "WaitFor", {"conditions": wait_for(file_free=CLAIMED)["conditions"] * 51}, "conditions"
    yield "WaitFor", wait_for(), WAITED
    yield "WaitFor", wait_for(phase={"phase_id": "p"}), f"{WAITED}.phase.states"
    yield "WaitFor", wait_for(contract={}), f"{WAITED}.contract"
    yield "WaitFor", wait_for(contract={"kind": 7}), f"{WAITED}.contract.kind"
    yield "WaitFor", wait_for(contract={"name": "x" * 4097}), f"{WAITED}.contract.name"
    yield "WaitFor", wait_for(contract={"package": "x" * 1025}), f"{WAITED}.contract.package"


def bad_sessions():
    yield "OpenSession", {"worker": "w"}, "ttl"
    for seconds in (0, 0.999, -1, 24 * 3600 + 0.001, 10**9):
        yield "OpenSession", {"worker": "w", "ttl": timedelta(seconds=seconds)}, "ttl"
    for number in (3, -1):
        yield "OpenSession", GOOD["OpenSession"] | {"on_expiry": number}, "on_expiry"


BAD = [
    *bad_ids(),
    *bad_paths(),
    *bad_states(),
    *bad_contracts(),
    *bad_filters_and_pages(),
    *bad_watches_and_waits(),
    *bad_sessions(),
]


def name_of(case):
    rpc, fields, field = case
    return f"{rpc} {field} {str(fields)[:40]!r}"


@pytest.fixture(scope="module")
def untouched(grpc_stub):
    """A board that refused calls must leave unchanged."""
    return grpc_stub.OpenBoard(pb.OpenBoardRequest(board="untouched")).board.name


@pytest.mark.parametrize(("rpc", "fields", "field"), BAD, ids=map(name_of, BAD))
def test_a_bad_field_is_refused_by_its_name(grpc_stub, untouched, rpc, fields, field):
    request = make(rpc, board=untouched, **fields)
    assert set(invalid(call_of(grpc_stub, rpc), request)) == {field}
    assert grpc_stub.OpenBoard(pb.OpenBoardRequest(board=untouched)).board.revision == 0


def good():
    """Requests at the limits, which are accepted."""
    yield "SetPhaseState", {"phase_id": "x" * 256, "state": 8, "worker": "é" * 128}
    yield "SetPhaseState", {"phase_id": " ", "state": 1, "worker": ""}
    yield "ClaimFile", {"filepath": "x" * 4096, "owner": "x" * 256}
    yield "ClaimFile", {"filepath": "é" * 2048, "owner": "\u00a0"}
    yield "ClaimFile", {"filepath": "a\nb\x1b", "owner": "p"}
    largest = {
        "producer": "x" * 256,
        "kind": 6,
        "name": "é" * 2048,
        "signature": "é" * 2**19,
        "package": "x" * 1024,
        "status": 3,
    }
    yield "PublishContract", {"contract": pb.Contract(**largest)}
    yield "ListContracts", {"producer": "p", "name": "x" * 4096, "package": "", "kind": 6}
    yield "ListPhases", {"states": [1] * 10_000}
    yield "ReleaseClaims", {"owner": "p", "filepaths": ["a.go"] * 10_000}
    yield "ClaimFiles", {"owner": "p", "filepaths": ["a.go"] * 10_000}
    yield "WaitFor", {"conditions": wait_for(file_free=CLAIMED)["conditions"] * 50}
    yield "Watch", {"after_revision": 0, "kinds": [1, 2, 3, 4]}
    for seconds in (1, 24 * 3600):
        yield "OpenSession", {"worker": "", "ttl": timedelta(seconds=seconds), "on_expiry": 2}
    for rpc in LISTS:
        yield rpc, {"page_size": 2**31 - 1}


@pytest.mark.parametrize(
    ("rpc", "fields"), list(good()), ids=[f"{rpc} {' '.join(fields)}" for rpc, fields in good()]
)
def test_a_value_at_its_limit_is_accepted(grpc_stub, board, rpc, fields):
    call_of(grpc_stub, rpc)(make(rpc, board=board, **fields))


def test_every_invalid_field_is_named(grpc_stub, board):
    request = pb.SetPhaseStateRequest(board="../x", phase_id="", state=99, worker="\n")
    fields = invalid(grpc_stub.SetPhaseState, request)
    assert fields == ("board", "phase_id", "state", "worker")
    bad = pb.PublishContractRequest(board=board, contract=pb.Contract())
    assert invalid(grpc_stub.PublishContract, bad) == (
        "contract.producer",
        "contract.kind",
        "contract.name",
    )


def test_a_thousand_invalid_fields_make_an_error_that_arrives(grpc_stub, board):
    request = pb.PublishContractsRequest(board=board, contracts=[pb.Contract()] * 1000)
    fields = invalid(grpc_stub.PublishContracts, request)
    assert fields[0] == "contracts[0].producer"
    assert all(names_a_field(field, request.DESCRIPTOR) for field in fields)


def test_one_invalid_contract_refuses_the_whole_batch(grpc_stub, board):
    contracts = [pb.Contract(producer="p", kind=1, name=f"T{index}") for index in range(100)]
    contracts[57].name = ""
    request = pb.PublishContractsRequest(board=board, contracts=contracts)
    assert invalid(grpc_stub.PublishContracts, request) == ("contracts[57].name",)
    assert not grpc_stub.ListContracts(pb.ListContractsRequest(board=board)).contracts


def test_a_batch_of_more_than_ten_thousand_items_is_refused(grpc_stub, board):
    contracts = [pb.Contract(producer="p", kind=1, name="T")] * 10_001
    request = pb.PublishContractsRequest(board=board, contracts=contracts)
    assert invalid(grpc_stub.PublishContracts, request) == ("contracts",)
    paths = pb.ReleaseClaimsRequest(board=board, owner="p", filepaths=["a.go"] * 10_001)
    assert invalid(grpc_stub.ReleaseClaims, paths) == ("filepaths",)
    paths = pb.ClaimFilesRequest(board=board, owner="p", filepaths=["a.go"] * 10_001)
    assert invalid(grpc_stub.ClaimFiles, paths) == ("filepaths",)
    end = pb.CompletePhaseRequest(board=board, phase_id="p", state=5, contracts=contracts)
    assert invalid(grpc_stub.CompletePhase, end) == ("contracts",)
    states = pb.ListPhasesRequest(board=board, states=[1] * 10_001)
    assert invalid(grpc_stub.ListPhases, states) == ("states",)


def test_a_batch_of_more_than_32_mib_is_refused(grpc_stub, board):
    contracts = [
        pb.Contract(producer="p", kind=1, name=f"T{index}", signature="x" * 2**20)
        for index in range(33)
    ]
    request = pb.PublishContractsRequest(board=board, contracts=contracts)
    assert invalid(grpc_stub.PublishContracts, request) == ("request",)
    del request.contracts[30:]
    assert grpc_stub.PublishContracts(request).published == 30


def test_a_page_size_over_the_maximum_means_the_maximum(grpc_stub, board):
    contracts = [pb.Contract(producer="p", kind=1, name=f"T{n}") for n in range(10_000)]
    grpc_stub.PublishContracts(pb.PublishContractsRequest(board=board, contracts=contracts))
    more = pb.Contract(producer="p", kind=1, name="one more")
    grpc_stub.PublishContract(pb.PublishContractRequest(board=board, contract=more))
    for size, count in ((0, 1000), (1, 1), (10_000, 10_000), (10_001, 10_000)):
        reply = grpc_stub.ListContracts(pb.ListContractsRequest(board=board, page_size=size))
        assert len(reply.contracts) == count
        assert reply.next_page_token
