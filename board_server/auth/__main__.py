"""`board token`: make, list and revoke the tokens in a file, which the server rereads."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from board_server.auth.token_file import (
    BadTokens,
    Token,
    Tokens,
    certificate_name,
    digest_of,
    locked,
    new_secret,
    principal_of,
    read,
    write,
)
from board_server.command_output import Json, json_wanted, print_error, print_json, run
from board_server.files.reload import BadFile

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
)

File = Annotated[
    Path,
    typer.Option("--file", "-f", envvar="BOARD_SERVE_TOKENS", help="Token file."),
]


@app.callback()
def tokens(json: Json = False) -> None:
    """Make, list and revoke the tokens in a file. A running server rereads the file."""


@app.command()
def create(
    file: File,
    name: Annotated[str, typer.Option(help="Name of the token, as the log shows it.")],
    role: Annotated[str, typer.Option(help="reader, worker, dispatcher or admin.")],
    board: Annotated[
        list[str] | None,
        typer.Option(
            help="Allow this board only; may be given several times. Default: all boards."
        ),
    ] = None,
    worker: Annotated[
        str | None, typer.Option(help="Allow this worker's name only. Default: any worker.")
    ] = None,
    certificate: Annotated[
        str | None,
        typer.Option(
            help="Accept a client certificate with this name instead of a token: a common name, "
            "dns:NAME, uri:NAME or email:NAME."
        ),
    ] = None,
    json: Json = False,  # noqa: ARG001  json_wanted() looks for it
) -> None:
    """Make a token and print it. It is printed once: the file keeps only its hash."""
    if worker == "":
        raise _Refused("--worker is empty; leave it out for any worker")
    secret = new_secret(name) if certificate is None else ""
    with locked(file):
        known = read(file).tokens if file.exists() else []
        with _refusing():
            principal = principal_of(name, role, board or None, worker or "")
            shown = None if certificate is None else certificate_name(certificate)
            made = Token(principal, digest_of(secret) if secret else None, shown)
            kept = Tokens([*known, made])
        write(file, kept)
    _show(secret, file, name)


def _show(secret: str, file: Path, name: str) -> None:
    """Print a token that is already in the file; for a certificate there is none.

    Raises BadTokens if it cannot be printed.
    """
    try:
        if json_wanted():
            print_json({"name": name, "token": secret or None})
        elif secret:
            print(secret, flush=True)  # noqa: T201
    except OSError as error:
        # Python would try to write the token again when it exits, and exit with 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise BadTokens(
            f'{file}: the token "{name}" was made, and cannot be printed: {error.strerror}; '
            f"revoke it and make another"
        ) from error


@app.command("list")
def list_tokens(file: File, json: Json = False) -> None:  # noqa: ARG001  likewise
    """List the tokens: name, role, boards, worker, certificate; never a secret."""
    found = read(file).tokens
    if json_wanted():
        print_json([_record(token) for token in found])
        return
    for token in found:
        principal = token.principal
        boards = "all boards" if principal.boards is None else ",".join(sorted(principal.boards))
        parts = [principal.name, principal.role.name.lower(), boards]
        parts += [f"worker={principal.worker}"] if principal.worker else []
        parts += [f"certificate={token.certificate}"] if token.certificate else []
        print("\t".join(parts))  # noqa: T201


@app.command()
def revoke(
    file: File,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the token.")],
    json: Json = False,  # noqa: ARG001  likewise
) -> None:
    """Remove a token from the file. Its watches and waits end within two seconds."""
    with locked(file):
        known = read(file).tokens
        kept = [token for token in known if token.principal.name != name]
        if len(kept) == len(known):
            raise BadTokens(f'{file}: there is no token "{name}"')
        write(file, Tokens(kept))
    if json_wanted():
        print_json({"name": name})


def _record(token: Token) -> dict[str, object]:
    principal = token.principal
    return {
        "name": principal.name,
        "role": principal.role.name.lower(),
        "boards": None if principal.boards is None else sorted(principal.boards),
        "worker": principal.worker or None,
        "certificate": token.certificate,
    }


class _Refused(ValueError):
    """The arguments are wrong, not the token file."""


@contextmanager
def _refusing() -> Iterator[None]:
    """Raise _Refused in place of BadTokens in a `with` block: the arguments are at fault."""
    try:
        yield
    except BadTokens as error:
        raise _Refused(str(error)) from error


def main() -> None:
    """Run the command. An error is one line on standard error, with an exit code of docs/cli.md."""
    try:
        run(app, "board token")
    except _Refused as error:
        _fail(str(error), 2, "BAD_INPUT")
    except BadFile as error:
        _fail(str(error), 1, "ERROR")


def _fail(why: str, code: int, reason: str) -> NoReturn:
    print_error("board token", why, reason)
    sys.exit(code)


if __name__ == "__main__":
    main()
