"""A web server on loopback over `http.server`, with ranges, and with faults of HTTP and TCP where a test wants them."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from http.client import responses
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

from .content import Files, Request, Response, http_date, page, respond
from .faults import Fault, login_page

if TYPE_CHECKING:
    import ssl

    from .certificates import CertificateAuthority

__all__ = ["RangeServer", "Rule"]

_BLOCK = 1 << 20  # bytes that go out in one write
Tls = Literal["good", "bad-name", "expired"]


@dataclass
class Rule:
    """Faults for the names that match a glob; `hits` counts the requests that matched. Made by `RangeServer.fault`."""

    pattern: str
    faults: tuple[Fault, ...]
    skip: int = 0
    first: int | None = None
    hits: int = field(default=0, init=False)
    _on: bool = field(default=True, init=False, repr=False)

    def off(self) -> None:
        """Switch the faults off."""
        self._on = False

    def _applies(self, name: str) -> bool:
        if not self._on or not fnmatchcase(name, self.pattern):
            return False
        self.hits += 1
        return self.hits > self.skip and (self.first is None or self.hits <= self.skip + self.first)


class RangeServer:
    """A web server on loopback that serves files with ranges, and with faults where a test wants them.

    A context manager. The files may change while it runs; each request sees them as they are.

    Parameters
    ----------
    files : path or mapping of str to (bytes or path)
        A folder, or names with their bytes or with the path of a file.
    host : str
        The address to listen on.
    port : int
        The port; 0 for a free one.
    rate : float, optional
        Bytes a second for each connection.
    delay : float
        Seconds before the first byte of each response, and once for a new connection: a round trip.
    tls : {"good", "bad-name", "expired"}, ssl.SSLContext or None
        TLS with a certificate of an authority made for this server (`ca`), or with a context of your own.
        ``"bad-name"`` has a certificate for another name, ``"expired"`` one of yesterday.
    basic : (str, str), optional
        User and password that requests must bring.
    bearer : str, optional
        Token that requests must bring; with `basic` either does.

    Attributes
    ----------
    ca : CertificateAuthority or None
        The authority whose ``pem`` file clients of a TLS server must trust.
    connections : int
        Connections accepted so far.

    Examples
    --------
    >>> from urllib.request import urlopen
    >>> from dataferry.testing import RangeServer, Status
    >>> with RangeServer({"maps/a.fits": b"SIMPLE"}) as server:
    ...     rule = server.fault("maps/*", Status(503, retry_after=1), first=1)
    ...     try:
    ...         urlopen(server.url_of("maps/a.fits"))
    ...     except OSError as error:
    ...         print(error)
    ...     urlopen(server.url_of("maps/a.fits")).read()
    ...     [(request.status, request.sent) for request in server.requests][1:]
    HTTP Error 503: Service Unavailable
    b'SIMPLE'
    [(200, 6)]
    """

    def __init__(
        self,
        files: str | os.PathLike[str] | Mapping[str, bytes | os.PathLike[str]],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rate: float | None = None,
        delay: float = 0.0,
        tls: Tls | ssl.SSLContext | None = None,
        basic: tuple[str, str] | None = None,
        bearer: str | None = None,
    ) -> None:
        self.host, self.port, self.rate, self.delay = host, port, rate, delay
        self.connections = 0
        self.ca: CertificateAuthority | None = None
        self._files = Files(files)
        self._logins = {f"Bearer {bearer}": 'Bearer realm="data"'} if bearer is not None else {}
        if basic is not None:
            self._logins["Basic " + b64encode(":".join(basic).encode()).decode()] = 'Basic realm="data"'
        self._context = self._tls_context(tls) if isinstance(tls, str) else tls
        self._changed = threading.Condition()  # guards all that follows
        self._rules: list[Rule] = []
        self._times: Counter[str] = Counter()
        self._log: list[Request] = []
        self._open: dict[socket.socket, threading.Thread] = {}
        self._listener: socket.socket | None = None
        self._acceptor = threading.Thread()
        self._closing, self._resetting = threading.Event(), False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL, with a slash at the end."""
        scheme = "https" if self._context else "http"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    def url_of(self, name: str) -> str:
        """The quoted URL of a file."""
        return self.url + quote(name)

    @property
    def requests(self) -> list[Request]:
        """The log: copies of the requests so far, in order.

        A client may have read the last byte before the server has noted that it is out. So this waits up to 2 s for
        responses that may be about to end, but not for those that are delayed on purpose.
        """
        with self._changed:
            self._changed.wait_for(lambda: all(request.done for request in self._log), 2)
            return [replace(request) for request in self._log]

    def forget(self) -> None:
        """Empty the log, and count the requests of each name from zero again."""
        with self._changed:
            self._log.clear()
            self._times.clear()

    def fault(self, pattern: str, *faults: Fault, first: int | None = None, skip: int = 0) -> Rule:
        """Let something go wrong for some names.

        The newest rule that matches applies; one that has used up its requests makes way for an older one.

        Parameters
        ----------
        pattern : str
            A glob for names; its ``*`` also matches slashes.
        *faults : Fault
            What goes wrong; several work together, in this order.
        first, skip : int, optional
            Only for so many requests, after so many good ones.
        """
        rule = Rule(pattern, faults, skip, first)
        with self._changed:
            self._rules.insert(0, rule)
        return rule

    def heal(self) -> None:
        """Switch all faults off."""
        with self._changed:
            self._rules.clear()

    def start(self) -> None:
        """Listen; a server that was stopped comes back on the same port. Raises OSError if the port is taken."""
        if self._listener is not None:
            return
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family, backlog=512)
        self.port = self._listener.getsockname()[1]
        self._closing, self._resetting = threading.Event(), False
        self._acceptor = self._thread("", self._accept, self._listener)
        self._acceptor.start()

    def stop(self, *, reset: bool = False) -> None:
        """End all connections, with `reset` by a TCP reset, and stop listening: further ones are refused."""
        if self._listener is None:
            return
        self._resetting = reset
        self._closing.set()
        with contextlib.suppress(OSError):  # wakes accept() on every system
            socket.create_connection((self.host, self.port), timeout=1).close()
        self._acceptor.join(5)
        self._listener.close()
        self._listener = None
        if reset:  # shutting the reading side shows nothing on the wire: a thread can still reset its connection
            self._end_connections(socket.SHUT_RD, 0.5)
        self._end_connections(socket.SHUT_RDWR, 5)

    def _end_connections(self, how: int, patience: float) -> None:
        with self._changed:
            remaining = dict(self._open)
        for sock in remaining:
            with contextlib.suppress(OSError):
                sock.shutdown(how)
        for thread in remaining.values():
            thread.join(patience)

    def _thread(self, suffix: str, target: Callable[..., None], *args: Any) -> threading.Thread:
        return threading.Thread(target=target, args=args, name=f"dataferry-testing-{self.port}{suffix}", daemon=True)

    def _tls_context(self, tls: Tls) -> ssl.SSLContext:
        from .certificates import CertificateAuthority

        self.ca = CertificateAuthority()
        names = ("elsewhere.invalid",) if tls == "bad-name" else (self.host, "localhost")
        return self.ca.server_context(*names, expired=tls == "expired")

    def _accept(self, listener: socket.socket) -> None:
        while True:
            sock, address = listener.accept()
            if self._closing.is_set():
                _reset_on_close(sock)  # as the system does with connections that nobody has accepted
                sock.close()
                return
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.connections += 1
            number = self.connections
            thread = self._thread(f"-{number}", self._serve, sock, address, number)
            with self._changed:
                self._open[sock] = thread
            thread.start()

    def _serve(self, sock: socket.socket, address: Any, number: int) -> None:
        # OSError: the client went away, or the server stops; ValueError: ssl's word for a closed socket
        with contextlib.suppress(OSError, ValueError):
            _Connection(sock, address, self, number)
        if self._resetting:
            _reset_on_close(sock)
        sock.close()
        with self._changed:
            del self._open[sock]

    def _respond(self, request: Request) -> Response:
        """The response to a request, spoilt where a rule applies; the log has the request as it came in."""
        with self._changed:
            self._log.append(request)
            if self._logins and request.headers.get("authorization") not in self._logins:
                return page(401, {"WWW-Authenticate": ", ".join(self._logins.values())})
            request.times = self._times[request.name]
            self._times[request.name] += 1
            faults = next((rule.faults for rule in self._rules if rule._applies(request.name)), ())
            request.faults = tuple(type(fault).__name__ for fault in faults)
        content = self._files.find(request.name)
        if content is None and request.path.startswith("/login?next="):
            return login_page()
        seen = request
        for fault in faults:
            seen = fault.request(seen)
            content = fault.content(content, seen) if content is not None else None
        response = respond(content, seen)
        for fault in faults:
            response = fault.response(response, seen)
        return response

    def _set_done(self, request: Request, done: bool) -> None:
        with self._changed:
            request.done = done
            self._changed.notify_all()

    @contextlib.contextmanager
    def _paused(self, request: Request) -> Iterator[None]:
        """While a response waits on purpose its record is complete: nobody waits for its end."""
        self._set_done(request, True)
        try:
            yield
        finally:
            self._set_done(request, False)


class _Connection(BaseHTTPRequestHandler):
    """One accepted connection, served in the thread that makes this object."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, sock: socket.socket, address: Any, owner: RangeServer, number: int) -> None:
        self.owner, self.number, self.closing = owner, number, owner._closing
        self.sock, self._due = sock, 0.0
        self.tls: Any = sock if owner._context else None
        super().__init__(sock, address, owner)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""

    def handle(self) -> None:
        """Serve requests until the client or the server ends the connection."""
        self.closing.wait(self.owner.delay)
        if self.tls:
            self.tls.do_handshake()
        self.close_connection = False
        while not self.closing.is_set() and not self.close_connection:
            self.handle_one_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is not HTTP."""
        self.close_connection = True
        self.sock.sendall(self._head(page(code)))

    def do_GET(self) -> None:
        """Any request and its response."""
        name = unquote(urlsplit(self.path).path).removeprefix("/")
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Request(self.command, self.path, name, headers, self.number)
        response = self.owner._respond(request)
        if response.ending != "keep" or headers.get("content-length", "0") != "0":
            self.close_connection = True
        try:
            self._send(response, request)
        finally:
            self.owner._set_done(request, True)
        if response.ending == "reset":
            self._reset()
        elif self.close_connection:
            self._close()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _head(self, response: Response) -> bytes:
        if response.head is not None:
            return response.head
        headers = {"Server": "dataferry-testing", "Date": http_date(time.time()), **response.headers}
        if response.chunked:
            headers["Transfer-Encoding"] = "chunked"
        if self.close_connection or self.request_version == "HTTP/1.0":
            headers["Connection"] = "close" if self.close_connection else "keep-alive"
        lines = [f"HTTP/1.1 {response.status} {responses.get(response.status, '')}"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _send(self, response: Response, request: Request) -> None:
        with self.owner._paused(request):
            self.closing.wait(self.owner.delay)
        if not response.silent:
            request.status = response.status if response.head is None else None
            self._send_all(self._head(response), response, request)
        if response.ending == "stall":
            with self.owner._paused(request):
                while self.sock.recv(_BLOCK):  # ends when the client leaves or the server stops
                    pass

    def _send_all(self, head: bytes, response: Response, request: Request) -> None:
        rate = min(filter(None, (response.rate, self.owner.rate)), default=None)
        if rate or request.method == "HEAD":
            self.sock.sendall(head)  # which is not delayed
            head = b""
        if request.method == "HEAD":
            return
        for piece in _steps(response.pieces, response.cut, max(1, int(rate / 20)) if rate else _BLOCK):
            if rate:
                self._wait_turn(len(piece) / rate, request)
            if self.closing.is_set():
                raise ConnectionError("the server stops")
            self.sock.sendall(head + (b"%x\r\n%b\r\n" % (len(piece), piece) if response.chunked else piece))
            head = b""
            request.sent += len(piece)
        tail = b"0\r\n\r\n" if response.chunked and response.cut is None else b""
        self.sock.sendall(head + tail)

    def _wait_turn(self, seconds: float, request: Request) -> None:
        """Keep the connection to its rate."""
        now = time.monotonic()
        late, self._due = self._due - now, max(self._due, now) + seconds
        if late > 0:
            with self.owner._paused(request):
                self.closing.wait(late)

    def _reset(self) -> None:
        """End with a TCP reset, after the client's machine has what was sent: a reset discards what is under way."""
        for _ in range(500):
            if not _unsent(self.sock) or self.closing.wait(0.01):
                break
        _reset_on_close(self.sock)

    def _close(self) -> None:
        """End cleanly; over TLS with the notice that distinguishes an end from a cut."""
        if self.tls:
            self.tls.settimeout(0)
            with contextlib.suppress(OSError, ValueError):
                self.tls.unwrap()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)


def _steps(pieces: Iterable[bytes], cut: int | None, step: int) -> Iterator[bytes]:
    """The first `cut` bytes, or all, in pieces of at most so many."""
    left = sys.maxsize if cut is None else cut
    for piece in pieces:
        sent = piece[:left]
        for start in range(0, len(sent), step):
            yield sent[start : start + step]
        left -= len(sent)
        if not left:
            return


def _reset_on_close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _unsent(sock: socket.socket) -> int:
    """Bytes that the other side has not taken yet; 0 where the system has no way to say."""
    if sys.platform != "linux":
        time.sleep(0.05)
        return 0
    import fcntl
    import termios

    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
