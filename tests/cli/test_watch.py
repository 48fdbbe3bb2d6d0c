"""`board watch`."""

import json
import signal

from board_client import BoardClient, Contract
from tests.cli.conftest import started
from tests.support.servers import server_process


def test_every_kind_of_event_is_a_line(board):
    with board.client.session("w1") as session:
        session.set_phase_state("p1", "running", worker="w1")
        session.claim_file("a\tb.go", "p1")
        session.publish_contract(Contract("p1", "type", "T", status="pending"))
    id_ = session.session_id
    shown = board("watch", "--after", "0", "--count", "7")
    assert [row[1:] for row in shown.rows] == [
        ["1", "call", "session_opened", f"session {id_} opened, worker w1"],
        ["2", "call", "phase", "p1 is running, worker w1"],
        ["3", "call", "claimed", "p1 claimed a\\tb.go"],
        ["4", "call", "contract", "p1 published type T, pending"],
        ["5", "session_closed", "released", "p1 released a\\tb.go"],
        ["5", "session_closed", "phase", "p1 is failed, worker w1"],
        ["5", "session_closed", "session_ended", f"session {id_} ended, worker w1"],
    ]


def test_only_the_kinds_asked_for_are_shown_as_json_lines(board):
    board.client.set_phase_state("p1", "running")
    board.client.claim_file("a.go", "p1")
    board.client.publish_contract(Contract("p1", "type", "T"))
    shown = board(
        *("watch", "--after", "0", "--count", "2", "--json"),
        *("--kind", "phase", "--kind", "claim"),
    )
    first, second = map(json.loads, shown.out.splitlines())
    assert (first["revision"], first["change"], first["cause"]) == (1, "phase", "call")
    assert first["time"].endswith("Z")
    assert first["record"]["state"] == "running"
    assert (second["change"], second["record"]["owner"]) == ("claimed", "p1")


def test_events_are_shown_as_they_happen_over_a_restart_of_the_server(tmp_path):
    directory = tmp_path / "boards"
    with server_process(directory) as server:
        with BoardClient(server.address) as client:
            client.set_phase_state("p1", "queued")
        with started("--target", server.address, "watch", "--after", "0") as watch:
            assert "p1 is queued" in watch.stdout.readline()
            server.kill()
            with (
                server_process(directory, listen=server.address),
                BoardClient(server.address) as client,
            ):
                client.set_phase_state("p2", "queued")
                assert "p2 is queued" in watch.stdout.readline()
                watch.send_signal(signal.SIGINT)
                assert (watch.wait(timeout=60), *watch.communicate()) == (130, "", "")


def test_watch_ends_when_its_reader_is_gone_even_without_events(board):
    board.client.set_phase_state("p1", "queued")
    with board.start("watch", "--after", "0") as watch:
        assert "p1 is queued" in watch.stdout.readline()
        watch.stdout.close()
        assert watch.wait(timeout=60) == 141
        assert watch.stderr.read() == ""


def test_a_future_revision_is_bad_input(board):
    for revision in ("7", "-1"):
        refused = board("watch", "--after", revision)
        assert (refused.code, refused.out) == (2, "")
        assert "after_revision" in refused.err
    refused = board("watch", "--after", str(2**63))
    assert (refused.code, refused.out) == (2, "")
    assert "--after" in refused.err


def test_a_kind_that_no_event_has_is_bad_input(board):
    refused = board("watch", "--kind", "phase", "--kind", "phases")
    assert (refused.code, refused.out) == (2, "")
    assert '"phases" is not one of' in refused.err
    assert len(refused.err.splitlines()) == 1
