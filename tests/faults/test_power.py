"""The power fails at any moment: acknowledged writes survive, others happened wholly or not."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field

import apsw
import pytest

from board_server.errors import BoardError
from board_server.model import PageRequest
from board_server.sqlite import SqliteStore, checkpoints
from tests.faults.forgetful import ForgetfulDisk
from tests.faults.program import assert_sound
from tests.faults.soak import scaled

BOARD = "nebula"
WRITERS = 3
CLAIMS = 40
"""Writes of each writer."""

OPERATIONS = 400
"""The power fails within this many writes and syncs, before the last one."""


@pytest.fixture
def disk(monkeypatch):
    # Checkpoint often, so that the log is reused from its beginning.
    monkeypatch.setattr(checkpoints, "LONG", 20)
    before = apsw.vfs_names()[0]
    disk = ForgetfulDisk()
    yield disk
    apsw.set_default_vfs(before)
    disk.unregister()


@dataclass
class Outage:
    """The writes acknowledged before the power failure, and what was found after it."""

    acknowledged: set[str] = field(default_factory=set)
    promised: set[str] | None = None
    found: set[str] = field(default_factory=set)


async def write_until_the_power_fails(tmp_path, disk, seed, synchronous="full"):
    chance = random.Random(seed)
    outage = Outage()
    left = tmp_path / f"left {seed}"
    left.mkdir()

    def fails():
        outage.promised = outage.acknowledged.copy()
        disk.leave(left, chance)

    async def write(writer):
        for number in range(CLAIMS):
            name = f"{writer}/{number}"
            await store.claim_files(BOARD, [f"{name}/a", f"{name}/b"], writer)
            outage.acknowledged.add(name)

    store = SqliteStore(tmp_path / f"{seed}", synchronous=synchronous)
    await store.open_board(BOARD)
    disk.fail_after(chance.randrange(1, OPERATIONS), fails)
    await asyncio.gather(*(write(f"w{n}") for n in range(WRITERS)))
    await store.close()
    assert outage.promised is not None, "the disk had not so much to do"

    after = SqliteStore(left)
    await after.open_board(BOARD)
    claims = (await after.list_claims(BOARD, None, PageRequest(10_000))).items
    await after.close()
    files = {claim.filepath for claim in claims}
    outage.found = {file.rpartition("/")[0] for file in files}
    assert files == {f"{name}/{part}" for name in outage.found for part in "ab"}, "half a write"
    assert_sound(left, BOARD)
    return outage


@pytest.mark.parametrize("seed", range(scaled(10, 1000)))
async def test_acknowledged_writes_survive_a_loss_of_power(tmp_path, disk, seed):
    outage = await write_until_the_power_fails(tmp_path, disk, seed)
    assert outage.promised <= outage.found


async def test_with_synchronous_normal_the_last_writes_are_lost_and_the_file_is_sound(
    tmp_path, disk
):
    """As `--synchronous normal` says; it also shows that this disk loses unsynced writes."""
    lost = 0
    for seed in range(10):
        with suppress(BoardError):
            outage = await write_until_the_power_fails(tmp_path, disk, seed, "normal")
            lost += bool(outage.promised - outage.found)
    assert lost
