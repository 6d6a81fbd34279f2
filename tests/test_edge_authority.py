"""The local CA: made once however many start at once, kept, replaced when expired, never silently when damaged."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeproxy.edge.authority import Authority, ca_path
from edgeproxy.errors import ConfigError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()


def at(moment: datetime) -> Callable[[], float]:
    return moment.timestamp


def certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def openssl(*arguments: object) -> str:
    run = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def test_the_first_use_makes_it_and_the_next_one_finds_it(tmp_path: Path) -> None:
    made = Authority.open(tmp_path, at(NOW))
    assert ca_path(tmp_path) == tmp_path / "ca" / "ca.pem"
    assert ca_path(tmp_path).read_bytes() == made.pem
    assert (tmp_path / "ca" / "ca-key.pem").stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in (tmp_path / "ca").iterdir()) == ["ca-key.pem", "ca.pem"]
    assert Authority.open(tmp_path, at(NOW + timedelta(days=3000))).pem == made.pem


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    ca = certificate(Authority.open(tmp_path, at(NOW)).pem)
    (name,) = ca.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    key_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    assert name.value == f"edgeproxy local CA {key_id[:8]}"
    assert ca.subject == ca.issuer
    assert (ca.not_valid_before_utc, ca.not_valid_after_utc) == (
        NOW - timedelta(hours=1),
        NOW + timedelta(days=3650),
    )
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)


def test_a_leaf_names_hosts_and_addresses_and_openssl_accepts_it(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, at(NOW))
    leaf = authority.sign(["www.example.com", "127.0.0.1", "::1"], KEY, NOW.timestamp())
    (tmp_path / "leaf.pem").write_bytes(leaf.pem)
    read = certificate(leaf.pem)
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["www.example.com"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert list(read.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert read.not_valid_before_utc == NOW - timedelta(hours=1)
    assert timedelta(days=90) < read.not_valid_after_utc - read.not_valid_before_utc < timedelta(days=397)
    assert NOW + timedelta(days=59) < datetime.fromtimestamp(leaf.renew_at, UTC) < NOW + timedelta(days=61)
    verified = openssl(
        "verify", "-x509_strict", "-purpose", "sslserver", "-attime", int(NOW.timestamp()),
        "-verify_hostname", "www.example.com", "-CAfile", ca_path(tmp_path), tmp_path / "leaf.pem",
    )  # fmt: skip
    assert verified.endswith("leaf.pem: OK\n")


def test_a_name_too_long_for_a_subject_is_named_all_the_same(tmp_path: Path) -> None:
    host = ".".join(["a" * 60] * 4)
    leaf = certificate(Authority.open(tmp_path, at(NOW)).sign([host], KEY, NOW.timestamp()).pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [host]
    assert names.critical
    assert not leaf.subject.rdns


def test_a_leaf_ends_no_later_than_its_authority(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, at(NOW))
    end = certificate(authority.pem).not_valid_after_utc
    assert certificate(authority.sign(["a"], KEY, (end - timedelta(days=5)).timestamp()).pem).not_valid_after_utc == end
    late = authority.sign(["a"], KEY, (end + timedelta(days=5)).timestamp())
    assert late.renew_at > (end + timedelta(days=5)).timestamp(), "not signed again for each handshake"


def test_an_expired_one_is_kept_aside_and_a_new_one_made(tmp_path: Path) -> None:
    old = Authority.open(tmp_path, at(NOW))
    new = Authority.open(tmp_path, at(NOW + timedelta(days=3651)))
    assert new.pem != old.pem
    assert ca_path(tmp_path).read_bytes() == new.pem
    assert (tmp_path / "ca" / "ca-expired-20360428.pem").read_bytes() == old.pem
    assert (tmp_path / "ca" / "ca-key-expired-20360428.pem").stat().st_mode & 0o777 == 0o600


def test_a_key_left_by_a_crash_before_the_certificate_was_written_is_replaced(tmp_path: Path) -> None:
    old = Authority.open(tmp_path, at(NOW))
    ca_path(tmp_path).unlink()
    (tmp_path / "ca" / "ca.new").write_text("half")
    new = Authority.open(tmp_path, at(NOW))
    assert new.pem != old.pem
    assert Authority.open(tmp_path, at(NOW)).pem == new.pem


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def forge(path: Path) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(path.read_text()))
    der[-1] ^= 1  # in the signature: still well-formed
    path.write_text(ssl.DER_cert_to_PEM_cert(bytes(der)))


def exchange(path: Path) -> None:
    other = path.parent / "other"
    Authority.open(other, at(NOW))
    path.write_bytes((other / "ca" / path.name).read_bytes())


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        pytest.param("ca.pem", truncate, "certificate is damaged", id="certificate truncated"),
        pytest.param("ca.pem", forge, "certificate is damaged", id="certificate changed"),
        pytest.param("ca.pem", lambda path: path.write_bytes(b""), "certificate is damaged", id="certificate empty"),
        pytest.param("ca-key.pem", truncate, "private key is damaged", id="key truncated"),
        pytest.param("ca-key.pem", exchange, "does not belong to its certificate", id="key of another"),
        pytest.param("ca-key.pem", Path.unlink, "private key is missing", id="key gone"),
    ],
)
def test_damage_is_told_with_what_to_do_and_nothing_is_overwritten(
    tmp_path: Path, name: str, damage: Callable[[Path], None], sentence: str
) -> None:
    Authority.open(tmp_path, at(NOW))
    path = tmp_path / "ca" / name
    damage(path)
    before = {each.name: each.read_bytes() for each in (tmp_path / "ca").glob("*.pem")}
    with pytest.raises(ConfigError, match=f"{sentence}; restore it, or remove the directory") as caught:
        Authority.open(tmp_path, at(NOW))
    assert str(caught.value).startswith(str(path))
    assert {each.name: each.read_bytes() for each in (tmp_path / "ca").glob("*.pem")} == before


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("a file")
    with pytest.raises(ConfigError, match="ca: the local CA cannot be read or made: File exists"):
        Authority.open(tmp_path, at(NOW))


RACE = """
import sys, time
from pathlib import Path
from edgeproxy.edge.authority import Authority
print(flush=True)
sys.stdin.read()
sys.stdout.buffer.write(Authority.open(Path(sys.argv[1]), time.time).pem)
"""


def test_processes_that_start_at_once_agree_on_one(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", RACE, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    seen = {process.stdout.read() for process in processes if process.stdout}
    assert [process.wait() for process in processes] == [0] * 4
    assert seen == {ca_path(tmp_path).read_bytes()}
