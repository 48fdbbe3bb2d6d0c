"""If any bit of a board file is flipped, commands and server report it or are not affected."""

import asyncio
import random
from contextlib import closing
from datetime import timedelta

import apsw
import pytest

from board_server.errors import BoardError, RevisionMismatch, StoreFull, StoreUnavailable
from board_server.model import (
    Completion,
    ContractCondition,
    ContractDraft,
    ContractFilter,
    ContractKind,
    FileCondition,
    IdempotencyKey,
    OnExpiry,
    PageRequest,
    PhaseChange,
    PhaseState,
)
from board_server.sqlite import SqliteStore
from board_server.sqlite.maintenance.backup import back_up
from board_server.sqlite.maintenance.doctor import examine, faults
from board_server.sqlite.maintenance.exclusive import MaintenanceError
from tests.faults.soak import scaled
from tests.maintenance.test_backup import BOARD, file_of

SEED = 12
MEMORY = 32 * 2**20
"""Bytes that SQLite may take for a file of some kilobytes."""

EVERYTHING = PageRequest(1000)

PARTS = scaled(1, 100)
"""Parts of a test that flips bits. Each is a test of its own, so that they can run side by side."""

in_parts = pytest.mark.parametrize("part", range(PARTS))


def key(name):
    return IdempotencyKey(name, "Method", b"digest")


async def write_everything(store):
    """Put rows of every kind into every table."""
    await store.open_board(BOARD)
    stays, _ = await store.open_session(
        BOARD, "stays", timedelta(hours=1), OnExpiry.FAIL, key("r1")
    )
    ends, _ = await store.open_session(
        BOARD, "ends", timedelta(hours=1), OnExpiry.REQUEUE, key("r2")
    )
    for number, session in enumerate([stays, ends, stays]):
        phase_id, session_id = f"phase-{number}", session.session_id
        running = PhaseChange(phase_id, PhaseState.RUNNING, "w", session_id=session_id)
        await store.set_phase_state(BOARD, running, key(f"p{number}"))
        paths = [f"{number}/ä.go", f"{number}/b.go"]
        await store.claim_files(BOARD, paths, phase_id, session_id, key(f"c{number}"))
        draft = ContractDraft(phase_id, ContractKind.TYPE, "T", 'type "T" struct{}\n', "pkg")
        await store.publish_contract(BOARD, draft, session_id, key(f"k{number}"))
    await store.close_session(BOARD, ends.session_id, key("e"))
    await store.complete_phase(BOARD, Completion("phase-0", PhaseState.DONE, [draft]), key("d"))
    await store.publish_contracts(BOARD, [draft], "", key("b"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a closed board, and of its backup, both with few free bytes."""
    directory = tmp_path_factory.mktemp("sound")

    async def write():
        store = SqliteStore(directory)
        await write_everything(store)
        await store.close()

    asyncio.run(write())
    with closing(apsw.Connection(str(file_of(directory)))) as db:
        db.execute("PRAGMA journal_mode = delete; PRAGMA page_size = 512; VACUUM").fetchall()
        db.pragma("journal_mode", "wal")
    back_up(file_of(directory), directory / "backup")
    return file_of(directory).read_bytes(), (directory / "backup").read_bytes()


def flips(size, count, part):
    """Return the bits to flip, the same each time; in the long form a part of many more."""
    bits = random.Random(SEED).sample(range(size * 8), min(size * 8, scaled(count, 1000 * count)))
    return bits[part::PARTS]


def flipped(data, bit):
    spoiled = bytearray(data)
    spoiled[bit // 8] ^= 1 << bit % 8
    return bytes(spoiled)


@in_parts
def test_every_flipped_bit_is_reported_as_a_fault_or_changes_nothing(sound, tmp_path, part):
    board = file_of(tmp_path)
    apsw.memory_high_water(True)
    for bit in flips(len(sound[0]), 300, part):
        board.write_bytes(flipped(sound[0], bit))
        result = list(examine(board))
        assert any("contents are sound" in what for what, _ in result) or result[-1].advice, bit
    assert apsw.memory_high_water() < MEMORY


@in_parts
def test_the_commands_end_with_0_or_1_whatever_bit_is_flipped(sound, command, tmp_path, part):
    board, copy, backup = file_of(tmp_path), tmp_path / "copy", tmp_path / "backup"
    restored = file_of(tmp_path / "elsewhere")
    for bit in flips(len(sound[0]), 25, part):
        board.write_bytes(flipped(sound[0], bit))
        backup.write_bytes(flipped(sound[1], bit % (len(sound[1]) * 8)))
        code, result, _ = command("doctor", "--dir", tmp_path, "--board", BOARD)
        assert (code, "✗" in result) in {(0, False), (1, True)}, (bit, result)
        backed_up, _, why = command("backup", copy, "--dir", tmp_path, "--board", BOARD)
        assert (backed_up, copy.exists()) in {(0, True), (1, False)}, (bit, result, why)
        assert code or not backed_up, (bit, result, why)
        assert backed_up or not list(faults(copy)), (bit, result, why)
        put_back, _, why = command("restore", backup, "--dir", restored.parent, "--board", BOARD)
        assert (put_back, restored.exists()) in {(0, True), (1, False)}, (bit, why)
        for path in (copy, board, restored):
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_file_that_no_server_can_have_written_is_reported_as_damaged(sound, tmp_path, bit):
    board = file_of(tmp_path)
    board.write_bytes(flipped(sound[0], 18 * 8 + bit))  # the header's write version
    assert "later file format" in " ".join(faults(board))


class Nobody:
    needed = False

    def committed(self, commit):
        pass

    def ended(self, error):
        pass


async def use(store):
    """Make a call of every method; return the errors."""
    any_contract = ContractFilter()
    draft = ContractDraft("new", ContractKind.FUNCTION, "F", "func F()", "pkg")
    calls = [
        store.get_board(BOARD),
        store.list_boards(EVERYTHING),
        store.follow(BOARD, Nobody()),
        store.list_events(BOARD, 0, 1000),
        store.get_snapshot(BOARD),
        store.snapshot_size(BOARD),
        store.list_phases(BOARD, (), EVERYTHING),
        store.list_contracts(BOARD, any_contract, EVERYTHING),
        store.list_claims(BOARD, None, EVERYTHING),
        store.list_sessions(BOARD, EVERYTHING),
        *(store.get_phase_state(BOARD, f"phase-{number}") for number in range(3)),
        *(store.get_file_owner(BOARD, f"{number}/ä.go") for number in range(3)),
        store.find(BOARD, [ContractCondition(None, None, "T", None), FileCondition("0/b.go")]),
        store.set_phase_state(BOARD, PhaseChange("phase-0", PhaseState.QUEUED), key("p0")),
        store.set_phase_state(BOARD, PhaseChange("phase-1", PhaseState.QUEUED)),
        store.publish_contracts(BOARD, [draft]),
        store.claim_files(BOARD, ["0/b.go", "new.go"], "phase-2"),
        store.complete_phase(BOARD, Completion("phase-2", PhaseState.DONE, [draft])),
        store.stats(),
        store.archive_board(BOARD, 15),
        store.get_snapshot(BOARD),
    ]
    outcomes = [await outcome(call) for call in calls]
    try:
        sessions = (await store.list_sessions(BOARD, EVERYTHING)).items
    except BoardError:
        sessions = []
    outcomes += [await outcome(store.close_session(BOARD, each.session_id)) for each in sessions]
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]


async def outcome(call):
    try:
        return await asyncio.wait_for(call, 60)
    except Exception as error:
        return error


@in_parts
async def test_a_server_of_a_damaged_file_refuses_calls_and_fails_none(sound, tmp_path, part):
    unhandled = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    board = file_of(tmp_path)
    for bit in flips(len(sound[0]), 25, part):
        board.write_bytes(flipped(sound[0], bit))
        store = SqliteStore(tmp_path)
        errors = await use(store)
        await store.close()
        assert not [error for error in errors if not isinstance(error, BoardError)], (bit, errors)
        assert not unhandled, (bit, unhandled)
        for path in tmp_path.iterdir():
            path.unlink()


IN_THIRD = "WHERE revision = 3"
THIRD = "event '3.0' cannot be read: "
HALF_A_PAIR = "'[\"' || char(92) || 'ud800\"]'"
NESTED = "replace(hex(zeroblob(9999)), '0', '[')"
DAMAGES = {
    f"UPDATE events SET record = 'no JSON' {IN_THIRD}": f"{THIRD}not JSON: 'no JSON'",
    f"UPDATE events SET record = '{{}}' {IN_THIRD}": f"{THIRD}not an array: '{{}}'",
    f"UPDATE events SET record = '[1]' {IN_THIRD}": f"{THIRD}1 values, not 6: (1,)",
    f"UPDATE events SET record = '7' {IN_THIRD}": f"{THIRD}not an array: '7'",
    f"UPDATE events SET record = '[' || hex(zeroblob(9999)) {IN_THIRD}": f"{THIRD}not JSON",
    f"UPDATE events SET record = {HALF_A_PAIR} {IN_THIRD}": f"{THIRD}not JSON",
    f"UPDATE events SET record = {NESTED} {IN_THIRD}": f"{THIRD}not JSON",
    f"UPDATE events SET record = zeroblob(9) {IN_THIRD}": f"{THIRD}not JSON",
    f"UPDATE events SET change = 'gone' {IN_THIRD}": f"{THIRD}'gone' is not in Change",
    f"UPDATE events SET cause = 'none' {IN_THIRD}": f"{THIRD}'none' is not in Cause",
    f"UPDATE events SET time = 'soon' {IN_THIRD}": f"{THIRD}'soon' is not a time",
    "UPDATE board SET posted_at = '0001-01-01T00:00:00+09:00'": "phase 'phase-0' cannot be read",
    "UPDATE board SET worker = x'ff00'": "phase 'phase-0' cannot be read: its worker is b'",
    "UPDATE board SET worker = CAST(x'41ff' AS TEXT)": "its worker is not UTF-8: b'A",
    "UPDATE contracts SET signature = CAST(x'ff' AS TEXT)": "its signature is not UTF-8",
    "UPDATE contracts SET id = -id": "contract -",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807": "the last id of contracts is 92",
    "UPDATE file_claims SET claimed_at = 'never'": "'never' is not a time",
    "UPDATE sessions SET ttl_ms = 9223372036854775807": "its ttl_ms is 9223372036854775807",
    "UPDATE sessions SET ttl_ms = 'long'": "its ttl_ms is 'long'",
    "UPDATE sessions SET on_expiry = 'stay'": "'stay' is not in OnExpiry",
    "UPDATE sessions SET opened_at = '9999-12-31 23:59:59.000000'": "its opened_at is",
    "UPDATE requests SET reply = '[]'": "reply 'r1' cannot be read: not a reply: '[]'",
    "UPDATE requests SET reply = json_array('Phase', json_array(1))": "reply 'r1' cannot be read",
    "UPDATE meta SET revision = 'many'": "its revision is 'many'",
    "UPDATE meta SET revision = 9223372036854775807": "the revision of meta is 9223372036854775807",
    "UPDATE meta SET compacted_revision = -1": "the compacted_revision of meta is -1",
    "UPDATE meta SET created_at = ''": "'' is not a time",
    "DELETE FROM meta": "meta has no row",
    "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = 'CREATE'": "the file is corrupt",
    "ALTER TABLE events RENAME COLUMN record TO words": "no such column: record",
    "DROP TABLE sessions": "refers to a row of sessions that is not there",
    "PRAGMA user_version = 99": "newer version",
}


@pytest.mark.parametrize("statement", DAMAGES)
async def test_the_damage_of_a_file_is_reported_with_its_place(sound, tmp_path, caplog, statement):
    board = file_of(tmp_path)
    board.write_bytes(sound[0])
    with closing(apsw.Connection(str(board))) as db:
        db.execute(statement).fetchall()
    assert DAMAGES[statement] in " ".join(faults(board))
    with pytest.raises(MaintenanceError):
        back_up(board, tmp_path / "copy")
    store = SqliteStore(tmp_path)
    await store.open_board("default")
    errors = await use(store)
    await store.close()
    assert {type(error) for error in errors} <= {StoreUnavailable, StoreFull, RevisionMismatch}
    logged = [record.getMessage() for record in caplog.records]
    for error in errors:
        if isinstance(error, StoreUnavailable):
            assert any(str(error) in line for line in logged)
    lasting = [line for line in logged if "is damaged" in line or "cannot be opened" in line]
    assert len(lasting) == len(set(lasting))
