"""Checks of a response: its head, its length, and whether its body is the file or a page that took its place."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time

from ..errors import Reason, TransferError, printable

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
#: Where a redirect leads to may be good for minutes only, as signed URLs are: then the source itself is asked again.
EXPIRED = frozenset({400, 401, 403, 404, 410})
_LENGTH = re.compile(r"\d{1,18}", re.ASCII).fullmatch  # what is longer is no length
_TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})
_PAGE = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html)[\s>]", re.I | re.S)  # noqa: FURB167
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_GZIP = b"\x1f\x8b"
_PAGES = (".html", ".htm", ".xhtml")
_GZIPPED = (".gz", ".tgz", ".svgz", ".gzip")
#: Values of Content-Encoding that say nothing: RFC 9110's own word, and what some object stores and scripts send.
_NO_ENCODING = frozenset({"", "identity", "none", "binary", "utf-8", "7bit", "8bit"})
#: Seconds to wait, or the time to come again, of those who do not send Retry-After (GitHub, Zenodo, GitLab; RFC draft).
_RESET = ("x-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset")
_A_MINUTE = 60
_A_DATE = 1_000_000_000  # a reset later than this is a time and not a number of seconds

#: What a 4xx most often means for data files, and what to do about it.
_HINTS = {
    401: "a login is needed: put a token or user and password for this host into config.toml or .netrc (for https)",
    403: "not allowed, or not there",
    404: "not there",
    407: "the proxy wants a login: give user and password in the proxy's URL",
    410: "no longer there",
    416: "it has fewer bytes than asked for",
}
_KINDS = {
    304: Reason.UNCHANGED,
    401: Reason.DENIED,
    403: Reason.DENIED,
    404: Reason.ABSENT,
    407: Reason.PROXY,
    410: Reason.ABSENT,
    416: Reason.BEYOND,
}


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of a response; names in lower case, of equal ones the last."""

    status: int
    phrase: str
    headers: Mapping[str, str]

    @property
    def total(self) -> int | None:
        """The length of the body as announced; None where it is not, or not as a number."""
        text = self.headers.get("content-length", "")
        chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        return int(text) if _LENGTH(text) and not chunked else None


def parse_head(lines: Sequence[bytes]) -> Head:
    """The last head among the lines that libcurl hands over: interim responses come before it, trailers after it."""
    first = 0
    for number, line in enumerate(lines):
        if line.startswith(b"HTTP/"):
            first = number
    rows = b"".join(lines[first:]).decode("latin-1").split("\n")
    words = rows[0].split(None, 2)
    headers: dict[str, str] = {}
    for row in rows[1:]:
        name, colon, value = row.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
        elif not row.strip():
            break  # trailers are not believed
    status = int(words[1]) if len(words) > 1 and _LENGTH(words[1]) else 0
    return Head(status, printable(words[2].strip()) if len(words) > 2 else "", headers)


def server_time(headers: Mapping[str, str]) -> float:
    """The time by the clock of the server: the one here may be off."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return time()


def retry_after(headers: Mapping[str, str], status: int = 429) -> float | None:
    """The seconds that a server asks to wait, at least 0; None if it does not ask."""
    text = headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - server_time(headers))
    except (TypeError, ValueError, OverflowError):
        pass
    # A limit is named in every response of such a server; it counts where nothing is left of it.
    if status not in (403, 429) or (status == 403 and headers.get("x-ratelimit-remaining") != "0"):
        return None
    for name in _RESET:
        try:
            seconds = float(headers.get(name, ""))
        except ValueError:
            continue
        if 0 <= seconds < 1e11:
            return max(0.0, seconds - server_time(headers)) if seconds > _A_DATE else seconds
    return None


def strong_etag(headers: Mapping[str, str]) -> str | None:
    """What tells one version of a file from another for sure, fit for ``If-Range``; None if there is nothing."""
    etag = headers.get("etag", "")
    return etag if len(etag) > 2 and etag.startswith('"') and etag.endswith('"') and etag.isprintable() else None


def validator(headers: Mapping[str, str]) -> str | None:
    """What ``If-Range`` may name: a strong ETag, else a date of change that is a minute old (RFC 9110, 8.8.2.2)."""
    etag = strong_etag(headers)
    if etag is not None or "etag" in headers:
        return etag
    try:
        changed, now = (parsedate_to_datetime(headers[name]) for name in ("last-modified", "date"))
        return headers["last-modified"] if (now - changed).total_seconds() >= _A_MINUTE else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def describe_body(head: bytes, headers: Mapping[str, str] | None, name: str) -> tuple[Reason, str] | None:
    """What a body is that is not the file, from its first bytes; None if nothing strange is seen."""
    lower = name.lower()
    encoding = (headers or {}).get("content-encoding", "").strip().lower()
    encoding = "" if encoding in _NO_ENCODING else encoding
    if head.startswith(_LFS_POINTER):
        return (
            Reason.LFS_POINTER,
            "the server sent a git-lfs pointer instead of the file: it does not serve LFS objects",
        )
    if encoding and not lower.endswith(_GZIPPED):
        text = f"the server encoded the body (Content-Encoding: {encoding}) although the request forbids that"
        return Reason.ENCODING, text
    if _PAGE.match(head) and not lower.endswith(_PAGES):
        return Reason.HTML, "the server sent an HTML page instead of the file: a login, a consent or an error page"
    if head.startswith(_GZIP) and not lower.endswith(_GZIPPED) and not encoding:
        return Reason.ENCODING, "the server sent a gzip stream instead of the file"
    return None


def check_head(head: Head, place: str, start: int, stop: int | None, size: int | None) -> int | None:
    """Check the head of a response to a request for bytes from `start` up to `stop` of a file of `size` bytes.

    Returns the size of the whole file at this source, None if it does not say; raises TransferError if this is not the
    file, or not the range.
    """
    status, headers = head.status, head.headers
    if status == 206:
        match = _RANGE.fullmatch(headers.get("content-range", ""))
        if match is None or int(match[1]) != start or int(match[2]) < start:
            sent = headers.get("content-range")
            text = f"asked for bytes from {start}, it sent Content-Range {sent!r}"
            raise TransferError(place, text, kind=Reason.RANGE)
        last, total = int(match[2]), int(match[3]) if match[3] != "*" else None
        wrong = (stop is not None and last >= stop) or (total is not None and last >= total)
        if wrong or (head.total is not None and head.total != last - start + 1):
            text = "the length of the range does not agree with its Content-Range"
            raise TransferError(place, text, kind=Reason.RANGE)
    elif status == 200:
        total = head.total
    else:
        raise refusal(head, place)
    if size is not None and total is not None and total != size:
        raise TransferError(place, f"{total} bytes there, {size} are registered", kind=Reason.SIZE, final=True)
    return total


def refusal(head: Head, place: str) -> TransferError:
    """The error for a response that is neither a file nor a range."""
    status = head.status
    answer = f"{status} {head.phrase}".strip()
    if 200 <= status < 300:
        empty = "" if head.total or "transfer-encoding" in head.headers else " with an empty body"
        kind = Reason.EMPTY if empty else Reason.STATUS
        return TransferError(place, f"answered {answer}{empty} instead of the file", kind=kind)
    hint = f": {_HINTS[status]}" if status in _HINTS else ""
    wait = retry_after(head.headers, status)
    if wait is not None:
        hint += f" (it asks to wait {wait:.0f} s)"
    kind = _KINDS.get(status, Reason.STATUS)
    final = status not in _TRANSIENT and (wait is None or status != 403)  # GitHub's 403 is a rate limit
    return TransferError(place, f"answered {answer}{hint}", kind=kind, retry_after=wait, final=final)


def check_body(headers: Mapping[str, str], place: str, name: str, head: bytes, got: int, size: int | None) -> None:
    """Check what came of a whole file against what is expected of it, its hash aside; raises TransferError."""
    strange = describe_body(head, headers, name)
    if size is None:
        if strange is None and got == 0 and headers.get("content-length") != "0":
            strange = Reason.EMPTY, "the server sent an empty body"
    elif got == size:
        return
    if strange is not None:
        raise TransferError(place, strange[1], kind=strange[0], final=strange[0] != Reason.EMPTY)
    if size is not None:
        kind = Reason.SIZE if got > size else Reason.CUT
        raise TransferError(place, f"{got} bytes came, {size} are registered", kind=kind, final=got > size)


def decoded(body: bytes, encoding: str, most: int, place: str) -> bytes:
    """The body of an API's response without its encoding; 3 MB of gzip may be 3 GB, so there is a limit."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    engine = zlib.decompressobj(47)  # gzip or zlib
    try:
        text = engine.decompress(body, most + 1)
    except zlib.error as error:
        raise TransferError(place, f"the body is broken: {error}", kind=Reason.PROTOCOL) from error
    if len(text) > most:
        raise TransferError(place, f"the answer is longer than {most} bytes", kind=Reason.SIZE, final=True)
    return text
