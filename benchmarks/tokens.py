"""The cost of a token file for each call: CPU time of two servers, one with tokens.

`python -m benchmarks.tokens [ROUNDS]` prints, for GetPhaseState over one connection, the least
and the lower quartile of the rounds, which other work on the machine disturbs less than a mean.
In each round all servers take the same calls, one after the other.
"""

import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import grpc

from benchmarks.servers import board
from board_client.v1 import board_pb2 as pb
from board_server.auth.token_file import Token, Tokens, digest_of, new_secret, principal_of, write

CALLS = 500
"""In one round, at one server."""

METHOD = "/board.v1.BoardService/GetPhaseState"
REQUEST = pb.GetPhaseStateRequest(phase_id="p").SerializeToString()


def main() -> None:
    """Start the servers, measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with TemporaryDirectory() as directory, ExitStack() as running:
        root = Path(directory)
        secret = new_secret("bench")
        write(root / "tokens", Tokens([Token(principal_of("bench", "admin"), digest_of(secret))]))
        shown = (("authorization", f"Bearer {secret}"),)
        open_ = running.enter_context(board(root / "open"))
        guarded = running.enter_context(board(root / "guarded", "--tokens", str(root / "tokens")))
        cases = {
            "no tokens": (open_, ()),
            "no tokens, one sent": (open_, shown),
            "tokens": (guarded, shown),
        }
        channels = {
            name: running.enter_context(grpc.insecure_channel(server.address))
            for name, (server, _) in cases.items()
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for turn in range(rounds + 1):
            for name, (server, metadata) in cases.items():
                measured = _round(channels[name].unary_unary(METHOD), metadata, server.pid)
                if turn:  # the first warms up
                    taken[name].append(measured)
    for name, figures in taken.items():
        cpu, wall = zip(*figures, strict=True)
        print(  # noqa: T201
            f"{name:20} {min(cpu):6.1f} {quantiles(cpu)[0]:6.1f} us of the server's CPU, "
            f"{min(wall):6.1f} {quantiles(wall)[0]:6.1f} us a call"
        )


def _round(call: Any, metadata: Any, pid: int) -> tuple[float, float]:
    """Make the calls; return microseconds of the server's CPU, and of time, for each."""
    cpu, wall = _cpu(pid), perf_counter()
    for _ in range(CALLS):
        call(REQUEST, metadata=metadata)
    return (_cpu(pid) - cpu) / CALLS * 1e6, (perf_counter() - wall) / CALLS * 1e6


def _cpu(pid: int) -> float:
    """Return the seconds that all threads of a process have run."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


if __name__ == "__main__":
    main()
