"""Which certificate a client sees, asked with curl and openssl over real TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeproxy.edge.authority import Authority, ca_path
from edgeproxy.edge.certificates import Certificates, is_host_name, load_configured
from edgeproxy.errors import ConfigError
from edgeproxy.settings import Certificate
from edgeproxy.telemetry.counters import Counter, Counters

DAY = 86_400

wall = time.time  # curl and openssl judge by the real clock


class Clock:
    """The wall clock, so many seconds ahead."""

    ahead = 0.0

    def __call__(self) -> float:
        return wall() + self.ahead


def served(host: str) -> bool:
    return host.endswith((".example.com", "edge.localhost"))


def certificates(directory: Path, counters: Counters | None = None, **options: Any) -> Certificates:  # any option
    clock = options.pop("wall", Clock())
    authority = Authority.open(directory, clock)
    return Certificates(authority, allowed=served, wall=clock, counters=counters or Counters(), **options)


def own_certificate(directory: Path, *names: str) -> Certificate:
    """A certificate of the operator's, of another CA than the local one."""
    key = ec.generate_private_key(ec.SECP256R1())
    directory.mkdir()
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    authority = Authority.open(directory, wall)
    (directory / "chain.pem").write_bytes(authority.sign(names, key.public_key(), wall()).pem + authority.pem)
    return Certificate(certificate=str(directory / "chain.pem"), key=str(directory / "key.pem"))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # openssl's client leaves after the handshake.
    with contextlib.suppress(asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nhello")
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def listening(served: Certificates, host: str = "127.0.0.1") -> AsyncIterator[int]:
    server = await asyncio.start_server(_answer, host, 0, ssl=served.server_context())
    async with server:
        yield server.sockets[0].getsockname()[1]


async def run(*command: object) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


async def curl(port: int, ca: Path, host: str, *options: str) -> tuple[int, str]:
    resolve = f"{host}:{port}:127.0.0.1"
    return await run("curl", "-sS", "--cacert", ca, "--resolve", resolve, *options, f"https://{host}:{port}/")


async def shown(port: int, *options: str) -> str:
    """What openssl's client is told: the certificate's names, protocol, ALPN."""
    _, text = await run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options)
    return text


async def test_curl_trusts_a_name_that_is_served_and_the_local_addresses(tmp_path: Path) -> None:
    async with listening(certificates(tmp_path)) as port:
        for host in ("d1.edge.localhost", "www.example.com", "WWW.Example.com", "localhost", "127.0.0.1"):
            assert await curl(port, ca_path(tmp_path), host) == (0, "hello"), host


async def test_ipv6(tmp_path: Path) -> None:
    try:
        async with listening(certificates(tmp_path), "::1") as port:
            assert await run("curl", "-sS", "--cacert", ca_path(tmp_path), f"https://[::1]:{port}/") == (0, "hello")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


async def test_a_name_of_somebody_else_gets_no_certificate_of_its_own(tmp_path: Path) -> None:
    counters = Counters()
    async with listening(certificates(tmp_path, counters)) as port:
        before = counters[Counter.CERTIFICATES_MINTED]
        code, text = await curl(port, ca_path(tmp_path), "www.example.org")
        assert (code, "does not match" in text or "no alternative" in text) == (60, True)
        assert "CN = localhost" in await shown(port, "-servername", "not_a_host.example.com")
        assert "CN = localhost" in await shown(port, "-noservername")
        assert counters[Counter.CERTIFICATES_MINTED] == before


async def test_protocols_and_alpn(tmp_path: Path) -> None:
    there = certificates(tmp_path)
    assert there.context_for("www.example.com").minimum_version is ssl.TLSVersion.TLSv1_2
    async with listening(there) as port:
        name = ("-servername", "www.example.com")
        new = await shown(port, *name, "-tls1_3", "-alpn", "h2,http/1.1")
        assert "New, TLSv1.3" in new
        assert "ALPN protocol: http/1.1" in new
        old = await shown(port, *name, "-tls1_2")
        assert "New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384" in old
        refused = await shown(port, *name, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        assert "Cipher is (NONE)" in refused
        refused = await shown(port, *name, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256")
        assert "Cipher is (NONE)" in refused


async def test_a_session_is_resumed(tmp_path: Path) -> None:
    session = str(tmp_path / "session")
    async with listening(certificates(tmp_path)) as port:
        await shown(port, "-servername", "www.example.com", "-tls1_2", "-sess_out", session)
        again = await shown(port, "-servername", "www.example.com", "-tls1_2", "-sess_in", session)
    assert "Reused, TLSv1.2" in again


async def test_a_configured_certificate_wins_for_the_names_it_covers(tmp_path: Path) -> None:
    own = own_certificate(tmp_path / "wild", "*.example.com", "example.com")
    exact = own_certificate(tmp_path / "exact", "www.example.com", "198.51.100.7")
    there = certificates(tmp_path, configured=load_configured([own, exact]), addresses=["198.51.100.7"])
    wild_ca, exact_ca = ca_path(tmp_path / "wild"), ca_path(tmp_path / "exact")
    async with listening(there) as port:
        assert await curl(port, wild_ca, "img.example.com") == (0, "hello")
        assert await curl(port, wild_ca, "example.com") == (0, "hello")
        assert await curl(port, exact_ca, "www.example.com") == (0, "hello"), "the most specific one"
        assert await curl(port, ca_path(tmp_path), "a.b.example.com") == (0, "hello"), "a wildcard is one label"
        assert await curl(port, exact_ca, "198.51.100.7") == (0, "hello"), "an address of this node"
        there.configure([])
        assert await curl(port, ca_path(tmp_path), "img.example.com") == (0, "hello"), "taken away again"


def test_the_first_configured_certificate_for_a_name_has_it(tmp_path: Path) -> None:
    first = own_certificate(tmp_path / "first", "www.example.com")
    second = own_certificate(tmp_path / "second", "www.example.com", "img.example.com")
    one, two = load_configured([first, second])
    there = certificates(tmp_path, configured=[one, two])
    assert there.context_for("www.example.com") is one.context
    assert there.context_for("img.example.com") is two.context


def test_the_default_certificate_names_the_addresses_listened_on(tmp_path: Path) -> None:
    there = certificates(tmp_path, addresses=["127.0.0.1", "192.0.2.9", "0.0.0.0", "::"])
    assert names_of(there.context_for(None)) == ["localhost", "127.0.0.1", "::1", "192.0.2.9"]


def names_of(context: ssl.SSLContext) -> list[str]:
    """The names in the certificate of a server's context, read in a handshake through memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    der = client.getpeercert(binary_form=True)
    assert der is not None
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def test_a_certificate_is_kept_until_two_thirds_of_its_life_are_over(tmp_path: Path) -> None:
    clock, counters = Clock(), Counters()
    there = certificates(tmp_path, counters, wall=clock)
    first, default = there.context_for("www.example.com"), there.context_for(None)
    clock.ahead = 59 * DAY
    assert there.context_for("www.example.com") is first
    assert there.context_for(None) is default
    clock.ahead = 61 * DAY
    assert there.context_for("www.example.com") is not first
    assert there.context_for(None) is not default
    assert names_of(there.context_for("www.example.com")) == ["www.example.com"]
    assert counters[Counter.CERTIFICATES_MINTED] == 4


async def test_the_default_certificate_is_renewed_under_a_listener_that_stays(tmp_path: Path) -> None:
    clock = Clock()
    clock.ahead = -100 * DAY
    async with listening(certificates(tmp_path, wall=clock)) as port:
        assert "certificate has expired" in (await curl(port, ca_path(tmp_path), "localhost"))[1]
        clock.ahead = 0
        assert await curl(port, ca_path(tmp_path), "localhost") == (0, "hello")


async def test_when_none_can_be_made_the_client_still_learns_who_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(host: str) -> bool:
        raise OSError(f"cannot tell whether {host} is served")

    authority = Authority.open(tmp_path, wall)
    there = Certificates(authority, allowed=fails, wall=wall, counters=Counters())
    async with listening(there) as port:
        assert "CN = localhost" in await shown(port, "-servername", "www.example.com")
    assert caplog.messages[0] == "no certificate could be made for 'www.example.com'"


def test_only_so_many_are_kept_and_the_least_used_goes(tmp_path: Path) -> None:
    counters = Counters()
    there = certificates(tmp_path, counters, kept_max=2)
    one, two = there.context_for("1.example.com"), there.context_for("2.example.com")
    assert there.context_for("1.example.com") is one
    there.context_for("3.example.com")
    assert there.context_for("1.example.com") is one
    assert there.context_for("2.example.com") is not two
    assert counters[Counter.CERTIFICATES_MINTED] == 5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localhost", True),
        ("a.b-c.example.com", True),
        ("xn--bcher-kva.example", True),
        ("1.example.com", True),
        ("a" * 63 + ".example", True),
        ("a" * 64 + ".example", False),
        (".".join(["a" * 49] * 5), True),
        (".".join(["a" * 50] * 5), False),
        ("", False),
        (".", False),
        ("a..b", False),
        (".a", False),
        ("-a.example", False),
        ("a-.example", False),
        ("a_b.example", False),
        ("*.example.com", False),
        ("a b", False),
        ("a\n", False),
        ("bücher.example", False),
        ("127.0.0.1", False),
        ("::1", False),
    ],
)
def test_what_is_a_host_name(name: str, expected: bool) -> None:
    assert is_host_name(name) is expected


def test_every_fault_of_the_configured_certificates_is_told_at_once(tmp_path: Path) -> None:
    good, other = own_certificate(tmp_path / "good", "a.example"), own_certificate(tmp_path / "other", "b.example")
    key = serialization.load_pem_private_key(Path(good.key).read_bytes(), None)
    locked, junk = tmp_path / "locked.pem", tmp_path / "junk.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    junk.write_text("junk")
    authority_key = tmp_path / "good" / "ca" / "ca-key.pem"
    with pytest.raises(ConfigError) as caught:
        load_configured(
            [
                good,
                Certificate(certificate=str(tmp_path / "none.pem"), key=good.key),
                Certificate(certificate=str(junk), key=good.key),
                Certificate(certificate=str(ca_path(tmp_path / "good")), key=str(authority_key)),
                Certificate(certificate=good.certificate, key=other.key),
                Certificate(certificate=good.certificate, key=str(locked)),
                Certificate(certificate=good.certificate, key=str(tmp_path / "none.pem")),
            ]
        )
    texts = [str(fault).removeprefix(str(tmp_path) + "/") for fault in caught.value.faults]
    assert [text.partition(" (")[0] for text in texts] == [
        "none.pem: cannot be read: No such file or directory",
        "junk.pem: expected certificates in PEM",
        "good/ca/ca.pem: names no host: clients need a subjectAltName",
        f"other/key.pem: expected the unencrypted private key of {good.certificate}, PEM",
        f"locked.pem: expected the unencrypted private key of {good.certificate}, PEM",
        "none.pem: cannot be read: No such file or directory",
    ]
