"""Take a phase for a worker; of several that try at once, one gets it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from board_client.cli.failure import ExitCode, Failure
from board_client.model import FileFree, Phase, PhaseState

if TYPE_CHECKING:
    from board_client.board import Board


def take(ours: "Board", phase_id: str, worker: str, files: Sequence[str]) -> None:
    """Claim files for a phase and set it running, unless another session runs it.

    A refused claim leaves the phase as it was. Raises Failure, and what the calls raise.
    """
    with _lock(ours, phase_id) if ours.scope.session_id else nullcontext():
        phase = ours.get_phase(phase_id)
        if phase and runs_in_another_session(ours, phase):
            raise Failure(
                f"{taken(phase)}; `board wait --phase {phase_id}=done,failed` waits for its end",
                ExitCode.STATE_MISMATCH,
            )
        if files:
            ours.claim_files(files, phase_id)
        ours.set_phase_state(phase_id, PhaseState.RUNNING, worker=worker)


def runs_in_another_session(ours: "Board", phase: Phase) -> bool:
    """Return whether a phase is bound to a live session that is not the client's."""
    own = ours.scope.session_id
    return phase.state == PhaseState.RUNNING and phase.session_id not in {"", own}


def taken(phase: Phase) -> str:
    """Return who runs a phase, in words."""
    return (
        f'phase "{phase.phase_id}" is run by worker "{phase.worker}" in session '
        f'"{phase.session_id}"'
    )


@contextmanager
def _lock(ours: "Board", phase_id: str) -> Iterator[None]:
    """Hold a lock on the phase during the block.

    The board compares a phase's state but not its session. Only one owner can have a
    claim, so a claim is the lock: its path is no file's, and its owner is the session,
    so that it is released if this process dies.
    """
    from board_client.errors import BoardError, DeadlineExceeded, FileAlreadyClaimed  # noqa: PLC0415  it imports grpc

    lock, owner = f"board run --phase {phase_id}", ours.scope.session_id
    while True:
        try:
            ours.claim_file(lock, owner)
            break
        except FileAlreadyClaimed:
            try:
                ours.wait_for(FileFree(lock))
            except DeadlineExceeded as error:
                why = f'another worker has been starting phase "{phase_id}" for too long; try again'
                raise Failure(why, ExitCode.STATE_MISMATCH) from error
    try:
        yield
    finally:
        with suppress(BoardError):  # it ends with the session
            ours.release_claims(owner, [lock])
