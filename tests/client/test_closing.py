"""A client is closed by one thread while another calls it."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from board_client import BoardClient, ClientClosed, Credentials


@pytest.mark.parametrize("call", ["list_phases", "get_snapshot", "watch"])
def test_a_call_that_begins_while_the_client_is_closed_says_so(server, board, tmp_path, call):
    token = tmp_path / "token"
    token.write_text("secret")
    with (
        BoardClient(server, board, credentials=Credentials(token_file=token)) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.list_phases()
        token.unlink()
        os.mkfifo(token)
        called = pool.submit(getattr(client, call))
        with token.open("w") as written:  # once the call reads its token
            client.close()
            written.write("secret")
        with pytest.raises(ClientClosed):
            called.result()
