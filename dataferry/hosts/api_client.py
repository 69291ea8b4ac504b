"""The HTTP interface of a provider: requests that block, JSON, uploads of parts of files, retries."""

from __future__ import annotations

import io
import json as json_module
import logging
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from ..download.backoff import LONGEST_WAIT, backoff, first_pause
from ..download.response import decoded, retry_after, server_time
from ..errors import HostRefused, Reason, TransferError, printable
from ..registry.names import redact_url, shortened

if TYPE_CHECKING:
    from types import TracebackType

    from ..config.settings import Settings
    from ..download.session import Network, Transfer

__all__ = ["ApiClient", "FileBody", "Response", "error_message"]

_log = logging.getLogger("dataferry")

#: Seconds that are waited without a word to the user.
SILENT = 3.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
#: What may be sent twice without doing it twice.
_HARMLESS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_NOT_SENT = frozenset({Reason.CONNECT, Reason.TIMEOUT, Reason.DNS, Reason.TLS, Reason.UNREACHABLE, Reason.PROXY})
_TRIES = 6
#: One lost answer is no failure; a server that is silent twice costs the user no third timeout.
_SILENCE, _MOST_SILENT = frozenset({Reason.STALL, Reason.TIMEOUT}), 2
#: Seconds before the second try, where the server does not say; each further pause is twice as long.
FIRST_PAUSE = 0.2
#: Seconds that a provider gets to change something, where the package's users wait less for a file.
TO_CHANGE = 60.0
_LARGE = 1 << 20
#: GitHub gives no time for its secondary limits, and asks for a minute; older GitHub Enterprise has the second text.
_LIMIT, _A_MINUTE = re.compile("rate limit|abuse detection", re.IGNORECASE), 60.0


class FileBody(io.RawIOBase):
    """A part of a file as the body of a request.

    Parameters
    ----------
    path : Path
        The file.
    start, size : int
        Its first byte and the number of bytes.
    moved : callable, optional
        Takes the bytes that went; a negative number where they go again, or a request failed in its ``with`` block.
    """

    def __init__(self, path: Path, start: int, size: int, moved: Callable[[int], None] | None = None) -> None:
        self.size = size
        self._start, self._at, self._moved = start, 0, moved
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        self._file.seek(start)

    def __len__(self) -> int:
        return self.size

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Take the next bytes; none at the end of the part."""
        count = self._file.readinto(memoryview(buffer)[: self.size - self._at])
        self._at += count
        if self._moved is not None and count:
            self._moved(count)
        return count

    def tell(self) -> int:
        """How far the part was read."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to an offset within the part."""
        if self._moved is not None and offset != self._at:
            self._moved(offset - self._at)
        self._file.seek(self._start + offset)
        self._at = offset
        return offset

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if error is not None and self._moved is not None:
            self._moved(-self._at)


class _Bytes(io.BytesIO):
    def __len__(self) -> int:
        return len(self.getbuffer())


@dataclass(frozen=True, slots=True)
class Response:
    """What a provider answered.

    Parameters
    ----------
    status : int
        The HTTP status.
    headers : mapping of str to str
        The headers; names in lower case.
    body : bytes
        The whole body.
    place : str
        The URL as it may be printed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    place: str

    def json(self) -> Any:
        """The body as JSON.

        Returns
        -------
        object
            What it holds.

        Raises
        ------
        TransferError
            If it is no JSON.
        """
        try:
            return json_module.loads(self.body)
        except (ValueError, RecursionError):
            start = self.body[:60].decode(errors="replace")
            raise TransferError(self.place, f"answered {start!r} and not JSON", kind=Reason.JSON, final=True) from None


def error_message(response: Response) -> str:
    """What the provider gives as its reason, in whatever form it does."""
    try:
        answer = json_module.loads(response.body)
    except (ValueError, RecursionError):
        text = response.body[:200].decode(errors="replace").strip()
        return "" if text.startswith("<") else printable(text)
    if not isinstance(answer, dict):
        return _text(answer)
    words = [_text(answer[key]) for key in ("message", "error", "code") if answer.get(key)][:1]
    several = answer.get("errors")
    if isinstance(several, list):
        words += [_item(item) for item in several[:5]]
    return "; ".join(words)[:500]


def _item(item: object) -> str:
    return _text((item.get("message") or item.get("code") or item) if isinstance(item, dict) else item)


def _text(value: object) -> str:
    """What a server says, which may be anything that JSON can hold."""
    return printable(value[:500]) if isinstance(value, str) else shortened(value)


def _rate_limit(response: Response) -> tuple[bool, float | None]:
    """Whether the server limits requests, and the seconds that it asks to wait; None if it does not say."""
    wait = retry_after(response.headers, response.status)
    if wait is None and response.status in {403, 429} and _LIMIT.search(error_message(response)):
        wait = _A_MINUTE
    return response.status == 429 or (response.status == 403 and wait is not None), wait


def _refusal(response: Response, wait: float | None) -> TransferError:
    error = HostRefused(response.place, response.status, error_message(response), wait)
    if wait is None or wait <= LONGEST_WAIT:
        return error
    when = time.strftime("%H:%M UTC", time.gmtime(server_time(response.headers) + wait))
    reason = f"{error.reason}; it takes no more requests until {when} (in {max(1, round(wait / 60))} min)"
    return TransferError(response.place, reason, kind=Reason.RATE, retry_after=wait, final=True)


def _is_sound(response: Response, is_json: bool) -> bool:
    """Whether an answer is one to the question, as far as can be seen."""
    if not 200 <= response.status < 300:
        return False
    try:
        return not is_json or not response.body or response.json() is not None
    except TransferError:
        return False


class ApiClient:
    """The HTTP interface of one provider. Threads may share it.

    Proxies, CA bundles and client certificates are those of every transfer of dataferry. Logins come from ``headers``.

    Parameters
    ----------
    settings : Settings
        The user's settings.
    base : str
        The URL to which paths are joined.
    headers : mapping of str to str
        Headers of every request to the host of ``base``, such as ``Authorization``. Other hosts do not get them.
    trusted : collection of str
        Further hosts that get the headers, with the scheme of ``base``.
    """

    def __init__(
        self,
        settings: Settings,
        base: str,
        *,
        headers: Mapping[str, str] | None = None,
        trusted: Collection[str] = (),
    ) -> None:
        self.base = base
        self.headers = dict(headers or {})
        self.settings = settings
        scheme, host = urlsplit(base)[:2]
        self._own = {(scheme, name) for name in (host, *trusted)}
        self._networks: dict[float, Network] = {}

    def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | FileBody | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | int] | None = None,
        accept: Collection[int] = (),
        again: bool | None = None,
        redirect: bool = True,
        timeout: float = 0,
        max_bytes: int = 1 << 26,
    ) -> Response:
        """Send a request and read the whole answer.

        Parameters
        ----------
        method : str
            ``"GET"``, ``"POST"``...
        path : str
            Joined to the base; or a whole URL.
        json : object, optional
            Sent as JSON.
        body : bytes or FileBody, optional
            Sent as it is, as ``application/octet-stream`` if ``headers`` do not say otherwise.
        headers : mapping of str to str, optional
            Further headers.
        query : mapping of str to (str or int), optional
            Goes behind the ``?``.
        accept : collection of int
            Statuses beside 2xx that are an answer and no error.
        again : bool, optional
            Whether it may be sent twice; by default any method but POST and PATCH.
        redirect : bool
            Whether to follow redirects.
        timeout : float
            Seconds without any progress; 0 for those of the settings. What changes something gets 60 at least.
        max_bytes : int
            The longest answer that is taken, compressed or not.

        Returns
        -------
        Response
            The answer.

        Raises
        ------
        HostRefused
            If the host answered with another status.
        TransferError
            If there is no answer.
        """
        from ..download.session import Transfer  # loads libcurl; a host only names sources

        url = urljoin(self.base, path)
        place = f"{method} {redact_url(url)}"
        if query:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
        sent, fields = self._content(url, json, body, headers or {})
        wanted = next((value for name, value in fields.items() if name.lower() == "accept"), "")
        format_ = () if wanted else (("Accept", "application/json"),)
        harmless = method in _HARMLESS if again is None else again
        if not timeout:
            timeout = max(self.settings.timeout, 0 if method in {"GET", "HEAD"} else TO_CHANGE)
        first, silent = first_pause(timeout, FIRST_PAUSE), 0
        for attempt in range(1, _TRIES + 1):
            transfer = Transfer(url, place, format_)
            transfer.private, transfer.method, transfer.follow = tuple(fields.items()), method, redirect
            transfer.body, transfer.large = sent, sent is not None and len(sent) > _LARGE
            transfer.whole, transfer.most = True, max_bytes
            transfer.fresh = not harmless or attempt > 1  # a kept connection may have ended, or have bytes left over
            pause = backoff(attempt - 1, first)
            try:
                response = self._once(transfer, timeout, max_bytes)
            except TransferError as error:
                silent += error.kind in _SILENCE
                may_repeat = harmless or error.kind in _NOT_SENT
                if error.final or not may_repeat or silent == _MOST_SILENT or attempt >= _TRIES - 1:
                    raise
                reason = error.reason
            else:
                reason = f"HTTP {response.status}"
                _log.debug("%s: %d", place, response.status)
                limited, wait = _rate_limit(response)
                # it may have been left over on a kept connection from the answer before
                doubtful = transfer.reused and method == "GET" and attempt == 1
                is_json = not wanted or "json" in wanted
                if doubtful and not (limited or response.status in _AGAIN or _is_sound(response, is_json)):
                    continue
                redirected = not redirect and 300 <= response.status < 400
                if not limited and (200 <= response.status < 300 or response.status in accept or redirected):
                    return response
                retried = limited or response.status == 503 or (harmless and response.status in _AGAIN)
                if not retried or attempt == _TRIES or (wait or 0) > LONGEST_WAIT:
                    raise _refusal(response, wait if retried else None)
                pause = max(wait or 0, pause)
            level = logging.WARNING if pause > SILENT else logging.INFO
            _log.log(level, "%s: %s; trying again in %.0f s", place, reason, pause)
            time.sleep(pause)
        raise AssertionError  # the last attempt returns or raises

    def _content(
        self, url: str, json: object, body: bytes | FileBody | None, given: Mapping[str, str]
    ) -> tuple[_Bytes | FileBody | None, dict[str, str]]:
        """What is sent to a URL, and the headers; those of the client only to its own hosts."""
        fields = dict(self.headers) if urlsplit(url)[:2] in self._own else {}
        if json is not None:
            body, fields["Content-Type"] = json_module.dumps(json).encode(), "application/json"
        elif body is not None:
            fields["Content-Type"] = "application/octet-stream"
        names = {name.lower() for name in given}
        fields = {name: value for name, value in fields.items() if name.lower() not in names} | dict(given)
        return _Bytes(body) if isinstance(body, bytes) else body, fields

    def _once(self, transfer: Transfer, timeout: float, max_bytes: int) -> Response:
        from ..download.session import Network
        from ..download.session_pool import borrowed

        network = self._networks.get(timeout)
        if network is None:
            network = self._networks[timeout] = Network(self.settings._replace(timeout=timeout), logins=False)
        with borrowed() as session:
            session.perform(transfer, network)
        head = transfer.head
        if head is None:
            raise TransferError(transfer.place, "the connection was closed without an answer", kind=Reason.CUT)
        encoding = head.headers.get("content-encoding", "")
        text = decoded(b"".join(transfer.chunks), encoding, max_bytes, transfer.place)
        return Response(head.status, head.headers, text, transfer.place)
