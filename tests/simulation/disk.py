"""A disk under SQLite whose syncs take simulated time, and which a test can make fail."""

import apsw

from tests.faults.disk import FailingDisk, _File
from tests.simulation.threads import Threads


class SimulatedDisk(FailingDisk):
    """SQLite opens databases on this disk while it is the default VFS."""

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
        """Take time, but do not sync: the process does not crash, so the page cache suffices."""
        self._disk.threads.pause()
        self._disk.fail("sync")
