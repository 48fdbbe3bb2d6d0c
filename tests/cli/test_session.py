"""`board session`, and commands within a session."""

import pytest


def test_sessions_are_listed_and_closed(board):
    opened = board.client.open_session("w1", ttl=90, on_expiry="requeue")
    board.client.with_options(session_id=opened.session_id).claim_file("a.go", "p1")

    ((session_id, worker, ttl, _, then),) = board("session", "list").rows
    assert (session_id, worker, ttl, then) == (opened.session_id, "w1", "1m30s", "requeue")
    (listed,) = board("session", "list", "--json").json
    assert (listed["session_id"], listed["ttl"]) == (opened.session_id, 90.0)
    assert listed["expires_at"].endswith("Z")

    closed = board("session", "close", opened.session_id)
    assert closed.out == f"session {opened.session_id} is closed, 1 file released\n"
    assert board.client.list_sessions() == []
    assert board.client.list_claims() == []


def test_the_commands_of_a_worker_belong_to_the_session_in_its_environment(board):
    session_id = board.client.open_session("w1").session_id
    within = {"BOARD_SESSION": session_id, "QUASAR_TASK_ID": "p1"}
    assert board("claim", "a.go", **within).code == 0
    assert board("phase", "set", "running", **within).code == 0
    assert board.client.list_claims()[0].session_id == session_id
    assert board.client.get_phase("p1").session_id == session_id


def test_a_command_in_a_session_that_has_ended_exits_with_6_and_changes_nothing(board):
    session_id = board.client.open_session("w1").session_id
    board.client.close_session(session_id)
    for command in (["claim", "a.go", "--owner", "p1"], ["complete", "p1", "--create"]):
        refused = board("--in-session", session_id, *command)
        assert (refused.code, refused.out) == (6, "")
        assert refused.err == (
            f'board: session "{session_id}" has ended: its running phases were failed or '
            "queued again, and its files released\n"
        )
    assert board.client.list_claims() == []
    assert board.client.get_phase("p1") is None


@pytest.mark.parametrize("command", [["session", "open"], ["run", "--session"]])
def test_an_unknown_value_of_on_expiry_is_refused(board, command):
    refused = board(*command, "--on-expiry", "forget", *(["true"] if "run" in command else []))
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == 'board: on_expiry: "forget" is not one of fail, requeue\n'
    assert board.client.list_sessions() == []
