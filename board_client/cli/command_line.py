"""How the command line is parsed: global options anywhere, hidden aliases, one way to answer."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from board_client.cli.failure import ExitCode, Failure, json_wanted
from board_client.cli.output import Answer, Stream, print_line, show
from board_client.cli.settings import Settings

HIDDEN = frozenset({"--owner", "--producer", "--in-session"})
"""Older names of options: accepted beside the name that the help shows."""

_GIVEN = "board.global-options"
"""Key in a context's meta: the global options that stand after the command."""

_BAD_VARIABLES = "board.bad-variables"
"""Key in a context's meta: the error of each global option whose variable is not valid."""

_GLOBAL = "Global options may stand before or after the command; `board --help` lists them."

# Click's classes, of whichever copy this Typer uses: newer ones bring their own.
_UsageError: Any = typer.BadParameter.__bases__[0]
_ClickException: Any = _UsageError.__bases__[0]


class _Command:
    """What every command and every group of commands has in common."""

    name: str | None
    params: list[Any]
    epilog: str | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epilog = self.epilog or _GLOBAL
        self.aliases: dict[str, list[str]] = {}
        for param in self.params:
            old = [name for name in param.opts if name in HIDDEN]
            if old and len(old) < len(param.opts):
                param.opts = [name for name in param.opts if name not in HIDDEN]
                self.aliases[param.name] = old

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's own parameters, and the global options that it does not hide."""
        own: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # the class beside it
        return [*own, *_global_options(ctx, own)] if ctx.parent else own

    def make_parser(self, ctx: Any) -> Any:
        """Return a parser that accepts the aliases too."""
        parser = super().make_parser(ctx)  # type: ignore[misc]  # as above
        for param in self.params:
            if param.name in self.aliases:
                alias = copy(param)
                alias.opts = self.aliases[param.name]
                alias.add_to_parser(parser, ctx)
        return parser

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; keep the global options apart from the command's own."""
        if not args and isinstance(self, TyperGroup) and not ctx.resilient_parsing:
            if json_wanted():
                ctx.fail("Missing command.")
            if text := ctx.get_help():  # empty if rich has printed it
                print_line(text)
            raise typer.Exit(ExitCode.BAD_INPUT)
        rest: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]  # as above
        if ctx.parent:
            own = {param.name for param in self.params}
            for param in ctx.find_root().command.params:
                if param.name not in own and param.name in ctx.params:
                    value = ctx.params.pop(param.name)
                    if ctx.get_parameter_source(param.name).name == "COMMANDLINE":
                        ctx.meta.setdefault(_GIVEN, {})[param.name] = value
        return rest


class Command(_Command, TyperCommand):
    """One command. What it returns is shown as text, or as JSON under `--json`."""

    def invoke(self, ctx: Any) -> None:
        """Run the command with all global options, and show its answer."""
        given = settings_of(ctx)
        answer = super().invoke(ctx)
        if isinstance(answer, Answer | Stream):
            show(answer, json=given.json)
        if isinstance(answer, Answer) and answer.code:
            raise typer.Exit(answer.code)


class Group(_Command, TyperGroup):
    """A command with subcommands, such as `board phase`."""


class Root(Group):
    """`board` itself. Its errors are raised, for `run` to report in one style."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            param.process_value = _keeping_bad_variable(param)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the arguments name, or complete it for the shell."""
        if "_BOARD_COMPLETE" in os.environ:
            return super().main(*args, **kwargs)
        with self.make_context("board", sys.argv[1:]) as ctx:
            return self.invoke(ctx)


def settings_of(ctx: Any) -> Settings:
    """Return the global options. One after the command overrides the same one before it.

    Raises the error of a variable that is not valid, unless an option overrides it.
    """
    root = ctx.find_root()
    for name, error in ctx.meta.get(_BAD_VARIABLES, {}).items():
        if name not in ctx.meta.get(_GIVEN, {}):
            raise error
    with ctx.scope(cleanup=False):
        root.command.callback(**{**root.params, **ctx.meta.get(_GIVEN, {})})
    given: Settings = ctx.obj
    return given


def _keeping_bad_variable(param: Any) -> Callable[[Any, Any], Any]:
    """Return the option's `process_value`, which keeps the error of a variable for later.

    An option after the command may override the variable, and is parsed later.
    """
    process = param.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        try:
            return process(ctx, value)
        except _UsageError as error:
            if ctx.get_parameter_source(param.name).name != "ENVIRONMENT":
                raise
            error.ctx, error.param = ctx, param
            ctx.meta.setdefault(_BAD_VARIABLES, {})[param.name] = error
            return param.get_default(ctx)

    return process_value


def _global_options(ctx: Any, own: Sequence[Any]) -> Iterator[Any]:
    """Yield the global options for a command, without names that it uses itself."""
    names = {param.name for param in own}
    options = {option for param in own for option in param.opts}
    root = ctx.find_root().command
    for param in root.params:
        option = copy(param)
        spellings = (*param.opts, *root.aliases.get(param.name, ()))
        option.opts = [each for each in spellings if each not in options]
        option.hidden = param.name != "json"
        option.envvar = None  # the root's option has read it
        if option.opts and param.name not in names and not param.is_eager:
            yield option


def run(app: typer.Typer) -> int:
    """Run the command line; return its exit code. Raises Failure, and OSError."""
    try:
        app()
    except typer.Exit as ended:
        return ended.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except _ClickException as error:
        raise _wrong_usage(error) from error
    return ExitCode.OK


def _wrong_usage(error: Any) -> Failure:
    if hasattr(error, "possibilities"):  # of an option that does not exist
        error.possibilities = [each for each in error.possibilities or () if each not in HIDDEN]
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "board"
    return Failure(f"{message}; see `{command} --help`", ExitCode.BAD_INPUT, "WRONG_USAGE")
