"""Certificate authorities and what they sign, for control planes that live for days."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tenantry_cluster import files

LIFETIME = dt.timedelta(days=365)


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder; what it signs lies beside it."""

    pair: Pair
    folder: Path

    @classmethod
    def in_folder(cls, folder: Path, name: str = "ca") -> "Authority":
        """The authority called `name`, made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        if not pair.certificate.exists():
            _make_authority(pair, name)
        return cls(pair, folder)

    def issue(self, file: str, user: str, *, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> Pair:
        """A pair for client `user` in `groups`, which may serve at `hosts` (names or addresses); kept while valid."""
        pair = Pair(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        if not _serves(pair, hosts):
            # A run that is killed here leaves no certificate beside a key that is not its own.
            pair.certificate.unlink(missing_ok=True)
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(pair.key, key)
            files.write(pair.certificate, self._sign(key.public_key(), _subject(user, groups), hosts))
        return pair

    def _sign(self, public_key: ec.EllipticCurvePublicKey, subject: x509.Name, hosts: Sequence[str]) -> bytes:
        certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        key = serialization.load_pem_private_key(self.pair.key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.pair.key} holds no elliptic-curve key")
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = _builder(subject, public_key).issuer_name(certificate.subject).add_extension(usage, critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # OpenSSL 3 in strict mode, as Python 3.13 and newer use it, refuses a chain without these two.
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def signing_pair(folder: Path, name: str) -> Pair:
    """An RSA key pair (the `certificate` is the bare public key) that signs the tokens of service accounts."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = Pair(folder / f"{name}.pub", folder / f"{name}.key")
    if not pair.certificate.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write_key(pair.key, key)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        files.write(pair.certificate, public)
    return pair


def _make_authority(pair: Pair, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"tenantry-{name}", ())
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = _builder(subject, key.public_key()).issuer_name(subject).add_extension(usage, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    _write_key(pair.key, key)
    files.write(pair.certificate, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    # An hour in the past: a clock that is set back a little must not make a young certificate invalid.
    start = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(subject).public_key(public_key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(start + LIFETIME)


def _subject(user: str, groups: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _serves(pair: Pair, hosts: Sequence[str]) -> bool:
    """Whether the pair exists, is valid for another day and names all the hosts."""
    if not pair.certificate.exists() or not pair.key.exists():
        return False
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    if certificate.not_valid_after_utc < dt.datetime.now(dt.UTC) + dt.timedelta(days=1):
        return False
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return not hosts
    return all(_host(host) in names for host in hosts)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    files.write(path, pem, files.PRIVATE)
