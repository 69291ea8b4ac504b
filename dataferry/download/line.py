"""One connection that is kept between requests: straight to a host, or through a proxy."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

import urllib3.util

from .access import basic, host_option
from .answer import KeptReader
from .dial import PlainConnection, TLSConnection
from .tls import tls_context

if TYPE_CHECKING:
    from .client import Client

__all__ = ["PORTS", "Line"]

PORTS = {"http": 80, "https": 443}


class Line:
    """One connection that is kept between requests.

    Parameters
    ----------
    client : Client
        The session.
    url : urllib.parse.SplitResult
        Where to.
    proxy : str or None
        The proxy's URL, perhaps with credentials.
    """

    def __init__(self, client: Client, url: SplitResult, proxy: str | None) -> None:
        self.client = client
        self.key = (url.scheme, url.hostname, url.port, proxy)
        self.used = 0
        self.owed = 0  # answers still to come after the one that is read now
        self.prefix = b""
        started = time.monotonic()
        secure, host, port = (url.scheme == "https", url.hostname or "", url.port or PORTS[url.scheme])
        via = urlsplit(proxy) if proxy else None
        login = {}
        if via is not None and via.username is not None:
            login = {"Proxy-Authorization": basic(unquote(via.username), unquote(via.password or ""))}
        self.login = login if not secure else {}
        at, door = (via.hostname or "", via.port or PORTS[via.scheme]) if via is not None else (host, port)
        connection: PlainConnection | TLSConnection
        if secure or (via is not None and via.scheme == "https"):
            bundle, cert = (host_option(client.settings, url, name) for name in ("ca_bundle", "client_cert"))
            context = tls_context(bundle, cert)
            parsed = urllib3.util.parse_url(proxy) if proxy else None
            config = urllib3.connection.ProxyConfig(context, not secure, None, None) if proxy else None
            connection = TLSConnection(
                at, door, timeout=client.connect_timeout, ssl_context=context, proxy=parsed, proxy_config=config
            )
        else:
            connection = PlainConnection(at, door, timeout=client.connect_timeout)
        connection.live = client.live
        self.connection = connection
        try:
            if secure and via is not None:
                connection.set_tunnel(host, port, headers=login, scheme=via.scheme)
            connection.connect()
            sock = connection.sock
            if sock is None:
                raise ConnectionAbortedError("closed while it was opened")
            client.live.add(sock)
            self.sock: socket.socket = sock
            sock.settimeout(client.stall_timeout)
        except BaseException:
            self.close()
            raise
        finally:
            handle = getattr(connection, "handle", None)
            if handle is not None:
                client.live.forget(handle)
                handle.close()
        self.reader = KeptReader(self.sock)
        self.connect_seconds = time.monotonic() - started

    def close(self) -> None:
        """Close the connection."""
        sock = self.connection.sock
        if sock is not None:
            self.client.live.forget(sock)
        with suppress(OSError):
            self.connection.close()
