"""PublishContract, PublishContracts and ListContracts."""

from itertools import product

import pytest

from board_client.v1 import board_pb2 as pb

KINDS = [number for number in pb.ContractKind.values() if number]
STATUSES = [number for number in pb.ContractStatus.values() if number]


def contract(name, **fields):
    fields = {"producer": "p", "kind": pb.CONTRACT_KIND_FUNCTION, "signature": "func()"} | fields
    return pb.Contract(name=name, **fields)


@pytest.fixture
def publish(grpc_stub, board):
    def call(*contracts):
        if len(contracts) == 1:
            request = pb.PublishContractRequest(board=board, contract=contracts[0])
            return grpc_stub.PublishContract(request)
        request = pb.PublishContractsRequest(board=board, contracts=contracts)
        return grpc_stub.PublishContracts(request)

    return call


@pytest.fixture
def listed(grpc_stub, board):
    return lambda **where: list(
        grpc_stub.ListContracts(pb.ListContractsRequest(board=board, **where)).contracts
    )


@pytest.mark.parametrize(("kind", "status"), list(product(KINDS, STATUSES)))
def test_a_contract_of_every_kind_and_status_is_stored(publish, listed, kind, status):
    sent = contract("Open", kind=kind, status=status, package="board")
    reply = publish(sent)
    assert reply.revision == 1
    assert listed() == [reply.contract]
    assert reply.contract.id > 0
    assert reply.contract.HasField("created_at")
    for field in ("producer", "kind", "name", "signature", "package", "status"):
        assert getattr(reply.contract, field) == getattr(sent, field)


def test_an_unspecified_status_means_fulfilled(publish):
    assert publish(contract("Open")).contract.status == pb.CONTRACT_STATUS_FULFILLED


def test_the_id_and_time_of_a_write_are_ignored(publish):
    sent = contract("Open", id=77)
    sent.created_at.seconds = 2**60  # no date at all
    reply = publish(sent)
    assert reply.contract.id != 77
    assert 1_700_000_000 < reply.contract.created_at.seconds < 2**40


def test_publishing_again_keeps_id_and_time(publish):
    first = publish(contract("Open")).contract
    second = publish(contract("Open", signature="new", status=pb.CONTRACT_STATUS_DISPUTED))
    assert (second.contract.id, second.contract.created_at) == (first.id, first.created_at)
    assert (second.contract.signature, second.revision) == ("new", 2)


def test_publishing_an_equal_contract_is_the_same_answer(publish):
    assert publish(contract("Open")) == publish(contract("Open"))


def test_a_batch_counts_its_distinct_contracts(publish, listed):
    reply = publish(contract("A"), contract("B"), contract("A", signature="last"))
    assert (reply.published, reply.revision) == (2, 1)
    assert {c.name: c.signature for c in listed()} == {"A": "last", "B": "func()"}
    again = publish(contract("A", signature="last"), contract("B"))
    assert (again.published, again.revision) == (2, 1)


def test_an_empty_batch_succeeds(publish):
    reply = publish()
    assert (reply.published, reply.revision) == (0, 0)


def test_files_have_neither_signature_nor_package(publish, listed):
    publish(contract("go.mod", kind=pb.CONTRACT_KIND_FILE, signature="", package=""))
    (stored,) = listed()
    assert (stored.signature, stored.package) == ("", "")


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({}, ["A", "B", "C", "A"]),
        ({"producer": "q"}, ["A"]),
        ({"producer": "nobody"}, []),
        ({"kind": pb.CONTRACT_KIND_FILE}, ["C"]),
        ({"name": "A"}, ["A", "A"]),
        ({"package": ""}, ["A", "C"]),
        ({"package": "x"}, ["B", "A"]),
        ({"status": pb.CONTRACT_STATUS_PENDING}, ["B"]),
        ({"name": "A", "package": "x"}, ["A"]),
        ({"name": "A", "kind": pb.CONTRACT_KIND_FILE}, []),
        ({"kind": pb.CONTRACT_KIND_UNSPECIFIED, "status": 0}, ["A", "B", "C", "A"]),
    ],
    ids=str,
)
def test_the_list_keeps_to_what_matches_every_filter(publish, listed, where, names):
    publish(
        contract("A"),
        contract("B", package="x", status=pb.CONTRACT_STATUS_PENDING),
        contract("C", kind=pb.CONTRACT_KIND_FILE),
        contract("A", producer="q", package="x"),
    )
    assert [c.name for c in listed(**where)] == names


def test_a_page_of_long_signatures_fits_a_default_channel(grpc_stub, board, publish):
    for index in range(6):
        publish(contract(f"F{index}", signature="é" * 2**19))
    names, request = [], pb.ListContractsRequest(board=board)
    while True:
        reply = grpc_stub.ListContracts(request)  # the channel takes 4 MiB
        names += [c.name for c in reply.contracts]
        request.page_token = reply.next_page_token
        if not request.page_token:
            break
    assert names == [f"F{index}" for index in range(6)]


def test_a_page_of_ten_thousand_contracts_fits_a_default_channel(grpc_stub, board):
    contracts = [contract(f"F{index}", signature="x" * 250) for index in range(10_000)]
    grpc_stub.PublishContracts(pb.PublishContractsRequest(board=board, contracts=contracts))
    count, request = 0, pb.ListContractsRequest(board=board, page_size=10_000)
    while True:
        reply = grpc_stub.ListContracts(request)
        count += len(reply.contracts)
        request.page_token = reply.next_page_token
        if not request.page_token:
            break
    assert count == 10_000
