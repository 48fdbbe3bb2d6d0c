"""Why a server cannot be reached: ask Python's own TLS, for grpc has only a text to tell."""

import socket
import ssl

from board_client.credentials import Credentials, address_of
from board_client.errors import BadCredentials, BoardError, Unavailable

PATIENCE = 2.0
"""Seconds that looking into it may take."""


def unexplained(error: BoardError) -> bool:
    """Tell whether certificates may be to blame: grpc, not the board, says UNAVAILABLE."""
    return isinstance(error, Unavailable) and not error.reason


def explained(error: BoardError, target: str, credentials: Credentials) -> BoardError:
    """Return a better error where certificates are to blame; blocks for up to `PATIENCE`."""
    why = _why_unreachable(target, credentials)
    return BadCredentials.of(why) if why else error


def _why_unreachable(target: str, credentials: Credentials) -> str:
    if target.startswith(("unix:", "unix-abstract:")):
        return ""
    host, port = address_of(target)
    try:
        with socket.create_connection((host, port), PATIENCE) as connection:
            if not credentials.encrypted:
                return _why_not_plain(connection, target)
            with credentials.context().wrap_socket(connection, server_hostname=host) as secured:
                # A server greets first; one that refuses our certificate hangs up instead.
                return "" if secured.recv(1) else _why_refused(target, credentials)
    except ssl.SSLCertVerificationError as error:
        return f"the certificate of the board at {target} is not trusted: {error.verify_message}"
    except ssl.SSLError as error:
        # Alerts come from a server that speaks TLS, and do not like what we showed.
        if "ALERT" in (error.reason or ""):
            return _why_refused(target, credentials)
        return f"the board at {target} does not speak TLS"
    except OSError:
        pass  # there is nobody
    return ""


def _why_not_plain(connection: socket.socket, target: str) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(connection):
            return f"the board at {target} speaks TLS: give --tls, or --tls-ca with its CA"
    except OSError:
        return ""


def _why_refused(target: str, credentials: Credentials) -> str:
    if credentials.cert is None:
        return f"the board at {target} asks for a client's certificate: give --tls-cert"
    return f"the board at {target} refuses the certificate {credentials.cert}"
