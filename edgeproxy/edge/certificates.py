"""Which certificate a viewer is shown: a configured one that covers the name it asks for, else one minted for it.

Minted certificates are signed by the local authority when a name is first asked for, and only for names that this CDN
serves. Anybody else's name, and a client that names none, gets the default certificate: a configured one that covers an
address this node listens on, else one minted for those addresses and localhost. The wall clock is the real one, as in
`authority`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeproxy.edge.authority import Authority
from edgeproxy.errors import ConfigError, Fault
from edgeproxy.settings import Certificate
from edgeproxy.telemetry.counters import Counter, Counters

_logger = logging.getLogger(__name__)

# The suites of CloudFront's TLSv1.2_2021; those of TLS 1.3 are always on (fact sheet 12).
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")

_LOCAL = ("localhost", "127.0.0.1", "::1")


def is_host_name(name: str) -> bool:
    """Whether this is a host name in lower case, as RFC 1123 section 2.1 writes them; an IP address is none."""
    return _HOST_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Configured:
    """A certificate of the operator's, ready to be used, and the names it covers (a wildcard as `*.example.com`)."""

    names: tuple[str, ...]
    context: ssl.SSLContext


def load_configured(certificates: Iterable[Certificate]) -> tuple[Configured, ...]:
    """Read the certificates of the settings. Blocking. Raises ConfigError with every fault."""
    loaded: list[Configured] = []
    faults: list[Fault] = []
    for certificate in certificates:
        try:
            loaded.append(Configured(_names(certificate), _configured_context(certificate)))
        except ConfigError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigError(faults)
    return tuple(loaded)


@dataclass(frozen=True, slots=True)
class _Minted:
    context: ssl.SSLContext
    renew_at: float


class Certificates:
    """The certificates of one process; all minted ones share a private key that lives and dies with it."""

    def __init__(
        self,
        authority: Authority,
        *,
        allowed: Callable[[str], bool],
        wall: Callable[[], float],
        counters: Counters,
        configured: Sequence[Configured] = (),
        addresses: Sequence[str] = (),
        kept_max: int = 256,
    ) -> None:
        """`allowed` says whether this CDN serves a host; `addresses` are the IP addresses this node listens on."""
        self._authority = authority
        self._allowed = allowed
        self._wall = wall
        self._counters = counters
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._kept: LRUCache[str, _Minted] = LRUCache(kept_max)
        # Of "all addresses" nobody knows which one a client will type.
        self._addresses = [address for address in addresses if address not in ("0.0.0.0", "::")]
        self._default_names = tuple(dict.fromkeys((*_LOCAL, *self._addresses)))
        self._default = self._mint(self._default_names)
        self._configured: dict[str, ssl.SSLContext] = {}
        self.configure(configured)
        # What listeners hold for good. Its own certificate is shown only when choosing fails.
        self._server_context = self._default.context
        self._server_context.sni_callback = self._choose

    def configure(self, configured: Sequence[Configured]) -> None:
        """Use these configured certificates from the next handshake on. The first one that covers a name has it."""
        self._configured = {name: each.context for each in reversed(configured) for name in each.names}

    def server_context(self) -> ssl.SSLContext:
        """For listeners: picks the certificate in each handshake by the name the client asks for (SNI)."""
        return self._server_context

    def context_for(self, name: str | None) -> ssl.SSLContext:
        """The context for a client that asks for this name, or for none. Minting takes one or two milliseconds."""
        host = (name or "").lower().removesuffix(".")
        configured = self._configured
        # A wildcard stands for exactly one label (RFC 9525 section 6.3), so there is one that may match.
        found = configured.get(host) or configured.get("*." + host.partition(".")[2])
        if found is not None:
            return found
        if not is_host_name(host) or not self._allowed(host):
            return self._default_context()
        kept: _Minted | None = self._kept.get(host)
        if kept is None or self._wall() >= kept.renew_at:
            kept = self._kept[host] = self._mint((host,))
        return kept.context

    def _default_context(self) -> ssl.SSLContext:
        # A client that asks for an IP address names none in its hello (RFC 6066 section 3).
        for address in self._addresses:
            if address in self._configured:
                return self._configured[address]
        if self._wall() >= self._default.renew_at:
            self._default = self._mint(self._default_names)
        return self._default.context

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        try:
            connection.context = self.context_for(name)
        except (OSError, ValueError):
            # The handshake goes on with the default certificate, so that the client at least learns who answered.
            _logger.exception("no certificate could be made for %r", name)

    def _mint(self, names: Sequence[str]) -> _Minted:
        leaf = self._authority.sign(names, self._key.public_key(), self._wall())
        context = _context()
        with _as_file(leaf.pem + self._key_pem) as path:
            context.load_cert_chain(path)
        self._counters.add(Counter.CERTIFICATES_MINTED)
        return _Minted(context, leaf.renew_at)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # A client must not make the server pay for handshake after handshake on one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextlib.contextmanager
def _as_file(pem: bytes) -> Iterator[str]:
    """A path for the ssl module, which reads keys from files only; in memory where the system can do that."""
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as file:
            file.write(pem)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem)
            file.flush()
            yield file.name


def _configured_context(certificate: Certificate) -> ssl.SSLContext:
    context = _context()
    try:
        # An empty password: without any, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate.certificate, certificate.key, password="")
    except ssl.SSLError as error:
        expected = f"expected the unencrypted private key of {certificate.certificate}, PEM ({error.reason})"
        raise ConfigError([Fault(certificate.key, "", "", expected)]) from error
    except OSError as error:
        raise ConfigError([Fault(certificate.key, "", "", f"cannot be read: {error.strerror}")]) from error
    return context


def _names(certificate: Certificate) -> tuple[str, ...]:
    """What the first certificate of the file covers: host names in lower case, wildcards included, and addresses."""
    file = certificate.certificate
    try:
        leaf = x509.load_pem_x509_certificates(Path(file).read_bytes())[0]
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except OSError as error:
        raise ConfigError([Fault(file, "", "", f"cannot be read: {error.strerror}")]) from error
    except ValueError as error:
        raise ConfigError([Fault(file, "", "", "expected certificates in PEM")]) from error
    except x509.ExtensionNotFound:
        raise ConfigError([Fault(file, "", "", "names no host: clients need a subjectAltName")]) from None
    hosts = [name.lower() for name in alternative.get_values_for_type(x509.DNSName)]
    return (*hosts, *(str(address) for address in alternative.get_values_for_type(x509.IPAddress)))
