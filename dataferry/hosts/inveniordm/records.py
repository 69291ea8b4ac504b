"""The interface of InvenioRDM for records: who asks, how fast, and what an answer means."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from ...config.credentials import Token, find_token
from ...errors import HostRefused, TransferError
from ..api_client import ApiClient, FileBody, Response

if TYPE_CHECKING:
    from ...config.settings import Settings
    from . import InvenioHost

__all__ = ["Records", "entries_of", "md5_of", "refused", "token_for"]

#: Zenodo answers plain JSON in a form of its own; this is InvenioRDM's everywhere.
_ACCEPT = "application/vnd.inveniordm.v1+json, application/json;q=0.5"
#: Seconds that are waited for the next period of a rate limit.
_LONGEST_WAIT = 120.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def token_for(host: InvenioHost, settings: Settings, *, publishing: bool) -> Token | None:
    """Find the user's token for a server.

    Parameters
    ----------
    host : InvenioHost
        The host.
    settings : Settings
        The user's settings.
    publishing : bool
        Whether the user named the server. A package may name any, and must not get a token for another by that.

    Returns
    -------
    Token or None
        None if there is none, for a stranger, and where it would go over the network unencrypted.
    """
    parts = urlsplit(host.declared.server)
    if settings.anonymous or (parts.scheme != "https" and parts.hostname not in _LOOPBACK):
        return None
    return find_token(parts.netloc, settings, variables=host.variables if publishing or host.own_token else ())


def md5_of(entry: Mapping[str, Any]) -> str | None:
    """The md5 of a file, in lower case; None for one that is not complete, or has a digest of another kind."""
    kind, _, digest = str(entry.get("checksum") or "").partition(":")
    return digest.lower() if kind == "md5" and entry.get("status", "completed") == "completed" else None


def entries_of(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A list of files by name.

    Parameters
    ----------
    told : mapping
        What the server says of the files of a record.

    Returns
    -------
    dict of str to dict
        Name -> ``status``, ``size``, ``checksum``...
    """
    return {str(entry["key"]): dict(entry) for entry in told.get("entries") or []}


def refused(error: TransferError, status: int) -> bool:
    """Whether the server answered with a status."""
    return isinstance(error, HostRefused) and error.status == status


class Records:
    """Asks one server. Threads may share it.

    Parameters
    ----------
    settings : Settings
        The user's settings.
    server : str
        Where it is, with a slash at its end.
    token : Token, optional
        Who asks; nobody by default.
    """

    def __init__(self, settings: Settings, server: str, token: Token | None = None) -> None:
        self.token = token
        self.headers = {"Authorization": f"Bearer {token.secret}"} if token else {}
        self._service = ApiClient(settings, f"{server}api/", headers=self.headers)
        self._lock = threading.Lock()
        self._not_before = 0.0

    def call(self, method: str, path: str, *, accept: Collection[int] = (), **more: Any) -> Response:
        """Ask; waits where the server has said that its limit is reached.

        Parameters
        ----------
        method : str
            ``"GET"``...
        path : str
            Joined to ``api/``.
        accept : collection of int
            Statuses beside 2xx that are no error.
        **more
            As for `Service.call`.

        Returns
        -------
        Reply
            The answer.

        Raises
        ------
        TransferError
            If the answer is an error, or there is none.
        """
        with self._lock:
            wait = min(self._not_before - time.time(), _LONGEST_WAIT)
        if wait > 0:
            time.sleep(wait)
        headers = {"Accept": _ACCEPT, **more.pop("headers", {})}
        reply = self._service.call(method, path, accept=accept, headers=headers, **more)
        if reply.headers.get("X-RateLimit-Remaining", "").strip() == "0":
            with self._lock:
                self._not_before = max(self._not_before, _seconds_since_1970(reply.headers.get("X-RateLimit-Reset")))
        return reply

    def find(self, path: str) -> dict[str, Any] | None:
        """What is at a path; None if there is nothing.

        Parameters
        ----------
        path : str
            Joined to ``api/``.

        Returns
        -------
        dict or None
            The answer.

        Raises
        ------
        TransferError
            If the server could not be asked, or gives no answer to this user.
        """
        reply = self.call("GET", path, accept=[404])
        return None if reply.status == 404 else dict(reply.json())

    def record(self, record: str) -> dict[str, Any] | None:
        """A published version; of the id of all versions, the newest."""
        return self.find(f"records/{_quoted(record)}")

    def newest(self, record: str) -> dict[str, Any] | None:
        """The newest version of a record."""
        return self.find(f"records/{_quoted(record)}/versions/latest")

    def files(self, record: str) -> dict[str, dict[str, Any]]:
        """The files of a published version, by name."""
        return entries_of(self.call("GET", f"records/{_quoted(record)}/files").json())

    # -- drafts ------------------------------------------------------------------------------------------------------

    def draft(self, record: str) -> dict[str, Any] | None:
        """A draft; None if there is none with this id."""
        return self.find(f"{_draft(record)}")

    def new_draft(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a record's first draft."""
        return dict(self.call("POST", "records", json=body).json())

    def next_version(self, record: str) -> dict[str, Any]:
        """The draft of a record's next version; the one that is there, if there is one."""
        return dict(self.call("POST", f"records/{_quoted(record)}/versions", again=True).json())

    def update(self, record: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change a draft's metadata."""
        return dict(self.call("PUT", _draft(record), json=body).json())

    def reserve_doi(self, record: str) -> str:
        """Reserve a draft's DOI; empty where the server gives none."""
        reply = self.call("POST", f"{_draft(record)}/pids/doi", accept=[400, 403, 404, 405])
        if reply.status >= 400:
            return ""
        return str(reply.json().get("pids", {}).get("doi", {}).get("identifier", ""))

    def discard(self, record: str) -> None:
        """Delete a draft."""
        self.call("DELETE", _draft(record), accept=[404])

    def publish(self, record: str) -> dict[str, Any]:
        """Make a draft public, for ever."""
        return dict(self.call("POST", f"{_draft(record)}/actions/publish", timeout=300.0).json())

    def own(self, title: str, *, published: bool) -> list[dict[str, Any]]:
        """The user's newest records with a title: published ones, or drafts of those that never were.

        Parameters
        ----------
        title : str
            The title.
        published : bool
            Which of the two.

        Returns
        -------
        list of dict
            As far as the server's search knows them already.
        """
        quoted = title.replace("\\", "\\\\").replace('"', '\\"')
        query: dict[str, str | int] = {"q": f'metadata.title:"{quoted}"', "sort": "newest", "size": 25}
        query["is_published"] = "true" if published else "false"
        told = self.call("GET", "user/records", query=query).json()
        return [
            dict(hit)
            for hit in told.get("hits", {}).get("hits", [])
            if bool(hit.get("is_published")) == published and hit.get("metadata", {}).get("title") == title
        ]

    # -- files of a draft --------------------------------------------------------------------------------------------

    def draft_files(self, record: str) -> dict[str, dict[str, Any]]:
        """The files of a draft, by name."""
        return entries_of(self.call("GET", f"{_draft(record)}/files").json())

    def import_files(self, record: str) -> dict[str, dict[str, Any]]:
        """Let a draft without files begin with those of the version before."""
        return entries_of(self.call("POST", f"{_draft(record)}/actions/files-import").json())

    def start_files(self, record: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Announce files that are to come."""
        return entries_of(self.call("POST", f"{_draft(record)}/files", json=[{"key": name} for name in names]).json())

    def delete_file(self, record: str, name: str) -> None:
        """Take a file out of a draft."""
        self.call("DELETE", _file(record, name), accept=[404])

    def send(self, record: str, name: str, body: FileBody) -> None:
        """Send the bytes of a file that was announced. One that is complete is destroyed by that."""
        kind = {"Content-Type": "application/octet-stream"}
        self.call("PUT", f"{_file(record, name)}/content", body=body, headers=kind, timeout=600.0)

    def complete(self, record: str, name: str, *, again: bool = True) -> dict[str, Any]:
        """Say that all bytes of a file went; the answer holds what came."""
        return dict(self.call("POST", f"{_file(record, name)}/commit", again=again, timeout=600.0).json())

    def close(self) -> None:
        """Close the kept connections."""
        self._service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _draft(record: str) -> str:
    return f"records/{_quoted(record)}/draft"


def _file(record: str, name: str) -> str:
    return f"{_draft(record)}/files/{quote(name)}"


def _quoted(record: str) -> str:
    return quote(record, safe="")


def _seconds_since_1970(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
