"""Paths as the board has them: from the root of the repository, one for each file.

`./a`, `a//`, `x/../a` and an absolute path name one file, and two phases that write
them differently must not both have it. Symbolic links are followed: what is claimed
is the file that an editor would change, whatever name it was opened by. The board
itself compares paths byte for byte.
"""

import os
import subprocess
from collections.abc import Iterable

from board_client.cli.failure import ExitCode, Failure

_FOR_HOOKS = frozenset({"GIT_DIR", "GIT_COMMON_DIR"})


def repository_paths(paths: Iterable[str]) -> list[str]:
    """Return each path as the board has it, without repeats, in the order given.

    Raises Failure for one that is not inside the repository.
    """
    given = list(paths)
    root = _root() if given else ""
    return list(dict.fromkeys(_from_root(path, root) for path in given))


def repository_path(path: str) -> str:
    """Return a path as the board has it. Raises Failure if it is not inside the repository."""
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
    """Return the root of the repository; the working directory where there is none."""
    # A repository of another user's, as in a container, is one too: nothing of it is run.
    command = ["git", "-c", "safe.directory=*", "rev-parse", "--show-toplevel"]
    try:
        found = subprocess.run(command, env=_environment(), capture_output=True, check=False)
    except OSError:  # there is no git
        return os.path.realpath(".")
    if found.returncode != 0:
        return os.path.realpath(".")
    return os.path.realpath(os.fsdecode(found.stdout).removesuffix("\n"))


def _environment() -> dict[str, str]:
    """Return our environment, for git to look for the repository from the working directory up.

    Git sets GIT_DIR for the hooks and aliases of a linked worktree, and then takes the
    working directory for the root. With GIT_WORK_TREE, which names the root, both count.
    """
    if "GIT_WORK_TREE" in os.environ:
        return dict(os.environ)
    return {name: value for name, value in os.environ.items() if name not in _FOR_HOOKS}
