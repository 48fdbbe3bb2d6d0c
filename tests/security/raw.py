"""A client that sends HTTP/2 frame by frame, also frames that a correct client never sends."""

import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16_384
REFUSED_STREAM = 7
PING = PingFrame(0, b"all here").serialize()
PONG = PingFrame(0, b"all here", flags=["ACK"]).serialize()


def grpc_message(payload: bytes, *, compressed: bool = False) -> bytes:
    """Frame a message as gRPC does."""
    return struct.pack(">BI", compressed, len(payload)) + payload


def encoded_headers(method: str, more: dict[str, str] | None = None) -> bytes:
    """Encode the headers of a call, the same for every stream and connection."""
    plain = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/board.v1.BoardService/{method}",
        ":authority": "board",
        "content-type": "application/grpc",
        "te": "trailers",
    } | (more or {})
    literal = [NeverIndexedHeaderTuple(*each) for each in plain.items()]
    return Encoder().encode(literal, huffman=False)


def flood_of(streams: int, method: str, *then: Frame) -> bytes:
    """Make the frames of this many calls, each its headers and `then`."""
    each = [HeadersFrame(1, encoded_headers(method), flags=["END_HEADERS"]), *then]
    parts = [(frame.serialize()[:5], frame.serialize()[9:]) for frame in each]
    numbers = (struct.pack(">I", 2 * n + 1) for n in range(streams))
    calls = (head + number + body for number in numbers for head, body in parts)
    return b"".join(calls)


class Raw:
    """One connection. `window` is the initial flow-control window of each stream, in bytes.

    With `tls` it is encrypted, without verifying the server's certificate.
    """

    def __init__(
        self, address: str, *, window: int | None = None, preface: bool = True, tls: bool = False
    ) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        if tls:
            self.socket = _trusting().wrap_socket(self.socket)
        self._decoder = Decoder()
        self._next = 1
        if preface:
            settings = SettingsFrame(0)
            if window is not None:
                settings.settings = {SettingsFrame.INITIAL_WINDOW_SIZE: window}
            self.socket.sendall(PREFACE + settings.serialize())
            while not isinstance(next(self.frames()), SettingsFrame):
                pass
            # The server's settings apply from here on.
            self.socket.sendall(SettingsFrame(0, flags=["ACK"]).serialize())

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def headers(self, method: str, more: dict[str, str] | None = None) -> bytes:
        """Encode the headers of a call, the same for every stream."""
        return encoded_headers(method, more)

    def open(self, headers: bytes) -> int:
        """Open a stream with these headers; return its number."""
        number, self._next = self._next, self._next + 2
        first, rest = headers[:MAX_FRAME], headers[MAX_FRAME:]
        frame = HeadersFrame(number, first, flags=[] if rest else ["END_HEADERS"])
        out = [frame.serialize()]
        while rest:
            part, rest = rest[:MAX_FRAME], rest[MAX_FRAME:]
            flags = [] if rest else ["END_HEADERS"]
            out.append(ContinuationFrame(number, part, flags=flags).serialize())
        self.socket.sendall(b"".join(out))
        return number

    def data(self, stream: int, payload: bytes, *, end: bool = True) -> None:
        """Send a message's bytes; the caller must respect the flow-control window."""
        parts = [payload[i : i + MAX_FRAME] for i in range(0, len(payload), MAX_FRAME)] or [b""]
        frames = [DataFrame(stream, part) for part in parts]
        if end:
            frames[-1].flags.add("END_STREAM")
        self.socket.sendall(b"".join(frame.serialize() for frame in frames))

    def reset(self, stream: int) -> None:
        """Reset a stream."""
        self.socket.sendall(RstStreamFrame(stream, error_code=8).serialize())

    def call(self, method: str, request) -> int:
        """Send a whole call; return its stream."""
        stream = self.open(self.headers(method))
        self.data(stream, grpc_message(request.SerializeToString()))
        return stream

    def frames(self) -> Iterator[Frame]:
        """Yield what the server sends, until it closes."""
        while True:
            head = self._exactly(9)
            if head is None:
                return
            frame, length = Frame.parse_frame_header(memoryview(head))
            body = self._exactly(length)
            if body is None:
                return
            frame.parse_body(memoryview(body))
            yield frame

    def meet(self) -> None:
        """Ping, and wait for the answer: everything sent before has then arrived."""
        self.socket.sendall(PingFrame(0, b"all here").serialize())
        for frame in self.frames():
            if isinstance(frame, PingFrame) and frame.opaque_data == b"all here":
                return
            self.answer_pings(frame)

    def pour(self, flood: bytes) -> bytes:
        """Send as fast as the server reads; return the bytes that it has sent meanwhile."""

        def send() -> None:
            with suppress(ConnectionError):
                self.socket.sendall(flood + PING)

        sending = threading.Thread(target=send)
        sending.start()
        received = bytearray()
        self._receive_until_pong(received)
        sending.join()
        # The answer to a ping may arrive shortly before frames that were to be sent earlier.
        with suppress(ConnectionError):
            self.socket.sendall(PING)
        self._receive_until_pong(received)
        return bytes(received)

    def drown(self, flood: bytes) -> bool:
        """Send all of it, and ignore what the server sends; return False if it has closed."""
        with suppress(ConnectionError, ssl.SSLError):  # the server may close
            for start in range(0, len(flood), 65536):
                self.socket.sendall(flood[start : start + 65536])
                while select.select([self.socket], [], [], 0)[0]:
                    if not self.socket.recv(2**20):
                        return False
            return True
        return False

    def _receive_until_pong(self, received: bytearray) -> None:
        """Receive until a ping is answered, or the server closes."""
        begun = len(received)
        with suppress(ConnectionError):
            while PONG not in received[max(begun, len(received) - 65536) :]:
                part = self.socket.recv(32768)
                if not part:
                    return
                received += part

    def answer_pings(self, frame: Frame) -> None:
        """Answer a frame if it is a ping."""
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.socket.sendall(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())

    def trailers(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the headers that the server sends, each with its stream."""
        for frame in self.frames():
            self.answer_pings(frame)
            if isinstance(frame, RstStreamFrame):
                return
            if isinstance(frame, HeadersFrame):
                yield frame.stream_id, dict(self._decoder.decode(frame.data))

    def trailers_of(self, stream: int) -> dict[str, str]:
        """Return the headers of a stream up to its trailers, or up to where it is cut off."""
        found: dict[str, str] = {}
        with suppress(ConnectionError):
            for frame in self.frames():
                self.answer_pings(frame)
                if isinstance(frame, HeadersFrame):
                    headers = dict(self._decoder.decode(frame.data))  # HPACK: of every stream
                    found |= headers if frame.stream_id == stream else {}
                if "grpc-status" in found or _cuts_off(frame, stream):
                    break
        return found

    def closed(self) -> bool:
        """Read until the server closes; False if it keeps the connection for 30 s."""
        try:
            for _ in self.frames():
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def _exactly(self, size: int) -> bytes | None:
        parts = b""
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                return None
            parts += part
        return parts


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _cuts_off(frame: Frame, stream: int) -> bool:
    return isinstance(frame, RstStreamFrame) and frame.stream_id == stream


def refused(received: bytes) -> int:
    """Count the streams that the server refused without handling them."""
    count = at = 0
    while at + 9 <= len(received):
        frame, length = Frame.parse_frame_header(memoryview(received)[at : at + 9])
        if isinstance(frame, RstStreamFrame) and at + 9 + length <= len(received):
            frame.parse_body(memoryview(received)[at + 9 : at + 9 + length])
            count += frame.error_code == REFUSED_STREAM
        at += 9 + length
    return count
