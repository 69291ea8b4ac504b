"""Zenodo, and any other server of InvenioRDM: records, their versions, and the files of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from ..errors import AccessDenied, BadName, Conflict, HostRefused, PublishError, TransferError
from ..registry.names import redact_url
from .about import as_list, authors, name_parts, require
from .api_client import FileBody
from .base import Credential, HostedFile, Limits, Locators, Moved, Notes, Publisher, Source, Upload
from .deposit import ArchiveApi, DepositHost, DepositPublisher, DraftFile, is_status
from .doi import DOI, foreign_doi, without_resolver

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings
    from ..registry.registry import Entry

__all__ = ["InvenioHost", "ZenodoHost", "ZenodoSandboxHost"]

# -- what a line means ------------------------------------------------------------------------------------------------

_NEW = "new"
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_PAGE = re.compile(r"/(?:records?|uploads|deposit)/([^/]+)(?:/.*)?")
_OWN_DOI = re.compile(r"10\.(?:5281|5072)/zenodo\.([1-9][0-9]*)", re.IGNORECASE)
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class _Declared:
    """A server with a slash at its end, a record (empty for a new one), and a DOI that has to be that record's."""

    server: str
    record: str
    doi: str = ""


def _read_zenodo(spec: str, server: str) -> _Declared:
    scheme, _, rest = spec.partition(":")
    test = "sandbox." in server
    forms = f"{scheme}:4924875, {scheme}:10.{'5072' if test else '5281'}/zenodo.4924875, or {scheme}:new to publish"
    if rest == _NEW or _NUMBER.fullmatch(rest):
        return _Declared(server, "" if rest == _NEW else rest)
    doi = without_resolver(rest)
    if found := _OWN_DOI.fullmatch(doi):
        if test != doi.startswith("10.5072"):
            right = "zenodo" if test else "zenodo-sandbox"
            raise BadName(f"{doi} is a DOI of the {'real' if test else 'test'} Zenodo: write {right}:{doi}")
        return _Declared(server, found[1])
    if DOI.fullmatch(doi):
        raise foreign_doi(doi, "Zenodo") or BadName(
            f"{doi} is no DOI of a record of Zenodo: these are 10.5281/zenodo.<number>"
            if doi.startswith("10.5281/")
            else f"{doi} is not a DOI that Zenodo gave. If the record is there and keeps a DOI of its publisher, write "
            "the number in the address of its page"
        )
    if rest.startswith(("http://", "https://")):
        parts = urlsplit(rest)
        if (parts.hostname or "").removeprefix("www.") != urlsplit(server).hostname:
            raise BadName(f"{redact_url(rest)!r} is not a page of {urlsplit(server).hostname}; write inveniordm:{rest}")
        page = _PAGE.fullmatch(parts.path)
        if page and (page[1] == _NEW or _NUMBER.fullmatch(page[1])):
            return _Declared(server, "" if page[1] == _NEW else page[1])
    raise BadName(f"{redact_url(spec)!r} names no record; write {forms}")


def _read_address(spec: str) -> _Declared:
    forms = "inveniordm:https://host/abcde-12345, or inveniordm:https://host/new to publish"
    url = spec.partition(":")[2]
    wrong = BadName(f"{redact_url(spec)!r} is not of the form {forms}")
    if any(c.isspace() or not c.isprintable() for c in url):
        raise wrong
    if DOI.fullmatch(doi := without_resolver(url)):
        raise foreign_doi(doi, "a server that was named") or BadName(
            f"a DOI does not say which server has the record; write inveniordm:https://host/{doi}"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadName(f"what follows inveniordm: is no address: {error}") from None
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise wrong
    if parts.username is not None:
        raise BadName(f"{redact_url(spec)!r}: users and passwords do not belong into a declaration")
    server = f"{parts.scheme}://{parts.netloc}/"
    path = parts.path.strip("/").removeprefix("doi/")
    if DOI.fullmatch(path):
        # a DOI ends with the id of its record, perhaps behind a word and a point; check_doi() sees whether
        record = path.partition("/")[2].rpartition(".")[2].rpartition("/")[2]
        if not _ID.fullmatch(record):
            raise BadName(f"the DOI {path} does not contain the id of a record; write {forms}")
        return _Declared(server, record, path.lower())
    page = _PAGE.fullmatch(f"/{path}")
    record = page[1] if page else path
    if not _ID.fullmatch(record):
        raise BadName(f"{redact_url(spec)!r} names no record; write {forms}")
    return _Declared(server, "" if record == _NEW else record)


# -- the interface ----------------------------------------------------------------------------------------------------

#: Zenodo answers plain JSON in a form of its own; this is InvenioRDM's everywhere.
_ACCEPT = "application/vnd.inveniordm.v1+json, application/json;q=0.5"


class _Api(ArchiveApi):
    """The interface of a server."""

    def __init__(self, settings: Settings, server: str, token: Token | None = None) -> None:
        self.login = {"Authorization": f"Bearer {token.secret}"} if token else {}
        super().__init__(settings, f"{server}api/", token, headers={"Accept": _ACCEPT, **self.login})

    def record(self, record: str) -> dict[str, Any] | None:
        """A published version; of the id of all versions, the newest."""
        found: dict[str, Any] | None = self.find(_record(record))
        return found

    def newest(self, record: str) -> dict[str, Any] | None:
        """The newest version of a record."""
        found: dict[str, Any] | None = self.find(f"{_record(record)}/versions/latest")
        return found

    def draft(self, record: str) -> dict[str, Any] | None:
        """A draft; None if there is none with this id."""
        found: dict[str, Any] | None = self.find(_draft(record))
        return found

    def files(self, path: str) -> dict[str, dict[str, Any]]:
        """The files of a version or a draft, by name."""
        return _entries(self.ask("GET", f"{path}/files"))

    def own(self, title: str, *, published: bool) -> list[dict[str, Any]]:
        """The user's newest records with a title (published ones, or drafts), as far as the server's search knows."""
        quoted = title.replace("\\", "\\\\").replace('"', '\\"')
        query: dict[str, str | int] = {"q": f'metadata.title:"{quoted}"', "sort": "newest", "size": 25}
        query["is_published"] = "true" if published else "false"
        hits = self.ask("GET", "user/records", query=query).get("hits", {}).get("hits", [])
        return [dict(h) for h in hits if bool(h.get("is_published")) == published and _title(h) == title]


def _record(record: str) -> str:
    return f"records/{quote(record, safe='')}"


def _draft(record: str) -> str:
    return f"{_record(record)}/draft"


def _title(record: Mapping[str, Any]) -> str:
    return str(record.get("metadata", {}).get("title", ""))


def _entries(listed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(entry["key"]): dict(entry) for entry in listed.get("entries") or []}


def _file(entry: Mapping[str, Any], locators: Locators) -> DraftFile:
    kind, _, digest = str(entry.get("checksum") or "").partition(":")
    complete = entry.get("status", "completed") == "completed"
    name, md5 = str(entry["key"]), digest.lower() if kind == "md5" and complete else None
    return DraftFile(entry.get("size") if complete else None, None, md5, locators, name, name, complete)


# -- reading ----------------------------------------------------------------------------------------------------------


class InvenioHost(DepositHost["_Api"]):
    """A record at a server of InvenioRDM.

    Each version of a record has an id of its own, which the registry keeps as its files' locator: whatever later
    versions hold, it finds the same bytes for ever. One more id stands for all versions together; a line with it means
    the newest one, where the registry says no version.

    Parameters
    ----------
    spec : str
        ``inveniordm:https://host/abcde-12345``; ``inveniordm:https://host/new`` to publish a new one.

    Raises
    ------
    BadName
        If it is no such line.
    """

    schemes: ClassVar[tuple[str, ...]] = ("inveniordm",)
    _provider, _variable, _own_token = "InvenioRDM", "INVENIORDM_TOKEN", False

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.declared = self._read(spec)
        self.record = self.declared.record
        # one key for each server: a package may have mirrors at two of them
        self.locator = self._locator()

    def _read(self, spec: str) -> _Declared:
        return _read_address(spec)

    def _locator(self) -> str:
        return f"inveniordm:{urlsplit(self.declared.server).netloc}"

    def line(self, record: str) -> str:
        """The declaration of a record at this server."""
        return f"inveniordm:{self.declared.server}{record}"

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """A token with two scopes; none over unencrypted HTTP, but for loopback."""
        server = urlsplit(self.declared.server)
        if server.scheme != "https" and server.hostname not in _LOOPBACK:
            return ()
        page = f"{self.declared.server}account/settings/applications/"
        rights = "the scopes deposit:write and deposit:actions" if self._own_token else ""
        provider = self._provider if self._own_token else server.hostname or ""
        return (Credential(provider, server.netloc, (self._variable,), (), page, rights, self._own_token),)

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The file in the version that the registry names, else in the declared record; none for a new one."""
        record = self._pinned(entry)
        return [self.source(record, name)] if record else []

    def _pinned(self, entry: Entry | None) -> str:
        return str((entry.locators.get(self.locator) if entry is not None else None) or self.declared.record)

    def source(self, record: str, name: str, login: Mapping[str, str] | None = None) -> Source:
        """The place of a file in a version of a record."""
        url = f"{self.declared.server}api/{_record(record)}/files/{quote(name)}/content"
        return Source(url, self.redacted, dict(login or {}))

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Find the newest version where the line names all of them; restricted files with the user's token."""
        found: dict[str, Sequence[Source]] = {}
        by_record: dict[str, list[str]] = {}
        for name, entry in wanted.items():
            by_record.setdefault(self._pinned(entry), []).append(name)
        failed: TransferError | None = None
        api = self.connect(settings, self.token(settings))
        for pinned, names in by_record.items():
            try:
                record = self.public_record(api, pinned)
                found |= self._sources_in(api, record, names, wanted)
                if missing := [name for name in names if name not in found]:
                    # the version that was declared came before the file, or its file went to a later one
                    newest = api.newest(record["id"])
                    if newest is not None and newest["id"] != record["id"]:
                        found |= self._sources_in(api, newest, missing, wanted)
            except TransferError as error:
                failed = error
        if failed is not None and not found:
            raise failed
        return found

    def _sources_in(
        self, api: _Api, record: Mapping[str, Any], names: Sequence[str], wanted: Mapping[str, Entry | None]
    ) -> dict[str, Sequence[Source]]:
        entries = self._public_files(api, record)
        login = api.login if (record.get("access") or {}).get("files") == "restricted" else None
        found: dict[str, Sequence[Source]] = {}
        for name in names:
            entry = wanted[name]
            size = entry.size if entry is not None else None
            if name in entries and size in {None, entries[name].get("size")}:
                source = self.source(record["id"], name, login)
                if source not in self.sources(name, entry):  # that was tried already
                    found[name] = [source]
        return found

    def public_files(self, settings: Settings) -> list[DraftFile]:
        """All files of the record: of its newest version, if the line names all of them."""
        api = self.connect(settings, self.token(settings))
        record = self.public_record(api, self.record)
        return self.files_of(record["id"], self._public_files(api, record))

    def files_of(self, record: str, entries: Mapping[str, Mapping[str, Any]]) -> list[DraftFile]:
        """The complete files of a version."""
        pin: dict[str, str | int] = {self.locator: int(record) if _NUMBER.fullmatch(record) else record}
        return [file for file in (_file(entry, pin) for entry in entries.values()) if file.complete]

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """What uploads files to a version of the record and publishes it."""
        return InvenioPublisher(self, settings, about)

    def connect(self, settings: Settings, token: Token | None) -> _Api:
        """The server's interface."""
        return _Api(settings, self.declared.server, token)

    def public_record(self, api: _Api, record: str) -> dict[str, Any]:
        """A published version (of all versions the newest one), or a `TransferError` that says why there is none."""
        if not record:
            raise TransferError(self.redacted, "a new record has no files yet", kind="list", final=True)
        try:
            found = api.record(record)
        except HostRefused as error:
            if error.status not in {401, 403, 410}:
                raise
            deleted = f"the record {record} was deleted" + (f" ({error.message})" if error.message else "")
            restricted = f"the record {record} is restricted, and {_asker(api)} may not see it"
            reason = deleted if error.status == 410 else restricted
            raise TransferError(self.redacted, reason, kind="status", final=True) from error
        if found is None:
            reason = f"there is no published record {record}; a draft has to be published first"
            raise TransferError(self.redacted, reason, final=True)
        pids = [found.get("pids") or {}, (found.get("parent") or {}).get("pids") or {}]
        dois = [str((pid.get("doi") or {}).get("identifier", "")).lower() for pid in pids]
        if self.declared.doi and self.declared.doi not in dois:
            reason = (
                f"the record {found.get('id')} has the DOI {dois[0] or '(none)'}: write the id in the address of the "
                "record's page in place of the DOI"
            )
            raise TransferError(self.redacted, reason, kind="doi", final=True)
        return found

    def _public_files(self, api: _Api, record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        try:
            return api.files(_record(record["id"]))
        except TransferError as error:
            if not is_status(error, 401, 403):
                raise
            embargo = (record.get("access") or {}).get("embargo") or {}
            until = f" until {embargo['until']}" if embargo.get("active") and embargo.get("until") else ""
            reason = f"the files of the record {record['id']} are restricted{until}, and {_asker(api)} may not get them"
            raise TransferError(self.redacted, reason, kind="status", final=True) from error


def _asker(api: _Api) -> str:
    return f"the owner of the token in {api.token.origin}" if api.token else "an anonymous user"


class ZenodoHost(InvenioHost):
    """A record at Zenodo.

    Parameters
    ----------
    spec : str
        ``zenodo:4924875`` or ``zenodo:10.5281/zenodo.4924875``; ``zenodo:new`` to publish a new one.

    Raises
    ------
    BadName
        If it is no such line, or a DOI of another kind.
    """

    schemes = ("zenodo",)
    example = "zenodo:1"
    _provider, _variable, _own_token = "Zenodo", "ZENODO_TOKEN", True
    server: ClassVar[str] = "https://zenodo.org/"

    def _read(self, spec: str) -> _Declared:
        return _read_zenodo(spec, self.server)

    def _locator(self) -> str:
        return self.schemes[0]

    def line(self, record: str) -> str:
        """The declaration of a record."""
        return f"{self.schemes[0]}:{record}"


class ZenodoSandboxHost(ZenodoHost):
    """A record at Zenodo's sandbox, which is there to try things out and is emptied now and then.

    Parameters
    ----------
    spec : str
        ``zenodo-sandbox:`` and a number or a DOI; ``zenodo-sandbox:new`` to publish a new one.

    Raises
    ------
    BadName
        If it is no such line, or a DOI of another kind.
    """

    schemes = ("zenodo-sandbox",)
    example = "zenodo-sandbox:1"
    _provider, _variable = "Zenodo's sandbox", "ZENODO_SANDBOX_TOKEN"
    server = "https://sandbox.zenodo.org/"


# -- publishing -------------------------------------------------------------------------------------------------------

_GB = 10**9


class InvenioPublisher(DepositPublisher[_Api]):
    """Takes files to a record; see `DepositPublisher`."""

    one_of_a_name = True
    patience = 0.0, 60.0
    host: InvenioHost

    def __init__(self, host: InvenioHost, settings: Settings, about: Mapping[str, Any]) -> None:
        self.table = "zenodo" if isinstance(host, ZenodoHost) else "inveniordm"
        super().__init__(host, settings, about)
        if isinstance(host, ZenodoHost):
            # a record may get 150 GB more once it is there
            most = 200 * _GB if host.declared.record else 50 * _GB
            self.limits = Limits(file_bytes=most, total_bytes=most, files=100)
        self._newest: dict[str, Any] | None = None
        self._draft: dict[str, Any] = {}
        self._published = False

    @property
    def declared(self) -> str:
        """The line with the id of all versions together, for a record that was new."""
        family = str(((self._draft or self._newest or {}).get("parent") or {}).get("id") or "")
        return self.host.spec if self.host.declared.record or not family else self.host.line(family)

    @property
    def _id(self) -> str:
        return str(self._draft.get("id") or "")

    @contextmanager
    def asking(self, name: str = "") -> Iterator[None]:
        """As `DepositPublisher.asking`; before version 13 there were no folders in names."""
        try:
            with super().asking(name):
                yield
        except PublishError as error:
            if "/" in name and is_status(error.__cause__ or error, 404):
                reason = f"it accepts no folders in names, like all versions of InvenioRDM before 13 ({error.reason})"
                raise PublishError(self.at(name), reason) from error
            raise

    # -- only reading

    def check_rights(self) -> str:
        """Whether there is a token, and whether it may make versions of the record."""
        host = self.host
        if not host.credentials:
            raise AccessDenied(host.redacted, "no token goes over unencrypted http", "Name the server by https")
        api = self.api
        with self.asking():
            api.call("GET", "user/records", query={"size": 1})
        if host.declared.record:
            self._newest = self._own_record()
        else:
            require(self.about, ("title", "authors"), self.provider, host.redacted)
            authors(self.about, host.redacted)
            same = api.own(str(self.about["title"]).strip(), published=True)
            self._newest = (api.newest(same[0]["id"]) or same[0]) if same else None
        return f"the owner of the token in {self.origin}"

    def _own_record(self) -> dict[str, Any] | None:
        """The newest version of the record; None for a draft that was never published."""
        host, record, api = self.host, self.host.declared.record, self.api
        other = f"name another, or {host.line(_NEW)}"
        try:
            found = api.record(record)
            draft = api.draft(record) if found is None else None
        except HostRefused as error:
            if is_status(error, 401, 403):
                raise AccessDenied(host.redacted, f"the record {record} is not yours to change", self.remedy) from error
            if is_status(error, 410):
                raise self.error(f"the record {record} was deleted", other) from error
            raise
        if found is None:
            if draft is None:
                raise self.error(f"there is no record {record}", other)
            return None
        newest = api.newest(record) or host.public_record(api, record)
        # the server mentions drafts only to those who may make a version
        if "is_latest_draft" not in (newest.get("versions") or {}):
            raise AccessDenied(
                host.redacted,
                f"the record {record} is somebody else's: you can register its files "
                "(dataferry add --from), but not change them",
                f"{self.remedy}. Or ask its owner to share it with you: Share, Can edit",
            )
        if (newest.get("access") or {}).get("files") == "restricted":
            raise self.error("the files of this record are restricted, so users could not fetch them")
        return newest

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What the newest version has; what is in a draft is found when the files are to go."""
        there = {file.name: file for file in self._version_files()}
        same = all(upload.name in there and there[upload.name].matches(upload) for upload in uploads)
        if self._newest is not None and not self.host.declared.record and not same:
            raise Conflict(
                self.host.redacted,
                f"you have published a record with this title, and it has other files: {self.declared}",
                "publish to that one, or give the new one another title in [about]",
            )
        return {upload.name: there[upload.name] for upload in uploads if upload.name in there}

    def _version_files(self) -> list[DraftFile]:
        """The files of the newest version."""
        if self._newest is None:
            return []
        return self.host.files_of(self._newest["id"], self.api.files(_record(self._newest["id"])))

    def problem(self, upload: Upload) -> str:
        """A folder ``container`` hides what is in it: the interface takes it for a look into an archive."""
        if "container" in upload.name.split("/")[1:]:
            return "InvenioRDM gives no file with '/container' in its name; choose another name"
        return ""

    # -- the draft

    def open(self, uploads: Sequence[Upload]) -> None:
        """Find or make the draft, with metadata, and the files of the version before."""
        if self._find_noted(uploads):
            return
        if not self._draft and self._newest is None and self.host.declared.record:
            self._draft = self.api.draft(self.host.declared.record) or {}
        if not self._draft and self._newest is None:
            self._draft = self.api.draft(self.once(str(self.about.get("title", "")).strip())) or {}
        elif not self._draft and self._newest is not None:
            # the draft of the next version, also the one that is there
            self._draft = self.api.ask("POST", f"{_record(self._newest['id'])}/versions", again=True)
        self.notes["draft"] = self._id
        self.draft_page = f"{self.host.declared.server}uploads/{self._id}"
        self.refresh()
        if not self.files and (self._newest is not None or (self._draft.get("versions") or {}).get("index", 1) > 1):
            entries = _entries(self.api.ask("POST", f"{_draft(self._id)}/actions/files-import"))
            self.files = [_file(entry, self._pin) for entry in entries.values()]
        if not (self._draft.get("pids") or {}).get("doi") and (self._draft.get("links") or {}).get("reserve_doi"):
            # a server on which DOIs are optional gives none without being asked
            self.api.call("POST", f"{_draft(self._id)}/pids/doi", accept=[400, 403, 404, 405])
            self._draft = self.api.draft(self._id) or self._draft
        self._draft = self._described(self._draft, "PUT", _draft(self._id))
        # that files are missing is known: they are to come
        if errors := [e for e in self._draft.get("errors") or [] if not str(e.get("field")).startswith("files")]:
            words = "; ".join(f"{e.get('field')}: {' '.join(map(str, e.get('messages') or []))}" for e in errors)
            raise self.error(f"its draft cannot be published: {words}", "correct [about]")
        self._announce(uploads)

    @property
    def _pin(self) -> dict[str, str | int]:
        return {self.host.locator: int(self._id) if _NUMBER.fullmatch(self._id) else self._id}

    def _find_noted(self, uploads: Sequence[Upload]) -> bool:
        """Find the draft that an earlier run noted; true if that has published it, with all these files."""
        noted = str(self.notes.get("draft") or "")
        draft = self.api.draft(noted) if noted else None
        if draft is not None and draft.get("is_draft", True) and not draft.get("is_published"):
            self._draft = draft
        elif noted and (version := self.api.record(noted)) is not None and version["id"] == noted:
            self._newest = self.api.newest(noted) or version
            self._draft, self._published = version, True
            self.refresh()
            if all(self.complete(upload) for upload in uploads):
                return True
            self._draft, self._published = {}, False
            del self.notes["draft"]
        return False

    def reopen(self) -> bool:
        """Nothing is public but by a run that had something to send."""
        return bool(self._draft)

    def make(self, title: str) -> str:
        """Make a record's first draft; its mark goes with the metadata."""
        return str(self._described({}, "POST", "records", title)["id"])

    def sees(self, draft: str) -> bool:
        """Whether there is such a draft."""
        return self.api.draft(draft) is not None

    def own_titles(self) -> Iterable[tuple[str, str]]:
        """The drafts with the title of a killed run."""
        title = f"{str(self.about.get('title', '')).strip()[:200]} {self.notes['mark']}"
        return [(str(hit["id"]), title) for hit in self.api.own(title, published=False)]

    def _described(self, draft: Mapping[str, Any], method: str, path: str, title: str = "") -> dict[str, Any]:
        """Send metadata; a license whose id the server does not know goes as a text."""

        def send(*, free: bool) -> dict[str, Any]:
            body = draft_body(self.about, draft, self.host.redacted, self.provider, free_license=free)
            if title:
                body["metadata"]["title"] = title
            return dict(self.api.ask(method, path, json=body))

        try:
            return send(free=False)
        except HostRefused as error:
            if not is_status(error, 400) or not isinstance(self.about.get("license"), str | list):
                raise
            try:
                return send(free=True)
            except HostRefused:
                raise error from None

    def _announce(self, uploads: Sequence[Upload]) -> None:
        """Say which files are to come, in one request."""
        names = {file.name for file in self.files}
        fresh = [upload.name for upload in uploads if upload.name not in names]
        most = self.limits.files
        if most is not None and len(names) + len(fresh) > most:
            raise self.error(
                f"the next version would have {len(names) + len(fresh)} files, and it takes {most} at the most",
                f"pack small files together, or publish to {self.host.line(_NEW)}",
            )
        if fresh:
            self.claim(fresh)
            entries = self.api.ask("POST", f"{_draft(self._id)}/files", json=[{"key": name} for name in fresh])
            files = [_file(entry, self._pin) for entry in _entries(entries).values() if entry["key"] in fresh]
            with self.lock:
                self.files += files

    def list_files(self) -> list[DraftFile]:
        """The files of the draft, or of the version that it has become."""
        path = _record(self._id) if self._published else _draft(self._id)
        return [_file(entry, self._pin) for entry in self.api.files(path).values()]

    def public_files(self) -> list[DraftFile]:
        """The files of the newest version."""
        if not self._published and self._sent:
            found = self.api.record(self._id)
            self._published = found is not None and found["id"] == self._id
        return self.list_files() if self._published else self._version_files()

    def delete(self, file: DraftFile) -> None:
        """Take a file out of the draft."""
        self.api.call("DELETE", self._file_path(file.name), accept=[404])

    def _file_path(self, name: str) -> str:
        return f"{_draft(self._id)}/files/{quote(name)}"

    _sent = False

    def publish(self) -> None:
        """Make the draft a version."""
        self._sent = True
        self._draft = self.api.ask("POST", f"{_draft(self._id)}/actions/publish", timeout=300.0)

    # -- one file

    def send(self, upload: Upload, begun: DraftFile | None, notes: Notes, moved: Moved) -> DraftFile:
        """Send the bytes of a file, and say that all of them went."""
        if self._published:  # by an earlier run
            raise Conflict(self.at(upload.name), "the draft has become a version", "run the same command again")
        if begun is None:
            self._announce([upload])
        elif notes.get("sent") and (arrived := self._commit(upload, again=False)):
            return arrived
        notes["sent"] = True
        with FileBody(upload.path, 0, upload.size, moved) as body:
            headers = {"Content-Type": "application/octet-stream"}
            path = f"{self._file_path(upload.name)}/content"
            self.api.call("PUT", path, body=body, headers=headers, timeout=600.0)
        if (file := self._commit(upload)) is not None:
            return file
        raise PublishError(self.at(upload.name), "other bytes arrived; they were deleted", "run the same command again")

    def _commit(self, upload: Upload, *, again: bool = True) -> DraftFile | None:
        """Say that all bytes went; None, with the file announced once more, if they are not those that are here."""
        path = f"{self._file_path(upload.name)}/commit"
        try:
            file = _file(self.api.ask("POST", path, again=again, timeout=600.0), self._pin)
        except HostRefused:
            if again:
                raise
            return None  # not all bytes had gone when an earlier run was killed
        if file.matches(upload):
            return self.add(file)
        self.remove(file)
        self._announce([upload])
        return None


# -- [about] ----------------------------------------------------------------------------------------------------------


def draft_body(
    about: Mapping[str, Any], before: Mapping[str, Any], place: str, publisher: str, *, free_license: bool = False
) -> dict[str, Any]:
    """A draft as InvenioRDM takes it: what `about` does not hold stays as it was `before`."""
    metadata = {key: _as_sent(value) for key, value in (before.get("metadata") or {}).items()}
    metadata.setdefault("resource_type", {"id": "dataset"})
    metadata["publication_date"] = datetime.now(UTC).date().isoformat()
    metadata.setdefault("publisher", publisher)
    for key in ("title", "version", "publisher"):
        if about.get(key):
            metadata[key] = str(about[key]).strip()
    if about.get("resource_type"):
        metadata["resource_type"] = {"id": str(about["resource_type"])}
    if about.get("description"):
        metadata["description"] = _as_html(str(about["description"]))
    if about.get("authors"):
        metadata["creators"] = [_creator(author) for author in authors(about, place)]
    if about.get("keywords"):
        metadata["subjects"] = [{"subject": str(word)} for word in as_list(about["keywords"])]
    if about.get("license"):
        metadata["rights"] = [_right(given, free=free_license) for given in as_list(about["license"])]
    body = {"metadata": metadata, "files": {"enabled": True}}
    kept = {key: before[key] for key in ("access", "pids", "custom_fields") if before.get(key)}
    if "access" in kept:
        kept["access"] = {key: value for key, value in kept["access"].items() if key != "status"}
    return body | kept


def _as_sent(value: Any) -> Any:
    """A value without what the server itself looked up for an id."""
    if isinstance(value, list):
        return [_as_sent(item) for item in value]
    if isinstance(value, Mapping):
        if "id" in value and "title" in value:
            return {"id": value["id"]}
        return {key: _as_sent(item) for key, item in value.items()}
    return value


def _as_html(text: str) -> str:
    """Plain text in paragraphs; what has tags stays as it is."""
    if re.search(r"</?[a-z][^>]*>", text, re.IGNORECASE):
        return text.strip()
    return "".join(f"<p>{escape(part.strip(), quote=False)}</p>" for part in re.split(r"\n\s*\n", text) if part.strip())


def _right(given: object, *, free: bool) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    return {"title": {"en": str(given)}} if free else {"id": str(given).strip().lower()}


def _creator(author: Mapping[str, Any]) -> dict[str, Any]:
    if author.get("type") in {"organization", "organizational"} and author.get("name"):
        person: dict[str, Any] = {"type": "organizational", "name": author["name"]}
    else:
        family, given = name_parts(author)
        person = {"type": "personal", "family_name": family} | ({"given_name": given} if given else {})
    if author.get("orcid"):
        person["identifiers"] = [{"scheme": "orcid", "identifier": author["orcid"]}]
    affiliations = [{"name": str(item)} for item in as_list(author.get("affiliation") or [])]
    return {"person_or_org": person} | ({"affiliations": affiliations} if affiliations else {})
