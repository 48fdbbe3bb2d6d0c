"""Imports run down only: each wing imports only those below it."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("board_client", "board_server")
GENERATED = "board_client.v1"
BACKENDS = {"board_server.sqlite"}
WIRE = {"grpc", "google", "grpc_health", "grpc_reflection", "board_client"}


WIRE_OF_VALUES = [
    f"wire.{module}"
    for module in ("enums", "lists", "page_tokens", "requests", "responses", "validation")
]


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports_of(file: Path) -> set[str]:
    """The modules that a file imports, wherever in it, by their full names."""
    found = set()
    package = name_of(file) if file.name == "__init__.py" else name_of(file).rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(above + node.module.split(".")) if node.level else node.module
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if is_module(inner) else base)
    return found


IMPORTS = {
    name_of(file): imports_of(file)
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
}


def under(name: str, *parents: str) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def modules(*parents: str) -> list[str]:
    found = [name for name in IMPORTS if under(name, *parents)]
    assert found, f"there is no {parents}"
    return found


def ours(name: str) -> set[str]:
    return {imported for imported in IMPORTS[name] if under(imported, *PACKAGES)}


def others(name: str) -> set[str]:
    """The distributions that a module imports, beyond the standard library and ourselves."""
    roots = {imported.partition(".")[0] for imported in IMPORTS[name]}
    return roots - sys.stdlib_module_names - set(PACKAGES)


ROOT_MODULES = (
    *("model", "errors", "store", "principal", "call_context", "failpoints"),
    *("announcement", "command_output"),
)

MAY_IMPORT = {
    **{module: set(ROOT_MODULES) for module in ROOT_MODULES},
    "files": {*ROOT_MODULES},
    "config": {*ROOT_MODULES, "files"},
    "sqlite": {*ROOT_MODULES, "files"},
    "wire": {*ROOT_MODULES, "files"},
    "auth": {*ROOT_MODULES, "files", "wire"},
    "telemetry": {*ROOT_MODULES, "files", "wire"},
    "watch": {*ROOT_MODULES, "files", "wire"},
    "rpc": {*ROOT_MODULES, "files", "config", "wire", "auth", "telemetry", "watch"},
}
"""What each wing of the server may import of the server, beside itself, from the bottom up."""

PROGRAMS = {"board_server.sqlite.maintenance.__main__": {"config"}}
"""What a program in a wing may import besides: it reads the server's settings."""


def wings() -> list[str]:
    return [
        name
        for name in modules("board_server")
        if name not in {"board_server", "board_server.__main__"}
    ]


@pytest.mark.parametrize("name", wings())
def test_each_wing_of_the_server_imports_what_is_below_it(name):
    wing = name.split(".")[1]
    assert wing in MAY_IMPORT, f"add {wing} to MAY_IMPORT"
    below = {wing, *MAY_IMPORT[wing], *PROGRAMS.get(name, ())}
    imported = {module for module in ours(name) if under(module, "board_server")}
    allowed = [f"board_server.{each}" for each in below]
    assert {module for module in imported if not under(module, *allowed)} == set()


def test_no_two_modules_import_each_other():
    order = TopologicalSorter({name: ours(name) - {name} for name in modules("board_server")})
    order.prepare()  # raises CycleError


@pytest.mark.parametrize("name", modules("board_client"))
def test_the_client_never_imports_the_server(name):
    assert not any(under(module, "board_server") for module in IMPORTS[name])


@pytest.mark.parametrize("name", modules("board_server"))
def test_the_server_uses_nothing_of_the_client_but_its_stubs(name):
    assert all(under(m, GENERATED) for m in IMPORTS[name] if under(m, "board_client"))


@pytest.mark.parametrize(
    "name", ["model", "errors", "store", "wire.page_tokens", "wire.validation"]
)
def test_the_bottom_layers_import_the_standard_library_alone(name):
    assert others(f"board_server.{name}") == set()
    assert not any(under(module, "board_client") for module in IMPORTS[f"board_server.{name}"])


@pytest.mark.parametrize("name", modules(*BACKENDS))
def test_a_backend_knows_nothing_of_grpc_or_protobuf(name):
    roots = {module.partition(".")[0] for module in IMPORTS[name]}
    assert not roots & WIRE


@pytest.mark.parametrize("name", modules(*PACKAGES))
def test_only_the_main_module_names_a_backend(name):
    if name != "board_server.__main__" and not under(name, *BACKENDS):
        assert not any(under(module, *BACKENDS) for module in IMPORTS[name])


def test_the_main_module_names_a_backend():
    assert any(under(module, *BACKENDS) for module in IMPORTS["board_server.__main__"])


def test_only_the_backend_imports_its_database():
    users = {name for name in IMPORTS if "apsw" in others(name) or "sqlite3" in IMPORTS[name]}
    assert users
    assert all(under(name, *BACKENDS) for name in users)


@pytest.mark.parametrize("name", ["model", *WIRE_OF_VALUES])
def test_conversion_is_pure(name):
    effects = {"grpc", "asyncio", "threading", "socket", "os", "logging", "time"}
    assert not IMPORTS[f"board_server.{name}"] & effects


def test_the_calls_of_the_client_are_pure():
    assert not IMPORTS["board_client.calls"] & {"grpc", "asyncio", "threading", "time"}


def test_the_clients_model_imports_the_standard_library_alone():
    assert (others("board_client.model"), ours("board_client.model")) == (set(), set())


@pytest.mark.parametrize("name", modules(*PACKAGES))
def test_no_module_has_a_vague_name(name):
    banned = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
    assert not set(name.split(".")) & banned
