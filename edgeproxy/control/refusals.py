"""What the control plane refuses, as CloudFront's API says it: a code, a sentence, and by the code an HTTP status."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from edgeproxy.errors import EdgeError, Fault, Side

_CODED = re.compile(r"([A-Z][A-Za-z]{4,}): (.*)", re.DOTALL)
NOT_MODELLED = {
    "SignatureDoesNotMatch": 403,
    "InvalidClientTokenId": 403,
    "MissingAuthenticationToken": 403,
    "IncompleteSignature": 403,
    "RequestExpired": 403,
    "InvalidBatch": 400,
    "UnknownOperation": 404,
    "RequestEntityTooLarge": 413,
    "NodeAlreadyExists": 409,
    "NoSuchNode": 404,
    "NotImplemented": 501,
    "ServiceUnavailable": 503,
    "InternalFailure": 500,
}
"""Status of codes that the service model does not know; any other is 400."""


class Refused(EdgeError):
    """A request that changes nothing, because of what it asks."""

    side = Side.VIEWER
    status = 400

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def refuse(code: str, message: str) -> NoReturn:
    """Raise it."""
    raise Refused(code, message)


def refuse_faults(faults: Sequence[Fault]) -> None:
    """Refuse a configuration with faults: by the code of the first, naming all; nothing when there are none."""
    if not faults:
        return
    code, sentences = "", []
    for fault in faults:
        found = _CODED.fullmatch(fault.expected)
        code = code or (found[1] if found is not None else "InvalidArgument")
        said = found[2] if found is not None else fault.expected
        place = fault.place.removeprefix("DistributionConfig.")
        sentences.append(f"{place} is {fault.value}: {said}" if fault.value else f"{place}: {said}")
    raise Refused(code, "; ".join(sentences))
