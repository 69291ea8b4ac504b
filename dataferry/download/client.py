"""One session of HTTP: kept connections, redirects, proxies, credentials; heads are read here, bodies by others."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from ..errors import DataferryError, TransferError
from ..registry.names import redact_url
from .access import authorization, basic, proxy_for
from .answer import Answer
from .blame import blame
from .dial import Live
from .line import Line
from .source import Source
from .wording import NOT_PLAIN, checked, head_lines, is_loopback

if TYPE_CHECKING:
    from ..config.settings import Settings

__all__ = ["Client"]

_MOST_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Client:
    """A session: what may be asked of hosts, and the connections kept to them. Threads may share it.

    Parameters
    ----------
    settings : Settings
        User agent and what the user says of single hosts.
    connect_timeout, stall_timeout : float
        Seconds to wait for a connection, and for the next bytes.
    """

    def __init__(self, settings: Settings, connect_timeout: float = 10, stall_timeout: float = 30) -> None:
        self.settings = settings
        self.connect_timeout = connect_timeout
        self.stall_timeout = stall_timeout
        self.live = Live()
        self._lock = threading.Lock()
        self._idle: dict[object, deque[Line]] = {}
        self._prefixes: dict[tuple[str, str, bool], tuple[bytes, str | None]] = {}
        self._shut = False
        self._agent = settings.user_agent

    # -- asking ------------------------------------------------------------------------------------------------------

    def ask(self, source: Source, extra: str = "", *, url: str | None = None) -> tuple[Answer, Line]:
        """Send one GET and read the head of its answer, redirects followed.

        Parameters
        ----------
        source : Source
            The source.
        extra : str
            Further header lines, each ended by CR LF.
        url : str, optional
            Where an earlier redirect of this source led to.

        Returns
        -------
        Answer, Line
            The head, with the body to come, and the connection: hand it to `done` once the body was read.

        Raises
        ------
        TransferError
            If there is no connection, or no answer.
        """
        place = url or source.url
        for _ in range(_MOST_REDIRECTS):
            parts = checked(place, source)
            own = parts[:2] == urlsplit(source.url)[:2]
            answer, line = self._ask_once(parts, source, own, extra)
            answer.url = place
            if answer.status not in _REDIRECTS or "location" not in answer.fields:
                return answer, line
            place = urljoin(place, answer.fields["location"])
            if parts.scheme == "https" and urlsplit(place).scheme == "http" and not is_loopback(place):
                self.done(answer, line)
                raise TransferError(
                    source.redacted, f"redirects from https to {redact_url(place)}", kind="redirect", final=True
                )
            self.drain(answer, line)
        raise TransferError(source.redacted, f"more than {_MOST_REDIRECTS} redirects", kind="redirect", final=True)

    def _ask_once(self, parts: SplitResult, source: Source, own: bool, extra: str) -> tuple[Answer, Line]:
        prefix, proxy = self._prefix(parts, source, own)
        redacted = redact_url(proxy) if proxy else None
        while True:
            line = None
            try:
                line = self._line(parts, proxy)
                line.sock.sendall(self._request(proxy, parts, prefix, extra))
                answer = Answer(line.reader)
                answer.begin()
                return answer, line
            except Exception as exc:
                stale = line is not None and line.used > 0
                if line is not None:
                    line.close()
                # A kept connection may have been closed by the server while it was idle: that is no failure.
                if stale and not self.live.ended and not isinstance(exc, TimeoutError):
                    continue
                if isinstance(exc, DataferryError):
                    raise
                error = blame(exc, source.redacted, redacted)
                if line is not None and isinstance(exc, TimeoutError):
                    error = TransferError(
                        source.redacted, f"connected, but no answer in {self.stall_timeout:g} s", kind="stall"
                    )
                raise error from exc

    @staticmethod
    def _request(proxy: str | None, parts: SplitResult, prefix: bytes, extra: str) -> bytes:
        target = parts.path or "/"
        if parts.query:
            target = f"{target}?{parts.query}"
        if proxy and parts.scheme == "http":
            target = f"http://{parts.netloc.rpartition('@')[2]}{target}"
        return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (target.encode(), prefix, extra.encode())

    def _prefix(self, parts: SplitResult, source: Source, own: bool) -> tuple[bytes, str | None]:
        key = (parts.scheme, parts.netloc, own)
        cached = self._prefixes.get(key) if not source.headers else None
        if cached is not None:
            return cached
        proxy = proxy_for(parts)
        headers = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": self._agent}
        headers |= {"Accept": "*/*", "Accept-Encoding": "identity"}
        login = authorization(parts, self.settings)
        if login:
            headers["Authorization"] = login
        if proxy and parts.scheme == "http":
            via = urlsplit(proxy)
            if via.username is not None:
                headers["Proxy-Authorization"] = basic(unquote(via.username), unquote(via.password or ""))
        if own:
            # What a source brings along is for its own host only: a redirect elsewhere must not see it.
            headers |= dict(source.headers)
        made = head_lines(headers, source), proxy
        if not source.headers:
            self._prefixes[key] = made
        return made

    def heads(self, sources: list[Source]) -> list[bytes] | None:
        """The requests for several files of one host.

        Parameters
        ----------
        sources : list of Source
            The files.

        Returns
        -------
        list of bytes or None
            A GET for each; None if not all can go over one connection.

        Raises
        ------
        TransferError
            If a URL cannot be asked for.
        """
        heads = []
        first = checked(sources[0].url, sources[0])
        prefix, proxy = self._prefix(first, sources[0], True)
        if proxy and first.scheme == "http":
            return None  # what a proxy makes of several requests at once is not known
        base = f"{first.scheme}://{first.netloc}/"
        cut = len(base) - 1
        for source in sources:
            url = source.url
            if url.startswith(base) and not source.headers and not NOT_PLAIN.search(url, cut):
                heads.append(b"GET %b HTTP/1.1\r\n%b\r\n" % (url[cut:].encode(), prefix))
                continue
            parts = checked(url, source)
            if parts[:2] != first[:2]:
                return None
            own, _ = self._prefix(parts, source, True) if source.headers else (prefix, proxy)
            heads.append(self._request(proxy, parts, own, ""))
        return heads

    def kept(self, source: Source) -> Line | None:
        """A connection that has served before.

        Parameters
        ----------
        source : Source
            At whose host.

        Returns
        -------
        Line or None
            Hand it to `keep`, or close it; None if there is none.
        """
        parts = checked(source.url, source)
        _, proxy = self._prefix(parts, source, True)
        with self._lock:
            idle = self._idle.get((parts.scheme, parts.hostname, parts.port, proxy))
            return idle.pop() if idle else None

    # -- connections -------------------------------------------------------------------------------------------------

    def _line(self, parts: SplitResult, proxy: str | None) -> Line:
        key = (parts.scheme, parts.hostname, parts.port, proxy)
        with self._lock:
            idle = self._idle.get(key)
            if idle:
                return idle.pop()
        return Line(self, parts, proxy)

    def done(self, answer: Answer, line: Line) -> None:
        """Give a connection back; it is kept if the body was read to its end.

        Parameters
        ----------
        answer : Answer
            The last answer on it.
        line : Line
            The connection.
        """
        if answer.ended and not answer.will_close and not self.live.ended:
            line.used += 1
            if not line.owed:
                self.keep(line)
            return
        line.close()

    def keep(self, line: Line) -> None:
        """Keep a connection whose answers were read to their end.

        Parameters
        ----------
        line : Line
            The connection.
        """
        with self._lock:
            if not self._shut and not self.live.ended:
                self._idle.setdefault(line.key, deque()).append(line)
                return
        line.close()

    def drain(self, answer: Answer, line: Line, most: int = 65536) -> bytes:
        """Read the rest of a short body, so that its connection can be kept; a long one is dropped.

        Parameters
        ----------
        answer : Answer
            The answer.
        line : Line
            Its connection.
        most : int
            Bytes that are worth reading.

        Returns
        -------
        bytes
            What was read.
        """
        buffer = memoryview(bytearray(most))
        got = 0
        with suppress(Exception):
            while got < most:
                count = answer.read_some(buffer[got:])
                if not count:
                    break
                got += count
        self.done(answer, line)
        return bytes(buffer[:got])

    def abort(self) -> None:
        """Make every wait for the network end now, in all threads."""
        self.live.end()

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            self._shut = True
            lines = [line for idle in self._idle.values() for line in idle]
            self._idle.clear()
        for line in lines:
            line.close()
