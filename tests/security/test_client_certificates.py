"""A client certificate matches a token by its whole name and the kind of that name."""

import grpc
import pytest
from cryptography import x509

from board_client.v1 import board_pb2 as pb
from board_server.auth.certificate_names import names_in
from board_server.config.schema import Config
from tests.support.secured import ANY_PORT, Pair, TokenFile, reason_of, running, stub

LISTED = {
    "laptop": "laptop-3",
    "host": "dns:worker-7.example",
    "workload": "uri:spiffe://example/worker/7",
    "person": "email:ada@example",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority, server_pair):
    """A server that knows the certificates of LISTED."""
    directory = tmp_path_factory.mktemp("server")
    tokens = TokenFile(directory / "tokens.toml")
    for name, certificate in LISTED.items():
        tokens.add(name, certificate=certificate)
    config = Config(
        directory / "boards",
        listen=(ANY_PORT,),
        tls_cert=server_pair.cert,
        tls_key=server_pair.key,
        client_ca=authority.ca,
        tokens=tokens.path,
    )
    with running(config) as server:
        yield server


@pytest.fixture
def called(server, authority, tmp_path):
    """A function that calls with a certificate of these names and returns the error, "" if none."""

    def called(*names, also=()) -> str:
        pair = authority.issue(*names, also=also, into=Pair(tmp_path / "cert", tmp_path / "key"))
        credentials = grpc.ssl_channel_credentials(
            authority.ca.read_bytes(), pair.key.read_bytes(), pair.cert.read_bytes()
        )
        with grpc.secure_channel(server.address, credentials) as channel:
            try:
                stub(channel).GetPhaseState(pb.GetPhaseStateRequest(phase_id="p"), timeout=30)
            except grpc.RpcError as error:
                if reason_of(error) != "UNAUTHENTICATED":
                    raise
                return error.details()
        return ""

    return called


@pytest.mark.parametrize(
    ("common", "also"),
    [
        ("laptop-3", []),
        ("anybody", [x509.DNSName("worker-7.example")]),
        ("anybody", [x509.UniformResourceIdentifier("spiffe://example/worker/7")]),
        ("anybody", [x509.RFC822Name("ada@example")]),
        ("anybody", [x509.DNSName("elsewhere.example"), x509.DNSName("worker-7.example")]),
    ],
)
def test_a_certificate_of_the_listed_name_and_kind_is_known(called, common, also):
    assert called(common, also=also) == ""


@pytest.mark.parametrize(
    ("common", "also"),
    [
        ("anybody", [x509.DNSName("laptop-3")]),
        ("anybody", [x509.UniformResourceIdentifier("laptop-3")]),
        ("anybody", [x509.RFC822Name("laptop-3")]),
        ("worker-7.example", []),
        ("dns:worker-7.example", []),
        ("anybody", [x509.UniformResourceIdentifier("worker-7.example")]),
        ("spiffe://example/worker/7", []),
        ("anybody", [x509.DNSName("spiffe://example/worker/7")]),
    ],
)
def test_a_listed_name_of_another_kind_is_not_known(called, common, also):
    assert "no token of the server is for a certificate" in called(common, also=also)


@pytest.mark.parametrize(
    ("common", "also"),
    [
        ("laptop-3\0.evil.example", []),
        ("laptop-3\0", []),
        ("anybody", [x509.DNSName("worker-7.example\0.evil.example")]),
        ("laptop-3\n", []),
        ("laptop-3\u200b", []),
    ],
)
def test_a_certificate_name_with_an_invisible_character_matches_no_token(called, common, also):
    assert called(common, also=also)


def test_a_certificate_of_several_common_names_has_none(called):
    assert called("laptop-3", "anybody")


def test_the_error_of_an_unknown_certificate_lists_its_names(called):
    found = called("laptop-9", also=[x509.RFC822Name("eve@example")])
    assert '"laptop-9", "dns:localhost", "email:eve@example"' in found


def test_a_file_that_is_not_a_certificate_has_no_names():
    assert names_in(b"") == ()
    assert names_in(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n") == ()
