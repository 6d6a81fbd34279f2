"""Six configurations as they run in production, each with what its owner would check before deploying it.

The files under tests/production are what the AWS command line prints. Their origins' host names are sent to local ones
by the settings, and nothing else about them is changed.
"""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import pytest

from edgeproxy.configuration import load
from edgeproxy.model import Mode, Rules
from edgeproxy.reading import read_bytes
from edgeproxy.telemetry.counters import Counter
from tests.authority import Authority
from tests.facts import AMERICAN, CLIENTS, GERMAN, NOON
from tests.scripted import ScriptedOrigin, Viewer
from tests.tier import Got, Node, node, receive
from tests.wire import FieldsLike

FOLDER = Path(__file__).parent / "production"
TEXT = b"".join(b"line %d of a text that compresses well\n" % number for number in range(300))
HTML = {
    "Content-Type": "text/html",
    "Cache-Control": "no-cache",
    "ETag": '"p1"',
    "x-amz-id-2": "i",
    "Server": "AmazonS3",
}
SCRIPT = {"Content-Type": "application/javascript", "Cache-Control": "max-age=31536000", "ETag": '"s1"'}
DENIED = b"<Error><Code>AccessDenied</Code></Error>"


@dataclass
class Site:
    """A POP that serves one of the distributions, and its origins by id."""

    pop: Node
    host: str
    trusted: ssl.SSLContext
    origins: dict[str, ScriptedOrigin]
    regionals: dict[str, Node]
    """By region."""

    async def ask(
        self, target: str, headers: FieldsLike = (), body: bytes = b"", *, method: str = "GET", host: str = ""
    ) -> Got:
        """One request over HTTPS."""
        name = host or self.host
        async with await Viewer.connect(self.pop.https_port, tls=self.trusted, server_name=name) as viewer:
            await viewer.ask(target, headers, body, method=method, host=name)
            return await receive(viewer)


@asynccontextmanager
async def site(tmp_path: Path, name: str, *policies: str, regions: Sequence[str] = ()) -> AsyncIterator[Site]:
    """The distribution of this file, with these policies beside it. `regions` have a regional, the POP goes to the
    first of them."""
    config = json.loads((FOLDER / f"{name}.json").read_text())["DistributionConfig"]
    authority = Authority(tmp_path)
    async with AsyncExitStack() as stack:
        origins: dict[str, ScriptedOrigin] = {}
        redirects = []
        for each in config["Origins"]["Items"]:
            origins[each["Id"]] = origin = await stack.enter_async_context(ScriptedOrigin())
            redirects.append(f'"{each["DomainName"]}" = "{origin.url}"')
        listed = ", ".join(f'"{policy}.json"' for policy in policies)
        text = f'policies = [{listed}]\n[origins]\n{chr(10).join(redirects)}\n[[distributions]]\nfile = "{name}.json"\n'
        settings = FOLDER / "settings.toml"
        made = load(settings, {}, lambda path: text.encode() if path == settings else read_bytes(path))
        host = config["Aliases"]["Items"][0]
        tls = authority.server(host)
        common: dict[str, Any] = {"distributions": made.distributions, "rules": Rules.CLOUDFRONT, "clients": CLIENTS}
        regionals: dict[str, Node] = {}
        for region in reversed(regions):
            made_regional = node(mode=Mode.REGIONAL, region=region, name=region, shields=dict(regionals), **common)
            regionals[region] = await stack.enter_async_context(made_regional)
        upstream = regionals[regions[0]] if regions else None
        pop = await stack.enter_async_context(
            node(**common, tls=tls, wall=lambda: NOON, upstream=upstream, shields=regionals)
        )
        trusted = authority.client()
        trusted.check_hostname = False
        yield Site(pop, host, trusted, origins, regionals)


async def test_the_static_site(tmp_path: Path) -> None:
    async with site(tmp_path, "static-site") as www:
        bucket = www.origins["site"]
        bucket.always(403, {"Content-Type": "application/xml"}, DENIED)

        async def page(ask: Any) -> None:
            await ask.answer(304 if ask.header("If-None-Match") else 200, HTML, TEXT)

        bucket.on("/live/index.html", page)

        # Plain HTTP is sent to HTTPS, for both names.
        for host in ("www.acme.example", "acme.example"):
            moved = await www.pop.get("/x?y=z", host=host)
            assert (moved.status, moved.header("Location")) == (301, f"https://{host}/x?y=z")

        # The front page comes from the bucket's folder, compressed, with security headers and nothing of S3's own.
        got = await www.ask("/", {"Accept-Encoding": "gzip, br"})
        assert (got.status, brotli.decompress(got.body)) == (200, TEXT)
        assert (bucket.log[-1].target, bucket.log[-1].header("Host")) == (
            "/live/index.html", "acme-www.s3.eu-central-1.amazonaws.com",
        )  # fmt: skip
        assert got.header("Strict-Transport-Security") == "max-age=31536000"
        assert (got.header("X-Frame-Options"), got.header("x-amz-id-2")) == ("SAMEORIGIN", None)

        # CachingOptimized has a minimum of a second: within it no-cache does not count, after it the bucket is asked.
        asked = bucket.requests
        await www.ask("/", {"Accept-Encoding": "br"}, host="acme.example")
        assert bucket.requests == asked + 1
        await www.ask("/", {"Accept-Encoding": "br"})
        assert bucket.requests == asked + 1
        www.pop.advance(2)
        again = await www.ask("/", {"Accept-Encoding": "br"})
        assert (again.header("X-Cache"), brotli.decompress(again.body)) == ("RefreshHit from cloudfront", TEXT)

        # A key that is not there is S3's 403, which viewers see as a 404 with the site's own page. The page is kept,
        # the 403 is not: S3 says no max-age, without which CloudFront keeps none, whatever ErrorCachingMinTTL is.
        async def missing(ask: Any) -> None:
            await ask.answer(200, {"Content-Type": "text/html"}, b"not found, sorry")

        bucket.on("/live/404.html", missing)
        asked = bucket.requests
        for _ in range(2):
            lost = await www.ask("/gone")
            assert (lost.status, lost.body) == (404, b"not found, sorry")
            assert (lost.header("X-Cache"), lost.header("X-Frame-Options")) == ("Error from cloudfront", "SAMEORIGIN")
        assert [ask.target for ask in bucket.log[asked:]] == ["/live/gone", "/live/404.html", "/live/gone"]


async def test_the_single_page_application(tmp_path: Path) -> None:
    async with site(tmp_path, "single-page-app", "single-page-app-headers") as app:
        bucket = app.origins["app"]
        bucket.always(403, {"Content-Type": "application/xml", "Server": "AmazonS3"}, DENIED)

        async def index(ask: Any) -> None:
            await ask.answer(200, {"Content-Type": "text/html", "Server": "AmazonS3", "x-amz-version-id": "v"}, TEXT)

        async def script(ask: Any) -> None:
            await ask.answer(200, SCRIPT, TEXT)

        bucket.on("/index.html", index)
        bucket.on("/static/app.js", script)

        # Every route of the application is its one page, with status 200, however deep and however often.
        for target in ("/", "/login", "/users/17/edit?tab=2", "/login"):
            got = await app.ask(target, {"Accept-Encoding": "gzip"})
            assert (got.status, gzip.decompress(got.body)) == (200, TEXT), target
            assert (got.header("Server"), got.header("x-amz-version-id")) == ("CloudFront", None)
            assert (
                got.header("Content-Security-Policy")
                == "default-src 'self'; connect-src 'self' https://api.acme.example"
            )
            assert got.header("Strict-Transport-Security") == "max-age=63072000; includeSubDomains"
            assert got.header("Permissions-Policy") == "camera=(), microphone=()"
        assert sum(ask.target == "/index.html" for ask in bucket.log) == 1

        # Its scripts are kept for a year.
        for expected in ("Miss", "Hit"):
            got = await app.ask("/static/app.js", {"Accept-Encoding": "gzip"})
            assert (got.header("X-Cache"), gzip.decompress(got.body)) == (f"{expected} from cloudfront", TEXT)
        app.pop.advance(364 * 86_400)
        assert (await app.ask("/static/app.js", {"Accept-Encoding": "gzip"})).header("X-Cache") == "Hit from cloudfront"

        # ErrorCachingMinTTL 0 in front of a bucket is one second, so that a new file is seen soon.
        answers = [(404, {}, DENIED), (200, SCRIPT, b"new")]

        async def new(ask: Any) -> None:
            await ask.answer(*answers.pop(0))

        bucket.on("/static/new.js", new)
        for _ in range(2):
            assert (await app.ask("/static/new.js")).header("X-Cache") == "Error from cloudfront"
        app.pop.advance(2)
        assert (await app.ask("/static/new.js")).body == b"new"


async def test_the_api_and_its_assets(tmp_path: Path) -> None:
    async with site(tmp_path, "api-and-assets", "api-and-assets-policies") as shop:
        api, assets = shop.origins["api"], shop.origins["assets"]
        api.always(200, {"Content-Type": "application/json", "X-Request-Id": "r1"}, b"{}")
        assets.always(200, SCRIPT, TEXT)

        # The API: HTTPS alone, nothing cached, everything of the viewer's passed on but its Host, and a secret added.
        assert (await shop.pop.get("/api/cart", host=shop.host)).status == 403
        sent = {
            "Authorization": "Bearer t", "Cookie": "session=1", "Origin": "https://app.acme.example", "X-Trace": "7",
            "Content-Type": "application/json",
        }  # fmt: skip
        for method in ("GET", "POST"):
            got = await shop.ask("/api/cart?x=1", sent, b"" if method == "GET" else b"{}", method=method)
            heard = api.log[-1]
            assert (got.status, heard.method, heard.target) == (200, method, "/api/cart?x=1")
            assert (heard.header("Authorization"), heard.header("Cookie"), heard.header("X-Trace")) == (
                "Bearer t", "session=1", "7",
            )  # fmt: skip
            assert heard.header("Host") == "internal-acme-1234567890.eu-west-1.elb.amazonaws.com"
            assert heard.header("X-Origin-Verify") == "2f6e1c"
            assert heard.header("CloudFront-Forwarded-Proto") == "https"
            assert (heard.header("CloudFront-Viewer-TLS") or "").startswith("TLSv1.3:")
            assert got.header("Access-Control-Allow-Origin") == "https://app.acme.example"
            assert got.header("Access-Control-Expose-Headers") == "X-Request-Id"
        assert api.requests == 2
        preflight = {"Origin": "https://app.acme.example", "Access-Control-Request-Method": "PUT"}
        got = await shop.ask("/api/cart", preflight, method="OPTIONS")
        assert got.header("Access-Control-Allow-Methods") == "GET, HEAD, OPTIONS, PUT, POST, PATCH, DELETE"
        assert got.header("Access-Control-Max-Age") == "7200"
        assert (await shop.ask("/api/cart", {"Origin": "https://evil.test"})).header(
            "Access-Control-Allow-Origin"
        ) is None

        # Pages are kept by the origin's word, apart for language, country and session; other cookies do not matter.
        api.always(200, {"Cache-Control": "max-age=60", "Content-Type": "text/html"}, TEXT)
        asked = api.requests
        german = {"Accept-Language": "de", "EdgeProxy-Client": GERMAN, "Cookie": "session=a; consent=yes"}
        await shop.ask("/p?id=1", german)
        assert api.log[-1].header("CloudFront-Viewer-Country") == "DE"
        assert (api.log[-1].header("Cookie"), api.log[-1].header("CloudFront-Is-Mobile-Viewer")) == (
            "consent=yes; session=a", "false",
        )  # fmt: skip
        await shop.ask("/p?id=1", german | {"Cookie": "session=a; consent=no", "User-Agent": "iPhone"})
        assert api.requests == asked + 1
        for change in ({"Accept-Language": "fr"}, {"EdgeProxy-Client": AMERICAN}, {"Cookie": "session=b"}):
            await shop.ask("/p?id=1", german | change)
        await shop.ask("/p?id=2", german)
        assert api.requests == asked + 5

        # Assets come from the bucket, whatever else is said, and once.
        for number in range(3):
            got = await shop.ask(f"/assets/a.js?v={number}", {"Cookie": f"session={number}", "Accept-Encoding": "br"})
            assert brotli.decompress(got.body) == TEXT
        assert (assets.requests, assets.log[0].header("Cookie")) == (1, None)


async def test_the_media_with_ranges(tmp_path: Path) -> None:
    async with site(tmp_path, "media", "media-playlists") as media:
        vod, live = media.origins["vod"], media.origins["live"]
        film = bytes(range(256)) * 400
        head = {"Content-Type": "video/mp4", "ETag": '"f1"', "Accept-Ranges": "bytes", "Cache-Control": "max-age=86400"}

        async def ranged(ask: Any) -> None:
            asked = ask.header("Range")
            if asked is None:
                await ask.answer(200, head, film)
                return
            first, last = (int(number) for number in asked.removeprefix("bytes=").split("-"))
            last = min(last, len(film) - 1)
            part = head | {"Content-Range": f"bytes {first}-{last}/{len(film)}"}
            await ask.answer(206, part, film[first : last + 1])

        vod.on("/film.mp4", ranged)

        # A player's first range costs that range; a range of what is there costs nothing; the whole is the whole.
        for _ in range(2):
            got = await media.ask("/film.mp4", {"Range": "bytes=100-199", "Accept-Encoding": "identity"})
            assert (got.status, got.body) == (206, film[100:200])
            assert got.header("Content-Range") == f"bytes 100-199/{len(film)}"
        assert [ask.header("Range") for ask in vod.log][:1] == ["bytes=100-199"]
        assert (await media.ask("/film.mp4")).body == film
        asked = vod.requests
        for span in ((0, 9), (5000, 5999), (len(film) - 10, len(film) - 1)):
            got = await media.ask("/film.mp4", {"Range": f"bytes={span[0]}-{span[1]}"})
            assert (got.status, got.body) == (206, film[span[0] : span[1] + 1])
        got = await media.ask("/film.mp4", {"Range": "bytes=900-999,100-199"})
        assert (got.status, got.body) == (200, film)
        assert vod.requests == asked

        # Playlists live two seconds, whatever the origin says; the errors of a stream that begins, one.
        vod.always(200, {"Content-Type": "application/x-mpegURL", "Cache-Control": "max-age=600"}, b"#EXTM3U")
        for advance, result in ((0, "Miss"), (1, "Hit"), (2, "Miss")):
            media.pop.advance(advance)
            assert (await media.ask("/film.m3u8")).header("X-Cache") == f"{result} from cloudfront"
        live.always(404, {}, b"soon")
        assert (await media.ask("/out/v1/x/index.m3u8")).status == 404
        live.always(200, {"Content-Type": "application/x-mpegURL"}, b"#EXTM3U")
        media.pop.advance(2)
        assert (await media.ask("/out/v1/x/index.m3u8")).status == 200

        # The live origin's key has its four parameters and the player's Origin; players of any site may read it.
        asked = live.requests
        for target in ("/out/v1/x/index.m3u8?start=1&token=a", "/out/v1/x/index.m3u8?token=b&start=1"):
            got = await media.ask(target, {"Origin": "https://tv.test"})
            assert got.header("Access-Control-Allow-Origin") == "*"
        assert live.requests == asked + 1
        assert live.log[-1].target == "/out/v1/x/index.m3u8?start=1"


async def test_the_image_resizer(tmp_path: Path) -> None:
    async with site(tmp_path, "image-resizer", "image-resizer-key") as images:
        resizer = images.origins["resizer"]
        resizer.always(200, {"Content-Type": "image/webp", "Cache-Control": "no-store"}, b"image")

        # Size and quality are the key, and what else a link carries is not even passed on.
        for target in ("/cat.jpg?w=100&h=50&utm_source=mail", "/cat.jpg?fbclid=1&w=100&h=50"):
            assert (await images.ask(target, {"Accept": "image/webp"})).body == b"image"
        assert [ask.target for ask in resizer.log] == ["/cat.jpg?w=100&h=50"]
        assert resizer.log[0].header("Accept") == "image/webp"
        for target in ("/cat.jpg?w=200&h=50", "/cat.jpg?h=50&w=100", "/cat.jpg"):
            await images.ask(target, {"Accept": "image/webp"})
        await images.ask("/cat.jpg?w=100&h=50", {"Accept": "image/avif"})
        assert resizer.requests == 5

        # The function says no-store, but the minimum of a day holds.
        images.pop.advance(86_000)
        assert (await images.ask("/cat.jpg", {"Accept": "image/webp"})).header("X-Cache") == "Hit from cloudfront"

        # A failure of the function is not kept, a time-out is, for half a minute.
        resizer.always(500, {}, b"broken")
        for expected in (6, 7):
            assert (await images.ask("/dog.jpg")).status == 500
            assert resizer.requests == expected
        resizer.always(504, {}, b"slow")
        for advance, expected in ((0, 8), (29, 8), (2, 9)):
            images.pop.advance(advance)
            assert (await images.ask("/cow.jpg")).status == 504
            assert resizer.requests == expected
        assert (await images.ask("/cat.jpg", {"Origin": "https://a.test"})).header("Access-Control-Allow-Origin") == "*"


async def test_the_image_resizers_shield(tmp_path: Path) -> None:
    regions = ("us-east-1", "eu-west-1")
    async with site(tmp_path, "image-resizer", "image-resizer-key", regions=regions) as images:
        resizer, virginia, ireland = images.origins["resizer"], *(images.regionals[region] for region in regions)
        resizer.always(200, {"Content-Type": "image/webp"}, b"image")

        # What a POP far away asks for comes through its regional and the shield, and both have it then.
        for _ in range(2):
            assert (await images.ask("/cat.jpg?w=100")).body == b"image"
        assert [each.count(Counter.REQUESTS) for each in (virginia, ireland)] == [1, 1]
        for each in (images.pop, virginia):
            each.forget_everything()
        assert (await images.ask("/cat.jpg?w=100")).header("X-Cache") == "Hit from cloudfront"
        assert (ireland.count(Counter.REQUESTS), resizer.requests) == (2, 1)


async def test_the_downloads_with_a_replica(tmp_path: Path) -> None:
    async with site(tmp_path, "downloads-failover", "downloads-failover-headers") as downloads:
        primary, replica, status = (downloads.origins[name] for name in ("primary", "replica", "status"))
        primary.always(200, {"ETag": '"1"'}, b"from the primary")
        replica.always(200, {"ETag": '"1"'}, b"from the replica")
        status.always(200, {"Content-Type": "text/html"}, b"we are working on it")

        # Only `version` is keyed, all is sent; any name below the wildcard is served, and shares.
        for target in ("/app.zip?version=1&from=mail", "/app.zip?from=site&version=1"):
            assert (await downloads.ask(target, host="eu.dl.acme.example")).body == b"from the primary"
        assert [ask.target for ask in primary.log] == ["/app.zip?version=1&from=mail"]

        # What the primary lacks the replica may have; a failure of the primary is nobody's business.
        for code in (403, 404, 500, 503):
            primary.always(code, {}, b"bad")
            got = await downloads.ask(f"/{code}.zip")
            assert (got.status, got.body) == (200, b"from the replica")
            assert replica.log[-1].header("Host") == "acme-dl-us-west-2.s3.us-west-2.amazonaws.com"
        assert downloads.pop.count(Counter.FAILOVERS) == 4

        # When both fail there is the page of the third origin, under 503, and for five seconds no new attempt.
        primary.always(500, {}, b"bad")
        replica.always(500, {}, b"worse")
        asked = primary.requests
        for _ in range(2):
            got = await downloads.ask("/new.zip")
            assert (got.status, got.body) == (503, b"we are working on it")
        assert (status.log[0].target, primary.requests) == ("/errors/gone.html", asked + 1)
        downloads.pop.advance(6)
        primary.always(200, {}, b"well again")
        assert (await downloads.ask("/new.zip")).body == b"well again"

        # An expired copy is better than the page.
        downloads.pop.advance(86_500)
        primary.always(503, {}, b"bad")
        replica.always(503, {}, b"worse")
        assert (await downloads.ask("/new.zip")).body == b"well again"

        # Sanctions: by country, from the cache as well.
        blocked = await downloads.ask("/new.zip", {"EdgeProxy-Client": AMERICAN})
        assert blocked.status == 403
        assert b"block access from your country" in blocked.body
        assert (await downloads.ask("/new.zip", {"EdgeProxy-Client": GERMAN})).status == 200

        # Timing is shown to who asks for it.
        assert (await downloads.ask("/new.zip")).header("Server-Timing") is None
        timed = await downloads.ask("/new.zip", {"Pragma": "server-timing"})
        assert (timed.header("Server-Timing") or "").startswith("cdn-")


NAMES = sorted(
    path.stem for path in FOLDER.glob("*.json") if "DistributionConfig" in json.loads(path.read_text())
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_honoured_is_said_and_nothing_more(name: str) -> None:
    """Of these configurations only what later work brings is noted: certificates, protocols, signed requests."""
    policies = [path.name for path in FOLDER.glob("*.json") if path.stem not in NAMES]
    listed = ", ".join(f'"{policy}"' for policy in policies)
    text = f'policies = [{listed}]\n[[distributions]]\nfile = "{name}.json"\n'
    settings = FOLDER / "settings.toml"
    notes = load(settings, {}, lambda path: text.encode() if path == settings else read_bytes(path)).notes
    places = {note.place.rpartition(".")[2] for note in notes}
    assert places <= {"ViewerCertificate", "HttpVersion", "OriginAccessControlId", "DomainName", "Compress"}
