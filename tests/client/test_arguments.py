"""Arguments: paths in either form; a wrong type is refused by the argument's name."""

from pathlib import Path

import pytest

from board_client import Contract, FileFree, InvalidArgument, PhaseIn

WRONG = {
    "filepaths of one str": ("filepaths", lambda c: c.claim_files("abc", "p")),
    "filepaths of bytes": ("filepaths", lambda c: c.claim_files(b"abc", "p")),
    "filepaths of one Path": ("filepaths", lambda c: c.claim_files(Path("abc"), owner="p")),
    "no filepaths": ("filepaths", lambda c: c.claim_files(filepaths=None, owner="p")),
    "a filepath of bytes": (r"filepaths\[1\]", lambda c: c.claim_files(["a", b"b"], "p")),
    "released str": ("filepaths", lambda c: c.release_claims("p", "abc")),
    "released empty str": ("filepaths", lambda c: c.release_claims("p", "")),
    "no filepath": ("filepath", lambda c: c.claim_file(None, "p")),
    "a filepath to wait for": ("filepath", lambda c: c.wait_for(FileFree(None))),
    "contracts of one str": (r"contracts\[0\]", lambda c: c.publish_contracts("abc")),
    "no contracts": ("contracts", lambda c: c.publish_contracts(None)),
    "one contract": (
        "contracts",
        lambda c: c.complete_phase("p", contracts=Contract("p", "type", "T")),
    ),
    "a contract's name": (
        r"contracts\[0\]\.name",
        lambda c: c.publish_contracts([Contract("p", "type", 1)]),
    ),
    "states of a list": ("states", lambda c: c.list_phases(["done"])),
    "states to wait for": ("states", lambda c: c.wait_for(PhaseIn("p", ["done"]))),
    "a condition": ("conditions", lambda c: c.wait_for("p")),
    "a phase": ("phase_id", lambda c: c.set_phase_state(1, "done")),
    "a state": ("state", lambda c: c.set_phase_state("p", 1)),
    "a worker": ("worker", lambda c: c.set_phase_state("p", "done", worker=1)),
    "a revision": ("revision", lambda c: c.archive_board("1")),
    "no phase, which would list all": ("phase_id", lambda c: c.claims_for(None)),
    "contracts of no phase": ("phase_id", lambda c: c.contracts_for(None)),
    "a filter": ("package", lambda c: c.list_contracts(package=b"x")),
    "an owner": ("owner", lambda c: c.claim_file("a.go", b"p")),
    "a session": ("session_id", lambda c: c.renew_session(None)),
    "a session's worker": ("worker", lambda c: c.open_session(None)),
}


@pytest.mark.parametrize(("argument", "call"), WRONG.values(), ids=WRONG)
def test_an_argument_of_a_wrong_type_is_refused_by_its_name(client, argument, call):
    client.claim_file("held", "p")
    before = client.open_board().revision
    with pytest.raises(TypeError, match=rf"^{argument} must be .* and not \w+$"):
        call(client)
    assert client.open_board().revision == before


NOT_ON_THE_WIRE = {
    "a path that is not UTF-8": ("filepath", lambda c: c.claim_file("\udcff.go", "p")),
    "a phase ID": ("phase_id", lambda c: c.set_phase_state("\udcff", "done")),
    "a contract's name": (
        "contracts[0].name",
        lambda c: c.publish_contracts([Contract("p", "type", "\udcff")]),
    ),
    "a path to wait for": ("filepath", lambda c: c.wait_for(FileFree("\udcff"))),
    "a revision": ("revision", lambda c: c.archive_board(2**64)),
    "a revision to read from": ("after_revision", lambda c: c.events(2**64, 2**64)),
    "an infinite ttl": ("ttl", lambda c: c.open_session("w", float("inf"))),
    "a ttl that is no number": ("ttl", lambda c: c.open_session("w", float("nan"))),
}


@pytest.mark.parametrize(("field", "call"), NOT_ON_THE_WIRE.values(), ids=NOT_ON_THE_WIRE)
def test_a_value_that_no_request_can_hold_is_an_invalid_argument(client, field, call):
    with pytest.raises(InvalidArgument) as refused:
        call(client)
    assert refused.value.field == field


def test_a_path_may_be_a_path_or_its_text(client):
    client.claim_file(Path("a/b.go"), "p")
    client.claim_files([Path("c.go"), "d.go"], "p")
    assert client.claims_for("p") == ["a/b.go", "c.go", "d.go"]
    assert client.file_owner(Path("a/b.go")) == "p"
    assert client.release_claims("p", [Path("c.go")]) == 1
    client.wait_for(FileFree(Path("c.go")))


def test_files_may_come_from_a_generator(client):
    client.claim_files((f"{letter}.go" for letter in "ab"), "p")
    assert client.release_claims("p", (path for path in ())) == 0
    assert client.release_claims("p", (path for path in ["a.go"])) == 1
    assert client.claims_for("p") == ["b.go"]
