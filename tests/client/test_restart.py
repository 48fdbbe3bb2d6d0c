"""Calls are retried until a server that was stopped runs again."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from board_client import AsyncBoardClient, BoardClient
from board_server.sqlite import SqliteStore
from tests.support.servers import server_thread


@pytest.fixture(params=["tcp", "unix"])
def listen(request, tmp_path):
    """The address of the server before and after its restart."""
    if request.param == "unix":
        return f"unix:{tmp_path}/board.sock"
    with server_thread(tmp_path / "probe") as address:
        return address  # the system does not assign it again so soon


def test_a_client_reconnects_to_its_server(connect, tmp_path, listen):
    client = connect(listen)
    for restart in range(3):
        with server_thread(tmp_path / "boards", listen=listen):
            client.claim_file(f"{restart}.go", "p")
            assert len(client.claims_for("p")) == restart + 1


def test_a_call_survives_a_restart(tmp_path, listen):
    with (
        ThreadPoolExecutor(1) as pool,
        BoardClient(listen) as client,
    ):
        with server_thread(tmp_path / "boards", listen=listen):
            client.claim_file("before.go", "p")
        call = pool.submit(client.claim_file, "meanwhile.go", "p")
        with server_thread(tmp_path / "boards", listen=listen):
            assert call.result().owner == "p"
            assert client.claims_for("p") == ["before.go", "meanwhile.go"]


async def test_a_tasks_call_survives_a_restart(tmp_path, listen):
    async with AsyncBoardClient(listen) as client:
        with server_thread(tmp_path / "boards", listen=listen):
            await client.claim_file("before.go", "p")
        call = asyncio.create_task(client.claim_file("meanwhile.go", "p"))
        await asyncio.sleep(0)  # let it begin
        with server_thread(tmp_path / "boards", listen=listen):
            assert (await call).owner == "p"
            assert await client.claims_for("p") == ["before.go", "meanwhile.go"]


class FailsNowAndThen(SqliteStore):
    """A store whose writer raises an unexpected error after each third commit."""

    def __init__(self, directory):
        super().__init__(directory, on_commit=self._fail_now_and_then)
        self._commits = 0

    def _fail_now_and_then(self, *_):
        self._commits += 1
        if self._commits % 3 == 0:
            raise ZeroDivisionError


def test_calls_watches_and_sessions_survive_a_writer_that_fails(tmp_path):
    with (
        server_thread(tmp_path, board="nebula", store=FailsNowAndThen) as address,
        BoardClient(address, timeout=60) as client,
    ):
        watch = client.watch(after_revision=0)
        with client.session("w", ttl=3600) as session:
            for number in range(8):
                session.claim_file(f"{number}.go", "p")
            assert client.renew_session(session.session_id).ttl == timedelta(hours=1)
        seen = [next(watch) for _ in range(18)]
        watch.close()
        assert client.claims_for("p") == []
        assert client.get_snapshot().revision == 10
    revisions = [event.revision for event in seen]
    assert revisions == [*range(1, 10), *[10] * 9]
    assert [event.record.filepath for event in seen[1:9]] == [f"{n}.go" for n in range(8)]
