"""The house stands in layers: imports run down only, and each layer knows what it may know."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("board_client", "board_server")
GENERATED = "board_client.v1"
BACKENDS = {"board_server.sqlite"}
WIRE = {"grpc", "google", "grpc_health", "grpc_reflection", "board_client"}


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


# What each module of the server may import of the server, from the bottom up.
# A module that is not named here is in no layer yet: give it one.
MAY_IMPORT = {
    "model": set(),
    "errors": {"model"},
    "store": {"errors", "model"},
    "fields": {"errors", "model"},
    "paging": set(),
    "convert": {"paging", "fields", "errors", "model"},
    "status": {"errors", "model"},
    "malformed": {"errors", "fields", "model"},
    "engine": set(),
    "reread": set(),
    "owner": set(),
    "file_lock": {"owner"},
    "config": {"engine", "model"},
    "settings": {"config", "reread"},
    "caller": set(),
    "limits": {"config", "fields", "errors"},
    "current": {"caller", "limits", "errors"},
    "arrivals": {"current", "limits", "errors"},
    "logs": {"current"},
    "tokens": {"caller", "file_lock", "owner", "reread", "fields", "model"},
    "access": {"tokens", "caller", "reread", "errors", "model"},
    "certificates": {"config", "reread"},
    "lasting": {"access", "caller", "current", "errors"},
    "listeners": {"file_lock", "errors"},
    "loopback": set(),
    "metrics": {"lasting", "errors", "model"},
    "tracing": {"current", "status", "errors"},
    "waiters": {"errors", "model"},
    "faults": set(),
    "table": set(),
    "mirror": {"table", "convert", "store", "model"},
    "feed": {
        *("mirror", "waiters", "limits", "fields"),
        *("convert", "store", "faults", "errors", "model"),
    },
    "mirrors": {"feed", "mirror", "convert", "store", "errors", "model"},
    "servicer": {
        *("mirrors", "feed", "waiters", "limits"),
        *("current", "convert", "store", "model"),
    },
    "interceptors": {
        *("access", "arrivals", "lasting", "limits", "metrics", "tracing"),
        *("caller", "current", "errors", "status", "malformed"),
    },
    "standard": {"access", "limits", "status", "errors"},
    "server": {
        *("access", "arrivals", "lasting", "limits", "metrics", "tracing"),
        *("certificates", "listeners", "loopback", "interceptors", "standard"),
        *("config", "mirrors", "feed", "servicer", "store"),
    },
}


def layers() -> list[str]:
    return [
        name
        for name in modules("board_server")
        if not under(name, *BACKENDS) and name not in {"board_server", "board_server.__main__"}
    ]


@pytest.mark.parametrize("name", layers())
def test_each_module_of_the_server_imports_what_is_below_it(name):
    layer = name.split(".")[1]
    assert layer in MAY_IMPORT, f"give {layer} its place among the layers"
    allowed = [f"board_server.{below}" for below in {layer, *MAY_IMPORT[layer]}]
    imported = {module for module in ours(name) if under(module, "board_server")}
    assert {module for module in imported if not under(module, *allowed)} == set()


def test_the_layers_have_no_cycle():
    seen = set()
    for module, below in MAY_IMPORT.items():
        assert below <= seen, f"{module} stands below what it imports"
        seen.add(module)


@pytest.mark.parametrize("name", modules("board_client"))
def test_the_client_never_imports_the_server(name):
    assert not any(under(module, "board_server") for module in IMPORTS[name])


@pytest.mark.parametrize("name", modules("board_server"))
def test_the_server_uses_nothing_of_the_client_but_its_stubs(name):
    assert all(under(m, GENERATED) for m in IMPORTS[name] if under(m, "board_client"))


@pytest.mark.parametrize("name", ["model", "errors", "store", "paging", "fields"])
def test_the_bottom_layers_import_the_standard_library_alone(name):
    assert others(f"board_server.{name}") == set()
    assert not any(under(module, "board_client") for module in IMPORTS[f"board_server.{name}"])


@pytest.mark.parametrize("name", modules(*BACKENDS))
def test_a_backend_knows_nothing_of_grpc_or_protobuf(name):
    roots = {module.partition(".")[0] for module in IMPORTS[name]}
    assert not roots & WIRE


@pytest.mark.parametrize("name", modules(*BACKENDS))
def test_a_backend_imports_the_model_the_errors_and_itself(name):
    (backend,) = (backend for backend in BACKENDS if under(name, backend))
    shared = ["model", "errors", "store", "faults", "owner", "file_lock"]
    if name.endswith(".__main__"):  # a program: it reads the server's settings
        shared += ["config", "settings"]
    allowed = (*(f"board_server.{module}" for module in shared), backend)
    assert all(under(module, *allowed) for module in ours(name))


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


@pytest.mark.parametrize("name", ["convert", "paging", "fields", "model"])
def test_conversion_is_pure(name):
    effects = {"grpc", "asyncio", "threading", "socket", "os", "logging", "time"}
    assert not IMPORTS[f"board_server.{name}"] & effects


def test_the_calls_of_the_client_are_pure():
    assert not IMPORTS["board_client.calls"] & {"grpc", "asyncio", "threading", "time"}


def test_the_clients_model_imports_the_standard_library_alone():
    assert (others("board_client.model"), ours("board_client.model")) == (set(), set())


@pytest.mark.parametrize("name", modules(*PACKAGES))
def test_no_module_is_called_by_a_name_that_says_nothing(name):
    banned = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
    assert not set(name.split(".")) & banned
