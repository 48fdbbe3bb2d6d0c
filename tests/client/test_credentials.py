"""Credentials: read from files, and read again when these change."""

import os

import pytest

from board_client import BadCredentials, Credentials
from board_client.regular_file import LARGEST


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "token"


def put(file, text):
    """Replace a file atomically, as tools do."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


def test_a_token_file_that_changes_is_read_again(file):
    put(file, "first\n")
    shown = Credentials(token_file=file).bearer()
    assert shown() == bearer("first")
    put(file, "second\n")
    assert shown() == bearer("second")


def test_a_token_that_is_replaced_within_a_tick_of_the_clock_is_read(file):
    file.write_text("first")
    shown = Credentials(token_file=file).bearer()
    shown()
    found = file.stat()
    file.write_text("other")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert shown() == bearer("other")


@pytest.mark.parametrize("spoil", ["", "two words", None])
def test_the_last_token_is_used_while_the_file_has_none(file, spoil):
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
def test_a_token_file_without_a_token_is_refused_at_first(file, content):
    if content is not None:
        file.write_text(content)
    with pytest.raises(BadCredentials, match=str(file)):
        Credentials(token_file=file).checked("127.0.0.1:7447")


@pytest.mark.parametrize("name", ["ca", "cert", "token_file"])
@pytest.mark.parametrize("kind", ["FIFO", "device", "too large"])
def test_a_file_without_an_end_is_refused(file, name, kind):
    if kind == "FIFO":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.touch()
        os.truncate(file, LARGEST + 1)
    key = {"key": file} if name == "cert" else {}
    with pytest.raises(BadCredentials, match=str(file)):
        Credentials(**{name: file}, **key).checked("127.0.0.1:7447")


def test_the_last_token_is_used_while_a_fifo_replaces_its_file(file):
    put(file, "first")
    shown = Credentials(token_file=file).bearer()
    shown()
    file.unlink()
    os.mkfifo(file)
    assert shown() == bearer("first")


def test_files_may_be_given_as_text_or_as_paths(tmp_path):
    names = ("ca", "cert", "key", "token_file")
    texts = {name: str(tmp_path / name) for name in names}
    paths = {name: tmp_path / name for name in names}
    assert Credentials(**texts) == Credentials(**paths)
    assert Credentials(**texts).ca == tmp_path / "ca"


def test_a_token_file_may_be_given_as_text(file):
    put(file, "secret")
    assert Credentials(token_file=str(file)).checked("127.0.0.1:7447").bearer()() == bearer(
        "secret"
    )


@pytest.mark.parametrize(
    "wrong", [{"ca": b"ca"}, {"token_file": 5}, {"key": True}, {"token": None}]
)
def test_a_credential_of_a_wrong_type_is_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(TypeError, match=f"^{name} must be"):
        Credentials(**wrong)


@pytest.mark.parametrize("name", ["ca", "cert", "key", "token_file"])
def test_a_file_that_does_not_exist_is_reported_with_its_argument(tmp_path, name):
    missing, present = tmp_path / "none", tmp_path / "there"
    present.touch()
    pair = {"cert": present, "key": present} if name in {"cert", "key"} else {}
    with pytest.raises(BadCredentials) as caught:
        Credentials(**pair | {name: missing}).checked("127.0.0.1:7447")
    assert caught.value.fields == (name,)
    assert f"{missing}: No such file" in str(caught.value)
    assert f"Credentials({name}=...)" in str(caught.value)


def test_no_log_record_has_a_token():
    assert "secret" not in repr(Credentials(token="secret"))
