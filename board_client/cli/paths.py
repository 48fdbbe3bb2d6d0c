"""Paths on the board: relative to the root of the repository, one for each file.

`./a`, `a//`, `x/../a` and an absolute path name one file, and two phases that write
them differently must not both claim it. Symbolic links are followed: the claim is of
the file that an editor would change. The board compares paths byte for byte.
"""

import os
import subprocess
from collections.abc import Iterable

from board_client.cli.failure import ExitCode, Failure

_FOR_HOOKS = frozenset({"GIT_DIR", "GIT_COMMON_DIR"})


def repository_paths(paths: Iterable[str]) -> list[str]:
    """Return each path as it is on the board, without repeats, in the order given.

    Raises Failure for one that is not inside the repository.
    """
    given = list(paths)
    root = _root() if given else ""
    return list(dict.fromkeys(_from_root(path, root) for path in given))


def repository_path(path: str) -> str:
    """Return a path as it is on the board. Raises Failure if it is not inside the repository."""
    return repository_paths([path])[0]


def _from_root(path: str, root: str) -> str:
    if not path:
        raise Failure("a path is empty", ExitCode.BAD_INPUT)
    real = os.path.realpath(path)
    if real == root:
        raise Failure(f"{path} is the repository itself and no file in it", ExitCode.BAD_INPUT)
    below = f"{root.removesuffix('/')}/"
    if not real.startswith(below):
        where = "" if real == os.path.normpath(path) else f" ({real})"
        raise Failure(f"{path}{where} is outside of the repository {root}", ExitCode.BAD_INPUT)
    return real.removeprefix(below)


def _root() -> str:
    """Return the root of the repository, or the working directory if there is none."""
    # Accept a repository of another user, as in a container: nothing in it is run.
    command = ["git", "-c", "safe.directory=*", "rev-parse", "--show-toplevel"]
    try:
        found = subprocess.run(command, env=_environment(), capture_output=True, check=False)
    except OSError:  # there is no git
        return os.path.realpath(".")
    if found.returncode != 0:
        return os.path.realpath(".")
    return os.path.realpath(os.fsdecode(found.stdout).removesuffix("\n"))


def _environment() -> dict[str, str]:
    """Return an environment in which git searches from the working directory upwards.

    For hooks and aliases of a linked worktree, git sets GIT_DIR, and would then take the
    working directory for the root. GIT_WORK_TREE names the root: with it, keep both.
    """
    if "GIT_WORK_TREE" in os.environ:
        return dict(os.environ)
    return {name: value for name, value in os.environ.items() if name not in _FOR_HOOKS}
