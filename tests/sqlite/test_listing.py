"""Lists of the boards of a directory: their cost, and what they must not delay."""

import asyncio
import os
import threading
from collections import Counter

import pytest

from board_server.model import PageRequest
from board_server.sqlite import SqliteStore, directory
from tests.conformance.events import PATIENCE


@pytest.fixture
async def store(tmp_path):
    opened = SqliteStore(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def scans(monkeypatch):
    """Count how often a directory is read."""
    counted = Counter()
    scan = os.scandir

    def scandir(path):
        counted["scans"] += 1
        return scan(path)

    monkeypatch.setattr(directory.os, "scandir", scandir)
    return counted


async def names(store, page=None, among=None):
    listed = await store.list_boards(page or PageRequest(1000), among)
    return [info.name for info in listed.items]


async def test_a_list_of_many_pages_reads_the_directory_once(store, scans, monkeypatch):
    monkeypatch.setattr(directory, "REFRESH_INTERVAL", PATIENCE)
    for number in range(20):
        await store.open_board(f"b{number:02}")
    found, after = [], None
    while True:
        page = await store.list_boards(PageRequest(3, after))
        found += [info.name for info in page.items]
        after = page.next
        if after is None:
            break
    assert found == [f"b{number:02}" for number in range(20)]
    assert scans["scans"] == 1


async def test_a_board_is_listed_as_soon_as_it_is_opened(store, monkeypatch):
    monkeypatch.setattr(directory, "REFRESH_INTERVAL", PATIENCE)
    for number in (2, 3, 1):
        await store.open_board(f"b{number}")
        assert f"b{number}" in await names(store)
    assert await names(store) == ["b1", "b2", "b3"]


async def test_a_board_file_that_another_program_adds_or_removes_is_noticed(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(directory, "REFRESH_INTERVAL", 0)
    assert await names(store) == []
    other = SqliteStore(tmp_path)
    await other.open_board("a")
    await other.close()
    assert await names(store) == ["a"]
    (tmp_path / "a.board.db").unlink()
    assert await names(store) == []


async def test_a_directory_that_has_not_changed_is_not_read_again(
    store, scans, monkeypatch, tmp_path
):
    monkeypatch.setattr(directory, "REFRESH_INTERVAL", 0)
    await store.open_board("a")
    hour_ago = tmp_path.stat().st_mtime - 3600
    os.utime(tmp_path, (hour_ago, hour_ago))
    for _ in range(5):
        assert await names(store) == ["a"]
    assert scans["scans"] == 1


async def test_listing_the_boards_of_a_bound_token_reads_no_other_board(store, scans):
    for board in ("a", "b", "c"):
        await store.open_board(board)
    assert await names(store, among=["c", "a", "none"]) == ["a", "c"]
    assert scans["scans"] == 0


async def test_a_board_is_opened_while_long_lists_are_made(store, monkeypatch):
    go_on = threading.Event()
    begun = threading.Event()

    def read(_self):
        begun.set()
        assert go_on.wait(PATIENCE)

    monkeypatch.setattr(directory.Directory, "_read", read)
    lists = [asyncio.ensure_future(names(store)) for _ in range(30)]
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        assert (await store.open_board("a")).revision == 0
    assert not any(each.done() for each in lists)
    go_on.set()
    assert (await asyncio.gather(*lists))[-1] == ["a"]


async def test_a_file_that_is_not_a_board_is_logged_once_until_it_changes(store, tmp_path, caplog):
    file = tmp_path / "notes.board.db"
    file.write_text("no board")
    for _ in range(3):
        assert await names(store) == []
    assert len(caplog.records) == 1
    assert str(file) in caplog.text
    file.write_text("no board either")
    for _ in range(3):
        assert await names(store) == []
    assert len(caplog.records) == 2
