"""A git-lfs server: files are found by their sha256, which is the name of an object there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ..download.source import Source
from ..errors import BadName, HostRefused, TransferError
from ..registry.names import redact_url
from .base import Host

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.registry import Entry
    from .api_client import ApiClient

__all__ = ["GitLFSHost"]

_JSON = "application/vnd.git-lfs+json"
#: Objects in one question, as git-lfs itself asks.
_BATCH = 100
#: What a server answers to a stranger; some hide what is private behind a 404.
_STRANGER = frozenset({401, 403, 404})


class GitLFSHost(Host):
    """The objects of a repository's git-lfs server.

    Parameters
    ----------
    spec : str
        ``git-lfs:https://host/team/data.git``, or the server's own URL, which ends in ``/info/lfs``.

    Raises
    ------
    BadName
        If it is no such URL.
    """

    schemes = ("git-lfs",)

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        url = spec.partition(":")[2].rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise BadName(f"{self.redacted} is not git-lfs: with the http or https URL of a repository")
        if parts.username is not None:
            raise BadName(
                f"{self.redacted}: everybody reads this line; user and password belong into config.toml or .netrc"
            )
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
        """Ask the server for the objects with the registered sha256.

        Parameters
        ----------
        wanted : mapping of str to Entry or None
            The files; what is not registered cannot be found.
        settings : Settings
            The user's settings; token, user and password for the server count.

        Returns
        -------
        mapping of str to sequence of Source
            The files that the server has.

        Raises
        ------
        TransferError
            If it could not be asked.
        """
        from .api_client import ApiClient

        asked = {n: (e.sha256, e.size) for n, e in wanted.items() if e is not None and e.size is not None}
        objects = sorted(set(asked.values()))
        answers: dict[str, Source] = {}
        with ApiClient(settings, self._server) as service:
            login: str | None = None
            for start in range(0, len(objects), _BATCH):
                told, login = self._ask(service, settings, objects[start : start + _BATCH], login)
                answers |= {oid: self._source(action) for oid, action in _downloads(told)}
        return {name: [answers[sha256]] for name, (sha256, _) in asked.items() if sha256 in answers}

    def _ask(
        self, service: ApiClient, settings: Settings, objects: Sequence[tuple[str, int]], login: str | None
    ) -> tuple[object, str | None]:
        body = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": oid, "size": size} for oid, size in objects],
        }
        refusal: HostRefused | None = None
        last = refusal
        for credentials in [login] if login is not None else ["", *_logins(self._server, settings)]:
            headers = {"Accept": _JSON, "Content-Type": _JSON}
            headers |= {"Authorization": credentials} if credentials else {}
            try:
                reply = service.call("POST", "objects/batch", json=body, headers=headers, again=True)
                return reply.json(), credentials
            except HostRefused as error:
                refusal = refusal if refusal is not None and error.status == 404 else error
                last = error
                if error.status not in _STRANGER:
                    raise
        if refusal is None or last is None:
            raise TransferError(self.redacted, "it was not asked", kind="list")
        said = f"{refusal.reason}; a private repository wants a token that may read it"
        if last is not refusal:
            said += f" (with your login: {last.reason})"
        raise TransferError(self.redacted, said, kind="status", final=True)

    def _source(self, action: Mapping[str, Any]) -> Source:
        header = action.get("header")
        headers = {str(k): str(v) for k, v in header.items()} if isinstance(header, dict) else {}
        return Source(urljoin(self._server, str(action["href"])), self.redacted, headers)


def _downloads(told: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects that can be downloaded, from an answer of which nothing is believed."""
    objects = told.get("objects") if isinstance(told, dict) else None
    for item in objects if isinstance(objects, list) else ():
        actions = item.get("actions") if isinstance(item, dict) else None
        action = actions.get("download") if isinstance(actions, dict) else None
        if isinstance(action, dict) and isinstance(action.get("href"), str):
            yield str(item.get("oid")), action


def _logins(url: str, settings: Settings) -> Iterator[str]:
    """The credentials of a user for a server, in the forms that servers of git take."""
    from ..config.credentials import find_token
    from ..download.origin import authorization, basic

    parts = urlsplit(url)
    known = authorization(parts, settings)
    if known is not None and known.startswith("Basic "):
        yield known
        return
    # no variable counts: a package that somebody else wrote names the server
    token = find_token(parts.netloc, settings)
    if token is not None:
        yield basic("x-access-token", token.secret)
        yield f"Bearer {token.secret}"
