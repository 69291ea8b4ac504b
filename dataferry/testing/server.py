"""The range server: threads, files, rules for faults, and the log."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote

from .connection import Closing, Connection, Pace, reset_on_close
from .content import Files
from .faults import Fault, login_page
from .log import Log, Request
from .reply import Asked, Reply, answer, page
from .rules import Rule, Rules

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from .certificates import CertificateAuthority

__all__ = ["RangeServer"]


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
        Seconds before the first byte of each reply, and once for a new connection: a round trip.
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
        tls: Literal["good", "bad-name", "expired"] | ssl.SSLContext | None = None,
        basic: tuple[str, str] | None = None,
        bearer: str | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.pace = Pace(rate, delay)
        self.connections = 0
        self.ca: CertificateAuthority | None = None
        self._files = Files(files)
        self._logins = {f"Bearer {bearer}": 'Bearer realm="data"'} if bearer is not None else {}
        if basic is not None:
            self._logins["Basic " + b64encode(":".join(basic).encode()).decode()] = 'Basic realm="data"'
        self._context = self._make_context(tls)
        self._rules = Rules()
        self._log = Log()
        self._lock = threading.Lock()
        self._closing = Closing()
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._open: dict[Connection, threading.Thread] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL, with a slash at the end."""
        scheme = "https" if self._context else "http"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    @property
    def requests(self) -> list[Request]:
        """The log: a copy of what was asked so far, in order, after at most 2 s for replies that may be ending."""
        return self._log.snapshot(2)

    def url_of(self, name: str) -> str:
        """The quoted URL of a file.

        Parameters
        ----------
        name : str
            The file's name.

        Returns
        -------
        str
            Its address at this server.
        """
        return self.url + quote(name)

    def forget(self) -> None:
        """Empty the log, and count the requests of each path from zero again."""
        self._log.clear()
        self._rules.forget()

    def fault(self, pattern: str, *faults: Fault, first: int | None = None, skip: int = 0) -> Rule:
        """Let something go wrong for some paths.

        The newest rule that matches applies; one that has used up its requests makes way for an older one.

        Parameters
        ----------
        pattern : str
            A glob for names; its ``*`` also matches slashes.
        *faults : Fault
            What goes wrong; several work together, in this order.
        first : int, optional
            Only for the first so many requests that match.
        skip : int
            Answer so many requests well before.

        Returns
        -------
        Rule
            Has ``hits`` and ``off()``.
        """
        return self._rules.add(Rule(pattern, faults, skip, first))

    def heal(self) -> None:
        """Switch all faults off."""
        self._rules.clear()

    def start(self) -> None:
        """Listen; a server that was stopped comes back on the same port.

        Raises
        ------
        OSError
            If the port is taken.
        """
        if self._listener is not None:
            return
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family, backlog=512)
        self.port = self._listener.getsockname()[1]
        self._closing = Closing()
        self._accepting = threading.Thread(
            target=self._accept, args=(self._listener,), name=f"dataferry-testing-{self.port}", daemon=True
        )
        self._accepting.start()

    def stop(self, *, reset: bool = False) -> None:
        """End all connections and stop listening: further connections are refused.

        Parameters
        ----------
        reset : bool
            Reset the connections instead of closing them.
        """
        if self._listener is None or self._accepting is None:
            return
        self._closing.reset = reset
        self._closing.set()
        with contextlib.suppress(OSError):  # wakes accept() on every system
            socket.create_connection((self.host, self.port), timeout=1).close()
        self._accepting.join(5)
        self._listener.close()
        self._listener = None
        for how, patience in ((socket.SHUT_RD, 0.5), (socket.SHUT_RDWR, 5.0)) if reset else ((socket.SHUT_RDWR, 5.0),):
            with self._lock:
                remaining = dict(self._open)
            for connection in remaining:
                connection.wake(how)
            for thread in remaining.values():
                thread.join(patience)

    def _make_context(
        self, tls: Literal["good", "bad-name", "expired"] | ssl.SSLContext | None
    ) -> ssl.SSLContext | None:
        if not isinstance(tls, str):
            return tls
        from .certificates import CertificateAuthority

        self.ca = CertificateAuthority()
        names = ("elsewhere.invalid",) if tls == "bad-name" else (self.host, "localhost")
        return self.ca.server_context(*names, expired=tls == "expired")

    def _accept(self, listener: socket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            if self._closing.is_set():
                reset_on_close(sock)  # as the system does with connections that nobody has accepted
                sock.close()
                return
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.connections += 1
            number = self.connections
            connection = Connection(sock, number, self.pace, self._respond, self._log, self._closing)
            name = f"dataferry-testing-{self.port}-{number}"
            thread = threading.Thread(target=self._serve, args=(connection,), name=name, daemon=True)
            with self._lock:
                self._open[connection] = thread
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                del self._open[connection]

    def _respond(self, asked: Asked, connection: int) -> tuple[Reply, Request]:
        record = Request(asked.method, asked.target, asked.name, asked.headers, connection)
        self._log.add(record)
        if self._logins and asked.headers.get("authorization") not in self._logins:
            return page(401, {"WWW-Authenticate": ", ".join(self._logins.values())}), record
        faults, times = self._rules.take(asked.name)
        content = self._files.find(asked.name)
        if content is None and asked.target.startswith("/login?next="):
            return login_page(), record
        asked = replace(asked, times=times)
        record.faults = tuple(type(fault).__name__ for fault in faults)
        for fault in faults:
            asked = fault.ask(asked)
            content = fault.content(content, asked)
        reply = answer(content, asked)
        for fault in faults:
            reply = fault.reply(reply, asked)
        return reply, record
