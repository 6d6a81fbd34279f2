"""Which file a URL path means, and which it must never mean."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from edgeproxy.origin.files import Elsewhere, Folder, OpenFile, content_type


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret")
    root = tmp_path / "root"
    for folder in ("docs", "empty", "a:b"):
        (root / folder).mkdir(parents=True)
    (root / "index.html").write_text("home")
    (root / "docs/index.html").write_text("docs")
    (root / "docs/café.txt").write_text("coffee")
    (root / "inside").symlink_to(root / "docs")
    (root / "outside").symlink_to(tmp_path / "secret.txt")
    (root / "parent").symlink_to(tmp_path)
    (root / "circle").symlink_to(root / "circle")
    (root / "nowhere").symlink_to(root / "none")
    os.mkfifo(root / "pipe")
    return root


def content(folder: Folder, path: str) -> str | None:
    found = folder.find(path)
    if not isinstance(found, OpenFile):
        return None
    with closing(found):
        return found.read(0, found.length).decode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "home"),
        ("/index.html", "home"),
        ("/docs/", "docs"),
        ("//docs//index.html", "docs"),
        ("/docs/caf%C3%A9.txt", "coffee"),
        ("/docs%2Findex.html", "docs"),
        ("/inside/", "docs"),
    ],
)
def test_a_path_means_a_file(root: Path, path: str, expected: str) -> None:
    assert content(Folder(root), path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/none", "/empty/", "/index.html/", "/docs/index.html/x", "/../secret.txt", "/%2e%2e/secret.txt",
        "/docs/../index.html", "/docs/..%2f..%2fsecret.txt", "/outside", "/parent/secret.txt", "/circle", "/nowhere",
        "/pipe", "/index.html%00", "/" + "x" * 5000, "/" + "x/" * 3000, "/%ff%fe",
    ],
)  # fmt: skip
def test_a_path_means_nothing(root: Path, path: str) -> None:
    assert Folder(root).find(path) is None


@pytest.mark.parametrize(("path", "location"), [("/docs", "./docs/"), ("/a:b", "./a%3Ab/"), ("/inside", "./inside/")])
def test_a_folder_without_its_slash_is_elsewhere(root: Path, path: str, location: str) -> None:
    assert Folder(root).find(path) == Elsewhere(location)


def test_no_descriptor_stays_open(root: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for path in ("/", "/docs/", "/pipe", "/outside", "/none"):
        content(Folder(root), path)
    assert os.listdir("/proc/self/fd") == before


def test_another_content_has_another_entity_tag(root: Path) -> None:
    def etag() -> str:
        found = Folder(root).find("/index.html")
        assert isinstance(found, OpenFile)
        found.close()
        return found.etag

    first = etag()
    assert first == etag()
    status = (root / "index.html").stat()
    os.utime(root / "index.html", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    second = etag()
    (root / "index.html").write_text("homely")
    os.utime(root / "index.html", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert len({first, second, etag()}) == 3
    assert first.startswith('"')


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("A.CSS", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a", "application/octet-stream"),
    ],
)
def test_media_types(name: str, kind: str) -> None:
    assert content_type(name) == kind
