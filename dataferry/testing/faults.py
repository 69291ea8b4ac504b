"""Faults that a `~dataferry.testing.RangeServer` can have, each as a real server or middlebox shows it on the wire.

====================  ==================================================================================================
fault                 what is on the wire
====================  ==================================================================================================
`Reset`               headers, n bytes of the body, then a TCP reset; or a reset in place of the status line
`Cut`                 headers, n bytes, then a clean end before ``Content-Length`` (or the last chunk) is reached
`Truncated`           200 without ``Content-Length``, ETag or ranges; n bytes, then a clean end: looks whole
`Stall`               headers and n bytes, then nothing, the connection open
`NeverAnswers`        nothing at all, the connection open
`Trickle`             the right response at a few bytes a second
`Garbage`             bytes that are not HTTP, then a clean end
`HeaderFlood`         thousands of headers, then the right body
`Status`              403, 404, 408, 425, 429, 500, 503...; ``Retry-After`` in seconds or as a date
`Empty`               202 (or 200) with ``Content-Length: 0``
`Flaky`               another fault for the first k requests of each path, then the right response
`LoginPage`           200 and a login page in HTML, no ETag, no ranges
`RedirectTo`          302 to another address or host
`RedirectLoop`        302 to itself, or to ever new addresses
`RedirectToLogin`     302 to ``/login?next=...``, which answers 200 and a login page
`IgnoresRange`        200 and the whole file for a request with ``Range``; no ``Accept-Ranges``
`IgnoresIfRange`      206 although ``If-Range`` names another version
`WrongContentRange`   206, the right bytes, a wrong (or no) ``Content-Range``
`OtherRange`          206, another range than requested, a ``Content-Range`` that says so
`OtherFile`           another file under this name, by default of the same size, ranges and all
`FlippedByte`         one byte differs; size, ETag and date are right
`WrongLength`         the file is longer or shorter, and the headers agree with it
`WrongContentLength`  ``Content-Length`` above the body that comes (then a clean end), or below it
`WrongETag`           another ETag, a weak one, or none
`ChangingETag`        a new ETag in each response
`LfsPointer`          a git-lfs pointer of three lines in place of the file
`GzipEncoding`        ``Content-Encoding: gzip``: compressed on the fly, stored so, or only so labelled
====================  ==================================================================================================

A server that is down (``server.stop()``) refuses connections; ``RangeServer(tls="bad-name")`` and ``tls="expired"``
show a wrong certificate.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from .content import Content, Ending, Request, Response, http_date, of_bytes, page

__all__ = [
    "ChangingETag",
    "Cut",
    "Empty",
    "Fault",
    "Flaky",
    "FlippedByte",
    "Garbage",
    "GzipEncoding",
    "HeaderFlood",
    "IgnoresIfRange",
    "IgnoresRange",
    "LfsPointer",
    "LoginPage",
    "NeverAnswers",
    "OtherFile",
    "OtherRange",
    "RedirectLoop",
    "RedirectTo",
    "RedirectToLogin",
    "Reset",
    "Stall",
    "Status",
    "Trickle",
    "Truncated",
    "WrongContentLength",
    "WrongContentRange",
    "WrongETag",
    "WrongLength",
    "login_page",
]


class Fault:
    """One thing that goes wrong at a server or on the way.

    A fault overrides what it spoils; the rest stays what a good server does. Write your own in the same way.
    """

    #: Headers of the request that the faulty server ignores.
    ignored: ClassVar[tuple[str, ...]] = ()

    def request(self, request: Request) -> Request:
        """The request as the faulty server understands it."""
        return request.without(*self.ignored)

    def content(self, content: Content, request: Request) -> Content:
        """The bytes behind the URL at the faulty server."""
        return content

    def response(self, response: Response, request: Request) -> Response:
        """The response as it goes on the wire."""
        return response


@dataclass(frozen=True)
class _Ending(Fault):
    after: int | None = 0
    ending: ClassVar[Ending]

    def response(self, response: Response, request: Request) -> Response:
        return replace(response, cut=self.after or 0, silent=self.after is None, ending=self.ending)


@dataclass(frozen=True)
class Reset(_Ending):
    """A TCP RST after so many bytes of the body, as of a crashed server or a firewall; None: before the status line."""

    ending = "reset"


@dataclass(frozen=True)
class Cut(_Ending):
    """A clean end after so many bytes of the body that ``Content-Length`` promised; None: before the status line.

    With ``chunked`` the body comes in chunks, without a length, and the last chunk, which marks the end, is missing.
    """

    chunked: bool = False
    ending = "close"

    def response(self, response: Response, request: Request) -> Response:
        response = super().response(response, request)
        return replace(response.without("Content-Length"), chunked=True) if self.chunked else response


@dataclass(frozen=True)
class Truncated(_Ending):
    """A body without any length that ends after so many bytes, as of a script that dies: it looks whole."""

    ending = "close"
    ignored = ("range", "if-range")

    def response(self, response: Response, request: Request) -> Response:
        return super().response(response.without("Content-Length", "Accept-Ranges", "ETag"), request)


@dataclass(frozen=True)
class Stall(_Ending):
    """Nothing more comes after so many bytes of the body; the connection stays open."""

    ending = "stall"


@dataclass(frozen=True)
class NeverAnswers(Fault):
    """The request is taken, and not one byte comes back."""

    def response(self, response: Response, request: Request) -> Response:
        return replace(response, cut=0, silent=True, ending="stall")


@dataclass(frozen=True)
class Trickle(Fault):
    """The body comes at so many bytes a second, and so never lets a timeout for a single read expire."""

    rate: float = 10

    def response(self, response: Response, request: Request) -> Response:
        return replace(response, rate=self.rate)


@dataclass(frozen=True)
class Garbage(Fault):
    """Something else listens on the port: it sends this data, which is not HTTP, and closes the connection."""

    data: bytes = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\x00\x00\x04\x1c\x0a\x14\xff\xfe\xfd"

    def response(self, response: Response, request: Request) -> Response:
        return replace(response, head=self.data, pieces=(), chunked=False, ending="close")


@dataclass(frozen=True)
class HeaderFlood(Fault):
    """Far too many headers before the right body: ``count`` of ``length`` bytes each."""

    count: int = 10_000
    length: int = 100

    def response(self, response: Response, request: Request) -> Response:
        flood = {f"X-Flood-{i}": "x" * self.length for i in range(self.count)}
        return replace(response, headers={**flood, **response.headers})


def login_page() -> Response:
    """The page of a portal that wants a login: 200, HTML, no ETag, no ranges."""
    form = b'<form method="post"><input name="user"><input name="password" type="password"></form>'
    body = b"<!DOCTYPE html>\n<html>\n<head><title>Sign in</title></head>\n<body>%b</body>\n</html>\n" % form
    return page(200, {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}, body)


@dataclass(frozen=True)
class Status(Fault):
    """An error of the server, with a short HTML page or another body; 408 closes the connection, as real servers do.

    ``Retry-After`` has the seconds of ``retry_after``, or with ``as_date`` an HTTP date, rounded up to a whole second.
    """

    code: int = 503
    retry_after: float | None = None
    as_date: bool = False
    body: bytes | None = None

    def response(self, response: Response, request: Request) -> Response:
        headers = {}
        if self.retry_after is not None:
            date = http_date(math.ceil(time.time() + self.retry_after))
            headers["Retry-After"] = date if self.as_date else f"{self.retry_after:g}"
        return replace(page(self.code, headers, self.body), ending="close" if self.code == 408 else "keep")


@dataclass(frozen=True)
class Empty(Fault):
    """A success without a single byte: 202 of a portal that is still fetching from tape, or an empty 200."""

    code: int = 202

    def response(self, response: Response, request: Request) -> Response:
        return Response(self.code, {"Content-Length": "0"})


@dataclass(frozen=True)
class LoginPage(Fault):
    """A login page in HTML with status 200 in place of the file, whatever range was requested."""

    def response(self, response: Response, request: Request) -> Response:
        return login_page()


@dataclass(frozen=True)
class Flaky(Fault):
    """Another fault for the first requests of each path, and the right answer afterwards."""

    times: int = 1
    fault: Fault = Status(503)

    def request(self, request: Request) -> Request:
        return self.fault.request(request) if request.times < self.times else request

    def content(self, content: Content, request: Request) -> Content:
        return self.fault.content(content, request) if request.times < self.times else content

    def response(self, response: Response, request: Request) -> Response:
        return self.fault.response(response, request) if request.times < self.times else response


@dataclass(frozen=True)
class RedirectTo(Fault):
    """A redirect to another address; if that ends with a slash, the path that was requested is added to it."""

    url: str
    code: int = 302

    def response(self, response: Response, request: Request) -> Response:
        url = self.url + request.path.removeprefix("/") if self.url.endswith("/") else self.url
        return page(self.code, {"Location": url})


@dataclass(frozen=True)
class RedirectLoop(Fault):
    """A redirect that never ends: to the same address, or if ``growing`` to a new one each time."""

    growing: bool = False

    def response(self, response: Response, request: Request) -> Response:
        path = request.path.partition("?")[0]
        return page(302, {"Location": f"{path}?hop={request.times + 1}" if self.growing else path})


@dataclass(frozen=True)
class RedirectToLogin(Fault):
    """A redirect to a login page, which then answers 200."""

    def response(self, response: Response, request: Request) -> Response:
        return page(302, {"Location": f"/login?next={request.path}"})


@dataclass(frozen=True)
class IgnoresRange(Fault):
    """A server without ranges: 200 and the whole file."""

    ignored = ("range", "if-range")

    def response(self, response: Response, request: Request) -> Response:
        return response.without("Accept-Ranges")


@dataclass(frozen=True)
class IgnoresIfRange(Fault):
    """A server that answers 206 out of its present file although ``If-Range`` names another version."""

    ignored = ("if-range",)


@dataclass(frozen=True)
class WrongContentRange(Fault):
    """206 with the bytes that were requested, but no ``Content-Range``, or a wrong one.

    ``shift`` is added to its first and last byte, ``grow`` to its total.
    """

    shift: int = 512
    grow: int = 0
    missing: bool = False

    def response(self, response: Response, request: Request) -> Response:
        if response.status != 206:
            return response
        if self.missing:
            return response.without("Content-Range")
        first, last, total = map(int, re.findall(r"\d+", response.headers["Content-Range"]))
        wrong = f"bytes {first + self.shift}-{last + self.shift}/{total + self.grow}"
        return replace(response, headers={**response.headers, "Content-Range": wrong})


@dataclass(frozen=True)
class OtherRange(Fault):
    """206 with another range than the one requested, as of caches that round to blocks; ``Content-Range`` says so."""

    block: int = 4096

    def request(self, request: Request) -> Request:
        first, _, last = request.headers.get("range", "").removeprefix("bytes=").partition("-")
        if not first:
            return request
        start = int(first) // self.block * self.block
        stop = (int(last) // self.block + 1) * self.block - 1 if last else ""
        return replace(request, headers={**request.headers, "range": f"bytes={start}-{stop}"})


@dataclass(frozen=True)
class WrongETag(Fault):
    """Another ETag than the file's own, with its quotes, ``W/"..."`` for a weak one; None: no ETag."""

    etag: str | None = '"wrong"'

    def content(self, content: Content, request: Request) -> Content:
        return replace(content, etag=self.etag)


@dataclass(frozen=True)
class ChangingETag(Fault):
    """A new ETag for each request of the same bytes, as from several machines behind one address."""

    def content(self, content: Content, request: Request) -> Content:
        return replace(content, etag=f'"{content.size:x}-{request.times:x}"')


@dataclass(frozen=True)
class OtherFile(Fault):
    """A mirror with another file under the same name; by default one of the same size in which every byte differs."""

    data: bytes | None = None

    def content(self, content: Content, request: Request) -> Content:
        if self.data is not None:
            return of_bytes(self.data, content.modified, content.media_type)
        table = bytes(byte ^ 0x5A for byte in range(256))

        def other(start: int, stop: int) -> Iterator[bytes]:
            return (piece.translate(table) for piece in content.pieces(start, stop))

        return replace(content, etag=f'"other-{content.size:x}"', pieces=other)


@dataclass(frozen=True)
class FlippedByte(Fault):
    """One byte differs, counted from the end if negative; size, ETag and date are right."""

    at: int = 0

    def content(self, content: Content, request: Request) -> Content:
        if not content.size:
            return content
        at, pieces = self.at % content.size, content.pieces

        def flipped(start: int, stop: int) -> Iterator[bytes]:
            for piece in pieces(start, stop):
                here = at - start
                if 0 <= here < len(piece):
                    yield piece[:here] + bytes([piece[here] ^ 0xFF]) + piece[here + 1 :]
                else:
                    yield piece
                start += len(piece)

        return replace(content, pieces=flipped)


@dataclass(frozen=True)
class WrongLength(Fault):
    """The file at the host has so many bytes too many, or too few if negative; the headers agree with it."""

    by: int = -1

    def content(self, content: Content, request: Request) -> Content:
        size, full = max(0, content.size + self.by), content.size

        def resized(start: int, stop: int) -> Iterator[bytes]:
            yield from content.pieces(start, min(stop, full))
            yield bytes(max(0, stop - max(start, full)))

        return replace(content, size=size, pieces=resized, etag=f'"{size:x}"')


@dataclass(frozen=True)
class WrongContentLength(Fault):
    """``Content-Length`` promises more bytes than come before the connection closes, or fewer if negative.

    Bytes after the promised end are taken for the next response on a connection that is kept.
    """

    by: int = 1

    def response(self, response: Response, request: Request) -> Response:
        length = max(0, int(response.headers.get("Content-Length", 0)) + self.by)
        headers = {**response.headers, "Content-Length": str(length)}
        return replace(response, headers=headers, ending="close" if self.by > 0 else response.ending)


@dataclass(frozen=True)
class LfsPointer(Fault):
    """A git-lfs pointer in place of the file, as a git host serves it from its raw addresses."""

    def content(self, content: Content, request: Request) -> Content:
        digest = hashlib.sha256(content.read()).hexdigest()
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {content.size}\n"
        return of_bytes(text.encode(), content.modified, "text/plain; charset=utf-8")


@dataclass(frozen=True)
class GzipEncoding(Fault):
    """``Content-Encoding: gzip`` although the client accepts none.

    ``"on-the-fly"``: compressed while it is sent, in chunks, with a weak ETag, no length and no ranges.
    ``"stored"``: an object that was uploaded compressed; length and ranges count compressed bytes.
    ``"label"``: the file as it is, with the header on top, as some servers do with ``.gz`` files.
    """

    how: Literal["on-the-fly", "stored", "label"] = "on-the-fly"

    def request(self, request: Request) -> Request:
        return request.without("range", "if-range") if self.how == "on-the-fly" else request

    def content(self, content: Content, request: Request) -> Content:
        headers = {**content.headers, "Content-Encoding": "gzip"}
        if self.how == "label":
            return replace(content, headers=headers)
        packed = of_bytes(gzip.compress(content.read(), 1, mtime=0), content.modified, content.media_type)
        etag = packed.etag if self.how == "stored" else f"W/{packed.etag}"
        return replace(packed, headers=headers, etag=etag)

    def response(self, response: Response, request: Request) -> Response:
        if self.how != "on-the-fly" or response.status != 200:
            return response
        response = response.without("Content-Length", "Accept-Ranges")
        return replace(response, headers={**response.headers, "Vary": "Accept-Encoding"}, chunked=True)
