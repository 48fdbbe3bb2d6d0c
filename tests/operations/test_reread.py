"""Files that are read again when they change."""

import pytest

from board_server.reread import BadFile, Reread


class Files:
    """A file, and what befalls those who read it."""

    def __init__(self, path) -> None:
        self.path = path
        self.error: Exception | None = None

    def read(self) -> str:
        if self.error:
            raise self.error
        return self.path.read_text()


@pytest.fixture
def files(tmp_path):
    files = Files(tmp_path / "file")
    files.path.write_text("first")
    return files


def test_what_cannot_be_read_stands_as_it_was_until_it_can(files, caplog):
    reread = Reread([files.path], files.read)
    files.path.write_text("second")
    files.error = BadFile("file: Permission denied")
    for _ in range(3):
        assert reread.current() == "first"
    assert caplog.messages == ["file: Permission denied; what it said before stands"]
    files.error = None  # which leaves no trace in the file: neither its time nor its size
    assert reread.current() == "second"
