"""What may stand in a request: URLs and headers that are one line, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from ..errors import TransferError
from ..registry.names import redact_url
from .line import PORTS
from .source import Source

__all__ = ["NOT_PLAIN", "checked", "head_lines", "is_loopback"]

_UNFIT_FOR_A_HEAD = re.compile(r"[^\x21-\x7e]")
_UNFIT_FOR_A_VALUE = re.compile(r"[^\x20-\x7e\t]")
#: What a path with its query must not hold to be sent as it stands.
NOT_PLAIN = re.compile(r"[^\x21-\x7e]|#")


def checked(url: str, source: Source) -> SplitResult:
    """A URL in its parts, if it can be asked for.

    Parameters
    ----------
    url : str
        The URL.
    source : Source
        Whose it is.

    Returns
    -------
    urllib.parse.SplitResult
        Its parts.

    Raises
    ------
    TransferError
        If it is no URL of HTTP, or holds what a request must not.
    """
    try:
        parts = urlsplit(url)
        fit = parts.scheme in PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fit = False
    if not fit or _UNFIT_FOR_A_HEAD.search(url):
        raise TransferError(source.redacted, f"{redact_url(url)!r} is not an http or https URL", kind="url", final=True)
    return parts


def head_lines(headers: Mapping[str, str], source: Source) -> bytes:
    """Headers as they are sent.

    Parameters
    ----------
    headers : mapping of str to str
        Names and values.
    source : Source
        For whom.

    Returns
    -------
    bytes
        A line for each.

    Raises
    ------
    TransferError
        If one of them could not be sent as one line.
    """
    lines = []
    for name, value in headers.items():
        if _UNFIT_FOR_A_HEAD.search(name) or ":" in name or _UNFIT_FOR_A_VALUE.search(value):
            raise TransferError(source.redacted, f"the header {name!r} is not legal", kind="url", final=True)
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")


def is_loopback(url: str) -> bool:
    """Whether a URL is at this machine.

    Parameters
    ----------
    url : str
        The URL.

    Returns
    -------
    bool
        True for the usual names of loopback.
    """
    return (urlsplit(url).hostname or "") in ("127.0.0.1", "localhost", "::1")
