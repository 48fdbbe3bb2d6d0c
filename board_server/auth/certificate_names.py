"""The names in client certificates, and how a token file writes them.

They are read from the certificate itself: gRPC cuts a common name at a NUL, and does not give
the kind of an alternative name.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

_Alternative = type[x509.DNSName | x509.UniformResourceIdentifier | x509.RFC822Name]

_ALTERNATIVE: dict[str, _Alternative] = {
    "dns": x509.DNSName,
    "uri": x509.UniformResourceIdentifier,
    "email": x509.RFC822Name,
}
"""The kinds of subject alternative names that a token file may have."""

_COMMON = ""
"""The kind of the common name."""


class CertificateName(NamedTuple):
    """A name in a certificate, and its kind: `dns`, `uri`, `email`, or "" for the common name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.kind else self.name


def parse_name(text: str) -> CertificateName:
    """Parse a name from a token file. Raises ValueError.

    The text is `dns:NAME`, `uri:NAME` or `email:NAME`; without a prefix it is a common name.
    """
    kind, colon, name = text.partition(":")
    if not colon or kind.lower() not in _ALTERNATIVE:
        kind, name = _COMMON, text
    if not name or not name.isprintable():
        raise ValueError(f"{text!r} cannot name a certificate: it must be printable, and not empty")
    if kind == _COMMON and "://" in name:
        raise ValueError(f'"{text}" would mean a common name: write "uri:{text}"')
    return CertificateName(kind.lower(), name)


@lru_cache(maxsize=1024)
def names_in(pem: bytes) -> tuple[CertificateName, ...]:
    """Return the names in a PEM certificate that a token file may have, the common name first.

    Names that are not printable are left out, and so are common names if there are several. A
    certificate that cannot be read has none.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        found = list(_names(certificate))
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    return tuple(each for each in found if each.name and each.name.isprintable())


def _names(certificate: x509.Certificate) -> Iterator[CertificateName]:
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(common) == 1 and isinstance(common[0].value, str):
        yield CertificateName(_COMMON, common[0].value)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    for kind, wanted in _ALTERNATIVE.items():
        for name in extension.value.get_values_for_type(wanted):
            yield CertificateName(kind, name)
