"""`board token`: make, list and revoke the tokens of a file. The server rereads it by itself."""

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
    digest_of,
    locked,
    named,
    new_secret,
    principal_of,
    read,
    write,
)
from board_server.files.reload import BadFile

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
)

File = Annotated[
    Path,
    typer.Option("--file", "-f", envvar="BOARD_SERVE_TOKENS", help="The file of tokens."),
]


@app.callback()
def tokens() -> None:
    """Make, list and revoke the tokens of a file. A server that runs rereads it by itself."""


@app.command()
def create(
    file: File,
    name: Annotated[str, typer.Option(help="Name of the token, for you and for the log.")],
    role: Annotated[str, typer.Option(help="reader, worker, dispatcher or admin.")],
    board: Annotated[
        list[str] | None,
        typer.Option(help="Board that it is for; may be given several times. All, if not given."),
    ] = None,
    worker: Annotated[
        str | None, typer.Option(help="The only worker's name that it may bear.")
    ] = None,
    certificate: Annotated[
        str | None,
        typer.Option(
            help="The client certificate that stands for it, instead of a token: its common name, "
            "dns:NAME, uri:NAME or email:NAME."
        ),
    ] = None,
) -> None:
    """Make a token and print it: this once, the file keeps only its hash."""
    if worker == "":
        raise _Refused("--worker is empty; leave it out for any worker")
    secret = new_secret(name) if certificate is None else ""
    with locked(file):
        known = read(file).tokens if file.exists() else []
        with _refusing():
            principal = principal_of(name, role, board or None, worker or "")
            shown = None if certificate is None else named(certificate)
            made = Token(principal, digest_of(secret) if secret else None, shown)
            kept = Tokens([*known, made])
        write(file, kept)
    if secret:
        _show(secret, file, name)


def _show(secret: str, file: Path, name: str) -> None:
    """Print a token. Raises BadTokens where it cannot be written: it is in the file then."""
    try:
        print(secret, flush=True)  # noqa: T201
    except OSError as error:
        raise BadTokens(
            f'{file}: the token "{name}" was made, and cannot be shown: {error.strerror}; '
            f"revoke it and make another"
        ) from error


@app.command("list")
def list_tokens(file: File) -> None:
    """Tell about the tokens: name, role, boards, worker, certificate; never a secret."""
    for token in read(file).tokens:
        principal = token.principal
        boards = "all boards" if principal.boards is None else ",".join(sorted(principal.boards))
        parts = [principal.name, principal.role.name.lower(), boards]
        parts += [f"worker={principal.worker}"] if principal.worker else []
        parts += [f"certificate={token.certificate}"] if token.certificate else []
        print("\t".join(parts))  # noqa: T201


@app.command()
def revoke(
    file: File, name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the token.")]
) -> None:
    """Take a token out of the file. Its watches and waits end within a second or two."""
    with locked(file):
        known = read(file).tokens
        kept = [token for token in known if token.principal.name != name]
        if len(kept) == len(known):
            raise BadTokens(f'{file}: there is no token "{name}"')
        write(file, Tokens(kept))


class _Refused(ValueError):
    """What was asked for makes no sense, whereas the file of tokens may well."""


@contextmanager
def _refusing() -> Iterator[None]:
    """Blame what was asked for, not the file, for BadTokens in a `with` block."""
    try:
        yield
    except BadTokens as error:
        raise _Refused(str(error)) from error


def main() -> None:
    """Run the command; what is wrong is one line on standard error, and a code of docs/cli.md."""
    try:
        app(prog_name="board token")
    except _Refused as error:
        _fail(error, 2)
    except BadFile as error:
        _fail(error, 1)


def _fail(why: Exception, code: int) -> NoReturn:
    print(f"board token: {why}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


if __name__ == "__main__":
    main()
