"""Answers made here: error pages as CloudFront's look (fact sheet 12.1), redirects (5.3), and plain sentences.

The skeleton and the sentences are what people and their tests look for; the paragraphs between are ours.
"""

from __future__ import annotations

from enum import Enum
from html import escape
from http import HTTPStatus

from edgeproxy.errors import Detail, EdgeError, OriginInvalid, Overloaded, Side
from edgeproxy.headers import Field, Headers
from edgeproxy.message import ResponseHead
from edgeproxy.model import Rules


class Cause(Enum):
    """Why an answer is made here. Value: (the sentence on CloudFront's page, the same in plain words)."""

    BAD_REQUEST = ("Bad request.", "The request cannot be served.")
    METHOD = (
        "This distribution is not configured to allow the HTTP request method that was used for this request. "
        "The distribution supports only cachable requests.",
        "The method is not allowed here.",
    )
    COUNTRY = (
        "The Amazon CloudFront distribution is configured to block access from your country.",
        "Viewers in your country are not served.",
    )
    LOOP = ("Bad request.", "The request has passed too many distributions: they point at each other.")
    NOT_A_TIER = ("Bad request.", "This node serves other nodes of its own network only.")
    REDIRECT = ("Redirect.", "The resource is served over HTTPS.")
    NOT_STORED = ("No stored response can be used.", "Only a stored response was asked for, and none can be used.")
    PRECONDITION = ("Precondition failed.", "A precondition of the request does not hold.")
    ORIGIN_DNS = (
        "CloudFront wasn't able to resolve the origin domain name.",
        "The origin's host name has no address.",
    )
    ORIGIN_CONNECT = (
        "CloudFront wasn't able to connect to the origin.",
        "No connection to the origin could be made.",
    )
    ORIGIN_CLOSED = (
        "CloudFront attempted to establish a connection with the origin, but either the attempt failed or the origin "
        "closed the connection.",
        "The origin did not answer in time, or closed the connection.",
    )
    ORIGIN_INVALID = (
        "CloudFront wasn't able to understand the response of the origin.",
        "The origin's answer breaks the rules of HTTP.",
    )
    CAPACITY = ("The request cannot be served just now.", "This node has as many requests as it takes at once.")
    FAULT = ("The request cannot be served.", "Something went wrong in this node.")

    def __init__(self, sentence: str, plain: str) -> None:
        self.sentence = sentence
        self.plain = plain


def cause_of(error: EdgeError) -> Cause:
    """What to tell the viewer about an error."""
    if isinstance(error, Overloaded):
        return Cause.CAPACITY
    if isinstance(error, OriginInvalid):
        return Cause.ORIGIN_INVALID
    if error.detail is Detail.ORIGIN_DNS:
        return Cause.ORIGIN_DNS
    if error.detail is Detail.ORIGIN_CONNECT:
        return Cause.ORIGIN_CONNECT
    if error.side is Side.UPSTREAM:
        return Cause.ORIGIN_CLOSED
    return Cause.BAD_REQUEST if error.side is Side.VIEWER else Cause.FAULT


def page(
    rules: Rules, status: int, cause: Cause | str, request_id: str, location: bytes | None = None
) -> tuple[ResponseHead, bytes]:
    """Head and body of an answer made here; `location` makes it a redirect."""
    fields: list[Field] = []
    if location is not None:
        fields.append((b"Location", location))
    if rules is Rules.CLOUDFRONT:
        fields += [(b"Server", b"CloudFront"), (b"Content-Type", b"text/html")]
        sentence = cause.sentence if isinstance(cause, Cause) else cause
        body = redirect_page(status) if location is not None else error_page(status, sentence, request_id)
    else:
        fields.append((b"Content-Type", b"text/plain; charset=utf-8"))
        body = plain_page(status, cause.plain if isinstance(cause, Cause) else cause)
    return ResponseHead(status, Headers(fields), _phrase(status).encode()), body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def error_page(status: int, sentence: str, request_id: str) -> bytes:
    """The page of fact sheet 12.1."""
    return f"""\
<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" "http://www.w3.org/TR/html4/loose.dtd">
<HTML><HEAD><META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=iso-8859-1">
<TITLE>ERROR: The request could not be satisfied</TITLE>
</HEAD><BODY>
<H1>{status} ERROR</H1>
<H2>The request could not be satisfied.</H2>
<HR noshade size="1px">
{escape(sentence, quote=False)}
We can't connect to the server for this app or website at this time. The server may be busy, or something in its
settings may not be right. Try once more a little later; if it stays like this, tell whoever runs the site.
<BR clear="all">
Is the site yours and served through CloudFront? Its documentation lists what leads to this error and what helps.
<BR clear="all">
<HR noshade size="1px">
<PRE>
Generated by cloudfront (CloudFront)
Request ID: {escape(request_id)}
</PRE>
<ADDRESS>
</ADDRESS>
</BODY></HTML>""".encode("iso-8859-1", "xmlcharrefreplace")


def redirect_page(status: int) -> bytes:
    """The page below a redirect to HTTPS: for 301 exactly the 167 bytes of fact sheet 5.3."""
    title = f"{status} {_phrase(status)}"
    lines = (
        "<html>",
        f"<head><title>{title}</title></head>",
        "<body>",
        f"<center><h1>{title}</h1></center>",
        "<hr><center>CloudFront</center>",
        "</body>",
        "</html>",
        "",
    )
    return "\r\n".join(lines).encode()


def plain_page(status: int, sentence: str) -> bytes:
    """One line of text, for those who have not asked for CloudFront's looks."""
    return f"{status} {_phrase(status)}: {sentence}\n".encode()
