"""What a record has, for those who read: other people's data as well, restricted files with a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import HostRefused, TransferError
from ..base import HostedFile
from .records import Records, md5_of, token_for

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...download.source import Source
    from ...registry.registry import Entry
    from . import InvenioHost

__all__ = ["as_held", "check_doi", "hosted", "locator", "look_up", "public_record"]


def locator(record: str) -> str | int:
    """The id of a version as the registry keeps it: a number where it is one."""
    return int(record) if record.isdecimal() and str(int(record)) == record else record


def as_held(host: InvenioHost, record: str, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, HostedFile]:
    """The complete files of a version.

    Parameters
    ----------
    host : InvenioHost
        The host.
    record : str
        The id of the version.
    entries : mapping of str to mapping
        Its files.

    Returns
    -------
    dict of str to HostedFile
        By name.
    """
    pin = {host.locator: locator(record)}
    return {
        name: HostedFile(entry.get("size"), None, md5_of(entry), pin)
        for name, entry in entries.items()
        if entry.get("status", "completed") == "completed"
    }


def check_doi(host: InvenioHost, record: Mapping[str, Any]) -> None:
    """Refuse a record that is not the one of the declared DOI. Raises `TransferError`."""
    pids = [record.get("pids") or {}, (record.get("parent") or {}).get("pids") or {}]
    dois = [str(doi.get("identifier", "")).lower() for doi in (pid.get("doi") or {} for pid in pids)]
    if host.declared.doi and host.declared.doi not in dois:
        raise TransferError(
            host.redacted,
            f"the record {record.get('id')} has the DOI {dois[0] or '(none)'}: write the id in the address of the "
            "record's page in place of the DOI",
            kind="doi",
            final=True,
        )


def public_record(host: InvenioHost, records: Records, record: str) -> dict[str, Any]:
    """A published version, or why there is none to be had.

    Parameters
    ----------
    host : InvenioHost
        The host.
    records : Records
        The server.
    record : str
        The id of a version, or of all versions together: then the newest one.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    TransferError
        If it cannot be had; the reason says whether it was deleted, is not public, or is not there.
    """
    if not record:
        raise TransferError(host.redacted, "a record that is yet to be made has no files", kind="list", final=True)
    try:
        found = records.record(record)
    except HostRefused as error:
        if error.status == 410:
            reason = f"the record {record} was deleted{_why_deleted(error)}"
        elif error.status in {401, 403}:
            who = f"the owner of the token in {records.token.origin}" if records.token else "a stranger"
            reason = f"the record {record} is restricted, and {who} may not see it"
        else:
            raise
        raise TransferError(host.redacted, reason, kind="status", final=True) from error
    if found is None:
        raise TransferError(
            host.redacted, f"there is no published record {record}; a draft has to be published first", final=True
        )
    check_doi(host, found)
    return found


def hosted(host: InvenioHost, settings: Settings) -> dict[str, HostedFile]:
    """See `InvenioHost.held`."""
    with Records(settings, host.declared.server, token_for(host, settings, publishing=False)) as records:
        record = public_record(host, records, host.declared.record)
        return as_held(host, record["id"], _files(host, records, record))


def look_up(host: InvenioHost, wanted: Mapping[str, Entry | None], settings: Settings) -> dict[str, list[Source]]:
    """See `InvenioHost.look_up`."""
    found: dict[str, list[Source]] = {}
    by_record: dict[str, list[str]] = {}
    for name, entry in wanted.items():
        pinned = entry.locators.get(host.locator) if entry is not None else None
        by_record.setdefault(str(pinned or host.declared.record), []).append(name)
    failed: TransferError | None = None
    with Records(settings, host.declared.server, token_for(host, settings, publishing=False)) as records:
        for wished, names in by_record.items():
            try:
                record = public_record(host, records, wished)
                found |= _sources(host, records, record, names, wanted)
                if missing := [name for name in names if name not in found]:
                    # the version that was declared came before the file, or its file went to a later one
                    newest = records.newest(record["id"])
                    if newest is not None and newest["id"] != record["id"]:
                        found |= _sources(host, records, newest, missing, wanted)
            except TransferError as error:
                failed = error
    if failed is not None and not found:
        raise failed
    return found


def _sources(
    host: InvenioHost,
    records: Records,
    record: Mapping[str, Any],
    names: Sequence[str],
    wanted: Mapping[str, Entry | None],
) -> dict[str, list[Source]]:
    entries = _files(host, records, record)
    restricted = (record.get("access") or {}).get("files") == "restricted"
    found = {}
    for name in names:
        entry = wanted[name]
        size = entry.size if entry is not None else None
        if name in entries and size in {None, entries[name].get("size")}:
            source = host.source(record["id"], name, records.headers if restricted else None)
            if source not in host.sources(name, entry):  # that was tried already
                found[name] = [source]
    return found


def _files(host: InvenioHost, records: Records, record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    try:
        return records.files(record["id"])
    except HostRefused as error:
        if error.status not in {401, 403}:
            raise
        access = record.get("access") or {}
        embargo = access.get("embargo") or {}
        until = f" until {embargo['until']}" if embargo.get("active") and embargo.get("until") else ""
        who = f"the owner of the token in {records.token.origin}" if records.token else "a stranger"
        reason = f"the files of the record {record['id']} are restricted{until}, and {who} may not get them"
        raise TransferError(host.redacted, reason, kind="status", final=True) from error


def _why_deleted(error: HostRefused) -> str:
    return f" ({error.said})" if error.said else ""
