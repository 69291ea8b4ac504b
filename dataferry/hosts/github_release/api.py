"""GitHub's API: tokens, rate limits, lists in pages."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...errors import HostRefused, TransferError
from ..api_client import LONGEST_WAIT, ApiClient, FileBody, Response, error_message
from ..github import api_url

if TYPE_CHECKING:
    from ...config.credentials import Token
    from ...config.settings import Settings
    from . import GitHubReleaseHost

__all__ = ["Api", "may_be_told", "server_time"]

_VERSION = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')
#: What one may create in a minute is 80; a few are left for others with the same token.
_CREATED_A_MINUTE = 70
#: Longer than this all waits for one answer never are; then the error says when to come again.
_WAITS = 2 * LONGEST_WAIT


def may_be_told(upload_url: str, server: str) -> bool:
    """Whether a URL for uploads belongs to the server, so that it may see the token."""
    told, known = urlsplit(upload_url), urlsplit(server)
    return told.scheme == known.scheme and told.netloc in {known.netloc, f"uploads.{known.netloc}"}


class Api:
    """The API of one server, with or without a token. Threads may share it.

    Parameters
    ----------
    host : GitHubReleaseHost
        The host.
    settings : Settings
        The user's settings.
    token : Token or None
        What to show.
    """

    def __init__(self, host: GitHubReleaseHost, settings: Settings, token: Token | None) -> None:
        self.authorization = {"Authorization": f"Bearer {token.secret}"} if token else {}
        self.repository = f"repos/{host.repository}"
        self._service = ApiClient(settings, api_url(host.server), headers=_VERSION | self.authorization)
        self._server = host.server
        self._created: deque[float] = deque(maxlen=_CREATED_A_MINUTE)
        self._lock = threading.Lock()

    def call(
        self, method: str, path: str, *, body: FileBody | None = None, accept: Collection[int] = (), **more: Any
    ) -> Response:
        """Ask, and wait where GitHub says that it is too much at once.

        Parameters
        ----------
        method, path : str
            As for `Service.call`; a path is below the API's URL.
        body : FileBody, optional
            What to upload; the URL then has to be one of this server.
        accept : collection of int
            Statuses that are an answer and no error.
        **more : object
            As for `Service.call`.

        Returns
        -------
        Reply
            The answer.

        Raises
        ------
        HostRefused
            If GitHub answered with an error.
        TransferError
            If there is no answer, or only after a time that is too long to wait.
        """
        waited = 0.0
        if body is not None and may_be_told(path, self._server):
            more["headers"] = {**_VERSION, **self.authorization, **more.get("headers", {})}
        while True:
            if method in {"POST", "PATCH", "DELETE"}:
                self._pace()
            reply = self._service.call(method, path, body=body, accept={403, 429, *accept}, **more)
            seconds = _wait(reply)
            if seconds is None:
                if reply.status in {403, 429} and reply.status not in accept:
                    raise HostRefused(reply.place, reply.status, error_message(reply))
                return reply
            if waited + seconds > _WAITS:
                raise _too_long(reply, seconds)
            waited += seconds
            time.sleep(seconds)
            if body is not None:
                body.seek(0)

    def pages(self, path: str) -> Iterator[Any]:
        """The items of a list, asked for in pages of 100.

        Parameters
        ----------
        path : str
            Below the API's URL.

        Yields
        ------
        object
            Each item.
        """
        reply = self.call("GET", path, query={"per_page": 100})
        while True:
            yield from reply.json()
            found = _NEXT.search(reply.headers.get("Link", ""))
            if not found:
                return
            reply = self.call("GET", found[1])

    def _pace(self) -> None:
        with self._lock:
            now = time.monotonic()
            full = len(self._created) == _CREATED_A_MINUTE
            due = max(now, self._created[0] + 60) if full else now
            self._created.append(due)
        time.sleep(due - now)


def _wait(reply: Response) -> float | None:
    """The seconds after which to ask again; None where that is not what the answer is about."""
    if reply.status not in {403, 429}:
        return None
    head = reply.headers
    with_number = (head.get("Retry-After", ""), head.get("X-RateLimit-Reset", ""))
    after, reset = (float(text) if text.isdigit() else None for text in with_number)
    if after is not None:
        return after
    if head.get("X-RateLimit-Remaining") == "0" and reset is not None:
        return max(0.0, reset - server_time(reply)) + 1
    words = error_message(reply).lower()
    # without a time GitHub asks for at least a minute
    return 60.0 if reply.status == 429 or "rate limit" in words or "abuse detection" in words else None


def server_time(reply: Response) -> float:
    """The time by the clock of the server; the one here may be off."""
    try:
        return parsedate_to_datetime(reply.headers.get("Date", "")).timestamp()
    except ValueError:
        return time.time()


def _too_long(reply: Response, seconds: float) -> TransferError:
    when = time.strftime("%H:%M UTC", time.gmtime(server_time(reply) + seconds))
    minutes = max(1, round(seconds / 60))
    reason = f"the rate limit of GitHub is used up until {when} (in {minutes} min): {error_message(reply)}"
    return TransferError(reply.place, reason, kind="rate", retry_after=seconds, final=True)
