"""Bodies one after the other as one: the parts of a multipart answer and what stands between them."""

from __future__ import annotations

from collections.abc import Sequence

from edgeproxy.headers import Headers
from edgeproxy.message import Body


class Chain:
    """A Body of bodies whose lengths are known."""

    def __init__(self, bodies: Sequence[Body]) -> None:
        self.bodies = tuple(bodies)
        self._at = 0
        self.trailers = Headers()

    @property
    def length(self) -> int | None:
        return sum(body.length or 0 for body in self.bodies[self._at :])

    async def read(self) -> bytes:
        while self._at < len(self.bodies):
            body = self.bodies[self._at]
            if block := await body.read():
                return block
            body.close()
            self._at += 1
        return b""

    async def begin(self) -> None:
        """As Span.begin, for the first of them that can."""
        for body in self.bodies:
            begin = getattr(body, "begin", None)
            if begin is not None:
                await begin()
                return

    def close(self) -> None:
        for body in self.bodies[self._at :]:
            body.close()
        self._at = len(self.bodies)
