"""A worker: runs one phase of a nebula in a repository.

It claims the files of the phase's scope, sets the phase running, writes the
files, and completes the phase with contracts for what it wrote. A worker of quasar
asks a language model for changes; this one adds a function to each file.

It works within a session: if the worker dies, the board fails its phase and releases
its claims; if the session expires, the worker stops.

BOARD_TARGET and BOARD_NAME name the board; BOARD_TLS_CA, BOARD_TOKEN and similar
variables have the credentials; BOARD_WORKER is the worker's name. Exit codes: 0, the
phase is done; 3, other phases have claimed files that it needs (standard output lists
them with their owners, as JSON) and nothing was changed; anything else, it failed.
"""

import argparse
import json
import os
import re
import signal
import sys
from pathlib import Path

from nebula import Phase, read_phase

from board_client import (
    BoardClient,
    BoardSession,
    Contract,
    ContractKind,
    FileAlreadyClaimed,
    PhaseState,
)

CONFLICT = 3


class OutOfScope(ValueError):
    """A scope with a path outside of the repository."""


class SessionLost(Exception):
    """The session expired: the board has failed the phase and released its claims."""


def main() -> int:
    """Read the arguments and run the phase."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("phase", type=Path, help="Markdown file of the phase")
    parser.add_argument("--repository", type=Path, required=True, help="directory in which to work")
    parser.add_argument("--pace", type=float, default=0, help="seconds to spend on each file")
    parser.add_argument("--ttl", type=float, default=10, help="ttl of the session, in seconds")
    options = parser.parse_args()
    phase = read_phase(options.phase)
    worker = os.environ.get("BOARD_WORKER", "")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # closes the session
    with (
        BoardClient.from_environment() as board,
        board.session(worker, options.ttl) as session,
    ):
        try:
            run_phase(phase, session, worker, options.repository.resolve(), options.pace)
        except FileAlreadyClaimed as error:
            conflicts = [{"filepath": file, "owner": owner} for file, owner in error.conflicts]
            print(json.dumps(conflicts))
            return CONFLICT
    return 0


def run_phase(
    phase: Phase, session: BoardSession, worker: str, repository: Path, pace: float
) -> None:
    """Claim, write, complete. Raises FileAlreadyClaimed before it changes anything."""
    files = files_of_scope(phase, repository)
    session.claim_files(files, owner=phase.id)
    session.set_phase_state(phase.id, PhaseState.RUNNING, worker=worker)
    given = [c.name for before in phase.depends_on for c in session.contracts_for(before)]
    contracts: list[Contract] = []
    for file in files:
        if session.lost.wait(pace):
            raise SessionLost(phase.id)
        contracts += write(phase, repository, file, given)
    session.complete_phase(phase.id, PhaseState.DONE, contracts)


def files_of_scope(phase: Phase, repository: Path) -> list[str]:
    """Return the files to claim, in byte order.

    An entry that names a file stands for that file, whether or not it exists. A directory
    (`internal/ui/`) or a pattern (`internal/board/**`) stands for the files that match now,
    or, if none does, for a new file named after the phase.
    """
    files: set[str] = set()
    for entry in phase.scope:
        directory, pattern = _directory_and_pattern(entry)
        found = [repository / directory]
        if pattern:
            found = [path for path in found[0].glob(pattern) if path.is_file()]
            found = found or [repository / directory / f"{phase.id.replace('-', '_')}.go"]
        if not all(path.resolve().is_relative_to(repository) for path in found):
            raise OutOfScope(f"{phase.id}: the scope {entry} is outside of the repository")
        files.update(path.relative_to(repository).as_posix() for path in found)
    return sorted(files)


def _directory_and_pattern(entry: str) -> tuple[str, str]:
    """Split `a/b/**` into `a/b` and `**/*`. An entry that names a file has no pattern."""
    parts = entry.split("/")
    if parts[-1] == "":
        parts[-1] = "**"
    if parts[-1] == "**":  # all files below
        parts.append("*")
    first = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    return "/".join(parts[:first]), "/".join(parts[first:])


def write(phase: Phase, repository: Path, file: str, given: list[str]) -> list[Contract]:
    """Add a function for the phase to the file; return the contracts for it."""
    path = repository / file
    path.parent.mkdir(parents=True, exist_ok=True)
    package = Path(file).parent.as_posix()
    package = "" if package == "." else package
    text = path.read_text() if path.exists() else f"package {path.parent.name or 'main'}\n"
    symbol = _camel(phase.id) + "In" + _camel(str(Path(file).with_suffix("")))
    signature = f"func {symbol}() string"
    comment = f"// {symbol}: {phase.title}.\n"
    if given:
        comment += f"// It builds on {', '.join(given)}.\n"
    text += f"\n{comment}{signature} {{ return {json.dumps(phase.id)} }}\n"
    path.write_text(text)
    lines = f"{text.count(chr(10))} lines"
    return [
        Contract(phase.id, ContractKind.FILE, file, signature=lines, package=package),
        Contract(phase.id, ContractKind.FUNCTION, symbol, signature=signature, package=package),
    ]


def _camel(text: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"\W|_", text))


if __name__ == "__main__":
    sys.exit(main())
