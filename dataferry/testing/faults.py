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
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from .content import Content, Request, Response, http_date, of_bytes, page

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

    def request(self, request: Request) -> Request:
        """The request as the faulty server understands it, for instance without a header that it ignores."""
        return request

    def content(self, content: Content, request: Request) -> Content:
        """The bytes behind the URL at the faulty server."""
        return content

    def response(self, response: Response, request: Request) -> Response:
        """The response as it goes on the wire."""
        return response


@dataclass(frozen=True)
class Reset(Fault):
    """The connection is reset (a TCP RST) in mid-body, as by a crashed server or a firewall.

    Parameters
    ----------
    after : int or None
        Bytes of the body that arrive first; 0: the headers only; None: not even the status line.
    """

    after: int | None = 0

    def response(self, response: Response, request: Request) -> Response:
        return replace(response, cut=self.after or 0, silent=self.after is None, ending="reset")


@dataclass(frozen=True)
class Cut(Fault):
    """The connection is closed cleanly before the body that ``Content-Length`` promised is complete.

    Parameters
    ----------
    after : int or None
        Bytes of the body that arrive first; 0: the headers only; None: not even the status line.
    chunked : bool
        Send the body in chunks, without a length; the last chunk, which marks the end, does not come.
    """

    after: int | None = 0
    chunked: bool = False

    def response(self, response: Response, request: Request) -> Response:
        response = response.without("Content-Length") if self.chunked else response
        cut, silent = self.after or 0, self.after is None
        return replace(response, chunked=self.chunked, cut=cut, silent=silent, ending="close")


@dataclass(frozen=True)
class Truncated(Fault):
    """A body without any length that ends too soon, which nothing on the wire tells from a whole one.

    What a script behind a web server sends that dies half-way: 200, no ``Content-Length``, no ranges.

    Parameters
    ----------
    after : int
        Bytes of the body that arrive.
    """

    after: int = 0

    def request(self, request: Request) -> Request:
        return request.without("range", "if-range")

    def response(self, response: Response, request: Request) -> Response:
        response = response.without("Content-Length", "Accept-Ranges", "ETag")
        return replace(response, cut=self.after, ending="close")


@dataclass(frozen=True)
class Stall(Fault):
    """The body stops and nothing more comes, while the connection stays open until the client or the server ends.

    Parameters
    ----------
    after : int
        Bytes of the body that arrive first; 0: the headers only.
    """

    after: int = 0

    def response(self, response: Response, request: Request) -> Response:
        return replace(response, cut=self.after, ending="stall")


@dataclass(frozen=True)
class NeverAnswers(Fault):
    """The request is taken and not one byte comes back."""

    def response(self, response: Response, request: Request) -> Response:
        return replace(response, cut=0, silent=True, ending="stall")


@dataclass(frozen=True)
class Trickle(Fault):
    """The body comes very slowly, and so never lets a timeout for a single read expire.

    Parameters
    ----------
    rate : float
        Bytes a second.
    """

    rate: float = 10

    def response(self, response: Response, request: Request) -> Response:
        return replace(response, rate=self.rate)


@dataclass(frozen=True)
class Garbage(Fault):
    """Something else listens on the port: the answer is not HTTP.

    Parameters
    ----------
    data : bytes
        What is sent before the connection closes.
    """

    data: bytes = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\x00\x00\x04\x1c\x0a\x14\xff\xfe\xfd"

    def response(self, response: Response, request: Request) -> Response:
        return replace(response, head=self.data, pieces=(), chunked=False, ending="close")


@dataclass(frozen=True)
class HeaderFlood(Fault):
    """The response has far too many headers before the right body.

    Parameters
    ----------
    count : int
        How many.
    length : int
        Bytes of each value.
    """

    count: int = 10_000
    length: int = 100

    def response(self, response: Response, request: Request) -> Response:
        flood = {f"X-Flood-{i}": "x" * self.length for i in range(self.count)}
        return replace(response, headers={**flood, **response.headers})


LOGIN = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Sign in</title></head>
<body>
<h1>Sign in to continue</h1>
<form method="post" action="/login"><input name="user"><input name="password" type="password"></form>
</body>
</html>
"""


def login_page() -> Response:
    """The page of a portal that wants a login: 200, HTML, no ETag, no ranges."""
    return page(200, {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}, LOGIN)


@dataclass(frozen=True)
class Status(Fault):
    """The server answers with an error, for instance 403, 404, 408, 425, 429, 500 or 503.

    Parameters
    ----------
    code : int
        The status code. 408 closes the connection, as real servers do.
    retry_after : float, optional
        Seconds in ``Retry-After``.
    as_date : bool
        Write ``Retry-After`` as an HTTP date instead of a number (dates have whole seconds: it is rounded up).
    body : bytes, optional
        Another body than a short HTML page.
    """

    code: int = 503
    retry_after: float | None = None
    as_date: bool = False
    body: bytes | None = None

    def response(self, response: Response, request: Request) -> Response:
        headers = {}
        if self.retry_after is not None:
            when = http_date(-(-(time.time() + self.retry_after) // 1)) if self.as_date else f"{self.retry_after:g}"
            headers["Retry-After"] = when
        return replace(page(self.code, headers, self.body), ending="close" if self.code == 408 else "keep")


@dataclass(frozen=True)
class Empty(Fault):
    """A success without a single byte: 202 of a portal that is still fetching from tape, or an empty 200.

    Parameters
    ----------
    code : int
        202 or 200.
    """

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
    """Another fault for the first requests of each path, and the right answer afterwards.

    Parameters
    ----------
    times : int
        How often each path fails.
    fault : Fault
        How it fails.
    """

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
    """A redirect to another address.

    Parameters
    ----------
    url : str
        The address; if it ends with a slash, the path that was requested is added to it.
    code : int
        301, 302, 303, 307 or 308.
    """

    url: str
    code: int = 302

    def response(self, response: Response, request: Request) -> Response:
        url = self.url + request.path.removeprefix("/") if self.url.endswith("/") else self.url
        return page(self.code, {"Location": url})


@dataclass(frozen=True)
class RedirectLoop(Fault):
    """A redirect that never ends.

    Parameters
    ----------
    growing : bool
        Lead to a new address each time instead of to the same one.
    """

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

    def request(self, request: Request) -> Request:
        return request.without("range", "if-range")

    def response(self, response: Response, request: Request) -> Response:
        return response.without("Accept-Ranges")


@dataclass(frozen=True)
class IgnoresIfRange(Fault):
    """A server that answers 206 out of its present file although ``If-Range`` names another version."""

    def request(self, request: Request) -> Request:
        return request.without("if-range")


@dataclass(frozen=True)
class WrongContentRange(Fault):
    """206 with the bytes that were requested under a ``Content-Range`` that is wrong or missing.

    Parameters
    ----------
    shift : int
        Added to the first and the last byte.
    grow : int
        Added to the total.
    missing : bool
        Leave the header out.
    """

    shift: int = 512
    grow: int = 0
    missing: bool = False

    def response(self, response: Response, request: Request) -> Response:
        headers = dict(response.headers)
        if response.status != 206:
            return response
        span, _, total = headers.pop("Content-Range").removeprefix("bytes ").partition("/")
        if not self.missing:
            first, last = (int(part) + self.shift for part in span.split("-"))
            headers["Content-Range"] = f"bytes {first}-{last}/{int(total) + self.grow}"
        return replace(response, headers=headers)


@dataclass(frozen=True)
class OtherRange(Fault):
    """206 with another range than the one requested, and a ``Content-Range`` that says so.

    Some caches round a range to their own blocks.

    Parameters
    ----------
    block : int
        Size of the blocks in bytes.
    """

    block: int = 4096

    def request(self, request: Request) -> Request:
        first, _, last = request.headers.get("range", "").removeprefix("bytes=").partition("-")
        if not first.isdecimal():
            return request
        start = int(first) // self.block * self.block
        stop = -(-(int(last) + 1) // self.block) * self.block - 1 if last.isdecimal() else ""
        return replace(request, headers={**request.headers, "range": f"bytes={start}-{stop}"})


@dataclass(frozen=True)
class WrongETag(Fault):
    """Another ETag than the file's own, or none.

    Parameters
    ----------
    etag : str or None
        The ETag with its quotes, ``W/"..."`` for a weak one; None to send none.
    """

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
    """A mirror with another file under the same name: good HTTP, ranges included, other bytes.

    Parameters
    ----------
    data : bytes, optional
        The other file; by default one of the same size in which every byte differs.
    """

    data: bytes | None = None

    def content(self, content: Content, request: Request) -> Content:
        if self.data is not None:
            return of_bytes(self.data, content.modified, content.media_type)
        other = bytes(byte ^ 0x5A for byte in range(256))
        pieces = content.pieces
        etag = f'"other-{content.size:x}"'
        return replace(content, etag=etag, pieces=lambda *span: (piece.translate(other) for piece in pieces(*span)))


@dataclass(frozen=True)
class FlippedByte(Fault):
    """One byte differs; size, ETag and date are right.

    Parameters
    ----------
    at : int
        Which byte; negative counts from the end.
    """

    at: int = 0

    def content(self, content: Content, request: Request) -> Content:
        if not content.size:
            return content
        at, pieces = self.at % content.size, content.pieces

        def flipped(start: int, stop: int) -> Iterator[bytes]:
            if not start <= at < stop:
                yield from pieces(start, stop)
                return
            yield from pieces(start, at)
            yield bytes([next(iter(pieces(at, at + 1)))[0] ^ 0xFF])
            yield from pieces(at + 1, stop)

        return replace(content, pieces=flipped)


@dataclass(frozen=True)
class WrongLength(Fault):
    """The file at the host is longer or shorter than it should be; the headers agree with it.

    Parameters
    ----------
    by : int
        Bytes too many, or too few if negative.
    """

    by: int = -1

    def content(self, content: Content, request: Request) -> Content:
        size, full, pieces = (max(0, content.size + self.by), content.size, content.pieces)

        def resized(start: int, stop: int) -> Iterator[bytes]:
            if start < full:
                yield from pieces(start, min(stop, full))
            if stop > full:
                yield bytes(stop - max(start, full))

        return replace(content, size=size, pieces=resized, etag=f'"{size:x}"')


@dataclass(frozen=True)
class WrongContentLength(Fault):
    """``Content-Length`` differs from the body that follows.

    Parameters
    ----------
    by : int
        Positive: more is promised than comes, and the connection closes. Negative: bytes follow after the promised
        end, where a kept connection takes them for the next response.
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

    Parameters
    ----------
    how : {"on-the-fly", "stored", "label"}
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
