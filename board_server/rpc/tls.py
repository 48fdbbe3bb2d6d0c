"""The server's certificate and key and the clients' CA, reread when the files change."""

import logging
import re
import ssl
import time
from pathlib import Path
from typing import NamedTuple

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from board_server.config.schema import TlsFiles
from board_server.files.reload import BadFile, Reloader

log = logging.getLogger(__name__)

WEEK = 7 * 24 * 3600.0
"""Seconds before a certificate expires in which the log warns. For a certificate that lasts less
than four weeks it is the last quarter of that time, because such are renewed late by design."""

_CERTIFICATE = re.compile(rb"-----BEGIN (X509 )?CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Make credentials that read the files at each handshake. Raises BadFile.

    Files that do not match (a new certificate, still the old key) are ignored until they do.
    The log warns of a certificate that is not valid yet, has expired, or soon will.
    """
    loaded = Reloader(files.paths, lambda *contents: _load(files, *contents))
    logged = ""

    def current() -> grpc.ServerCertificateConfiguration:
        nonlocal logged
        configuration, validity = loaded.current()
        warning = validity.warning(time.time())
        if warning and warning != logged:
            log.warning("%s: %s", files.cert, warning)
        logged = warning
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        current(), current, require_client_authentication=files.client_ca is not None
    )


class Validity(NamedTuple):
    """When a certificate is valid, in seconds since 1970."""

    begin: float
    end: float

    def warning(self, now: float) -> str:
        """Return what is wrong with a certificate of these dates; "" if nothing is."""
        if now < self.begin:
            return f"the certificate is not valid before {_utc(self.begin)}: clients refuse it"
        if now > self.end:
            return f"the certificate expired at {_utc(self.end)}: clients refuse it"
        if now > self.end - min(WEEK, (self.end - self.begin) / 4):
            return f"the certificate expires at {_utc(self.end)}"
        return ""


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _load(
    files: TlsFiles, cert: bytes, key: bytes, ca: bytes | None = None
) -> tuple[grpc.ServerCertificateConfiguration, Validity]:
    """Check the contents of the files, and return them as gRPC's configuration. Raises BadFile.

    gRPC finds errors only at a handshake, and does not describe them. It gets these contents
    rather than the paths, because the files could change between the check and the use.
    """
    _check_kinds(files, cert, key, ca)
    try:
        leaf, *_ = x509.load_pem_x509_certificates(cert)
        public = leaf.public_key()
        validity = Validity(
            leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadFile(f"{files.cert} is no certificate in PEM: {_why(error)}") from error
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadFile(f"{files.key} is no key in PEM: {_why(error)}") from error
    except TypeError as error:
        raise BadFile(f"{files.key}: the key is encrypted") from error
    if private.public_key() != public:
        raise BadFile(f"{files.key} is not the key of {files.cert}")
    if ca is not None:
        _check_authority(files.client_ca, ca)
    return grpc.ssl_server_certificate_configuration([(key, cert)], ca), validity


def _check_authority(path: Path | None, ca: bytes) -> None:
    text = ca.decode("ascii", "ignore")  # bundles have comments in UTF-8
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise BadFile(f"{path} holds no certificate in PEM: {_why(error)}") from error


def _check_kinds(files: TlsFiles, cert: bytes, key: bytes, ca: bytes | None) -> None:
    """Refuse files of the wrong kind; OpenSSL does not say which file is wrong."""
    swapped = ""
    if _KEY.search(cert) and _CERTIFICATE.search(key):
        swapped = "; are --tls-cert and --tls-key swapped?"
    if not _CERTIFICATE.search(cert):
        raise BadFile(f"{files.cert} holds no certificate in PEM{swapped}")
    if not _KEY.search(key):
        raise BadFile(f"{files.key} holds no private key in PEM{swapped}")
    if ca is not None and not _CERTIFICATE.search(ca):
        raise BadFile(f"{files.client_ca} holds no certificate in PEM")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "what is between its BEGIN and END cannot be read"
    return str(error)
