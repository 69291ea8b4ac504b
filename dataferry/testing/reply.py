"""What a good server answers: ranges, conditions, 304, 412 and 416, as nginx does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import Literal

from .content import Content, Piece

__all__ = ["Asked", "Reply", "answer", "http_date", "page"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in.

    Parameters
    ----------
    method, target : str
        As sent: ``GET``, ``/maps/a%20b.fits?x=1``.
    name : str
        The target's path, unquoted and without the first slash.
    headers : mapping of str to str
        By lower-case name.
    http10 : bool
        True for an HTTP/1.0 client.
    times : int
        How often this path was asked for before.
    """

    method: str
    target: str
    name: str
    headers: Mapping[str, str]
    http10: bool = False
    times: int = 0

    @property
    def keep(self) -> bool:
        """True if the client wants the connection kept."""
        words = self.headers.get("connection", "").lower()
        return "keep-alive" in words if self.http10 else "close" not in words


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back on the wire.

    Parameters
    ----------
    status : int
        The status code.
    headers : mapping of str to str
        All but ``Date``, ``Server`` and ``Connection``.
    pieces : iterable of bytes or Slice
        The body.
    chunked : bool
        Send the body in chunks, without a length.
    head : bytes, optional
        What to send instead of the status line and the headers.
    cut : int, optional
        How many bytes of the body are sent before `ending`; None for all.
    ending : {"keep", "close", "reset", "stall"}
        What happens to the connection then.
    silent : bool
        Send nothing at all before `ending`.
    rate : float, optional
        Bytes a second.
    """

    status: int
    headers: Mapping[str, str]
    pieces: Iterable[Piece] = ()
    chunked: bool = False
    head: bytes | None = None
    cut: int | None = None
    ending: Literal["keep", "close", "reset", "stall"] = "keep"
    silent: bool = False
    rate: float | None = None


def http_date(seconds: float) -> str:
    """A time as HTTP writes it.

    Parameters
    ----------
    seconds : float
        Seconds since the epoch.

    Returns
    -------
    str
        For example ``Sun, 06 Nov 1994 08:49:37 GMT``.
    """
    return formatdate(seconds, usegmt=True)


def page(status: int, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Reply:
    """A short HTML page that says the status, as web servers send it.

    Parameters
    ----------
    status : int
        The status code.
    headers : mapping of str to str, optional
        Further headers.
    body : bytes, optional
        Another page.

    Returns
    -------
    Reply
        The page.
    """
    if body is None:
        title = f"{status} {phrase(status)}"
        head = f"<html>\r\n<head><title>{title}</title></head>\r\n"
        body = f"{head}<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n".encode()
    return Reply(status, {"Content-Type": "text/html", "Content-Length": str(len(body)), **(headers or {})}, [body])


def phrase(status: int) -> str:
    """The words beside a status code, empty if it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def answer(content: Content | None, asked: Asked) -> Reply:
    """The right reply to a request.

    Parameters
    ----------
    content : Content or None
        What the URL stands for; None if nothing.
    asked : Asked
        The request.

    Returns
    -------
    Reply
        200, 206, 304, 404, 405, 412 or 416.
    """
    if asked.method not in ("GET", "HEAD"):
        return page(405, {"Allow": "GET, HEAD"})
    if content is None:
        return page(404)
    proof = {"Last-Modified": http_date(content.modified)}
    if content.etag is not None:
        proof["ETag"] = content.etag
    if failed_match(content, asked):
        return page(412)
    if unchanged(content, asked):
        return Reply(304, proof)
    ranged = asked.headers.get("range") if if_range_holds(content, asked) else None
    span = parse_range(ranged, content.size) if ranged is not None else None
    if span == "bad":
        return page(416, {"Content-Range": f"bytes */{content.size}"})
    headers = {"Content-Type": content.media_type, **proof, **content.headers}
    if span is None:
        headers |= {"Accept-Ranges": "bytes", "Content-Length": str(content.size)}
        return Reply(200, headers, content.pieces(0, content.size))
    start, stop = span
    headers["Content-Length"] = str(stop - start)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
    return Reply(206, headers, content.pieces(start, stop))


def parse_range(text: str, size: int) -> tuple[int, int] | Literal["bad"] | None:
    """The range that a ``Range`` header asks for.

    Parameters
    ----------
    text : str
        The header's value.
    size : int
        The length of the whole.

    Returns
    -------
    (int, int), "bad" or None
        First byte and the one after the last; ``"bad"`` for 416; None if the header is to be ignored: another unit,
        several ranges at once, an empty file.
    """
    unit, _, spec = text.partition("=")
    if unit.strip().lower() != "bytes" or not spec or "," in spec or not size:
        return None
    first, dash, last = (part.strip() for part in spec.partition("-"))
    if not dash or not (first or last) or not all(part.isdecimal() or not part for part in (first, last)):
        return "bad"
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    return (start, stop) if start < stop else "bad"


def same_tag(tags: str, etag: str | None, *, weak: bool) -> bool:
    """True if an ETag is in a list of them (``*`` is any); a weak comparison forgets ``W/``."""
    if tags.strip() == "*":
        return True
    if etag is None or (not weak and etag.startswith("W/")):
        return False
    listed = [tag.strip() for tag in tags.split(",")]
    return etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in listed] if weak else etag in listed


def seconds_of(date: str) -> float | None:
    """An HTTP date in seconds since the epoch; None if it is not one."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None


def failed_match(content: Content, asked: Asked) -> bool:
    """True if ``If-Match`` or ``If-Unmodified-Since`` asks for another version."""
    if (tags := asked.headers.get("if-match")) is not None:
        return not same_tag(tags, content.etag, weak=False)
    if (date := asked.headers.get("if-unmodified-since")) is not None:
        since = seconds_of(date)
        return since is not None and int(content.modified) > since
    return False


def unchanged(content: Content, asked: Asked) -> bool:
    """True if ``If-None-Match`` or ``If-Modified-Since`` says that the client has this version."""
    if (tags := asked.headers.get("if-none-match")) is not None:
        return same_tag(tags, content.etag, weak=True)
    if (date := asked.headers.get("if-modified-since")) is not None:
        since = seconds_of(date)
        return since is not None and int(content.modified) <= since
    return False


def if_range_holds(content: Content, asked: Asked) -> bool:
    """True unless ``If-Range`` names another version; a weak ETag or an inexact date never holds."""
    guard = asked.headers.get("if-range", "").strip()
    if not guard:
        return True
    if guard.startswith(('"', "W/")):
        return same_tag(guard, content.etag, weak=False)
    return seconds_of(guard) == int(content.modified)
