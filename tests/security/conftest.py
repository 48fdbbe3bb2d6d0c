"""Certificates and tokens for the tests of security."""

import pytest

from tests.support.secured import Authority, TokenFile


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def server_pair(authority):
    """The certificate and key of a server."""
    return authority.issue("server")


@pytest.fixture
def tokens(tmp_path):
    return TokenFile(tmp_path / "tokens.toml")
