"""Find out why a server cannot be reached, with Python's sockets and TLS: gRPC only has a text."""

import copy
import socket
import ssl
import threading
from concurrent.futures import Future

import grpc

from board_client.credentials import Credentials
from board_client.errors import BadCredentials, BoardError, Unavailable
from board_client.target import address_of, is_unix, socket_path_of

PATIENCE = 2.0
"""Seconds that a diagnosis may take. A call waits for it until its deadline at most."""

# OpenSSL's codes of a chain that does not end in a trusted CA: X509_V_ERR_*
# DEPTH_ZERO_SELF_SIGNED_CERT, SELF_SIGNED_CERT_IN_CHAIN,
# UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNABLE_TO_VERIFY_LEAF_SIGNATURE.
_UNKNOWN_CA = frozenset({18, 19, 20, 21})


def unexplained(error: BoardError) -> bool:
    """Return whether the cause is unknown: UNAVAILABLE from gRPC and not from the board."""
    return isinstance(error, Unavailable) and not error.reason


class Diagnosis:
    """Diagnoses a server in a thread, one diagnosis at a time for all failed calls of a client."""

    def __init__(self, target: str, credentials: Credentials) -> None:
        self._target = target
        self._credentials = credentials
        self._starting = threading.Lock()
        self._found: Future[BoardError | None] = Future()
        self._found.set_result(None)

    def begin(self) -> "Future[BoardError | None]":
        """Return the future of an error that names the cause, None if none is found."""
        with self._starting:
            if self._found.done():
                self._found = Future()
                self._found.set_running_or_notify_cancel()  # so that no waiting call can cancel it
                threading.Thread(target=self._look, args=(self._found,), daemon=True).start()
            return self._found

    def _look(self, found: "Future[BoardError | None]") -> None:
        try:
            found.set_result(_why_unreachable(self._target, self._credentials))
        except BaseException as error:
            found.set_exception(error)


def explained(error: BoardError, found: BoardError | None) -> BoardError:
    """Return the error to raise: the one found by the diagnosis, if any."""
    return copy.copy(found) if found else error  # each call raises its own copy


def _why_unreachable(target: str, credentials: Credentials) -> BoardError | None:
    if "," in target:
        return None  # there are several addresses; each may have its own cause
    try:
        with _connected(target) as connection:
            if is_unix(target):
                return None
            if not credentials.encrypted:
                return _why_not_plain(connection, target)
            host, _ = address_of(target)
            with _wrapped(connection, credentials.context(), host) as secured:
                # In HTTP/2 a server sends first; one that refuses our certificate closes instead.
                return None if secured.recv(1) else _why_refused(target, credentials)
    except ssl.SSLCertVerificationError as error:
        return _why_not_trusted(error, target)
    except ssl.SSLError as error:
        # A server that sends an alert speaks TLS and refuses our certificate.
        if "ALERT" in (error.reason or ""):
            return _why_refused(target, credentials)
        return BadCredentials.of(f"the board at {target} does not speak TLS")
    except (OSError, UnicodeError) as error:  # no server listens, or no resolver takes the host
        why = getattr(error, "strerror", None) or str(error)
        return Unavailable(
            f"no board answers at {target} ({why}); `board serve` starts one",
            code=grpc.StatusCode.UNAVAILABLE,
        )


def _connected(target: str) -> socket.socket:
    if not is_unix(target):
        return socket.create_connection(address_of(target), PATIENCE)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(socket_path_of(target))
    except BaseException:
        connection.close()
        raise
    return connection


class _Wrapped(ssl.SSLSocket):
    """Closes itself: `wrap_socket` leaves it open if the connection was already reset."""

    def __del__(self) -> None:
        self.close()


def _wrapped(
    connection: socket.socket, context: ssl.SSLContext, host: str | None = None
) -> ssl.SSLSocket:
    context.sslsocket_class = _Wrapped
    return context.wrap_socket(connection, server_hostname=host)


def _why_not_trusted(error: ssl.SSLCertVerificationError, target: str) -> BadCredentials:
    why = f"the certificate of the board at {target} is not trusted: {error.verify_message}"
    if error.verify_code in _UNKNOWN_CA:
        return BadCredentials.of(why, "give its CA with", "ca")
    return BadCredentials.of(why)


def _why_not_plain(connection: socket.socket, target: str) -> BadCredentials | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _wrapped(connection, context):
            return BadCredentials.of(
                f"the board at {target} speaks TLS", "encrypt with", "tls", "ca"
            )
    except OSError:
        return None


def _why_refused(target: str, credentials: Credentials) -> BadCredentials:
    if credentials.cert is None:
        why = f"the board at {target} requires a client certificate"
        return BadCredentials.of(why, "give one with", "cert")
    return BadCredentials.of(f"the board at {target} refuses the certificate {credentials.cert}")
