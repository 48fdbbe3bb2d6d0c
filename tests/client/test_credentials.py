"""What a client shows a server: read from files, and read again when they change."""

import pytest

from board_client import BadCredentials, Credentials


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "token"


def put(file, text):
    """Exchange a file as tools do: at once, by another one."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


def test_a_token_file_that_changes_is_read_again(file):
    put(file, "first\n")
    shown = Credentials(token_file=file).bearer()
    assert shown() == bearer("first")
    put(file, "second\n")
    assert shown() == bearer("second")


@pytest.mark.parametrize("spoil", ["", "two words", None])
def test_the_last_token_stands_while_the_file_holds_none(file, spoil):
    put(file, "first")
    shown = Credentials(token_file=file).bearer()
    shown()
    if spoil is None:
        file.unlink()
    else:
        put(file, spoil)
    assert shown() == bearer("first")
    put(file, "second")
    assert shown() == bearer("second")


@pytest.mark.parametrize("content", ["", "two words", None])
def test_a_file_that_holds_no_token_from_the_first_is_refused(file, content):
    if content is not None:
        file.write_text(content)
    with pytest.raises(BadCredentials, match=str(file)):
        Credentials(token_file=file).checked("127.0.0.1:7447")


def test_a_token_never_shows_in_a_record():
    assert "secret" not in repr(Credentials(token="secret"))
