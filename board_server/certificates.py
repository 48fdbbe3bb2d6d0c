"""The server's certificate and key, and the CA of its clients', reread when they change."""

import ssl
from pathlib import Path

import grpc

from board_server.config import TlsFiles
from board_server.reread import BadFile, Reread


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Make credentials that look at the files at each handshake. Raises BadFile.

    Files that do not fit each other (a new certificate, still the old key) are
    passed over until they do.
    """
    configurations = Reread(files.paths, lambda: _configuration(files))
    return grpc.dynamic_ssl_server_credentials(
        configurations.current(),
        configurations.current,
        require_client_authentication=files.client_ca is not None,
    )


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    cert, key, *ca = [_bytes(path) for path in files.paths]
    # grpc does not tell what is wrong with a file, and finds out only at a handshake.
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
    return grpc.ssl_server_certificate_configuration([(key, cert)], ca[0] if ca else None)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _why(error: Exception) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else str(error)) or "it is empty"
