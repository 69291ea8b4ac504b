"""One session of HTTP over libcurl's multi interface: requests that run side by side in the thread that asks for them.

A session belongs to one thread at a time, and to the process that made it.
"""

from __future__ import annotations

import os
import selectors
import time
from contextlib import suppress
from string import punctuation
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ..errors import MissingExtra, Reason, TransferError
from ..portable import free_descriptors
from .origin import (
    authorization,
    check_headers,
    check_url,
    client_certificate,
    host_option,
    proxy_for,
    redirect_target,
    trusted_roots,
)
from .response import Head, parse_head
from .wake_up import WakeUp

try:
    import pycurl
except ImportError as _error:
    # There is no wheel for musl; elsewhere libcurl itself may not load.
    raise MissingExtra(
        "", "pycurl", "; where there is no wheel for it, install libcurl and its headers first"
    ) from _error

from .curl_errors import error_of

if TYPE_CHECKING:
    from ..config.settings import Settings


_CONNECT_TIMEOUT = 10.0  # seconds
_SLOWEST = 256.0  # bytes per second below which a connection counts as stalled
_MOST_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LEAST_CHECK = 0.05  # seconds between two looks at what comes
_LAST_WORD = 1.0  # seconds to wait for the end of a body of which every byte is there
_MOST_HEADERS = 400  # lines, interim responses and trailers included
_ERROR_PAGE = 1 << 16  # bytes that are read of a body that is not the file
# libcurl's number; pycurl has no name for it
_SUPPRESS_CONNECT_HEADERS = 265
_BUFFER_LARGE, _BUFFER_SMALL = 1 << 20, 1 << 16
_MOST_WAITING = 1 << 20  # bytes of a large body that wait to be taken; libcurl alone reads up to a hundred buffers


class Network:
    """What requests of one run have in common: the user's settings and the limits of time.

    Parameters
    ----------
    settings : Settings
        User agent, logins, certificates, and the timeout of a connection that stalls.
    logins : bool
        Whether the logins of the settings and of ``.netrc`` are sent.
    """

    def __init__(self, settings: Settings, *, logins: bool = True) -> None:
        self.settings = settings
        self.logins = logins
        self.connect_timeout = min(_CONNECT_TIMEOUT, settings.timeout)
        self.stall_timeout = settings.timeout
        self._agent = settings.user_agent
        self._origins: dict[tuple[str, bool], Origin] = {}
        self.redirects: dict[str, str] = {}  # URL -> where it led to, for further ranges of the same file

    def origin(self, url: str, place: str, redirected: bool) -> Origin:
        """What is sent to the origin of a URL; thousands of URLs have one, which is taken apart once."""
        key = url[: url.find("/", url.find("//") + 2)], redirected
        found = self._origins.get(key)
        if found is None:
            found = self._origins[key] = Origin(self, url, place, redirected)
        return found


class Origin:
    """Options of libcurl, and headers, for requests to one scheme, host and port."""

    def __init__(self, network: Network, url: str, place: str, redirected: bool) -> None:
        settings, parts = network.settings, check_url(url, place)
        self.base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.login = parts.netloc.rpartition("@")[0]
        self.proxy = proxy_for(parts)
        self.secure = parts.scheme == "https"
        self.http1 = not self.secure  # HTTP/2 only where ALPN offers it
        headers = [("User-Agent", network._agent), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
        login = authorization(parts, settings, redirected=redirected) if network.logins or self.login else None
        if login:
            headers.append(("Authorization", login))
        self.headers = check_headers(headers, place)
        self.options: list[tuple[int, Any]] = [
            (pycurl.NOSIGNAL, 1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.HTTP09_ALLOWED, 0),
            (pycurl.CONNECTTIMEOUT_MS, max(1, int(network.connect_timeout * 1000))),
            (pycurl.LOW_SPEED_LIMIT, int(_SLOWEST)),
            (pycurl.LOW_SPEED_TIME, int(network.stall_timeout) + 1),
            (pycurl.NETRC, pycurl.NETRC_IGNORED),
            (pycurl.PROXY, self.proxy or ""),  # "" keeps libcurl from asking the environment itself
            (_SUPPRESS_CONNECT_HEADERS, 1),
            (pycurl.PIPEWAIT, 1),
            (pycurl.TCP_KEEPALIVE, 1),
        ]
        if self.secure or (self.proxy or "").startswith("https:"):
            roots, folder = trusted_roots(host_option(settings, parts, "ca_bundle"))
            self.options += [(pycurl.CAINFO, roots), (pycurl.PROXY_CAINFO, roots)]
            if folder:
                self.options += [(pycurl.CAPATH, folder), (pycurl.PROXY_CAPATH, folder)]
        if self.secure and (paths := client_certificate(settings, parts)):
            self.options += [(pycurl.SSLCERT, paths[0]), (pycurl.SSLKEY, paths[-1])]

    def address(self, url: str) -> str:
        """The URL without a login, which goes into a header instead."""
        return url if not self.login else url.replace(f"//{self.login}@", "//", 1)


class Transfer:
    """One request, and what has come of its response.

    The body gathers in `chunks`; the owner of a `streamed` one takes them away while it arrives, and the connection
    pauses where too many wait. Redirects are followed within.
    """

    method = "GET"
    body: Any = None  # what is sent: it has `read`, `seek` and a length
    follow = True  # redirects
    # Over a new connection: what lies unread on a kept one must not become its head, nor is it sent twice.
    fresh = False
    reused = False  # it came over a kept connection
    large = False
    streamed = False
    private: tuple[tuple[str, str], ...] = ()  # headers for the first origin alone
    expected: int | None = None  # bytes of the body: where they are there, its end is not waited for
    most: int | None = None  # bytes of the body that are taken at all
    rate = 0  # bytes per second
    error: TransferError | None = None
    curl: Any = None
    whole = False  # the body of an error is wanted too
    hops = 0
    http2 = False
    round_trip = 0.0  # seconds from the request to the first byte of its answer
    waiting = 0  # bytes in `chunks`, of a streamed body
    paused = False
    # what `Session` knows of its pace: times, bytes, and the window in which too few bytes are a stall
    connected = last = 0.0
    seen = 0
    window: tuple[float, int] | None = None
    _head: Head | None = None

    def __init__(self, url: str, place: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        # Users and APIs write blanks and umlauts; they are sent as curl and browsers send them.
        self.url = url if url.isascii() and " " not in url else quote(url, safe=punctuation)
        self.place = place
        self.headers = headers
        self.lines: list[bytes] = []
        self.chunks: list[bytes] = []

    def receive(self, data: bytes) -> int | None:
        """Take a part of a streamed body, unless too much waits: libcurl keeps it then, and reads no more."""
        if self.waiting >= _MOST_WAITING:
            self.paused = True
            return int(pycurl.WRITEFUNC_PAUSE)
        self.waiting += len(data)
        self.chunks.append(data)
        return None

    def take(self) -> list[bytes]:
        """What has come of the body since the last time."""
        chunks = self.chunks[:]
        self.chunks.clear()
        self.waiting = 0
        if self.paused and self.curl is not None:
            self.paused = False
            self.curl.pause(pycurl.PAUSE_CONT)
        return chunks

    @property
    def head(self) -> Head | None:
        """The head of the response, once it has come as a whole."""
        if self._head is None and self.lines and (self.chunks or self.lines[-1] in (b"\r\n", b"\n")):
            head = parse_head(self.lines)
            if head.status >= 200:
                self._head = head
        return self._head

    def measure(self) -> float:
        """Seconds from the request to the first byte of its answer, while it runs."""
        if self.curl is None:
            return 0.0
        return float(self.curl.getinfo(pycurl.STARTTRANSFER_TIME) - self.curl.getinfo(pycurl.PRETRANSFER_TIME))

    def rewind(self, offset: int) -> int:
        """Send the body again from there, as libcurl asks for where a kept connection turns out to be closed."""
        if self.body is not None:
            self.body.seek(offset)
        return 0  # SEEKFUNC_OK

    def follows(self) -> bool:
        """Whether the response is a redirect that leads on."""
        head = self.head
        return head is not None and self.follow and head.status in _REDIRECTS and "location" in head.headers


class Session:
    """Requests of one thread that run side by side. Take one with `session_pool.borrowed`."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.idle_since = 0.0
        self.active: set[Transfer] = set()
        self._multi = pycurl.CurlMulti()
        self._handles: list[Any] = []
        self._selector = selectors.DefaultSelector()
        self._sockets: set[int] = set()
        self._due: float | None = None
        self._check_at = 0.0
        self._ended: list[Transfer] = []
        self._network: dict[Transfer, Network] = {}
        self._woken = WakeUp()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self.most_idle = max(4, min(128, free_descriptors() // 3))
        self._multi.setopt(pycurl.M_MAXCONNECTS, self.most_idle)

    # -- what libcurl wants to wait for --------------------------------------------------------------------------------

    def _watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        if what == pycurl.POLL_REMOVE:
            self._sockets.discard(fd)
            with suppress(KeyError, ValueError, OSError):
                self._selector.unregister(fd)
        elif fd in self._sockets:
            self._selector.modify(fd, what)  # POLL_IN and POLL_OUT have the values of EVENT_READ and EVENT_WRITE
        else:
            self._sockets.add(fd)
            self._selector.register(fd, what)

    def _set_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def wake(self) -> None:
        """End a wait of `step`; for other threads."""
        self._woken.set()

    # -- requests ------------------------------------------------------------------------------------------------------

    def start(self, transfer: Transfer, network: Network) -> None:
        """Begin a request; it ends in what `step` returns."""
        try:
            self._begin(transfer, network)
        except TransferError as error:
            transfer.error = error
            self._ended.append(transfer)

    def _begin(self, transfer: Transfer, network: Network) -> None:
        origin = network.origin(transfer.url, transfer.place, transfer.hops > 0)
        curl = self._handles.pop() if self._handles else pycurl.Curl()
        plain = not (transfer.headers or transfer.private or transfer.body or transfer.method != "GET")
        setup = (origin, transfer.large, transfer.rate, transfer.most, transfer.fresh)
        if not plain or getattr(curl, "setup", None) != setup:
            self._configure(curl, origin, transfer)
            curl.setup = setup if plain else None
        if not plain:
            self._set_request(curl, origin, transfer)
        curl.setopt(pycurl.URL, origin.address(transfer.url))
        curl.setopt(pycurl.WRITEFUNCTION, transfer.receive if transfer.streamed else transfer.chunks.append)
        curl.setopt(pycurl.HEADERFUNCTION, transfer.lines.append)
        curl.transfer = transfer
        self._network[transfer] = network
        self.active.add(transfer)
        self._multi.add_handle(curl)
        transfer.curl = curl

    @staticmethod
    def _configure(curl: Any, origin: Origin, transfer: Transfer) -> None:
        curl.reset()
        for option, value in origin.options:
            # pycurl takes ASCII or bytes, and a path need not be ASCII
            curl.setopt(option, os.fsencode(value) if isinstance(value, str) else value)
        # One connection with many streams suits small files; a large one is faster over a connection of its own.
        http1 = origin.http1 or transfer.large
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1 if http1 else pycurl.CURL_HTTP_VERSION_2TLS)
        curl.setopt(pycurl.BUFFERSIZE, _BUFFER_LARGE if transfer.large and not transfer.rate else _BUFFER_SMALL)
        curl.setopt(pycurl.HTTPHEADER, origin.headers)
        if transfer.rate:
            curl.setopt(pycurl.MAX_RECV_SPEED_LARGE, transfer.rate)
        if transfer.most is not None:
            curl.setopt(pycurl.MAXFILESIZE_LARGE, max(1, transfer.most))
        if transfer.fresh:
            curl.setopt(pycurl.FRESH_CONNECT, 1)
            curl.setopt(pycurl.FORBID_REUSE, 1)  # or hundreds would be kept

    @staticmethod
    def _set_request(curl: Any, origin: Origin, transfer: Transfer) -> None:
        own = check_headers((*transfer.private, *transfer.headers), transfer.place)
        names = {line.partition(":")[0].lower() for line in own}
        kept = [line for line in origin.headers if line.partition(":")[0].lower() not in names]
        curl.setopt(pycurl.HTTPHEADER, [*kept, *own, "Expect:"])
        if transfer.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif transfer.method != "GET" or transfer.body is not None:
            curl.setopt(pycurl.CUSTOMREQUEST, transfer.method)
        if transfer.body is not None:
            transfer.body.seek(0)
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.INFILESIZE_LARGE, len(transfer.body))
            curl.setopt(pycurl.READFUNCTION, transfer.body.read)
            curl.setopt(pycurl.SEEKFUNCTION, lambda offset, _: transfer.rewind(offset))

    def cancel(self, transfer: Transfer) -> None:
        """End a request now; its connection is closed unless the whole response has come."""
        self._take_out(transfer)

    def _take_out(self, transfer: Transfer) -> None:
        curl, transfer.curl = transfer.curl, None
        if curl is None:
            if transfer in self._ended:
                self._ended.remove(transfer)
            return
        self.active.discard(transfer)
        self._network.pop(transfer, None)
        # A stream of HTTP/2 has no bytes of another one. A kept connection without any answer may have gone silent.
        http2 = bool(transfer.lines) and transfer.lines[0].startswith(b"HTTP/2")
        sent = bool(transfer.lines or curl.getinfo(pycurl.PRETRANSFER_TIME))
        transfer.reused = transfer.reused or (sent and not http2 and not curl.getinfo(pycurl.NUM_CONNECTS))
        self._multi.remove_handle(curl)
        curl.transfer = None
        self._handles.append(curl)

    def step(self, wait: float) -> list[Transfer]:
        """Let requests go on, for at most so many seconds; those that have ended, with `error` where they failed."""
        if not self._ended:
            self._turn(wait)
        now = time.monotonic()
        if now >= self._check_at:
            self._check(now)
        ended, self._ended = self._ended, []
        return ended

    def _turn(self, wait: float) -> None:
        if self._due is not None:
            wait = min(wait, max(0.0, self._due - time.monotonic()))
        if self.active:
            wait = min(wait, max(0.0, self._check_at - time.monotonic()))
        for key, events in self._selector.select(wait):
            if key.fileobj is self._woken:
                self._woken.clear()
            else:
                self._multi.socket_action(key.fd, events)
        if self._due is not None and self._due <= time.monotonic():
            self._due = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        more = True
        while more:
            more, good, bad = self._multi.info_read()
            for curl in good:
                self._finish(curl.transfer, 0, "")
            for curl, code, text in bad:
                self._finish(curl.transfer, code, text)

    def _finish(self, transfer: Transfer, code: int, text: str) -> None:
        network = self._network[transfer]
        head = transfer.head
        if not code and not transfer.large:
            transfer.http2 = bool(transfer.lines) and transfer.lines[0].startswith(b"HTTP/2")
            transfer.round_trip = transfer.measure()
        if code and (head is None or head.status in (200, 206) or transfer.whole):
            # Any other status says more than the end of its body.
            if code == pycurl.E_FILESIZE_EXCEEDED:
                text = f"the answer is longer than {transfer.most} bytes"
            proxy = network.origin(transfer.url, transfer.place, transfer.hops > 0).proxy
            transfer.error = error_of(transfer.curl, code, text, transfer.place, proxy)
        elif transfer.error is None and transfer.follows():
            self._take_out(transfer)
            try:
                self._redirect(transfer, network)
            except TransferError as error:
                transfer.error = error
                self._ended.append(transfer)
            return
        self._take_out(transfer)
        self._ended.append(transfer)

    def _redirect(self, transfer: Transfer, network: Network) -> None:
        head = transfer.head or Head(0, "", {})
        transfer.hops += 1
        if transfer.hops > _MOST_REDIRECTS:
            text = f"more than {_MOST_REDIRECTS} redirects"
            raise TransferError(transfer.place, text, kind=Reason.REDIRECT, final=True)
        location = head.headers["location"].encode("latin-1")
        target = redirect_target(transfer.url, location, transfer.place)
        if urlsplit(target)[:2] != urlsplit(transfer.url)[:2]:
            transfer.private = ()
        if head.status == 303 or (head.status in (301, 302) and transfer.method == "POST"):
            transfer.method, transfer.body = "GET", None
        transfer.url = target
        transfer.lines, transfer.chunks, transfer.waiting, transfer.paused = [], [], 0, False
        transfer._head, transfer.window, transfer.connected, transfer.seen = None, None, 0.0, 0
        self._begin(transfer, network)

    # -- limits --------------------------------------------------------------------------------------------------------

    def _check(self, now: float) -> None:
        """End what stalls, floods or has all its bytes.

        libcurl's own limit of speed counts neither an interim response nor a header or trailer that trickles.
        """
        late = max(0.0, now - self._check_at) if self._check_at else 0.0
        for transfer in list(self.active):
            network = self._network[transfer]
            if late > 1:  # a disk that took so long is no stall of the network
                transfer.last += late
                transfer.window = transfer.window and (transfer.window[0] + late, transfer.window[1])
            verdict = self._verdict(transfer, network, now)
            if verdict is None:
                continue
            if isinstance(verdict, TransferError):
                transfer.error = verdict
            self._finish(transfer, 0, "")
        shortest = min((network.stall_timeout for network in self._network.values()), default=1.0)
        self._check_at = now + max(_LEAST_CHECK, min(0.25, shortest / 8))

    @staticmethod
    def _verdict(transfer: Transfer, network: Network, now: float) -> TransferError | bool | None:
        """An error, True for a response of which no more is needed, None to go on."""
        curl, limit, place = transfer.curl, network.stall_timeout, transfer.place
        if not transfer.connected:
            if not transfer.lines and not curl.getinfo(pycurl.PRETRANSFER_TIME):
                return None  # libcurl limits this phase itself
            transfer.connected = transfer.last = now
        body = int(curl.getinfo(pycurl.SIZE_DOWNLOAD_T))
        moved = body + int(curl.getinfo(pycurl.SIZE_UPLOAD_T))
        if moved != transfer.seen:
            transfer.seen, transfer.last = moved, now
        if len(transfer.lines) > _MOST_HEADERS:
            return TransferError(place, f"more than {_MOST_HEADERS} headers", kind=Reason.PROTOCOL)
        head = transfer.head
        if head is None:
            text = f"connected, but no answer in {limit:g} s"
            return TransferError(place, text, kind=Reason.STALL) if now - transfer.last > limit else None
        if transfer.window is None:
            transfer.window = (now, body)
        if transfer.most is not None and body > transfer.most:
            text = f"the answer is longer than {transfer.most} bytes"
            return TransferError(place, text, kind=Reason.SIZE, final=True)
        enough = transfer.expected is not None and body >= transfer.expected
        if (head.status in (200, 206) and enough) or (head.status not in (200, 206) and not transfer.whole):
            # The end of a page that nobody reads, or of a body that is there as a whole, is not worth a long wait.
            return True if (body > _ERROR_PAGE and not enough) or now - transfer.last > min(_LAST_WORD, limit) else None
        since, before = transfer.window
        if now - since < limit:
            return None
        transfer.window = (now, body)
        return too_slow(place, body - before, limit)

    # -- blocking ------------------------------------------------------------------------------------------------------

    def perform(self, transfer: Transfer, network: Network) -> None:
        """Send one request and wait for its response; raises what ended it."""
        self.start(transfer, network)
        try:
            while transfer not in self.step(0.5):
                pass
        finally:
            self.cancel(transfer)
        if transfer.error is not None:
            raise transfer.error

    def close(self) -> None:
        """Close the connections."""
        for transfer in list(self.active):
            self.cancel(transfer)
        for curl in self._handles:
            curl.close()
        self._multi.close()
        self._selector.close()
        self._woken.close()


def too_slow(place: str, count: int, seconds: float) -> TransferError | None:
    """The error for so few bytes in so many seconds, if they are too few."""
    if count >= _SLOWEST * seconds:
        return None
    text = f"less than {_SLOWEST:.0f} bytes/s in {seconds:g} s" if count else f"nothing came for {seconds:g} s"
    return TransferError(place, text, kind=Reason.STALL)
