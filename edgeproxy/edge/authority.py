"""The local certificate authority of a data directory: made on first use, the same for every process and node there.

`ca.pem` is what a client is told to trust, `ca-key.pem` never leaves the machine. The wall clock given here is the real
one even where a test clock moves the cache's time: peers judge certificates by their own clocks.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeproxy.errors import ConfigError, Fault

_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=90)
"""Clients refuse server certificates valid for more than 398 days (CA/Browser Forum baseline, section 6.3.2)."""
_BACKDATED = timedelta(hours=1)
"""Clocks of clients lag."""
_COMMON_NAME_MAX = 64
"""RFC 5280 appendix A.1, ub-common-name."""


def ca_directory(data_dir: Path) -> Path:
    """Where a data directory keeps its authority."""
    return data_dir / "ca"


def ca_path(data_dir: Path) -> Path:
    """The certificate that clients are to trust, whether it exists yet or not."""
    return ca_directory(data_dir) / "ca.pem"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A signed certificate as PEM, and when to ask for the next one (wall clock, seconds)."""

    pem: bytes
    renew_at: float


class Authority:
    """Signs certificates for servers. Made by `open`."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())

    @classmethod
    def open(cls, data_dir: Path, wall: Callable[[], float]) -> Authority:
        """The authority of this directory, made if there is none; an expired one is kept aside and replaced.

        Several processes may call this at once. Blocking. Raises ConfigError when its files cannot be used.
        """
        directory = ca_directory(data_dir)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return cls._load_or_make(directory, datetime.fromtimestamp(wall(), UTC))
            finally:
                os.close(lock)
        except OSError as error:
            place = Path(os.fsdecode(error.filename or directory))
            raise _refused(place, f"the local CA cannot be read or made: {error.strerror}") from error

    @classmethod
    def _load_or_make(cls, directory: Path, now: datetime) -> Authority:
        certificate_path, key_path = directory / "ca.pem", directory / "ca-key.pem"
        if certificate_path.exists():
            found = _load(certificate_path, key_path)
            if now < found._certificate.not_valid_after_utc:
                return found
            until = f"{found._certificate.not_valid_after_utc:%Y%m%d}"
            os.replace(certificate_path, directory / f"ca-expired-{until}.pem")
            os.replace(key_path, directory / f"ca-key-expired-{until}.pem")
        # A key without a certificate is what a crash between the two writes below leaves. Nobody trusts it yet.
        made = cls._make(now)
        key_pem = made._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(key_path, key_pem, 0o600)
        _write(certificate_path, made.pem, 0o644)
        return made

    @classmethod
    def _make(cls, now: datetime) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        # The id tells several CDNs of one machine apart in a browser's list.
        name = _name(f"edgeproxy local CA {identifier.digest.hex()[:8]}")
        certificate = (
            _builder(name, name, key.public_key(), now - _BACKDATED, now + _LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        """The certificate that clients are to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, names: Sequence[str], key: ec.EllipticCurvePublicKey, now: float) -> Leaf:
        """A certificate for a server that answers to these host names and IP addresses. About a millisecond."""
        moment = datetime.fromtimestamp(now, UTC)
        begin, end = moment - _BACKDATED, min(moment + _LEAF_LIFE, self._certificate.not_valid_after_utc)
        # After its own end the authority signs what no client accepts, rather than fail: the next start replaces it.
        end = max(end, moment + _BACKDATED)
        subject = _name(names[0]) if len(names[0]) <= _COMMON_NAME_MAX else x509.Name([])
        certificate = (
            _builder(subject, self._certificate.subject, key, begin, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            # RFC 5280 section 4.2.1.6: critical when there is no subject.
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=not subject.rdns)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return Leaf(pem, (begin + (end - begin) * 2 / 3).timestamp())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _refused(path: Path, sentence: str) -> ConfigError:
    return ConfigError([Fault(str(path), "", "", sentence)])


def _load(certificate_path: Path, key_path: Path) -> Authority:
    """Read the pair and see that it is one. Raises ConfigError, OSError."""
    remedy = "restore it, or remove the directory: a new CA is made, which clients must be told to trust"
    if not key_path.exists():
        raise _refused(key_path, f"the local CA's private key is missing; {remedy}")
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise _refused(certificate_path, f"the local CA's certificate is damaged; {remedy}") from error
    try:
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _refused(key_path, f"the local CA's private key is damaged; {remedy}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise _refused(key_path, f"the local CA's private key does not belong to its certificate; {remedy}")
    return Authority(certificate, key)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put a file in place whole or not at all; the caller holds the lock, so the temporary name is ours alone."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.replace(draft, path)
