"""Read the settings of `board serve`: flags, then environment, then a TOML file, then defaults.

Every field of Config is a setting, and nothing else is.
"""

import inspect
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from board_server.config.schema import BadConfig, Config, annotations, flag
from board_server.files.reload import BadFile, content

PREFIX = "BOARD_SERVE_"
"""Prefix of the environment variables; the clients use others that begin with BOARD_."""

_SHORT = {"board": "BOARD_NAME", "listen": "BOARD_LISTEN"}
"""Second environment variables of some settings."""

_SETTINGS = {field.name: field for field in fields(Config)}


_NOT_SET = (None, "")
"""Defaults that mean "not set"; no value that a user gives equals one of them."""


def _path(text: str) -> Path:
    return Path(_text(text))


def _text(text: str) -> str:
    """Refuse an empty value: an unset variable in a script would otherwise disable a check."""
    if not text.strip():
        raise typer.BadParameter("it is empty; leave it out, or give it a value")
    return text


_PARSERS: dict[Any, Callable[[str], Any]] = {
    str: _text,
    list[str]: _text,
    Path: _path,
    Path | None: _path,
}


def command(run: Callable[[Config, bool], None]) -> Callable[..., None]:
    """Turn a function into a command that has a parameter for every field of Config.

    The function is called with the Config, and whether to print it instead of serving.
    """

    def serve(**given: Any) -> None:
        """Serve the boards of a directory over gRPC until SIGTERM, SIGINT or SIGHUP."""
        print_config = given.pop("print_config")
        del given["config"], given["json"]
        _refuse_unknown("environment variable", PREFIX, _variables())
        refuse_empty()
        if given["listen"] is not None:
            given["listen"] = tuple(given["listen"])
        given = {name: value for name, value in given.items() if value is not None}
        run(Config(**given), print_config)

    parameters = [*map(_parameter, _SETTINGS.values()), _CONFIG, _PRINT_CONFIG, _JSON]
    serve.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    serve.__annotations__ = {each.name: each.annotation for each in parameters}
    return serve


def as_toml(config: Config) -> str:
    """Write a Config as a TOML file. It contains paths of secrets, never secrets."""
    lines = []
    for name in _SETTINGS:
        value = getattr(config, name)
        if value not in _NOT_SET:
            lines.append(f"{name} = {_toml(value)}\n")
    return "".join(lines)


def _toml(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    # Strings, numbers, booleans and lists of strings are written alike in JSON and TOML.
    return json.dumps(str(plain) if isinstance(plain, Path) else plain, ensure_ascii=True)


def _parameter(field: "Field[Any]") -> inspect.Parameter:
    """Make the command's parameter for a field."""
    kind, setting = annotations()[field.name]
    variable, short = PREFIX + field.name.upper(), _SHORT.get(field.name)
    # A single name is not put in a list: Typer would show the brackets.
    variables = [variable, short] if short else variable
    default = field.default
    if isinstance(default, tuple):
        kind, default = list[str], list(default)
    elif isinstance(default, Path):
        default = str(default)  # Typer parses it
    parse = _PARSERS.get(kind)
    if field.name == "directory":
        how: Any = typer.Argument(metavar="DIR", help=setting.help, envvar=variables, parser=parse)
    else:
        how = typer.Option(
            flag(field.name),
            metavar=setting.metavar,
            help=setting.help,
            envvar=variables,
            parser=parse,
        )
    return _keyword(field.name, kind, how, None if default in _NOT_SET else default)


def _keyword(name: str, kind: Any, how: Any, default: object) -> inspect.Parameter:
    annotation = Annotated[kind, how]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def read_file(ctx: typer.Context, path: Path | None) -> Path | None:
    """Use the values of a TOML file where neither flags nor environment set one."""
    if path:
        ctx.default_map = {name: _as_given(path, name, value) for name, value in _toml_of(path)}
    return path


def _toml_of(path: Path) -> list[tuple[str, object]]:
    try:
        document = tomllib.loads(content(path).decode())
    except BadFile as error:
        raise BadConfig(str(error)) from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise BadConfig(f"{path}: {error}") from error
    _refuse_unknown(f"{path}: key", "", document)
    return list(document.items())


def _as_given(path: Path, name: str, value: object) -> object:
    """Convert a value of the file to what the command line would have, for the same checks."""
    if name == "listen":
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise BadConfig(f"{path}: listen must be a list of addresses")
        return value
    if isinstance(value, str) and not value.strip():
        raise BadConfig(f"{path}: {name} is empty; leave it out, or give it a value")
    if isinstance(value, bool) != isinstance(_SETTINGS[name].default, bool) or isinstance(
        value, list | dict
    ):
        raise BadConfig(f"{path}: {name} cannot be {json.dumps(value, default=str)}")
    return value if isinstance(value, bool) else str(value)


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}


def refuse_empty() -> None:
    """Refuse variables that are set but empty; Typer would treat them as not set."""
    for name, value in os.environ.items():
        ours = name.startswith(PREFIX) or name in _SHORT.values()
        if ours and not value.strip():
            raise BadConfig(f'environment variable "{name}" is empty; unset it, or give it a value')


def _refuse_unknown(what: str, prefix: str, given: Mapping[str, object]) -> None:
    known = {prefix + (name.upper() if prefix else name) for name in _SETTINGS}
    known |= {PREFIX + "CONFIG"} if prefix else set()
    for name in given:
        if name not in known:
            raise BadConfig(f'{what} "{name}" is not a setting; `board serve --help` lists them')


_CONFIG = _keyword(
    "config",
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar=PREFIX + "CONFIG",
        is_eager=True,
        callback=read_file,
        parser=_path,
        help="TOML file of settings, named like the flags, with underscores.",
    ),
    None,
)

_PRINT_CONFIG = _keyword(
    "print_config",
    bool,
    typer.Option("--print-config", help="Print all settings as a TOML file, and exit."),
    False,
)

_JSON = _keyword(
    "json", bool, typer.Option("--json", help="Print an error of the start as JSON."), False
)
