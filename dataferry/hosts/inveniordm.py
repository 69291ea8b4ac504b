"""Zenodo, and any other server of InvenioRDM: records, their versions, and the files of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from ..config.credentials import may_get_login
from ..errors import AccessDenied, BadName, Conflict, HostRefused, PublishError, TransferError
from ..registry.names import redact_url
from .about import authors
from .api_client import FileBody
from .base import Credential, HostedFile, Limits, Moved, Notes, Publisher, Source, Upload
from .deposit import ArchiveApi, DepositHost, DepositPublisher, DraftFile, is_status
from .doi import DOI, foreign_doi, without_resolver
from .inveniordm_metadata import draft_body, rights

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings
    from ..registry.entry import Entry


# -- what a line means ------------------------------------------------------------------------------------------------

_NEW = "new"
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_PAGE = re.compile(r"/(?:records?|uploads|deposit)/([^/]+)(?:/.*)?")
_OWN_DOI = re.compile(r"10\.(?:5281|5072)/zenodo\.([1-9][0-9]*)", re.IGNORECASE)


def _read_zenodo(spec: str, server: str) -> str:
    """The record of a line of Zenodo or its sandbox."""
    scheme, _, rest = spec.partition(":")
    prefix, other = ("10.5072", "zenodo") if "sandbox." in server else ("10.5281", "zenodo-sandbox")
    doi, host = without_resolver(rest), urlsplit(server).hostname
    if found := _OWN_DOI.fullmatch(doi):
        if not doi.startswith(prefix):
            kind = "real" if other == "zenodo" else "test"
            raise BadName(f"{doi} is a DOI of the {kind} Zenodo: write {other}:{doi}")
        rest = found[1]
    elif DOI.fullmatch(doi):
        raise foreign_doi(doi, "Zenodo") or BadName(
            f"{doi} is no DOI of a record of Zenodo: these are 10.5281/zenodo.<number>"
            if doi.startswith("10.5281/")
            else f"{doi} is not a DOI that Zenodo gave. If the record is there and keeps a DOI of its publisher, write "
            "the number in the address of its page"
        )
    elif rest.startswith(("http://", "https://")):
        parts = urlsplit(rest)
        if (parts.hostname or "").removeprefix("www.") != host:
            raise BadName(f"{redact_url(rest)!r} is not a page of {host}; write inveniordm:{rest}")
        page = _PAGE.fullmatch(parts.path)
        rest = page[1] if page else ""
    if rest != _NEW and not _NUMBER.fullmatch(rest):
        forms = f"{scheme}:4924875, {scheme}:{prefix}/zenodo.4924875, or {scheme}:new to publish"
        raise BadName(f"{redact_url(spec)!r} names no record; write {forms}")
    return rest


def _read_address(spec: str) -> tuple[str, str, str]:
    """The server of a line, with a slash at its end, the record, and a DOI that has to be that record's."""
    forms = "inveniordm:https://host/abcde-12345, or inveniordm:https://host/new to publish"
    url = spec.partition(":")[2]
    if DOI.fullmatch(doi := without_resolver(url)):
        raise foreign_doi(doi, "a server that was named") or BadName(
            f"a DOI does not say which server has the record; write inveniordm:https://host/{doi}"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadName(f"what follows inveniordm: is no address: {error}") from None
    if parts.username is not None:
        raise BadName(f"{redact_url(spec)!r}: users and passwords do not belong in a declaration")
    path = parts.path.strip("/").removeprefix("doi/")
    # a DOI ends with the id of its record, perhaps behind a word and a point; public_record() sees whether
    declared_doi = path.lower() if DOI.fullmatch(path) else ""
    page = _PAGE.fullmatch(f"/{path}")
    record = re.split("[./]", path)[-1] if declared_doi else page[1] if page else path
    good = parts.scheme in {"http", "https"} and host and not parts.query and not parts.fragment
    if not good or not url.isprintable() or not _ID.fullmatch(record):
        raise BadName(f"{redact_url(spec)!r} names no record; write {forms}")
    return f"{parts.scheme}://{parts.netloc}/", record, declared_doi


# -- the interface ----------------------------------------------------------------------------------------------------

#: Zenodo answers plain JSON in a form of its own; this is InvenioRDM's everywhere.
_ACCEPT = "application/vnd.inveniordm.v1+json, application/json;q=0.5"


class _Api(ArchiveApi):
    """The interface of a server."""

    def __init__(self, settings: Settings, server: str, locator: str, token: Token | None = None) -> None:
        super().__init__(settings, f"{server}api/", token, headers={"Accept": _ACCEPT})
        self._locator = locator

    def newest(self, record: str) -> dict[str, Any] | None:
        """The newest version of a record."""
        found: dict[str, Any] | None = self.find(f"{_record(record)}/versions/latest")
        return found

    def files(self, record: str, *, draft: bool) -> list[DraftFile] | None:
        found = self.find(f"{_draft(record) if draft else _record(record)}/files")
        return None if found is None else self.read_files(record, found)

    def read_files(self, record: str, answer: Mapping[str, Any]) -> list[DraftFile]:
        """The files of which the server speaks."""
        return [self.read_file(record, entry) for entry in answer.get("entries") or []]

    def read_file(self, record: str, entry: Mapping[str, Any]) -> DraftFile:
        """A file of a version or a draft."""
        pin = {self._locator: int(record) if _NUMBER.fullmatch(record) else record}
        kind, _, digest = str(entry.get("checksum") or "").partition(":")
        complete = entry.get("status", "completed") == "completed"
        name, md5 = str(entry["key"]), digest.lower() if kind == "md5" and complete else None
        return DraftFile(entry.get("size") if complete else None, None, md5, pin, name, name, complete)

    def own(self, title: str, *, published: bool) -> list[str]:
        """The user's newest records with a title (published ones, or drafts), as far as the server's search knows."""
        quoted = title.replace("\\", "\\\\").replace('"', '\\"')
        query: dict[str, str | int] = {"q": f'metadata.title:"{quoted}"', "sort": "newest", "size": 25}
        query["is_published"] = "true" if published else "false"
        hits = self.json("GET", "user/records", query=query).get("hits", {}).get("hits", [])
        same = [hit for hit in hits if bool(hit.get("is_published")) == published]
        return [str(hit["id"]) for hit in same if hit.get("metadata", {}).get("title") == title]


def _record(record: str) -> str:
    return f"records/{quote(record, safe='')}"


def _draft(record: str) -> str:
    return f"{_record(record)}/draft"


# -- reading ----------------------------------------------------------------------------------------------------------


class InvenioHost(DepositHost["_Api"]):
    """A record at a server of InvenioRDM.

    Each version of a record has an id of its own, which the registry keeps as its files' locator: whatever later
    versions hold, it finds the same bytes for ever. One more id stands for all versions together; a line with it means
    the newest one, where the registry says no version.

    It is declared as ``inveniordm:https://host/abcde-12345``; ``inveniordm:https://host/new`` to publish a new one.
    """

    schemes: ClassVar[tuple[str, ...]] = ("inveniordm",)
    _provider, _variable, _own_token = "InvenioRDM", "INVENIORDM_TOKEN", False

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.server, record, self.doi = self._read(spec)
        self.record = "" if record == _NEW else record
        # one key for each server: a package may have mirrors at two of them
        self.locator = self.locator or f"inveniordm:{urlsplit(self.server).netloc}"

    def _read(self, spec: str) -> tuple[str, str, str]:
        return _read_address(spec)

    def line(self, record: str) -> str:
        return f"inveniordm:{self.server}{record}"

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """A token with two scopes; none over unencrypted HTTP, but for loopback."""
        server = urlsplit(self.server)
        if not may_get_login(server.scheme, server.hostname or ""):
            return ()
        page = f"{self.server}account/settings/applications/"
        rights = "the scopes deposit:write and deposit:actions" if self._own_token else ""
        provider = self._provider if self._own_token else server.hostname or ""
        return (Credential(provider, server.netloc, (self._variable,), (), page, rights, self._own_token),)

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The file in the version that the registry names, else in the declared record; none for a new one."""
        record = self._pinned(entry)
        return [self.source(record, name)] if record else []

    def _pinned(self, entry: Entry | None) -> str:
        return str((entry.locators.get(self.locator) if entry is not None else None) or self.record)

    def source(self, record: str, name: str, login: Mapping[str, str] | None = None) -> Source:
        """The place of a file in a version of a record."""
        url = f"{self.server}api/{_record(record)}/files/{quote(name)}/content"
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
                for record in self._versions(api, pinned):
                    files = {file.name: file for file in self._public_files(api, record)}
                    login = api.login if (record.get("access") or {}).get("files") == "restricted" else None
                    for name in [name for name in names if name in files and name not in found]:
                        source, entry = self.source(record["id"], name, login), wanted[name]
                        same = entry is None or entry.size in {None, files[name].size}
                        if same and source not in self.sources(name, entry):  # that was tried already
                            found[name] = [source]
                    if all(name in found for name in names):
                        break
            except TransferError as error:
                failed = error
                # a server that does not answer has no other record either; one that fails at this record may
                if not error.final and not isinstance(error, HostRefused):
                    break
        if failed is not None and not found:
            raise failed
        return found

    def _versions(self, api: _Api, pinned: str) -> Iterator[dict[str, Any]]:
        """The version that was declared, and the newest one: a file came after the former, or left it for this one."""
        record = self.public_record(api, pinned)
        yield record
        newest = api.newest(record["id"])
        if newest is not None and newest["id"] != record["id"]:
            yield newest

    def public_files(self, settings: Settings) -> list[DraftFile]:
        api = self.connect(settings, self.token(settings))
        return self._public_files(api, self.public_record(api, self.record))

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        return InvenioPublisher(self, settings, about)

    def connect(self, settings: Settings, token: Token | None) -> _Api:
        return _Api(settings, self.server, self.locator, token)

    def public_record(self, api: _Api, record: str) -> dict[str, Any]:
        """A published version (of all versions the newest one), or a `TransferError` that says why there is none."""
        if not record:
            raise self.unpublished()
        try:
            found: dict[str, Any] | None = api.find(_record(record))
        except HostRefused as error:
            restricted = f"the record {record} is restricted, and {_user(api)} may not see it"
            deleted = f"the record {record} was deleted" + (f" ({error.message})" if error.message else "")
            reasons = {401: restricted, 403: restricted, 410: deleted}
            if error.status not in reasons:
                raise
            raise TransferError(self.redacted, reasons[error.status], kind="status", final=True) from error
        if found is None:
            reason = f"there is no published record {record}; a draft has to be published first"
            raise TransferError(self.redacted, reason, final=True)
        pids = [found.get("pids") or {}, (found.get("parent") or {}).get("pids") or {}]
        dois = [str((pid.get("doi") or {}).get("identifier", "")).lower() for pid in pids]
        if self.doi and self.doi not in dois:
            reason = f"the record {found.get('id')} has the DOI {dois[0] or '(none)'}"
            remedy = "write the id in the address of the record's page in place of the DOI"
            raise TransferError(self.redacted, f"{reason}: {remedy}", kind="doi", final=True)
        return found

    def _public_files(self, api: _Api, record: Mapping[str, Any]) -> list[DraftFile]:
        try:
            return [file for file in api.files(record["id"], draft=False) or [] if file.complete]
        except TransferError as error:
            if not is_status(error, 401, 403):
                raise
            embargo = (record.get("access") or {}).get("embargo") or {}
            until = f" until {embargo['until']}" if embargo.get("active") and embargo.get("until") else ""
            reason = f"the files of the record {record['id']} are restricted{until}, and {_user(api)} may not get them"
            raise TransferError(self.redacted, reason, kind="status", final=True) from error


def _user(api: _Api) -> str:
    return f"the owner of the token in {api.token.origin}" if api.token else "an anonymous user"


class ZenodoHost(InvenioHost):
    """A record at Zenodo.

    It is declared as ``zenodo:4924875`` or ``zenodo:10.5281/zenodo.4924875``; ``zenodo:new`` to publish a new one.
    """

    schemes = ("zenodo",)
    example = "zenodo:1"
    locator = "zenodo"
    server = "https://zenodo.org/"
    _provider, _variable, _own_token = "Zenodo", "ZENODO_TOKEN", True

    def _read(self, spec: str) -> tuple[str, str, str]:
        return self.server, _read_zenodo(spec, self.server), ""

    def line(self, record: str) -> str:
        return f"{self.schemes[0]}:{record}"


class ZenodoSandboxHost(ZenodoHost):
    """A record at Zenodo's sandbox, which is there to try things out and is emptied now and then.

    It is declared as ``zenodo-sandbox:`` and a number or a DOI; ``zenodo-sandbox:new`` to publish a new one.
    """

    schemes = ("zenodo-sandbox",)
    example = "zenodo-sandbox:1"
    locator = "zenodo-sandbox"
    server = "https://sandbox.zenodo.org/"
    _provider, _variable = "Zenodo's sandbox", "ZENODO_SANDBOX_TOKEN"


# -- publishing -------------------------------------------------------------------------------------------------------

_GB = 10**9


class InvenioPublisher(DepositPublisher[_Api]):
    """Takes files to a record; see `DepositPublisher`. Each version of a record has a draft, and an id, of its own."""

    one_of_a_name = True
    patience = 0.0, 60.0
    host: InvenioHost

    def __init__(self, host: InvenioHost, settings: Settings, about: Mapping[str, Any]) -> None:
        self.table = "zenodo" if isinstance(host, ZenodoHost) else "inveniordm"
        super().__init__(host, settings, about)
        if isinstance(host, ZenodoHost):
            # a record may get 150 GB more once it is there
            most = 200 * _GB if host.record else 50 * _GB
            self.limits = Limits(file_bytes=most, total_bytes=most, files=100)
        self._newest: dict[str, Any] | None = None
        self._draft: dict[str, Any] = {}

    @property
    def declared(self) -> str:
        """The line with the id of all versions together, for a record that was new."""
        family = str(((self._draft or self._newest or {}).get("parent") or {}).get("id") or "")
        return self.host.spec if self.host.record or not family else self.host.line(family)

    @contextmanager
    def translated_errors(self, name: str = "") -> Iterator[None]:
        """As `DepositPublisher.translated_errors`; before version 13 there were no folders in names."""
        try:
            with super().translated_errors(name):
                yield
        except PublishError as error:
            if "/" in name and is_status(error.__cause__ or error, 404):
                reason = f"it accepts no folders in names, like all versions of InvenioRDM before 13 ({error.reason})"
                raise PublishError(self.at(name), reason) from error
            raise

    # -- only reading

    def account_name(self) -> str:
        if not self.host.credentials:
            raise AccessDenied(
                self.host.redacted, "dataferry sends no token over unencrypted http", "write the server with https://"
            )
        self.api.call("GET", "user/records", query={"size": 1})
        return "its owner"

    def earlier_record(self) -> str:
        """The newest record of this title: a registry that names it may not have been written."""
        authors(self.about, self.host.redacted)
        return next(iter(self.api.own(str(self.about["title"]).strip(), published=True)), "")

    def check_record(self) -> None:
        """Find the newest version; there is none of a draft that was never published."""
        host, record, api = self.host, self.record, self.api
        other = f"name another, or {host.line(_NEW)}"
        try:
            found = api.find(_record(record))
            draft = api.find(_draft(record)) if found is None else None
        except HostRefused as error:
            if is_status(error, 401, 403):
                raise AccessDenied(host.redacted, f"the record {record} is not yours to change", self.remedy) from error
            if is_status(error, 410):
                raise self.error(f"the record {record} was deleted", other) from error
            raise
        if found is None:
            if draft is None:
                raise self.error(f"there is no record {record}", other)
            return
        self._newest = newest = api.newest(record) or host.public_record(api, record)
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
        self.record = newest["id"]

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What the newest version has; what is in a draft is found when the files are to go."""
        found = super().hosted(uploads)
        same = all(upload.name in found and found[upload.name].matches(upload) for upload in uploads)
        if self._newest is not None and not self.host.record and not same:
            raise Conflict(
                self.host.redacted,
                f"you have published a record with this title, and it has other files: {self.declared}",
                "publish to that one, or give the new one another title in [about]",
            )
        return found

    def problem(self, upload: Upload) -> str:
        """A folder ``container`` hides what is in it: the interface takes it for a look into an archive."""
        if "container" in upload.name.split("/")[1:]:
            return "InvenioRDM serves no file with '/container' in its name; choose another name"
        return ""

    # -- the draft

    def open_draft(self, uploads: Sequence[Upload]) -> None:
        """Find or make the draft, with metadata, and the files of the version before."""
        if self._was_published(uploads):
            return
        if self._newest is not None:  # the draft of the next version, also the one that is there
            self._draft = self.api.json("POST", f"{_record(self._newest['id'])}/versions", again=True)
        else:
            record = self.record or self.find_or_make_draft(str(self.about["title"]).strip())
            self._draft = self.api.json("GET", _draft(record))
        self.record = self.notes["draft"] = str(self._draft["id"])
        self.draft_page = f"{self.host.server}uploads/{self.record}"
        self.refresh()
        if not self.files and (self._newest is not None or (self._draft.get("versions") or {}).get("index", 1) > 1):
            self.files = self.api.read_files(self.record, self.api.json("POST", f"{self._path}/actions/files-import"))
        self.send_metadata(new=self._newest is None)
        self._announce(uploads)

    def _was_published(self, uploads: Sequence[Upload]) -> bool:
        """Whether an earlier run published its draft with all files, and the server's search did not know that."""
        noted = str(self.notes.get("draft") or "")
        version = self.api.find(_record(noted)) if noted else None
        if version is None or version["id"] != noted:
            return False
        self._newest = self.api.newest(noted) or version
        self.record = self._newest["id"]
        self.refresh()
        return all(self.complete_file(upload) for upload in uploads)

    def send_metadata(self, *, new: bool) -> None:
        """Send ``[about]``, and reserve a DOI: a server on which DOIs are optional gives none without being asked."""
        if not (self._draft.get("pids") or {}).get("doi") and (self._draft.get("links") or {}).get("reserve_doi"):
            self.api.call("POST", f"{self._path}/pids/doi", accept=[400, 403, 404, 405])
            self._draft = self.api.json("GET", self._path)
        self._draft = self._described("PUT", self._path)
        # that files are missing is known: they are to come
        if errors := [e for e in self._draft.get("errors") or [] if not str(e.get("field")).startswith("files")]:
            words = "; ".join(f"{e.get('field')}: {' '.join(map(str, e.get('messages') or []))}" for e in errors)
            raise self.error(f"its draft cannot be published: {words}", "correct [about]")

    @property
    def _path(self) -> str:
        return _draft(self.record)

    def make_draft(self, title: str) -> str:
        """Make a record's first draft; its mark goes with the metadata."""
        return str(self._described("POST", "records", title)["id"])

    def own_drafts(self) -> Iterable[tuple[str, str]]:
        title = f"{str(self.about['title']).strip()[:200]} {self.notes['mark']}"
        return [(record, title) for record in self.api.own(title, published=False)]

    def _described(self, method: str, path: str, title: str = "") -> dict[str, Any]:
        """Send metadata; a license whose id the server does not know goes as a text."""
        body = draft_body(self.about, self._draft, self.host.redacted, self.provider)
        if title:
            body["metadata"]["title"] = title
        try:
            return dict(self.api.json(method, path, json=body))
        except HostRefused as error:
            if not is_status(error, 400) or not self.about.get("license"):
                raise
            body["metadata"]["rights"] = rights(self.about, free=True)
            return dict(self.api.json(method, path, json=body))

    def _announce(self, uploads: Sequence[Upload]) -> None:
        """Say which files are to come, in one request."""
        names = {file.name for file in self.files}
        if fresh := [upload.name for upload in uploads if upload.name not in names]:
            self.claim(fresh)
            answer = self.api.json("POST", f"{self._path}/files", json=[{"key": name} for name in fresh])
            files = [file for file in self.api.read_files(self.record, answer) if file.name in fresh]
            with self.lock:
                self.files += files

    def list_files(self) -> list[DraftFile]:
        return super().list_files() if self._draft else self._version_files()

    def public_files(self) -> list[DraftFile]:
        version = self.api.find(_record(self.record))
        if version is not None and version["id"] == self.record:  # the draft has become a version
            self._newest = version
        return self._version_files()

    def _version_files(self) -> list[DraftFile]:
        return self.api.files(self._newest["id"], draft=False) or [] if self._newest is not None else []

    def delete_file(self, file: DraftFile) -> None:
        self.api.call("DELETE", self._file_path(file.name), accept=[404])

    def _file_path(self, name: str) -> str:
        return f"{self._path}/files/{quote(name)}"

    def publish(self) -> None:
        self.api.call("POST", f"{self._path}/actions/publish", timeout=300.0)

    # -- one file

    def send_file(self, upload: Upload, begun: DraftFile | None, notes: Notes, moved: Moved) -> DraftFile:
        """Send the bytes of a file, and say that all of them went."""
        if begun is not None and notes.get("sent"):
            with suppress(HostRefused):  # not all bytes had gone when an earlier run was killed
                file = self._commit(upload)
                if file.matches(upload):
                    return self.add(file)
                self.remove(file)
                begun = None
        if begun is None:
            self._announce([upload])
        notes["sent"] = True
        with FileBody(upload.path, 0, upload.size, moved) as body:
            self.api.call("PUT", f"{self._file_path(upload.name)}/content", body=body, timeout=600.0)
        file = self._commit(upload)
        if not file.matches(upload):
            raise self.other_bytes(upload, file)
        return self.add(file)

    def _commit(self, upload: Upload) -> DraftFile:
        """Say that all bytes went."""
        path = f"{self._file_path(upload.name)}/commit"
        return self.api.read_file(self.record, self.api.json("POST", path, again=True, timeout=600.0))
