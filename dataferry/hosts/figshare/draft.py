"""An article as its author sees it: the files of its draft, and how they get there."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from ...download.backoff import tries
from ...errors import HostRefused, PublishError, TransferError
from .asking import asked
from .flat import flat_name

if TYPE_CHECKING:
    from ..base import Upload
    from .interface import Interface

__all__ = ["Draft", "is_complete"]


class Draft:
    """The draft of one article. Threads may share it.

    Parameters
    ----------
    interface : Interface
        Who asks.
    article : int
        The article's id.
    line : str
        The article as ``dataferry.toml`` declares it.

    Attributes
    ----------
    files : list of dict
        Its files when it was last asked, and those that were begun since.
    """

    def __init__(self, interface: Interface, article: int, line: str) -> None:
        self.interface = interface
        self.article = article
        self.line = line
        self.files: list[dict[str, Any]] = []
        self._path = f"account/articles/{article}"
        self._lock = Lock()

    def at(self, upload: Upload) -> str:
        """A file at this article, for errors."""
        return f"{upload.name} at {self.line}"

    def details(self) -> dict[str, Any] | None:
        """The article; None if this account may not change it."""
        found = asked(self.line, lambda: self.interface.find(self._path))
        return None if found is None else dict(found)

    def change(self, fields: Mapping[str, Any]) -> None:
        """Tell what the article is. Raises `PublishError`."""
        asked(self.line, lambda: self.interface.call("PATCH", self._path, json=dict(fields), again=True))

    def reserve_doi(self) -> str:
        """The DOI that the article will have. Raises `PublishError`."""
        reply = asked(self.line, lambda: self.interface.call("POST", f"{self._path}/reserve_doi", again=True))
        return str(reply.json().get("doi"))

    def refresh(self) -> list[dict[str, Any]]:
        """Ask for the files again. Raises `PublishError`."""
        files = asked(self.line, lambda: self.interface.pages(f"{self._path}/files"))
        with self._lock:
            self.files = files
        return files

    def named(self, upload: Upload) -> list[dict[str, Any]]:
        """The files that have the name of one of ours; Figshare keeps several."""
        flat = flat_name(upload.name)
        with self._lock:
            return sorted((item for item in self.files if item["name"] == flat), key=lambda item: int(item["id"]))

    def complete(self, upload: Upload) -> dict[str, Any] | None:
        """The file that has arrived with these bytes; the first one, so that two runs mean the same."""
        return next((item for item in self.named(upload) if is_complete(item, upload)), None)

    def other(self, upload: Upload) -> dict[str, Any] | None:
        """The file that has arrived under this name with other bytes; the newest one."""
        arrived = [i for i in self.named(upload) if i.get("computed_md5") and not is_complete(i, upload)]
        return arrived[-1] if arrived else None

    def begun(self, upload: Upload) -> dict[str, Any] | None:
        """The file of this name and these bytes that was begun, and of which something is missing."""
        return next((item for item in self.named(upload) if _is_of(item, upload) and not item["computed_md5"]), None)

    def begin(self, upload: Upload) -> dict[str, Any]:
        """Announce a file.

        Parameters
        ----------
        upload : Upload
            The file.

        Returns
        -------
        dict
            The file as the article lists it.

        Raises
        ------
        PublishError
            If Figshare does not take it.
        """
        place, path = self.at(upload), f"{self._path}/files"
        new = {"name": flat_name(upload.name), "size": upload.size, "md5": upload.md5}
        known = {int(item["id"]) for item in self.named(upload)}
        try:
            told = asked(place, lambda: self.interface.call("POST", path, json=new)).json()
            number = int(str(told["location"]).rstrip("/").rpartition("/")[2])
            item = dict(asked(place, lambda: self.interface.get(f"{path}/{number}")))
        except PublishError:
            # the answer may have been lost and not the question
            self.refresh()
            late = [item for item in self.named(upload) if int(item["id"]) not in known and _is_of(item, upload)]
            if not late:
                raise
            return late[0]
        with self._lock:
            self.files = [*self.files, item]
        if item["name"] != new["name"]:
            self.forget(item)
            raise PublishError(
                place, f"Figshare made {item['name']!r} of the file name {new['name']!r}", "give it another name"
            )
        return item

    def end(self, item: Mapping[str, Any], upload: Upload) -> None:
        """Say that all parts of a file are there. Raises `PublishError`."""
        path = f"{self._path}/files/{item['id']}"

        def ask() -> None:
            try:
                self.interface.call("POST", path, again=True)
            except HostRefused as refused:
                now = self.interface.find(path) or {}
                begun = now.get("status") in {None, "", "created"} and not now.get("computed_md5")
                if begun or refused.status not in {400, 404, 409, 422}:
                    raise

        asked(self.at(upload), ask)

    def forget(self, item: Mapping[str, Any]) -> None:
        """Take a file out of the draft; versions that are published keep theirs. Raises `PublishError`."""
        path = f"{self._path}/files/{item['id']}"
        asked(f"{item['name']} at {self.line}", lambda: self.interface.call("DELETE", path, accept=(404,)))
        with self._lock:
            self.files = [other for other in self.files if other["id"] != item["id"]]

    def public(self) -> set[int]:
        """The numbers of the files that everybody sees. Raises `PublishError`."""

        def ask() -> set[int]:
            try:
                return {int(item["id"]) for item in self.interface.pages(f"articles/{self.article}/files")}
            except HostRefused as refused:
                if refused.status in {403, 404}:
                    return set()
                raise

        return asked(self.line, ask)

    def publish(self, new: set[int], patience: float) -> None:
        """Make the draft the next version.

        Parameters
        ----------
        new : set of int
            Files that everybody is to see then.
        patience : float
            Seconds that are waited for it.

        Raises
        ------
        PublishError
            If Figshare refuses, or nothing is seen of it.
        """

        def ask() -> None:
            try:
                self.interface.call("POST", f"{self._path}/publish")
            except TransferError:
                if not new <= self.public():  # it may be done, and only the answer was lost
                    raise

        asked(f"publishing {self.line}", ask)
        for _ in tries(patience):
            if new <= self.public():
                return
        raise PublishError(
            self.line,
            "it was sent to be published and is not public yet: a curator may have to approve it first",
            "run it again once it is public; nothing will be uploaded twice",
        )

    def sums(self, uploads: Mapping[str, Upload], patience: float) -> dict[str, dict[str, Any]]:
        """Wait until Figshare has summed up files.

        Parameters
        ----------
        uploads : mapping of str to Upload
            The files, by name.
        patience : float
            Seconds that are waited for it.

        Returns
        -------
        dict of str to dict
            Name -> the file as the article lists it; its md5 is ours.

        Raises
        ------
        PublishError
            If Figshare has other bytes, or none.
        """
        left = dict(uploads)
        for _ in tries(patience):
            self.refresh()
            left = {name: upload for name, upload in left.items() if self.complete(upload) is None}
            for upload in left.values():
                self._check_sum(upload)
            if not left:
                return {name: item for name, upload in uploads.items() if (item := self.complete(upload))}
        first = next(iter(left.values()))
        reason = f"Figshare has not summed it up after {patience:.0f} s"
        raise PublishError(self.at(first), reason, "it is there: run it again later to publish it")

    def _check_sum(self, upload: Upload) -> None:
        same = [item for item in self.named(upload) if _is_of(item, upload)]
        if not same:
            raise PublishError(self.at(upload), "it is not in the article's draft any more", "run it again")
        for item in same:
            if computed := str(item.get("computed_md5") or ""):
                self.forget(item)
                raise PublishError(
                    self.at(upload),
                    f"Figshare got other bytes (md5 {computed[:12]}... and not {upload.md5[:12]}...); they are deleted "
                    "there, and nothing was published",
                    "run it again; a file that changes while it is sent has to be finished first",
                )


def is_complete(item: Mapping[str, Any], upload: Upload) -> bool:
    """Whether Figshare has exactly these bytes."""
    return item.get("size") == upload.size and str(item.get("computed_md5") or "").lower() == upload.md5


def _is_of(item: Mapping[str, Any], upload: Upload) -> bool:
    return item.get("size") == upload.size and str(item.get("supplied_md5") or "").lower() == upload.md5
