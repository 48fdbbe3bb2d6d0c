"""`board phase`."""


def test_a_phase_is_set_read_and_listed(board):
    done = board("phase", "set", "p1", "running", "--worker", "w1")
    assert (done.code, done.out) == (0, "p1 is running, worker w1\n")

    record = board("phase", "get", "p1", "--json").json
    assert (record["phase_id"], record["state"], record["worker"]) == ("p1", "running", "w1")
    assert record["posted_at"].endswith("Z")

    board.client.set_phase_state("p2", "human_decision")
    listed = board("phase", "list", "--state", "done", "--state", "running", "--json").json
    assert listed == [record]
    assert [row[:3] for row in board("phase", "list").rows] == [
        ["p1", "running", "w1"],
        ["p2", "human_decision", ""],
    ]


def test_a_worker_need_not_name_its_own_phase(board):
    own = {"QUASAR_TASK_ID": "p1"}
    assert board("phase", "set", "done", **own).out == "p1 is done\n"
    assert board("phase", "get", **own).out == "done\n"
    assert board("phase", "set", "done").code == 2


def test_a_phase_that_does_not_exist_has_an_empty_state(board):
    missing = board("phase", "get", "nope")
    assert (missing.code, missing.out, missing.err) == (0, "\n", "")
    assert board("--json", "phase", "get", "nope").json is None


def test_a_compare_and_set_that_does_not_match_exits_with_5_and_changes_nothing(board):
    board.client.set_phase_state("p1", "running")
    lost = board("phase", "set", "p1", "done", "--expect", "queued")
    assert (lost.code, lost.out) == (5, "")
    assert lost.err == 'board: phase "p1" is running, expected queued\n'
    assert board.client.get_phase_state("p1") == "running"


def test_a_state_that_does_not_exist_is_bad_input(board):
    wrong = board("phase", "set", "p1", "finished")
    assert wrong.code == 2
    assert wrong.err.startswith('board: state: "finished" is not one of queued, ')
    assert wrong.err.count("\n") == 1
