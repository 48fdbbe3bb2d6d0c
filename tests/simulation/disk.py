"""A disk under SQLite whose syncs take simulated time, and that fails while it is told to."""

import apsw

from tests.faults.disk import FailingDisk, _File
from tests.simulation.threads import Threads


class SimulatedDisk(FailingDisk):
    """Every database opened while it is the default is on this disk."""

    def __init__(self, threads: Threads) -> None:
        super().__init__()
        self.threads = threads

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  apsw's name
        return _SimulatedFile(self, name, flags)

    def xSleep(self, microseconds: int) -> int:  # noqa: N802  apsw's name
        self.threads.sleep(microseconds / 1e6)
        return microseconds


class _SimulatedFile(_File):
    _disk: SimulatedDisk

    def xSync(self, _flags: int) -> None:  # noqa: N802  apsw's name
        """Nothing is really synced: the process does not die, and the page cache remembers."""
        self._disk.threads.pause()
        self._disk.fail("sync")
