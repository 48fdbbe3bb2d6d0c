"""`board contract`."""

import json

from board_client import Contract
from tests.cli.conftest import FIXTURES

LINES = (FIXTURES / "quasar-contracts.jsonl").read_bytes()
RECORDS = [json.loads(line) for line in LINES.splitlines()]
KEYS = ("producer", "kind", "name", "signature", "package")


def test_1040_contracts_from_standard_input_are_one_transaction_and_list_back_equal(board):
    published = board("contract", "publish", "-", stdin=LINES)
    assert (published.code, published.out) == (0, "published 1,040 contracts\n")
    assert published.err == ""
    assert board.client.open_board().revision == 1

    listed = board("contract", "list", "--json").json
    assert [{key: each[key] for key in KEYS} for each in listed] == RECORDS
    assert {each["status"] for each in listed} == {"fulfilled"}
    assert [each["id"] for each in listed] == sorted(each["id"] for each in listed)

    again = "".join(json.dumps(each) + "\n" for each in listed).encode()
    assert board("contract", "publish", "-", "--json", stdin=again).json == {"published": 1040}
    assert board.client.open_board().revision == 1, "publishing the same changes nothing"

    rows = board("contract", "list").rows
    assert len(rows) == 1040
    assert all(len(row) == 6 for row in rows)
    longest = max(RECORDS, key=lambda each: len(each["signature"]))
    assert longest["signature"].replace("\n", "\\n").replace("\t", "\\t") in {
        row[5] for row in rows
    }


def test_filters_choose_what_is_listed(board):
    board.client.publish_contracts(
        [
            Contract("p1", "type", "A", package="x"),
            Contract("p1", "method", "A.Do", package="x", status="pending"),
            Contract("p2", "type", "A", package="y"),
        ]
    )

    def listed(*filters):
        return [(row[0], row[2]) for row in board("contract", "list", *filters).rows]

    assert listed("--producer", "p1") == [("p1", "A"), ("p1", "A.Do")]
    assert listed("--kind", "type", "--name", "A", "--status", "fulfilled", "--package", "y") == [
        ("p2", "A")
    ]


def test_a_bad_line_is_reported_with_file_and_number_and_nothing_is_published(board, tmp_path):
    file = tmp_path / "c.jsonl"
    good = b'{"producer": "p", "kind": "type", "name": "A"}\n'
    file.write_bytes(good + b'{"producer": "p", "kind": "typ", "name": "B", "sig": ""}\n{\n')
    refused = board("contract", "publish", file)
    assert (refused.code, refused.out) == (2, "")
    second, third = refused.err.splitlines()
    assert second.startswith(f'{file}:2: unknown key "sig"')
    assert third.startswith(f"{file}:3: not JSON")

    # A limit that only the board knows is reported with the line too.
    long_name = json.dumps({"producer": "p", "kind": "type", "name": "B" * 5000})
    file.write_bytes(good + b"\n" + long_name.encode())
    refused = board("contract", "publish", file)
    assert refused.code == 2
    assert refused.err.startswith(f"{file}:3: contracts[1].name: ")
    assert board.client.all_contracts() == []


def test_publishing_nothing_succeeds(board):
    assert board("contract", "publish", "-").out == "published 0 contracts\n"


def test_control_characters_of_a_terminal_are_shown_as_escapes(board):
    board.client.publish_contract(Contract("p", "type", "\x1b[2J", signature="a\tb\nc"))
    ((_, _, name, _, _, signature),) = board("contract", "list").rows
    assert (name, signature) == ("\\x1b[2J", "a\\tb\\nc")


def contradicting(board):
    board.client.publish_contracts(
        [
            Contract("p1", "type", "T", signature="type T int", package="x"),
            Contract("p2", "type", "T", signature="type T string", package="x"),
            Contract("p3", "type", "T", signature="type T int", package="y"),
            Contract("p4", "function", "F", signature="func F()", package="x"),
            Contract("p5", "function", "F", signature="func F()", package="x"),
        ]
    )


def test_contracts_that_contradict_each_other_are_listed_and_nothing_is_changed(board):
    contradicting(board)
    before = board.client.open_board().revision
    listed = board("contract", "conflicts")
    assert [(row[2], row[3], row[5]) for row in listed.rows] == [
        ("T", "p1", "type T int"),
        ("T", "p2", "type T string"),
    ]
    (found,) = board("contract", "conflicts", "--json").json
    assert (found["package"], found["kind"], found["name"]) == ("x", "type", "T")
    assert [each["producer"] for each in found["contracts"]] == ["p1", "p2"]
    assert board.client.open_board().revision == before


def test_ci_can_stop_at_contradictions(board):
    assert board("contract", "conflicts", "--exit-code").code == 0
    contradicting(board)
    found = board("contract", "conflicts", "--exit-code")
    assert (found.code, found.out.count("\n"), found.err) == (8, 2, "")


def test_a_contract_is_disputed_and_resolved_with_its_content_kept(board):
    contradicting(board)
    key = ("--producer", "p2", "--kind", "type", "--name", "T")
    assert board("contract", "dispute", *key).out == "type T by p2 is disputed\n"
    statuses = {c.producer: c.status for c in board.client.list_contracts(name="T")}
    assert statuses == {"p1": "fulfilled", "p2": "disputed", "p3": "fulfilled"}

    resolved = board("contract", "resolve", *key, "--json").json
    assert (resolved["status"], resolved["signature"]) == ("fulfilled", "type T string")
    (now,) = board.client.list_contracts(producer="p2")
    assert (now.signature, now.package, now.status) == ("type T string", "x", "fulfilled")


def test_a_contract_that_does_not_exist_cannot_be_disputed(board):
    missing = board("contract", "dispute", "--producer", "p", "--kind", "type", "--name", "T")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err == 'board: phase "p" has published no type "T"\n'
    assert board.client.all_contracts() == []
