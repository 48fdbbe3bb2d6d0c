"""Files that are read again when they change."""

import os
import threading

import pytest

from board_server.files import reload as reread_module
from board_server.files.reload import LARGEST, BadFile, Reloader, content


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "file"
    file.write_text("first")
    return file


def text(data: bytes) -> str:
    if data == b"rubbish":
        raise BadFile("file: makes no sense")
    return data.decode()


def test_a_file_that_cannot_be_read_keeps_its_last_value_until_it_can(file, caplog):
    reread = Reloader([file], text)
    away = file.rename(file.with_name("away"))
    away.write_text("second")
    for _ in range(3):
        assert reread.current() == "first"
    assert caplog.messages == [
        f"{file}: No such file or directory; its last usable contents stay in effect"
    ]
    away.rename(file)
    assert reread.current() == "second"


def test_invalid_contents_are_logged_once_and_ignored(file, caplog):
    reread = Reloader([file], text)
    file.write_text("rubbish")
    for _ in range(3):
        assert reread.current() == "first"
    assert caplog.messages == ["file: makes no sense; its last usable contents stay in effect"]
    file.write_text("first")
    assert reread.current() == "first"


def test_a_change_that_only_the_content_shows_is_detected(file):
    """Two changes within one tick of the file system's clock have the same timestamp."""
    before = file.stat()
    reread = Reloader([file], text)
    file.write_text("other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (
        *(after.st_ino, after.st_size, after.st_mtime_ns),
    )
    assert reread.current() == "other"


def test_a_fifo_in_place_of_a_file_is_refused_at_once(file, caplog):
    reread = Reloader([file], text)
    file.unlink()
    os.mkfifo(file)
    assert reread.current() == "first"
    assert f"{file} is not a regular file" in caplog.text


@pytest.mark.parametrize("path", ["/", "/dev/zero", "/dev/null"])
def test_a_file_that_is_not_regular_is_refused(path):
    with pytest.raises(BadFile, match=path):
        content(path)


def test_a_file_that_is_too_large_is_refused(file):
    os.truncate(file, LARGEST)
    assert len(content(file)) == LARGEST
    os.truncate(file, LARGEST + 1)
    with pytest.raises(BadFile, match=f"more than {LARGEST} bytes"):
        content(file)


async def test_files_that_are_not_read_in_time_hold_nobody_up_for_long(file, monkeypatch):
    monkeypatch.setattr(reread_module, "READ_TIMEOUT", 0.01)
    answers = threading.Event()

    def slow(data: bytes) -> str:
        assert data == b"first" or answers.wait(60)
        return data.decode()

    reread = Reloader([file], slow)
    file.write_text("second")
    assert [await reread.fresh() for _ in range(100)] == ["first"] * 100
    answers.set()
    monkeypatch.setattr(reread_module, "READ_TIMEOUT", 60)
    while await reread.fresh() == "first":
        pass
    assert reread.latest == "second"


async def test_an_idle_reader_thread_ends_and_the_files_are_read_again_all_the_same(
    file, monkeypatch
):
    monkeypatch.setattr(reread_module, "IDLE", 0.01)
    reread = Reloader([file], text)
    for said in ("second", "third"):
        before = set(threading.enumerate())
        file.write_text(said)
        assert await reread.fresh() == said
        for thread in set(threading.enumerate()) - before:
            thread.join(timeout=30)
            assert not thread.is_alive()
