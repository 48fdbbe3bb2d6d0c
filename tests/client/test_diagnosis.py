"""The diagnosis of a server that cannot be reached."""

import gc
import select
import socket
import struct

from board_client.diagnosis import _why_not_plain

AT_ONCE = struct.pack("ii", 1, 0)
"""The option SO_LINGER that makes `close` reset a connection."""


def test_a_connection_that_was_reset_leaves_no_socket_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        accepted.close()
        select.select([connection], [], [])
        assert _why_not_plain(connection, "127.0.0.1:7447") is None
    gc.collect()  # an open socket is a warning, which fails the test
