"""Runs the load generator of benchmarks/load, which is written in Go.

h2load is not sufficient: it counts a failed gRPC call as a success (its HTTP status is 200),
sends the same body every time, and cannot read a stream to its end, keep a rate, or
watch. Like h2load, this generator sends messages that are encoded already.
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
    """One call, and the requests to send in rotation."""

    method: str
    requests: Sequence[Message]
    stream: bool = False


@dataclass(frozen=True)
class Load:
    """An operation to repeat over some connections. It is a list of steps; the last is timed.

    It runs for `seconds` after the warm-up, or, if `seconds` is 0, `operations` times.
    `rate` is in operations a second; 0 means as many as possible.
    """

    steps: Sequence[Step]
    connections: int
    seconds: float = 0.0
    operations: int = 0
    rate: float = 0.0
    warm_up: float = field(default=0.3)


@dataclass(frozen=True)
class Result:
    """The result of a load.

    `busy` is the mean time that a connection spent in timed calls, in seconds; `size` is the
    mean size of a reply, in bytes.
    """

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
        """Timed calls a second, not counting the time of other steps."""
        return self.operations / self.busy


@dataclass(frozen=True)
class Watchers:
    """Streams that are open while the loads run, each on its own connection."""

    method: str
    request: Message
    count: int


@dataclass(frozen=True)
class Delivered:
    """What all watchers together received, from the first write to the last delivery."""

    events: int
    messages: int
    seconds: float


class Generator:
    """The compiled load generator."""

    def __init__(self, directory: Path) -> None:
        """Compile it into the directory. Raises CalledProcessError on failure."""
        self._program = directory / "load"
        command = ["go", "build", "-o", str(self._program), "."]
        subprocess.run(command, cwd=SOURCE, check=True)

    def run(self, address: str, *loads: Load) -> list[Result]:
        """Run the loads concurrently."""
        return self._run({"target": address, "loads": [_load(load) for load in loads]})[0]

    def watch(self, address: str, watchers: Watchers, load: Load) -> Delivered:
        """Run the load while watchers watch; return once they have received every event."""
        job = {"target": address, "loads": [_load(load)], "watch": _watch(watchers)}
        return Delivered(**self._run(job)[1])

    @contextmanager
    def watching(self, address: str, watchers: Watchers) -> Iterator[None]:
        """Keep watchers connected during a `with` block."""
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
    """Return whether the generator can be compiled."""
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
