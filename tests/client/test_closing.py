"""A client is closed by one thread while another calls it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from board_client import BoardClient, ClientClosed, Credentials, credentials


@pytest.mark.parametrize("call", ["list_phases", "get_snapshot", "watch"])
def test_a_call_that_begins_while_the_client_is_closed_raises_client_closed(
    server, board, tmp_path, monkeypatch, call
):
    token = tmp_path / "token"
    token.write_text("secret")
    with (
        BoardClient(server, board, credentials=Credentials(token_file=token)) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.list_phases()
        reading, closed = Event(), Event()

        def slow(_path):
            reading.set()
            assert closed.wait(60)
            return b"other"

        monkeypatch.setattr(credentials, "content", slow)
        called = pool.submit(getattr(client, call))
        assert reading.wait(60)
        client.close()
        closed.set()
        with pytest.raises(ClientClosed):
            called.result()
