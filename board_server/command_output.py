"""What the server's commands print under `--json`, in the form of `board`'s other commands."""

import json
import sys
from typing import Annotated, Any, NoReturn

import typer

Json = Annotated[bool, typer.Option("--json", help="Print results, and errors, as JSON.")]
"""The option `--json` of a command."""


def run(app: typer.Typer, program: str) -> NoReturn:
    """Run a command of `app` and exit with its code; with 2, and an error, for wrong usage.

    Other exceptions of the command pass through.
    """
    try:
        sys.exit(app(prog_name=program, standalone_mode=not json_wanted()))
    except typer.TyperException as error:
        print_error(program, wrong_usage(error, program), "WRONG_USAGE")
        sys.exit(2)


def json_wanted() -> bool:
    """Return whether `--json` is among the options; a command line may fail before it is parsed."""
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end]


def print_json(record: object) -> None:
    """Print a result as JSON, in ASCII."""
    print(json.dumps(record, indent=2), flush=True)  # noqa: T201


def print_error(program: str, message: str, reason: str = "ERROR") -> None:
    """Print an error as one line on standard error; under `--json`, as an object.

    `reason` is a word of docs/cli.md. Only text has the name of the program.
    """
    record = {"reason": reason, "message": message, "metadata": {}}
    line = json.dumps(record) if json_wanted() else f"{program}: {message}"
    print(line, file=sys.stderr)  # noqa: T201


def wrong_usage(error: Any, program: str) -> str:
    """Return the message of a Typer error, with the command whose help to read."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else program
    return f"{error.format_message().rstrip('.')}; see `{command} --help`"
