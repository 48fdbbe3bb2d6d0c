"""`board token` creates, lists and revokes tokens; it prints a secret once, and stores none."""

import json
import os
import stat
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from board_server.auth.__main__ import main
from board_server.auth.token_file import BadTokens, Token, Tokens, principal_of, read, write
from board_server.principal import Role

READER = 'name = "x"\nrole = "reader"\ncertificate = "c"'


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens.toml"


class Result(NamedTuple):
    """The exit code and the output of a run."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command's main function."""

    def run(*arguments) -> Result:
        monkeypatch.setattr(sys, "argv", ["board token", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        result = capsys.readouterr()
        return Result(ended.value.code or 0, result.out, result.err)

    return run


@pytest.fixture
def create(run):
    """Make a token; return its secret."""

    def create(file, name, *arguments, role="reader") -> str:
        made = run("create", "--file", file, "--name", name, "--role", role, *arguments)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    return create


@pytest.fixture
def refused(run):
    """The one line with which a run is refused."""

    def refused(*arguments, code=2) -> str:
        result = run(*arguments)
        assert result.returncode == code
        assert result.stderr.startswith("board token: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    return refused


def test_a_token_is_printed_once_and_the_file_has_its_hash(create, file):
    secret = create(
        file, "w1", "--board", "a", "--board", "b", "--worker", 'wörk "er"', role="worker"
    )
    assert secret.startswith("board.w1.")
    assert len(secret.rpartition(".")[2]) == 43  # 256 bits
    assert secret.rpartition(".")[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    caller = read(file).by_secret(secret)
    assert (caller.name, caller.role, caller.worker) == ("w1", Role.WORKER, 'wörk "er"')
    assert caller.boards == {"a", "b"}


CHANGERS = """
import io, os, sys, traceback
from board_server.auth.__main__ import app

file, changers, owner = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
start, go = os.pipe()
# Imports all that it needs: Python itself may be out of the owner's reach.
app(["revoke", "-f", file, "first"], standalone_mode=False)

def change(number):
    if number % 2 and owner:
        os.setgid(owner)
        os.setuid(owner)
    os.read(start, 1)
    for name in "abcd":
        arguments = ["create", "-f", file, "--name", f"{name}{number}", "--role", "reader"]
        app(arguments, standalone_mode=False)
    for name in (f"old{number}", f"a{number}"):
        app(["revoke", "-f", file, name], standalone_mode=False)

for number in range(changers):
    if not os.fork():
        sys.stdout = io.StringIO()
        try:
            change(number)
        except BaseException:
            traceback.print_exc()
        os.write(1, sys.stdout.getvalue().encode())  # at once, so that lines stay whole
        os._exit(0)
os.write(go, bytes(changers))
for _ in range(changers):
    os.wait()
"""


@pytest.fixture
def directory():
    """A directory that another user can reach, unlike those below `tmp_path`."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def test_concurrent_commands_on_one_token_file_lose_no_change(directory):
    """Root and the owner at the same time, if the tests run as root."""
    changers, owner = 6, 12345 if os.geteuid() == 0 else 0
    file = directory / "tokens.toml"
    names = ["first", *(f"old{number}" for number in range(changers))]
    old = [Token(principal_of(name, "admin"), bytes(32)) for name in names]
    write(file, Tokens(old))
    if owner:
        for path in (directory, file):
            os.chown(path, owner, owner)
    command = [sys.executable, "-c", CHANGERS, file, str(changers), str(owner)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    printed = {secret.split(".")[1]: secret for secret in done.stdout.split()}
    assert len(printed) == 4 * changers
    left = read(file)
    kept = {f"{name}{number}" for name in "bcd" for number in range(changers)}
    assert {token.principal.name for token in left.tokens} == kept
    assert all(left.by_secret(printed[name]) for name in kept)


@pytest.mark.parametrize("command", ["create", "revoke"])
def test_a_path_that_is_empty_or_a_directory_is_refused_and_nothing_made(
    refused, tmp_path, monkeypatch, command
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    arguments = {"create": ("--name", "x", "--role", "reader"), "revoke": ("x",)}[command]
    for path in ("", here):
        assert f"{here} is not a regular file" in refused(command, "-f", path, *arguments, code=1)
    assert list(tmp_path.iterdir()) == [here]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_of_another_user_is_refused_with_its_owner_even_one_without_a_name(directory):
    file = directory / "tokens.toml"
    write(file, Tokens([]))
    directory.chmod(0o755)
    os.chown(file, 12345, 12345)
    script = """
import os, sys
from board_server.auth.token_file import BadTokens, locked
from pathlib import Path
try:
    Path("/").owner()  # imports what it needs
    os.setuid(23456)
    with locked(Path(sys.argv[1])):
        pass
except BadTokens as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, file], capture_output=True, text=True, check=False
    )
    assert f"{file} belongs to user 12345; run this as that user" in done.stdout, done.stderr


def test_a_lock_file_that_is_a_symbolic_link_is_refused(refused, create, file, tmp_path):
    create(file, "first")
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    lock = file.with_name(f"{file.name}.lock")
    lock.unlink()
    lock.symlink_to(victim)
    assert str(lock) in refused("revoke", "-f", file, "first", code=1)
    assert victim.read_text() == "untouched"
    assert read(file).tokens


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_file_stays_its_owners(create, file):
    create(file, "r1")
    os.chown(file, 12345, 23456)
    create(file, "r2")
    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o600)


def test_rewriting_the_token_file_keeps_its_group_permission(create, file):
    create(file, "r1")
    file.chmod(0o640)
    create(file, "r2")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize(("step", "names"), [(1, ["r1"]), (2, ["r1", "r2"])])
def test_a_crash_leaves_either_the_old_file_or_the_new_one(create, file, step, names):
    create(file, "r1")
    command = [sys.executable, "-m", "board_server.auth", "create", "--file", file]
    killed = subprocess.run(
        [*command, "--name", "r2", "--role", "reader"],
        env={**os.environ, "BOARD_CRASH_AT": f"before-directory-change:{step}"},
        check=False,
    )
    assert killed.returncode == -9
    assert [token.principal.name for token in read(file).tokens] == names


def test_writing_through_a_symbolic_link_replaces_the_file_and_not_the_link(create, file, tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    create(file, "r1")
    secret = create(link, "r2")
    assert link.is_symlink()
    assert read(file).by_secret(secret).name == "r2"


def test_tokens_are_listed_without_their_secrets(run, create, file):
    secrets = [create(file, "r1"), create(file, "w1", "--worker", "worker-1", role="worker")]
    run("create", "-f", file, "--name", "c1", "--role", "admin", "--certificate", "laptop")
    result = run("list", "-f", file).stdout
    assert result.splitlines() == [
        "r1\treader\tall boards",
        "w1\tworker\tall boards\tworker=worker-1",
        "c1\tadmin\tall boards\tcertificate=laptop",
    ]
    assert not any(secret in result for secret in secrets)


def test_a_revoked_token_is_unknown_and_the_others_stay(run, create, refused, file):
    first, second = create(file, "first"), create(file, "second")
    assert run("revoke", "-f", file, "first").returncode == 0
    assert read(file).by_secret(first) is None
    assert read(file).by_secret(second).name == "second"
    assert '"first"' in refused("revoke", "-f", file, "first", code=1)


def test_a_token_that_cannot_be_printed_is_named_and_can_be_revoked(run, file):
    create = ["create", "-f", file, "--name", "lost", "--role", "admin"]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "board_server.auth", *create],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert result.stderr.startswith(
        f'board token: {file}: the token "lost" was made, and cannot be'
    )
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert run("revoke", "-f", file, "lost").returncode == 0


def test_invalid_arguments_are_refused_and_the_file_is_not_changed(create, refused, file):
    create(file, "taken")
    before = file.read_bytes()
    base = ("create", "-f", file)
    assert '"taken"' in refused(*base, "--name", "taken", "--role", "reader")
    assert "role" in refused(*base, "--name", "x", "--role", "king")
    assert "name a token" in refused(*base, "--name", "a b", "--role", "reader")
    assert "'../x'" in refused(*base, "--name", "x", "--role", "reader", "--board", "../x")
    assert "worker" in refused(*base, "--name", "x", "--role", "admin", "--worker", "w")
    assert "printable" in refused(*base, "--name", "x", "--role", "worker", "--worker", "\udcff")
    assert file.read_bytes() == before


def test_empty_settings_are_refused(refused, file):
    """As with an unset variable in a script: the token would be for any worker."""
    base = ("create", "-f", file, "--name", "x", "--role", "worker")
    assert "--worker is empty" in refused(*base, "--worker", "")
    assert "not empty" in refused(*base, "--certificate", "")
    assert "cannot name a board" in refused(*base, "--board", "")
    assert not file.exists()


def test_the_kind_of_a_certificates_name_is_kept(run, create, file):
    for number, name in enumerate(("laptop", "dns:a.example", "uri:spiffe://a/b", "email:a@b")):
        run("create", "-f", file, "--name", f"c{number}", "--role", "reader", "--certificate", name)
    create(file, "another")
    result = [line.split("\t")[-1] for line in run("list", "-f", file).stdout.splitlines()]
    assert result == [
        *("certificate=laptop", "certificate=dns:a.example"),
        *("certificate=uri:spiffe://a/b", "certificate=email:a@b", "all boards"),
    ]


def test_a_uri_without_its_kind_is_refused_with_the_form_to_write(refused, file):
    base = ("create", "-f", file, "--name", "x", "--role", "worker")
    assert 'write "uri:spiffe://a/b"' in refused(*base, "--certificate", "spiffe://a/b")


def test_an_invalid_token_file_exits_with_1_and_not_with_2(refused, file):
    file.write_text("rubbish")
    result = refused("create", "-f", file, "--name", "x", "--role", "reader", code=1)
    assert str(file) in result
    assert file.read_text() == "rubbish"


@pytest.mark.parametrize(
    "table",
    [
        'name = "x"\nrole = "reader"',
        'name = "x"\nrole = "reader"\nhash = "abc"',
        'name = "x"\nrole = "reader"\ncertificate = "c"\nboards = []',
        'name = "x"\nrole = "reader"\ncertificate = "c"\nboards = "a"',
        'name = "x"\nrole = "reader"\ncertificate = "c"\nbords = ["a"]',
        'name = "x"\nrole = "reader"\ncertificate = ""',
        'name = "x"\nrole = "reader"\ncertificate = "dns:"',
        'name = "x"\nrole = "reader"\ncertificate = "c\\u0000.example"',
        'name = "x"\nrole = "reader"\ncertificate = "spiffe://example/x"',
        f'{READER}\nhash = ""',
        'name = "x"\nrole = "worker"\ncertificate = "c"\nworker = ""',
        'name = "x"\nrole = 7\ncertificate = "c"',
        'name = "x"\ncertificate = "c"',
        'role = "reader"\ncertificate = "c"',
        f'{READER}\n[[token]]\nname = "x"\nrole = "reader"\ncertificate = "d"',
        f'{READER}\n[[token]]\nname = "y"\nrole = "reader"\ncertificate = "c"',
    ],
)
def test_an_invalid_file_is_refused_by_name(file, table):
    file.write_text(f"[[token]]\n{table}\n")
    tomllib.loads(file.read_text())
    with pytest.raises(BadTokens, match=str(file)) as error:
        read(file)
    assert "\n" not in str(error.value)


def test_a_token_that_is_nearly_right_is_unknown(create, file):
    secret = create(file, "r1")
    tokens = read(file)
    assert tokens.by_secret(secret)
    for wrong in (
        secret[:-1],
        secret + "x",
        secret.upper(),
        f"board.r2.{secret[9:]}",
        "",
        "\udc80",
    ):
        assert tokens.by_secret(wrong) is None


def test_under_json_each_command_prints_its_result(run, file):
    made = run("create", "-f", file, "--name", "r", "--role", "reader", "--board", "b", "--json")
    assert json.loads(made.stdout)["name"] == "r"
    assert json.loads(made.stdout)["token"]
    assert json.loads(run("list", "-f", file, "--json").stdout) == [
        {"name": "r", "role": "reader", "boards": ["b"], "worker": None, "certificate": None}
    ]
    assert json.loads(run("revoke", "-f", file, "r", "--json").stdout) == {"name": "r"}


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--json"], 2, "WRONG_USAGE"),
        (["create", "--json"], 2, "WRONG_USAGE"),
        (["create", "--name", "x", "--role", "king", "--json"], 2, "BAD_INPUT"),
        (["revoke", "x", "--json"], 1, "ERROR"),
    ],
)
def test_under_json_an_error_is_an_object(run, file, arguments, code, reason):
    named = ["--file", file] if len(arguments) > 2 else []
    result = run(*arguments, *named)
    error = json.loads(result.stderr)
    assert (result.returncode, result.stdout, error["reason"]) == (code, "", reason)
