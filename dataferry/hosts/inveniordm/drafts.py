"""The draft that becomes a record's next version: found again after a kill, filled with what the last version has."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...errors import HostRefused, PublishError
from .metadata import draft_body
from .records import Records, md5_of, refused

if TYPE_CHECKING:
    from ..base import Upload
    from . import InvenioHost

__all__ = ["Draft", "open_draft"]

#: Seconds by which the clock here may be ahead of the server's.
_CLOCKS = 600.0


class Draft:
    """A draft and its files, as far as they are known here.

    Parameters
    ----------
    record : str
        Its id, which stays that of the version that it becomes.
    told : mapping
        The draft as the server tells it.

    Attributes
    ----------
    before : dict of str to str
        Name -> md5 of the files of the version before.
    entries : dict of str to dict
        The draft's files by name.
    published : bool
        Whether it has become a version already.
    """

    def __init__(self, record: str, told: Mapping[str, Any], *, published: bool = False) -> None:
        self.record = record
        self.told = told
        self.before: dict[str, str | None] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        self.published = published

    @property
    def family(self) -> str:
        """The id of all versions together."""
        return str((self.told.get("parent") or {}).get("id") or "")

    def has(self, upload: Upload) -> bool:
        """Whether a file is complete in it, with these bytes."""
        return upload.name in self.entries and md5_of(self.entries[upload.name]) == upload.md5


def open_draft(
    host: InvenioHost,
    records: Records,
    about: Mapping[str, Any],
    newest: Mapping[str, Any] | None,
    uploads: Sequence[Upload],
    notes: MutableMapping[str, Any],
) -> Draft:
    """Find the draft of an earlier run, or make one.

    Parameters
    ----------
    host : InvenioHost
        The host.
    records : Records
        The server.
    about : mapping
        The ``[about]`` table.
    newest : mapping or None
        The newest published version; None for a record that was never published.
    uploads : sequence of Upload
        The files that are to come.
    notes : mapping
        What earlier runs noted.

    Returns
    -------
    Draft
        With metadata, the files of the version before, and a DOI if the server gives one beforehand; ``published`` if
        an earlier run has done that, with all these files.

    Raises
    ------
    PublishError
        If the server does not take it.
    TransferError
        If the server could not be asked.
    """
    draft, newest = _noted(records, newest, uploads, notes)
    if draft is not None and draft.published:
        return draft
    if draft is None and newest is None and host.declared.record:
        told = records.draft(host.declared.record)
        draft = Draft(told["id"], told) if told is not None else None
    if draft is None:
        told = _first(host, records, about, notes) if newest is None else records.next_version(newest["id"])
        draft = Draft(told["id"], told)
    notes["draft"] = draft.record
    if newest is not None:
        draft.before = {name: md5_of(entry) for name, entry in records.files(newest["id"]).items()}
    draft.entries = records.draft_files(draft.record)
    later = ((draft.told.get("versions") or {}).get("index") or 1) > 1
    if not draft.entries and (draft.before or later):
        draft.entries = records.import_files(draft.record)
    if not (draft.told.get("pids") or {}).get("doi") and (draft.told.get("links") or {}).get("reserve_doi"):
        records.reserve_doi(draft.record)
        draft.told = records.draft(draft.record) or draft.told
    draft.told = _described(host, about, draft.told, lambda body: records.update(draft.record, body))
    # that files are missing is known: they are to come
    if errors := [e for e in draft.told.get("errors") or [] if not str(e.get("field")).startswith("files")]:
        raise PublishError(host.redacted, f"its draft cannot be published: {_said(errors)}", "correct [about]")
    return draft


def _noted(
    records: Records, newest: Mapping[str, Any] | None, uploads: Sequence[Upload], notes: MutableMapping[str, Any]
) -> tuple[Draft | None, Mapping[str, Any] | None]:
    """The draft that an earlier run noted, and the newest version as it is now."""
    noted = str(notes.get("draft") or "")
    if not noted:
        return None, newest
    told = records.draft(noted)
    if told is not None and told.get("is_draft", True) and not told.get("is_published"):
        return Draft(noted, told), newest
    version = records.record(noted)
    if version is None or version["id"] != noted:
        return None, newest  # somebody discarded it
    done = Draft(noted, version, published=True)
    done.entries = records.files(noted)
    if all(done.has(upload) for upload in uploads):
        return done, newest
    return None, records.newest(noted)


def _first(
    host: InvenioHost, records: Records, about: Mapping[str, Any], notes: MutableMapping[str, Any]
) -> dict[str, Any]:
    """The draft of a new record; one that a killed run made and could not note is found by title and time."""
    if since := notes.get("creating"):
        for hit in records.own(str(about.get("title", "")).strip(), published=False):
            made = datetime.fromisoformat(str(hit.get("created")))
            first = (hit.get("versions") or {}).get("index") == 1
            if first and made.timestamp() >= float(since) - _CLOCKS and not records.draft_files(hit["id"]):
                return records.draft(hit["id"]) or hit
    notes["creating"] = datetime.now(UTC).timestamp()
    return _described(host, about, {}, records.new_draft)


def _described(host: InvenioHost, about: Mapping[str, Any], told: Mapping[str, Any], send: Any) -> dict[str, Any]:
    """Send metadata; a license whose id the server does not know goes as a text."""
    publisher = host.publishing_name
    try:
        return dict(send(draft_body(about, told, host.redacted, publisher)))
    except HostRefused as error:
        if not refused(error, 400) or not isinstance(about.get("license"), str | list):
            raise
        try:
            return dict(send(draft_body(about, told, host.redacted, publisher, free_license=True)))
        except HostRefused:
            raise error from None


def _said(errors: Any) -> str:
    return "; ".join(f"{item.get('field')}: {' '.join(map(str, item.get('messages') or []))}" for item in errors)
