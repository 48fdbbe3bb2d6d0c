"""The load generator in Go: built once, given jobs, and what it reports.

Not h2load, because that counts a failed gRPC call as a success (its HTTP status
is 200), sends one body over and over, and cannot read a stream to its end, keep
a rate, or watch. Messages are bytes to this one too, so that it costs no more.
"""

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

SOURCE = Path(__file__).parent / "load"


@dataclass(frozen=True)
class Step:
    """One call, with the requests to send in turn."""

    method: str
    requests: Sequence[Message]
    stream: bool = False


@dataclass(frozen=True)
class Load:
    """Work to repeat: its steps, of which the last is timed, over some connections.

    For `seconds` after a warm-up, or, where that is 0, `operations` times;
    `rate` is in operations a second, 0 for as many as possible.
    """

    steps: Sequence[Step]
    connections: int
    seconds: float = 0.0
    operations: int = 0
    rate: float = 0.0
    warm_up: float = field(default=0.3)


@dataclass(frozen=True)
class Result:
    """What a load did. `busy` is the mean time a connection spent in timed calls, `size` bytes."""

    operations: int
    seconds: float
    busy: float
    size: int
    p50: float
    p99: float

    @property
    def per_second(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds

    @property
    def per_busy_second(self) -> float:
        """Timed calls a second, if there were nothing but these."""
        return self.operations / self.busy


@dataclass(frozen=True)
class Watchers:
    """Streams that stand while the loads run, each on a connection of its own."""

    method: str
    request: Message
    count: int


@dataclass(frozen=True)
class Delivered:
    """What reached all the watchers together, from the first write to the last delivery."""

    events: int
    messages: int
    seconds: float


class Generator:
    """The built program."""

    def __init__(self, directory: Path) -> None:
        """Build it into the directory. Raises CalledProcessError where that fails."""
        self._program = directory / "load"
        command = ["go", "build", "-o", str(self._program), "."]
        subprocess.run(command, cwd=SOURCE, check=True)

    def run(self, address: str, *loads: Load) -> list[Result]:
        """Run the loads side by side."""
        return self._run({"target": address, "loads": [_load(load) for load in loads]})[0]

    def watch(self, address: str, watchers: Watchers, load: Load) -> Delivered:
        """Run the load under the eyes of watchers; return once all was delivered."""
        job = {"target": address, "loads": [_load(load)], "watch": _watch(watchers)}
        return Delivered(**self._run(job)[1])

    @contextmanager
    def watching(self, address: str, watchers: Watchers) -> Iterator[None]:
        """Keep watchers there for the time of a `with` block."""
        job = {"target": address, "loads": [], "watch": {**_watch(watchers), "hold": True}}
        with subprocess.Popen(
            [self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(job).encode())
            process.stdin.flush()
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("the watchers could not start")
            yield
            process.stdin.close()
            process.wait()

    def _run(self, job: dict[str, Any]) -> tuple[list[Result], dict[str, Any]]:
        done = subprocess.run(
            [self._program], input=json.dumps(job).encode(), stdout=subprocess.PIPE, check=True
        )
        report = json.loads(done.stdout)
        return [_result(result) for result in report["loads"]], report.get("watch", {})


def has_go() -> bool:
    """Tell whether the generator can be built."""
    return shutil.which("go") is not None


def _load(load: Load) -> dict[str, Any]:
    return {**vars(load), "steps": [_step(step) for step in load.steps]}


def _step(step: Step) -> dict[str, Any]:
    bodies = [_encoded(request) for request in step.requests]
    return {"method": step.method, "bodies": bodies, "stream": step.stream}


def _watch(watchers: Watchers) -> dict[str, Any]:
    body = _encoded(watchers.request)
    return {"method": watchers.method, "body": body, "watchers": watchers.count}


def _encoded(request: Message) -> str:
    return b64encode(request.SerializeToString()).decode()


def _result(result: dict[str, Any]) -> Result:
    return Result(size=result.pop("bytes"), **result)
