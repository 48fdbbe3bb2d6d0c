"""The server's certificate and key, and the CA of its clients', reread when they change."""

import logging
import re
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import grpc

from board_server.config import TlsFiles
from board_server.reread import BadFile, Reread

log = logging.getLogger(__name__)

WEEK = 7 * 24 * 3600.0
"""Seconds before a certificate's end from which on the log tells of it, and for one that lasts
less than four weeks the last quarter: such are renewed in their last days as a matter of course."""

_CERTIFICATE = re.compile(rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which Python has no name."""


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Make credentials that look at the files at each handshake. Raises BadFile.

    Files that do not fit each other (a new certificate, still the old key) are
    passed over until they do. The log tells of a certificate that clients do
    not trust for its dates, or will soon not.
    """
    loaded = Reread(files.paths, lambda: _load(files))
    told = ""

    def current() -> grpc.ServerCertificateConfiguration:
        nonlocal told
        configuration, validity = loaded.current()
        warning = validity.warning(time.time()) if validity else ""
        if warning and warning != told:
            log.warning("%s: %s", files.cert, warning)
        told = warning
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        current(), current, require_client_authentication=files.client_ca is not None
    )


class Validity(NamedTuple):
    """From when to when a certificate is valid, in seconds since 1970."""

    begin: float
    end: float

    def warning(self, now: float) -> str:
        """Say what is wrong with a certificate of these dates; "" if nothing is."""
        if now < self.begin:
            return f"the certificate is not valid before {_utc(self.begin)}: clients refuse it"
        if now > self.end:
            return f"the certificate expired at {_utc(self.end)}: clients refuse it"
        if now > self.end - min(WEEK, (self.end - self.begin) / 4):
            return f"the certificate expires at {_utc(self.end)}"
        return ""


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _load(files: TlsFiles) -> tuple[grpc.ServerCertificateConfiguration, Validity | None]:
    cert, key, *ca = [_bytes(path) for path in files.paths]
    # grpc does not tell what is wrong with a file, and finds out only at a handshake.
    _check_kinds(files, cert, key, *ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise BadFile(
            f"{files.cert} and {files.key} are no certificate and its key in PEM: {_why(error)}"
        ) from error
    if files.client_ca:
        try:
            context.load_verify_locations(cadata=ca[0].decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise BadFile(
                f"{files.client_ca} holds no certificate in PEM: {_why(error)}"
            ) from error
    configuration = grpc.ssl_server_certificate_configuration([(key, cert)], ca[0] if ca else None)
    return configuration, _validity(files.cert, context)


def _check_kinds(files: TlsFiles, cert: bytes, key: bytes, ca: bytes | None = None) -> None:
    """Refuse files that hold something else than they should; OpenSSL does not say which."""
    swapped = ""
    if _KEY.search(cert) and _CERTIFICATE.search(key):
        swapped = "; are --tls-cert and --tls-key swapped?"
    if not _CERTIFICATE.search(cert):
        raise BadFile(f"{files.cert} holds no certificate in PEM{swapped}")
    if not _KEY.search(key):
        raise BadFile(f"{files.key} holds no private key in PEM{swapped}")
    if ca is not None and not _CERTIFICATE.search(ca):
        raise BadFile(f"{files.client_ca} holds no certificate in PEM")


def _validity(cert: Path, server: ssl.SSLContext) -> Validity | None:
    """Ask Python's own TLS, which tells the dates of what it has been shown at a handshake.

    None where the handshake fails for another reason: that is for the client to tell.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    shown = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        client.load_verify_locations(cert)
        for side in (asking, shown) * 3:  # as many turns as TLS 1.2 takes
            with suppress(ssl.SSLWantReadError):  # then it is the other's turn
                side.do_handshake()
        told = asking.getpeercert() or {}
    except (OSError, ValueError):
        return None
    begin, end = (ssl.cert_time_to_seconds(str(told[key])) for key in ("notBefore", "notAfter"))
    return Validity(begin, end)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "what is between its BEGIN and END cannot be read"
    return str(error)
