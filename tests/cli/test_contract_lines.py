"""Reading contracts from JSON lines, without a server."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_client.cli.contract_lines import KINDS, STATUSES, read_contracts
from board_client.cli.failure import BadInput
from board_client.model import Contract

LINE = {"producer": "p", "kind": "type", "name": "n"}


def encoded(**change):
    return json.dumps(LINE | change).encode()


def problem(line):
    with pytest.raises(BadInput) as refused:
        read_contracts([encoded(), b"", line], "f.jsonl")
    (found,) = refused.value.problems
    assert (found.path, found.line) == ("f.jsonl", 3)
    return found.text


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "not JSON"),
        (b'{"producer": "\xff"}', "UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", '"producer" is missing'),
        (encoded(name=""), '"name" is missing'),
        (encoded(name=None), '"name" must be a string'),
        (encoded(signature=["s"]), '"signature" must be a string'),
        (encoded(name="\ud800"), "surrogate"),
        (encoded(kind="class"), "class"),
        (encoded(status="stale"), "stale"),
        (encoded(nmae="n"), '"nmae"'),
    ],
)
def test_a_bad_line_is_reported_with_its_number_and_what_is_wrong(line, says):
    assert says in problem(line)


def test_every_bad_line_is_reported():
    with pytest.raises(BadInput) as refused:
        read_contracts([b"{", encoded(), b"[]"], "-")
    assert [found.line for found in refused.value.problems] == [1, 3]


def test_a_line_without_a_producer_gets_the_given_phase():
    line = b'{"kind": "file", "name": "go.mod"}'
    assert read_contracts([line], "-", "p1") == [(1, Contract("p1", "file", "go.mod"))]


def test_an_empty_status_means_fulfilled():
    ((_, contract),) = read_contracts([encoded(status="")], "-")
    assert contract.status == "fulfilled"


def test_the_fields_that_the_board_assigns_to_a_contract_are_ignored():
    line = encoded(id=7, created_at="2026-02-23T05:03:45Z")
    assert read_contracts([line], "-") == [(1, Contract("p", "type", "n"))]


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAME = TEXT.filter(bool)


@given(
    st.lists(
        st.builds(
            Contract,
            NAME,
            st.sampled_from(KINDS),
            NAME,
            signature=TEXT,
            package=TEXT,
            status=st.sampled_from(STATUSES),
        )
    ),
    st.booleans(),
)
def test_contracts_written_as_json_lines_are_read_back_equal(contracts, ascii_only):
    keys = ("producer", "kind", "name", "signature", "package", "status")
    text = "".join(
        json.dumps({key: getattr(contract, key) for key in keys}, ensure_ascii=ascii_only) + "\n"
        for contract in contracts
    )
    lines = text.encode().split(b"\n")
    assert read_contracts(lines, "-") == list(enumerate(contracts, start=1))


@given(st.lists(st.binary() | st.text().map(lambda text: text.encode(errors="replace"))))
def test_any_line_is_read_or_refused_with_its_number(lines):
    result = []
    try:
        read_contracts(lines, "-")
    except BadInput as refused:
        result = refused.problems
    assert all(1 <= found.line <= len(lines) for found in result)
