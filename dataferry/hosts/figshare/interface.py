"""Figshare's interface, version 2: who asks, lists in pages, and no more questions than are welcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from ...config.credentials import Token, find_token
from ...download.backoff import tries
from ...errors import HostRefused, TransferError
from ..api_client import ApiClient, Response

if TYPE_CHECKING:
    from ...config.settings import Settings
    from .declared import Declared

__all__ = ["Interface", "token_for"]

VARIABLE = "FIGSHARE_TOKEN"
#: Figshare asks for at most one question a second, and counts nobody's first ones.
_WELCOME, _PER_SECOND = 60.0, 1.0
_PAGE = 1000
#: Seconds that an article may be locked.
_LOCKED = 60.0
_OWN = ("figshare.com", "figsh.com")


def token_for(declared: Declared, settings: Settings, *, publishing: bool) -> Token | None:
    """Find the user's token for a server.

    Parameters
    ----------
    declared : Declared
        The server is the one that it names.
    settings : Settings
        The user's settings.
    publishing : bool
        Whether the user named the server. A package may name any, and must not get a token of Figshare by that.

    Returns
    -------
    Token or None
        None if there is none, or for a stranger.
    """
    server = urlsplit(declared.api)
    own = server.scheme == "https" and (server.hostname or "").endswith(tuple(f".{name}" for name in _OWN))
    return find_token(server.netloc, settings, variables=(VARIABLE,) if publishing or own else ())


class Interface:
    """Asks one server. Threads may share it.

    Parameters
    ----------
    settings : Settings
        The user's settings.
    declared : Declared
        The server.
    token : Token, optional
        Whose questions these are.
    """

    def __init__(self, settings: Settings, declared: Declared, token: Token | None = None) -> None:
        self.settings = settings
        self.base = declared.api
        self.token = token
        self._bearer = False
        self._service = ApiClient(settings, self.base)
        self._lock = threading.Lock()
        self._left, self._asked = _WELCOME, time.monotonic()

    @property
    def login(self) -> dict[str, str]:
        """The header that says who asks; empty for a stranger."""
        if self.token is None:
            return {}
        word, _, rest = self.token.secret.partition(" ")
        secret = rest.strip() if rest and word.lower() in {"token", "bearer"} else self.token.secret
        bearer = self._bearer if not rest else (word.lower() == "bearer") != self._bearer
        return {"Authorization": f"{'Bearer' if bearer else 'token'} {secret}"}

    def other_form(self) -> None:
        """Send the token in its other form: ``Bearer`` instead of ``token``, or the reverse."""
        self._bearer = not self._bearer

    def call(self, method: str, path: str, *, json: object = None, **how: Any) -> Response:
        """Ask; see `Service.call`.

        Parameters
        ----------
        method, path : str
            The question; the path is joined to the base.
        json : object, optional
            Sent as JSON.
        **how
            What else `Service.call` takes.

        Returns
        -------
        Reply
            The answer.

        Raises
        ------
        HostRefused
            If Figshare refused.
        TransferError
            If there is no answer.
        """
        for _ in tries(_LOCKED, 0.3):
            self._wait()
            try:
                return self._service.call(method, path, json=json, headers=self.login, **how)
            except HostRefused as error:
                # an article is locked for a while after it was published, and nothing was done
                if error.status not in {409, 423}:
                    raise
                refused = error
        raise refused

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Any:
        """Ask for an object.

        Parameters
        ----------
        path : str
            Joined to the base.
        query : mapping, optional
            Goes behind the ``?``.

        Returns
        -------
        object
            What the JSON holds.

        Raises
        ------
        TransferError
            If there is none.
        """
        return self.call("GET", path, query=query).json()

    def find(self, path: str, query: Mapping[str, str | int] | None = None) -> Any | None:
        """Ask for an object that may not be there.

        Parameters
        ----------
        path : str
            Joined to the base.
        query : mapping, optional
            Goes behind the ``?``.

        Returns
        -------
        object or None
            None if Figshare says that there is none, or not for whoever asks.

        Raises
        ------
        TransferError
            If there is no answer.
        """
        try:
            return self.get(path, query)
        except HostRefused as refused:
            if refused.status in {401, 403, 404}:
                return None
            raise

    def pages(self, path: str) -> list[dict[str, Any]]:
        """Ask for a whole list, however many pages it has.

        Parameters
        ----------
        path : str
            Joined to the base.

        Returns
        -------
        list of dict
            All items.

        Raises
        ------
        TransferError
            If it is no list, or does not come.
        """
        items: list[dict[str, Any]] = []
        while True:
            query: dict[str, str | int] = {"page": len(items) // _PAGE + 1, "page_size": _PAGE}
            page = self.get(path, query)
            if not isinstance(page, list):
                raise TransferError(self.base + path, "no list came", kind="json", final=True)
            items += page
            if len(page) < _PAGE:
                return items

    def _wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            self._left = min(_WELCOME, self._left + (now - self._asked) * _PER_SECOND) - 1.0
            self._asked = now
            wait = -self._left / _PER_SECOND
        if wait > 0:
            time.sleep(wait)

    def close(self) -> None:
        """Close the kept connections."""
        self._service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
