"""Is this answer the file? What servers send instead of a file is recognised and named."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from time import time

from ..errors import TransferError
from .answer import Answer
from .source import Source

__all__ = ["check_body", "check_head", "nature", "retry_after", "validator"]

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_TRANSIENT = frozenset({408, 425, 429}) | frozenset(range(500, 600))
_PAGE = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html)[\s>]", re.I | re.S)  # noqa: FURB167
_POINTER = b"version https://git-lfs.github.com/spec/"
_GZIP = b"\x1f\x8b"
_PAGES = (".html", ".htm", ".xhtml")
_GZIPPED = (".gz", ".tgz", ".svgz", ".gzip")

#: What a 4xx most often means for data files, and what to do about it.
_HINTS = {
    401: "a login is needed: put a token or user and password for this host into config.toml, or into .netrc",
    403: "not allowed, or not there",
    404: "not there",
    407: "the proxy wants a login: give user and password in the proxy's URL",
    410: "no longer there",
    416: "it has fewer bytes than asked for",
}

_KINDS = {304: "unchanged", 401: "denied", 403: "denied", 404: "absent", 407: "proxy", 410: "absent", 416: "beyond"}


def retry_after(answer: Answer) -> float | None:
    """The seconds that a server asks to wait.

    Parameters
    ----------
    answer : Answer
        Its answer.

    Returns
    -------
    float or None
        At least 0; None if it does not ask.
    """
    text = answer.fields.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (TypeError, ValueError, OverflowError):
        return None


def validator(answer: Answer) -> str | None:
    """What tells one version of a file from another for sure: a strong ETag.

    Parameters
    ----------
    answer : Answer
        The answer.

    Returns
    -------
    str or None
        The ETag, fit for ``If-Range``; None if there is none or it is weak.
    """
    etag = answer.fields.get("etag", "")
    return etag if len(etag) > 2 and etag.startswith('"') and etag.endswith('"') and etag.isprintable() else None


def nature(head: bytes, answer: Answer | None, name: str) -> tuple[str, str] | None:
    """What a body is that is not the file.

    Parameters
    ----------
    head : bytes
        How it begins.
    answer : Answer or None
        The answer; None for what did not come by HTTP.
    name : str
        The file's name; a page may well be the file if it is called so.

    Returns
    -------
    (str, str) or None
        A short word for programs and a sentence; None if nothing strange is seen.
    """
    lower = name.lower()
    encoding = answer.fields.get("content-encoding", "").lower() if answer is not None else ""
    if head.startswith(_POINTER):
        return "lfs-pointer", "a git-lfs pointer came instead of the file: the host does not serve LFS objects"
    if encoding not in ("", "identity") and not lower.endswith(_GZIPPED):
        return "encoding", f"the body came encoded (Content-Encoding: {encoding}) although it was asked for as it is"
    if _PAGE.match(head) and not lower.endswith(_PAGES):
        return "html", "an HTML page came instead of the file: a login, a consent or an error page"
    if head.startswith(_GZIP) and not lower.endswith(_GZIPPED) and not encoding:
        return "encoding", "a gzip stream came instead of the file"
    return None


def check_head(answer: Answer, source: Source, start: int, end: int | None, size: int | None) -> int | None:
    """Check the head of an answer to a request for bytes from `start` up to `end`.

    Parameters
    ----------
    answer : Answer
        The answer.
    source : Source
        Who gave it.
    start : int
        First byte that was asked for.
    end : int or None
        One after the last; None for all that follows.
    size : int or None
        What the file's size must be.

    Returns
    -------
    int or None
        The size of the whole file at this source; None if it does not say.

    Raises
    ------
    TransferError
        If this is not the file, or not the range.
    """
    status = answer.status
    if status == 200 and answer.total == size is not None:
        return size
    place = source.redacted
    if status == 206:
        match = _RANGE.fullmatch(answer.fields.get("content-range", ""))
        total = int(match[3]) if match and match[3] != "*" else None
        last = None if match is None else int(match[2])
        if match is None or int(match[1]) != start or last is None or last < start:
            said = answer.fields.get("content-range")
            raise TransferError(place, f"asked for bytes from {start}, it sent Content-Range {said!r}", kind="range")
        if (end is not None and last >= end) or (answer.total is not None and answer.total != last - start + 1):
            raise TransferError(place, "the length of the range does not agree with its Content-Range", kind="range")
    elif status == 200:
        total = answer.total
    else:
        raise _refusal(answer, place)
    if size is not None and total is not None and total != size:
        raise TransferError(place, f"{total} bytes there, {size} are registered", kind="size", final=True)
    return total


def _refusal(answer: Answer, place: str) -> TransferError:
    status = answer.status
    said = f"{status} {answer.reason}".strip()
    if 200 <= status < 300:
        empty = "" if answer.length else " with an empty body"
        return TransferError(place, f"answered {said}{empty} instead of the file", kind="empty" if empty else "status")
    hint = f": {_HINTS[status]}" if status in _HINTS else ""
    wait = retry_after(answer)
    if wait is not None:
        hint += f" (it asks to wait {wait:.0f} s)"
    kind = _KINDS.get(status, "status")
    return TransferError(place, f"answered {said}{hint}", kind=kind, retry_after=wait, final=status not in _TRANSIENT)


def check_body(answer: Answer, source: Source, name: str, head: bytes, got: int, size: int | None) -> None:
    """Check what came of a whole file against what is expected of it, its hash aside.

    Parameters
    ----------
    answer : Answer
        The answer.
    source : Source
        Who gave it.
    name : str
        The file's name.
    head : bytes
        How the body begins.
    got : int
        How many bytes there are.
    size : int or None
        How many there must be; None if the file is not registered.

    Raises
    ------
    TransferError
        If it is not the file.
    """
    strange = nature(head, answer, name)
    if size is None:
        if strange is None and got == 0 and answer.fields.get("content-length") != "0":
            strange = "empty", "an empty body came"
    elif got == size:
        return
    if strange is not None:
        raise TransferError(source.redacted, strange[1], kind=strange[0], final=strange[0] != "empty")
    if size is not None:
        kind = "size" if got > size else "cut"
        raise TransferError(source.redacted, f"{got} bytes came, {size} are registered", kind=kind, final=got > size)
