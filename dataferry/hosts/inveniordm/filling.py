"""The files of a draft: announced, sent, compared, and taken out where nobody wants them any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from ...errors import Conflict, HostRefused, PublishError
from ..api_client import FileBody
from .drafts import Draft
from .records import Records, md5_of

if TYPE_CHECKING:
    from ..base import Upload
    from . import InvenioHost

__all__ = ["Filling"]


class Filling:
    """Fills a draft. Threads may share it.

    Parameters
    ----------
    host : InvenioHost
        The host.
    records : Records
        The server.
    draft : Draft
        The draft.
    notes : mapping
        What this run and earlier ones noted of it.
    """

    def __init__(self, host: InvenioHost, records: Records, draft: Draft, notes: MutableMapping[str, Any]) -> None:
        self.draft = draft
        self._host, self._records, self._notes = host, records, notes
        self._lock = Lock()

    def announce(self, names: Sequence[str]) -> None:
        """Tell the server which files are to come, in one go."""
        with self._lock:
            self._notes["begun"] = sorted({*self._notes.get("begun", ()), *names})
        self.draft.entries |= self._records.start_files(self.draft.record, names)

    def send(self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]) -> None:
        """Send a file.

        Parameters
        ----------
        upload : Upload
            The file.
        notes : mapping
            What was noted for this file and these bytes.
        moved : callable
            Is told the bytes that went.

        Raises
        ------
        Conflict
            If somebody else has put another file there.
        PublishError
            If other bytes arrived.
        TransferError
            If the server did not take it.
        """
        name, draft, records = upload.name, self.draft, self._records
        there = draft.entries.get(name, {})
        if there.get("status") == "completed":
            # bytes sent to a complete file would destroy it
            self._may_replace(name, md5_of(there))
            records.delete_file(draft.record, name)
            self.announce([name])
        elif not there:
            self.announce([name])
        elif notes.get("sent") and self._arrived(upload):
            return
        notes["sent"] = True
        with FileBody(upload.path, 0, upload.size, moved) as body:
            records.send(draft.record, name, body)
        entry = records.complete(draft.record, name)
        if md5_of(entry) != upload.md5:
            records.delete_file(draft.record, name)
            raise PublishError(
                f"{self._host.redacted}: {name}",
                f"other bytes arrived (md5 {md5_of(entry)} there, {upload.md5} here), and they were dropped",
                "run the same command again",
            )
        draft.entries[name] = entry

    def _arrived(self, upload: Upload) -> bool:
        """Whether all bytes went before an earlier run was killed: the server tells it only of a complete file."""
        name, record = upload.name, self.draft.record
        try:
            entry = self._records.complete(record, name, again=False)
        except HostRefused:
            return False
        if md5_of(entry) == upload.md5:
            self.draft.entries[name] = entry
            return True
        self._records.delete_file(record, name)
        self.announce([name])
        return False

    def _may_replace(self, name: str, md5: str | None) -> None:
        before = self.draft.before
        if name in self._notes.get("begun", ()) or (name in before and before[name] == md5):
            return
        raise Conflict(
            f"{self._host.redacted}: {name}",
            "the draft of the next version has another file under this name, which this command did not bring",
            f"remove it there or discard the draft: {self._host.declared.server}uploads/{self.draft.record}",
        )

    def tidy(self, uploads: Sequence[Upload]) -> None:
        """List the draft again, and take out what earlier runs brought or began and this one no longer has.

        Parameters
        ----------
        uploads : sequence of Upload
            All files that are to be there.
        """
        draft = self.draft
        draft.entries = self._records.draft_files(draft.record)
        unwanted = set(self._notes.get("begun", ())) - {upload.name for upload in uploads}
        for name in unwanted & draft.entries.keys():
            if name not in draft.before or draft.before[name] != md5_of(draft.entries[name]):
                self._records.delete_file(draft.record, name)
                del draft.entries[name]

    def check(self, uploads: Sequence[Upload], where: str) -> None:
        """Refuse a list of files that is not what it has to be.

        Parameters
        ----------
        uploads : sequence of Upload
            All files that have to be there.
        where : str
            What was listed.

        Raises
        ------
        Conflict
            If a file is missing, has other bytes, or is not complete.
        """
        entries: Mapping[str, Mapping[str, Any]] = self.draft.entries
        wrong = [upload.name for upload in uploads if not self.draft.has(upload)]
        wrong += [name for name, entry in entries.items() if entry.get("status", "completed") != "completed"]
        if wrong:
            said = ", ".join(map(repr, dict.fromkeys(wrong)))
            raise Conflict(
                self._host.redacted,
                f"{where} has not these bytes under {said}; perhaps somebody else publishes to it at the same time",
                "run the same command again",
            )
