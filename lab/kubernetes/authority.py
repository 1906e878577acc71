"""
The certificate authority of a cluster.

Its own certificate is like those of EKS' older clusters: without the key identifiers of RFC 5280.
"""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = datetime.timedelta(days=1)
_USES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class Authority:
    """An authority with a new key; what it issues is valid for a day."""

    def __init__(self, name: str = "kubernetes") -> None:
        self._name, self._key = name, new_key()
        root = _builder([(NameOID.COMMON_NAME, name)], self._key.public_key(), name)
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = _pem(root.sign(self._key, hashes.SHA256()))
        """The authority's own certificate, as PEM."""

    def issue(
        self, user: str, *, groups: tuple[str, ...] = (), addresses: tuple[str, ...] = (), names: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """A certificate of this user and these groups, or of a server with these addresses and names; and its key."""
        key = new_key()
        subject = [*((NameOID.ORGANIZATION_NAME, group) for group in groups), (NameOID.COMMON_NAME, user)]
        builder = _builder(subject, key.public_key(), self._name)
        builder = builder.add_extension(x509.ExtendedKeyUsage(_USES), critical=False)
        if addresses or names:
            by_address = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
            alternatives = x509.SubjectAlternativeName([*map(x509.DNSName, names), *by_address])
            builder = builder.add_extension(alternatives, critical=False)
        return _pem(builder.sign(self._key, hashes.SHA256())), pem_of(key)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    """The private key as PEM, without a password."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def public_pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    """The public key as PEM."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form).decode()


def _builder(
    subject: list[tuple[x509.ObjectIdentifier, str]], public: ec.EllipticCurvePublicKey, issuer: str
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(kind, value) for kind, value in subject]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
