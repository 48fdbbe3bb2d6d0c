"""A small dispatcher in Python, for machines without Go; see also go/examples/dispatcher."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from nebula import BadNebula, Nebula, Phase, read_nebula
from worker import CONFLICT

from board_client import AsyncBoardClient, Credentials, FileFree, PhaseIn, PhaseState

WORKER = Path(__file__).with_name("worker.py")
MAX_CONDITIONS = 100
"""The most conditions that one WaitFor call accepts."""
DAY = 24 * 60 * 60.0
"""The longest that the dispatcher waits for a condition, in seconds."""


class Dispatcher:
    """Runs the phases of one nebula, each in a worker process, several concurrently."""

    def __init__(self, board: AsyncBoardClient, options: argparse.Namespace) -> None:
        self._board = board
        self._patient = board.with_options(timeout=DAY)
        self._options = options
        self._idle = [f"worker-{number}" for number in range(options.workers, 0, -1)]
        self._slots = asyncio.Semaphore(options.workers)

    async def run(self, nebula: Nebula) -> bool:
        """Run every phase whose dependencies get done; return whether all phases are done."""
        for phase in nebula.phases:
            await self._reset(phase.id)
        runs: dict[str, asyncio.Task[bool]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for phase in nebula.phases:
                    before = [runs[phase_id] for phase_id in phase.depends_on]
                    runs[phase.id] = group.create_task(self._run_phase(phase, before))
        except asyncio.CancelledError:
            for phase_id, run in runs.items():
                if run.cancelled():
                    await self._reset(phase_id)
            raise
        return all(run.result() for run in runs.values())

    async def _run_phase(self, phase: Phase, before: list[asyncio.Task[bool]]) -> bool:
        if not all(await asyncio.gather(*before)):
            return False  # the phase stays queued
        while True:
            async with self._slots:
                worker = self._idle.pop()
                code, output = await self._work(phase, worker)
                self._idle.append(worker)
            if code != CONFLICT:
                return await self._outcome(phase, code)
            await self._board.set_phase_state(phase.id, PhaseState.BLOCKED, worker="")
            wanted = [FileFree(conflict["filepath"]) for conflict in json.loads(output)]
            await self._patient.wait_for(*wanted[:MAX_CONDITIONS])
            await self._board.set_phase_state(phase.id, PhaseState.QUEUED)

    async def _outcome(self, phase: Phase, code: int | None) -> bool:
        now = await self._board.get_phase(phase.id)
        if now and now.state == PhaseState.RUNNING and now.session_id:
            # The worker died. The board fails the phase when the session expires.
            met = await self._patient.wait_for(
                PhaseIn(phase.id, PhaseState.DONE, PhaseState.FAILED)
            )
            now = met.phases[0]
        if now and now.state == PhaseState.DONE:
            return True
        print(f"{phase.id}: its worker ended with code {code}", file=sys.stderr)
        await self._board.complete_phase(phase.id, PhaseState.FAILED)
        return False

    async def _work(self, phase: Phase, worker: str) -> tuple[int | None, bytes]:
        options = self._options
        command = [sys.executable, WORKER, phase.path, "--repository", options.repository]
        process = await asyncio.create_subprocess_exec(
            *(*command, "--pace", str(options.pace), "--ttl", str(options.ttl)),
            stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "BOARD_TARGET": options.target,
                "BOARD_NAME": self._board.board,
                "BOARD_WORKER": worker,
            },
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        return process.returncode, output

    async def _reset(self, phase_id: str) -> None:
        await self._board.set_phase_state(phase_id, PhaseState.QUEUED, worker="")
        await self._board.release_claims(phase_id)


async def main() -> int:
    """Read the arguments and dispatch. Return 0 if all phases are done, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nebula", type=Path, help="directory of the nebula")
    parser.add_argument("--target", default="127.0.0.1:7447", help="address of the board server")
    parser.add_argument(
        "--repository", type=Path, required=True, help="directory in which the workers work"
    )
    parser.add_argument("--workers", type=int, default=4, help="number of concurrent workers")
    parser.add_argument(
        "--pace", type=float, default=0, help="seconds that a worker spends on each file"
    )
    parser.add_argument(
        "--ttl", type=float, default=10, help="ttl of a worker's session, in seconds"
    )
    options = parser.parse_args()
    this = asyncio.current_task()
    assert this
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    nebula = read_nebula(options.nebula)
    credentials = Credentials.from_environment()
    async with AsyncBoardClient(options.target, nebula.name, credentials=credentials) as board:
        await board.open_board()
        return 0 if await Dispatcher(board, options).run(nebula) else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except BadNebula as error:
        sys.exit(f"dispatcher: {error}")
    except ExceptionGroup as errors:
        sys.exit(f"dispatcher: {errors.exceptions[0]}")
    except asyncio.CancelledError:
        sys.exit(130)
