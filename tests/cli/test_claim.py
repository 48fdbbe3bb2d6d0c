"""`board claim`, `release`, `owner` and `claims`."""


def test_files_are_claimed_read_back_and_released(board):
    assert board("claim", "b", "a", "a", "--owner", "p1").out == "p1 has 2 files\n"
    assert board("owner", "a").out == "p1\n"
    assert [row[:2] for row in board("claims").rows] == [["a", "p1"], ["b", "p1"]]
    assert board("release", "a", "other", "--owner", "p1").out == "p1 released 1 file\n"
    assert board("release", "--owner", "p1", "--json").json == {"released": 1}


def test_a_refused_claim_exits_with_3_names_each_owner_and_claims_nothing(board):
    board.client.claim_file("taken", "p1")
    board.client.claim_file("gone", "p3")
    board.client.claim_file("mine", "p2")
    held = board.client.list_claims()
    refused = board("claim", "mine", "new", "taken", "later", "gone", "--owner", "p2")
    assert (refused.code, refused.out) == (3, "")
    assert refused.err == (
        'board: file already claimed by another phase: "taken" owned by "p1"\n'
        'board: file already claimed by another phase: "gone" owned by "p3"\n'
    )
    assert board.client.list_claims() == held


def test_several_files_are_claimed_at_one_revision(board):
    before = board.client.open_board().revision
    board("claim", "a", "b", "c", "--owner", "p1")
    assert board.client.open_board().revision == before + 1


def test_a_worker_claims_and_releases_for_its_own_phase(board):
    own = {"QUASAR_TASK_ID": "p1"}
    board.client.claim_file("theirs", "p2")
    assert board("claim", "mine", **own).out == "p1 has 1 file\n"
    assert [row[0] for row in board("claims", **own).rows] == ["mine"]
    assert [row[0] for row in board("claims", "--all", **own).rows] == ["mine", "theirs"]
    assert board("release", **own).out == "p1 released 1 file\n"


def test_a_claim_without_an_owner_is_wrong_usage(unopened):
    assert unopened("claim", "a").code == 2


def test_an_unclaimed_file_has_an_empty_owner(board):
    free = board("owner", "nobody/has.it")
    assert (free.code, free.out, free.err) == (0, "\n", "")
    assert board("owner", "nobody/has.it", "--json").json == {"owner": ""}
