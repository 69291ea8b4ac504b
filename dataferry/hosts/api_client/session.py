"""The HTTP interface of a provider: questions with JSON, bodies from files, retries, and errors that name the place."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3

from ...download.access import host_option, proxy_for
from ...download.blame import blame
from ...download.tls import tls_context
from ...errors import HostRefused
from ...registry.names import redact_url
from .again import Retry
from .body import FileBody
from .reply import Response, error_message, seconds_to_wait

if TYPE_CHECKING:
    from ...config.settings import Settings

__all__ = ["ApiClient"]

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Seconds before the third try, where the server does not say; twice as many before each further one.
PAUSE = 0.4
#: What may be sent twice without doing it twice.
_HARMLESS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


class ApiClient:
    """The HTTP interface of one provider. Threads may share it.

    Proxies, CA bundles and client certificates are those of every transfer of dataferry.

    Parameters
    ----------
    settings : Settings
        The user's settings.
    base : str
        The URL to which paths are joined.
    headers : mapping of str to str
        Headers of every request to the host of `base`, ``Authorization`` for one. Other hosts do not see them.
    connections : int
        Connections that are kept to one host.
    """

    def __init__(
        self, settings: Settings, base: str, *, headers: Mapping[str, str] | None = None, connections: int = 8
    ) -> None:
        self.base = base
        self._settings = settings
        self._own = urlsplit(base)[:2]
        self._headers = dict(headers or {})
        self._agent = settings.user_agent
        self._connections = connections
        self._pools: dict[tuple[object, ...], urllib3.PoolManager] = {}
        self._chosen: dict[tuple[str, str], urllib3.PoolManager] = {}

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
        timeout: float = 60.0,
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
            Sent as it is.
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
            Seconds without any progress.

        Returns
        -------
        Reply
            The answer.

        Raises
        ------
        HostRefused
            If the host answered with another status.
        TransferError
            If there is no answer.
        """
        url = urljoin(self.base, path)
        parts = urlsplit(url)
        place = f"{method} {redact_url(url)}"
        sent = {"User-Agent": self._agent, "Accept": "application/json"}
        sent |= self._headers if parts[:2] == self._own else {}
        if json is not None:
            body = _dumps(json)
            sent["Content-Type"] = "application/json"
        if isinstance(body, FileBody):
            sent["Content-Length"] = str(len(body))
        sent |= headers or {}
        harmless = method in _HARMLESS if again is None else again
        retries = Retry(
            total=6,
            connect=3,
            read=4 if harmless else 0,
            other=0,
            redirect=5 if redirect else False,
            status=5,
            status_forcelist=_AGAIN if harmless else {429, 503},
            allowed_methods=None,
            backoff_factor=PAUSE,
            backoff_max=20,
            backoff_jitter=PAUSE,
            raise_on_status=False,
            raise_on_redirect=redirect,
            remove_headers_on_redirect=["Authorization", "Cookie", "Proxy-Authorization", *self._headers],
        )
        pool = self._pool(parts)
        try:
            answer = pool.request(
                method,
                _with_query(url, query) if query else url,
                body=body,  # type: ignore[arg-type]  # it reads, tells and seeks: that is all that is asked of it
                headers=sent,
                retries=retries,
                redirect=redirect,
                timeout=urllib3.Timeout(connect=10, read=timeout),
            )
        except Exception as exc:
            raise blame(_cause(exc), place) from exc
        reply = Response(answer.status, answer.headers, answer.data, place)
        if 200 <= reply.status < 300 or reply.status in accept or (not redirect and 300 <= reply.status < 400):
            return reply
        raise HostRefused(place, reply.status, error_message(reply), seconds_to_wait(reply))

    def connections_to(self, url: str) -> urllib3.HTTPConnectionPool | None:
        """The connections to one server, for thousands of small requests that need nothing else of this class.

        Parameters
        ----------
        url : str
            A URL at the server.

        Returns
        -------
        urllib3.HTTPConnectionPool or None
            None where a proxy stands between.
        """
        pool = self._pool(urlsplit(url))
        return None if isinstance(pool, urllib3.ProxyManager) else pool.connection_from_url(url)

    def _pool(self, parts: SplitResult) -> urllib3.PoolManager:
        place = parts.scheme, parts.netloc
        if place not in self._chosen:  # the environment is long, and is searched once for each server
            self._chosen[place] = self._choose(parts)
        return self._chosen[place]

    def _choose(self, parts: SplitResult) -> urllib3.PoolManager:
        proxy = proxy_for(parts)
        bundle, cert = (host_option(self._settings, parts, option) for option in ("ca_bundle", "client_cert"))
        key = (proxy, bundle, str(cert))
        if key not in self._pools:
            options: dict[str, Any] = {"num_pools": 8, "maxsize": self._connections}
            if parts.scheme == "https" or (proxy or "").startswith("https"):
                options["ssl_context"] = tls_context(bundle, cert)
            self._pools[key] = _through(proxy, options) if proxy else urllib3.PoolManager(**options)
        return self._pools[key]

    def close(self) -> None:
        """Close the kept connections."""
        for pool in self._pools.values():
            pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _through(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
    from urllib.parse import unquote

    parts = urlsplit(proxy)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=login)
    return urllib3.ProxyManager(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", **options)


def _dumps(told: object) -> bytes:
    return json.dumps(told).encode()


def _with_query(url: str, query: Mapping[str, str | int]) -> str:
    from urllib.parse import urlencode

    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _cause(exc: Exception) -> Exception:
    reason = getattr(exc, "reason", None)
    return reason if isinstance(reason, Exception) else exc
