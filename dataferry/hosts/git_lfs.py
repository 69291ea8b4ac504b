"""A git-lfs server: files are found by their sha256, which is the name of an object there."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn
from urllib.parse import urljoin, urlsplit

from ..download.source import Source
from ..errors import BadName, HostRefused, TransferError
from ..registry.names import redact_url
from .base import Host

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.entry import Entry
    from .api_client import ApiClient


_EMPTY = hashlib.sha256().hexdigest()
_JSON = "application/vnd.git-lfs+json"
#: Objects in one question, as git-lfs itself asks.
_BATCH = 100
#: Bytes of an answer about so many objects; their URLs may hold long signatures.
_LONGEST_ANSWER = 4 << 20
#: What a server answers without a login; some hide what is private behind a 404.
_ANONYMOUS = frozenset({401, 403, 404})


class GitLFSHost(Host):
    """The objects of a repository's git-lfs server.

    It is declared as ``git-lfs:https://host/team/data.git``, or the server's own URL, which ends in ``/info/lfs``.
    """

    schemes = ("git-lfs",)

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        url = spec.partition(":")[2].rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise BadName(f"{self.redacted} is not git-lfs: with the http or https URL of a repository")
        if parts.username is not None:
            raise BadName(f"{self.redacted}: everybody reads this; user and password belong in config.toml or .netrc")
        if not url.endswith("/info/lfs"):
            url += "/info/lfs" if url.endswith(".git") else ".git/info/lfs"
        self._server = url + "/"

    @property
    def redacted(self) -> str:
        """The host as it may be printed."""
        scheme, _, url = self.spec.partition(":")
        return f"{scheme}:{redact_url(url)}"

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """None: the server has to be asked, see `look_up`."""
        return []

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Ask the server for the objects with the registered sha256; what it has for single files, an error too."""
        from .api_client import ApiClient

        entries = {name: entry for name, entry in wanted.items() if entry is not None}
        # a registry without sizes asks with 0, which most servers do not compare; an empty file is no object
        objects = sorted({(e.sha256, e.size or 0) for e in entries.values() if e.sha256 != _EMPTY})
        found: dict[str, Source] = {_EMPTY: self._stream(_EMPTY, lambda start: io.BytesIO())}
        logins: Iterable[str] = chain([""], _logins(self._server, settings))
        client = ApiClient(settings, self._server)
        for start in range(0, len(objects), _BATCH):
            answer, login = self._ask(client, objects[start : start + _BATCH], logins)
            found |= self._answered(answer)
            logins = [login]
        return {name: [found[entry.sha256]] for name, entry in entries.items() if entry.sha256 in found}

    def _ask(self, client: ApiClient, objects: Sequence[tuple[str, int]], logins: Iterable[str]) -> tuple[Any, str]:
        """The answer about some objects, and the login that it took."""
        asked = [{"oid": oid, "size": size} for oid, size in objects]
        body = {"operation": "download", "transfers": ["basic"], "hash_algo": "sha256", "objects": asked}
        timeout = client.settings.timeout  # it only asks
        refusals: list[HostRefused] = []
        for login in logins:
            headers = {"Accept": _JSON, "Content-Type": _JSON} | ({"Authorization": login} if login else {})
            try:
                response = client.call(
                    "POST",
                    "objects/batch",
                    json=body,
                    headers=headers,
                    again=True,
                    timeout=timeout,
                    max_bytes=_LONGEST_ANSWER,
                )
                return response.json(), login
            except HostRefused as error:
                if error.status not in _ANONYMOUS:
                    raise
                refusals.append(error)
        reason = f"{refusals[0].reason}; a private repository wants a token that may read it"
        if len(refusals) > 1:
            reason += f" (with your login: {refusals[-1].reason})"
        raise TransferError(self.redacted, reason, kind="status", final=True)

    def _answered(self, answer: Any) -> dict[str, Source]:
        """The objects of an answer; one of another form is an error of the whole look-up."""
        found = {}
        for item in answer["objects"]:
            action, error = (item.get("actions") or {}).get("download"), item.get("error") or {}
            if action:
                headers = {str(key): str(value) for key, value in (action.get("header") or {}).items()}
                found[item["oid"]] = Source(urljoin(self._server, action["href"]), self.redacted, headers)
            elif error and error.get("code") not in {404, 410}:
                reason = f"the server refuses this object: {error.get('message')} ({error.get('code')})"[:500]
                found[item["oid"]] = self._stream(item["oid"], partial(_refuse, self.redacted, reason))
        return found

    def _stream(self, oid: str, opener: Callable[[int], BinaryIO]) -> Source:
        return Source(f"{self._server}objects/{oid}", self.redacted, opener=opener)


def _refuse(place: str, reason: str, start: int) -> NoReturn:
    """What the server says of one object is the error of one file: the others are downloaded all the same."""
    raise TransferError(place, reason, kind="status", final=True)


def _logins(url: str, settings: Settings) -> Iterator[str]:
    """The credentials of a user for a server, in the forms that servers of git take."""
    from ..config.credentials import find_token, may_get_login
    from ..download.origin import authorization, basic

    parts = urlsplit(url)
    if not may_get_login(parts.scheme, parts.hostname or ""):
        return
    known = authorization(parts, settings)
    if known is not None and known.startswith("Basic "):
        yield known
        return
    # no variable counts: a package that somebody else wrote names the server
    token = find_token(parts.netloc, settings)
    if token is not None:
        yield basic("x-access-token", token.secret)
        yield f"Bearer {token.secret}"
