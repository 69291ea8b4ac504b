"""Figshare: articles, their versions, and files that have a number each."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..download.backoff import tries
from ..errors import AccessDenied, BadName, Conflict, HostRefused, PublishError, TransferError
from ..registry.names import close_names, redact_url
from .about import Author, as_list, authors
from .api_client import ApiClient, FileBody, Response, error_message
from .base import Credential, HostedFile, Limits, Moved, Notes, Publisher, Source, Upload
from .deposit import (
    MOST_PAGES,
    PAGE_BYTES,
    ArchiveApi,
    DepositHost,
    DepositPublisher,
    DraftFile,
    endless_list,
    is_status,
    read_options,
)
from .doi import DOI, foreign_doi, without_resolver

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings


# -- what a line means ------------------------------------------------------------------------------------------------

_API = "https://api.figshare.com/v2/"
_OWN_SERVERS = (".figshare.com", ".figsh.com")
_ID = re.compile(r"([1-9][0-9]{0,17})(?:\.v([1-9][0-9]{0,5}))?")
_OWN_DOI = re.compile(r"10\.6084/m9\.figshare\.([1-9][0-9]{0,17})(?:\.v([1-9][0-9]{0,5}))?")
_PAGE = re.compile(r"/articles/(?:[^/]+/){0,2}([1-9][0-9]{0,17})(?:/([1-9][0-9]{0,5}))?/?")
_FORMS = "figshare:14763051, figshare:14763051.v2, figshare:10.6084/m9.figshare.14763051, or figshare:new to publish"


def _read_article(rest: str, spec: str) -> tuple[int | None, int | None, str]:
    """The article of a line, its version, and its DOI where only Figshare can say which article has it."""
    if not spec.isprintable() or " " in spec:
        raise BadName(f"{redact_url(spec)!r} is not of the form {_FORMS}")
    if rest == "new":
        return None, None, ""
    path = urlsplit(rest).path if rest.startswith(("http://", "https://")) and "doi.org" not in rest else ""
    doi = without_resolver(rest).lower()
    if path.startswith("/s/"):
        raise BadName(
            "this is a private link: only people who have it can see the files, and only until it expires. "
            f"Publish the article and write {_FORMS}"
        )
    if found := _PAGE.search(path) if path else _ID.fullmatch(rest) or _OWN_DOI.fullmatch(doi):
        return int(found[1]), int(found[2]) if found[2] else None, ""
    if path or not DOI.fullmatch(doi):
        raise BadName(f"{redact_url(spec)!r} names no article; write {_FORMS}")
    if error := foreign_doi(without_resolver(rest), "Figshare"):
        raise error
    if re.search(r"[/.]c\.[0-9]+(?:\.v[0-9]+)?$", doi):
        raise BadName(f"{doi} is a collection, which has no files itself: name one of its articles")
    plain, _, version = doi.rpartition(".v")
    pinned = plain and re.fullmatch("[0-9]{1,6}", version)
    return (None, int(version), plain) if pinned else (None, None, doi)


# -- names: an article holds one flat list of plain file names --------------------------------------------------------

#: Characters of a file name; file systems of those who download by hand take no more either.
_LONGEST_NAME = 255
_ODD = re.compile(r"[^A-Za-z0-9._+@,() -]")
_ESCAPED = re.compile(r"((?:=[0-9A-F]{2})+)")


def article_name(name: str) -> str:
    """The file name in an article, ``maps=2Fdust 064.fits``: odd characters as their bytes, as in quoted-printable."""
    flat = _ODD.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), name)
    return f"=2E{flat[1:]}" if flat.startswith(".") else flat


def file_name(stored: str, folder: str = "") -> str:
    """What `article_name` was made from; a name that it did not make stays, below the folder that the article has."""
    try:
        parts = _ESCAPED.split(stored)
        name = "".join(bytes.fromhex(p.replace("=", "")).decode() if p.startswith("=") else p for p in parts)
    except ValueError:
        name = stored
    name = name if article_name(name) == stored else stored
    inner = folder.strip("/")
    return f"{inner}/{name}" if inner else name


# -- the interface, version 2 -----------------------------------------------------------------------------------------

_PAGE_SIZE = 1000
#: Seconds that an article may be locked after it was published.
_LOCKED = 60.0


class _Api(ArchiveApi):
    """Figshare's interface, which asks for at most one request a second on average."""

    a_minute = 60
    login_form = "token {}"
    absent = (401, 403, 404)

    def call(self, method: str, path: str, **options: Any) -> Response:
        """Ask, and wait for an article that is locked: it is for a while after it was published."""
        for _ in tries(_LOCKED, 0.3):
            response = super().call(method, path, **{**options, "accept": (409, 423, *options.get("accept", ()))})
            if response.status not in {409, 423}:
                return response
        raise HostRefused(response.place, response.status, error_message(response))

    def account(self) -> dict[str, Any]:
        """Whose token it is."""
        if (found := self.find("account")) is None:
            self.log_in("Bearer {}")  # installations know one of two forms
            found = self.json("GET", "account")
        return dict(found)

    def pages(self, path: str) -> list[dict[str, Any]] | None:
        """A whole list, however many pages it has; None if there is none."""
        items: list[dict[str, Any]] = []
        for number in range(1, MOST_PAGES + 1):
            page = self.find(path, query={"page": number, "page_size": _PAGE_SIZE}, max_bytes=PAGE_BYTES)
            if page is None:
                return None
            items += page
            if len(page) < _PAGE_SIZE:
                return items
        raise endless_list(f"{self.base}{path}")

    def files(self, record: str, *, draft: bool) -> list[DraftFile] | None:
        return self.files_at(f"account/articles/{record}" if draft else f"articles/{record}")

    def files_at(self, path: str, folders: Mapping[str, str] = {}) -> list[DraftFile] | None:
        """The files of an article or a version, in the folders of its ``folder_structure``."""
        if (items := self.pages(f"{path}/files")) is None:
            return None
        items.sort(key=lambda item: int(item["id"]))
        return [self.file(item, folders.get(str(item["id"]), "")) for item in items]

    def file(self, item: Mapping[str, Any], folder: str = "") -> DraftFile:
        """A file; its bytes are complete when their digest is there."""
        md5 = str(item.get("computed_md5") or "").lower()
        return DraftFile(
            None if item.get("is_link_only") else item.get("size"),
            md5=md5 or None,
            locators={"figshare": int(item["id"])},
            name=file_name(str(item["name"]), folder),
            key=str(item["id"]),
            complete=bool(md5),
            announced=str(item.get("supplied_md5") or "").lower(),
            data=item,
            login=self.login,
        )

    def article_of(self, host: FigshareHost) -> str:
        """The id of the declared article; some have a DOI only with their version."""
        if host.article is not None:
            return str(host.article)
        for doi in (f"{host.doi}.v{host.version}", host.doi):
            for item in self.json("GET", "articles", query={"doi": doi, "page_size": 10}):
                known = str(item.get("doi", "")).lower()
                if known == doi or known.rpartition(".v")[0] == doi:
                    return str(item["id"])
        reason = f"no public article of Figshare has the DOI {host.doi}: it is another archive's, or mistyped"
        raise TransferError(host.redacted, reason, kind="status", final=True)


# -- reading ----------------------------------------------------------------------------------------------------------


class FigshareHost(DepositHost["_Api"]):
    """An article at Figshare.

    Every file has a number of its own, which the registry keeps as its locator and which finds the same bytes for
    ever, whatever later versions of the article hold.

    It is declared as ``figshare:14763051``, ``figshare:14763051.v2``, ``figshare:<DOI>``; ``figshare:new`` to
    publish a new one. An installation other than figshare.com is given as
    ``?server=https://api.../v2&downloads=https://.../``.
    """

    locator = "figshare"
    schemes = ("figshare",)
    example = "figshare:1"
    record_noun = "article"

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        rest, options = read_options(spec, "server", "downloads")
        self.article, self.version, self.doi = _read_article(rest, spec)
        self.record = str(self.article or self.doi)
        self.server = options.get("server", _API)
        server = urlsplit(self.server)
        # each of Figshare's own installations, as its sandbox figsh.com, has a host for downloads beside api.
        self._ndownloader = f"{server.scheme}://ndownloader.{server.netloc.removeprefix('api.')}/"
        beside = self._ndownloader if server.netloc.startswith("api.") else ""
        self.download_server = options.get("downloads", beside)

    @property
    def credentials(self) -> tuple[Credential, ...]:
        server = urlsplit(self.server)
        own = server.scheme == "https" and (server.hostname or "").endswith(_OWN_SERVERS)
        page = "https://figshare.com/account/applications (it has all your permissions)"
        return (Credential("Figshare", server.netloc, ("FIGSHARE_TOKEN",), page=page, own=own),)

    def connect(self, settings: Settings, token: Token | None) -> _Api:
        return _Api(settings, self.server, token)

    def downloads(self, number: int | str, login: Mapping[str, str] | None = None) -> list[Source]:
        """The download host, then the API, which also answers where a firewall keeps programs from the former."""
        login = login or {}
        sources = [Source(f"{self.server}file/download/{number}", self.redacted, login)]
        if self.download_server:
            own = self.download_server == self._ndownloader  # a package may name any download host
            url = f"{self.download_server}files/{number}"
            sources.insert(0, Source(url, self.redacted, login if own else {}))
        return sources

    def places(self, file: DraftFile) -> Sequence[Source]:
        linked = file.data.get("is_link_only") and file.data.get("download_url")
        # a file that only is linked lies elsewhere, and the token is nobody else's business
        return [Source(linked, self.redacted)] if linked else self.downloads(file.key, file.login)

    def public_files(self, settings: Settings) -> list[DraftFile]:
        """All files of the article, or of the version that is pinned; of a private one with the user's token."""
        api = self.connect(settings, None)
        article = api.article_of(self)
        path = f"articles/{article}/versions/{self.version}" if self.version else f"articles/{article}"
        details = api.find(path)
        if details is not None and details.get("files"):
            return api.files_at(path, details.get("folder_structure") or {}) or []
        reason = f"there is no public article {article}"
        if details is not None:
            until = f" until {str(details['embargo_date'])[:10]}" if details.get("embargo_date") else ""
            reason = f"its files are under embargo{until}" if details.get("is_embargoed") else "it has no files"
        elif self.version and api.find(f"articles/{article}") is not None:
            reason = f"there is no version {self.version}"
        if (token := self.token(settings)) is None:
            remedy = f"to read a private article, {self.credentials[0].remedy}"
            raise TransferError(self.redacted, f"{reason}; {remedy}", kind="list", final=True)
        owner = self.connect(settings, token)
        with suppress(HostRefused):
            owner.account()
        if (files := owner.files(article, draft=True)) is not None:
            return files
        reason += f", and the token in {token.origin} opens no private one"
        raise TransferError(self.redacted, reason, kind="list", final=True)

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        return FigsharePublisher(self, settings, about)


# -- publishing -------------------------------------------------------------------------------------------------------

_GB = 10**9
#: What Figshare takes in one file at all, and of an account that pays nothing; how many files of an article.
_MOST_BYTES, _FREE_BYTES, _MOST_FILES = 5_000 * _GB, 20 * _GB, 500
#: Parts of one file on their way at the same time; seconds that one may stay locked after a cut.
_PARTS_AT_ONCE, _PART_LOCKED = 3, 120.0
_TIMES_AN_UPLOAD_BEGINS = 3


class FigsharePublisher(DepositPublisher[_Api]):
    """Takes files to an article; see `DepositPublisher`."""

    # what any account has; _check_quota() knows what this one has
    limits = Limits(file_bytes=_MOST_BYTES, empty=False)
    host: FigshareHost
    needed = ("title", "description", "keywords", "categories", "license")
    table = "figshare"
    _account: Mapping[str, Any] = {}

    @property
    def _path(self) -> str:
        return f"account/articles/{self.record}"

    @contextmanager
    def translated_errors(self, name: str = "") -> Iterator[None]:
        """As `DepositPublisher.translated_errors`; a network that fails is an error of publishing as well."""
        try:
            with super().translated_errors(name):
                yield
        except TransferError as error:
            raise PublishError(self.at(name), str(error), "run the same command again to continue") from error

    # -- only reading

    def account_name(self) -> str:
        if self.host.version is not None:
            remedy = "name the article without a version: the files become its next version"
            raise self.error("a published version never changes", remedy)
        self._account = self.api.account()
        if self.host.doi:
            self.record = self.api.article_of(self.host)
        names = (self._account.get("first_name"), self._account.get("last_name"))
        return f"{' '.join(filter(None, names)) or 'account'} ({self._account.get('id')})"

    def check_record(self) -> None:
        """Whether the account may change the article, and everybody will see its files."""
        details = self.api.find(self._path)
        if details is None:
            public = self.api.find(f"articles/{self.record}")
            reason = "the article is somebody else's" if public else "this account sees none of that number"
            remedy = "have yourself added as a collaborator of its project, or publish to figshare:new"
            raise AccessDenied(self.declared, reason, remedy)
        if details.get("is_embargoed"):
            raise self.error("the article is under embargo, so users could not download its files")

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        found = super().hosted(uploads)
        self._check_quota(uploads)
        return found

    def problem(self, upload: Upload) -> str:
        flat = article_name(upload.name)
        if len(flat) <= _LONGEST_NAME:
            return ""
        return (
            f"Figshare has flat names of at most {_LONGEST_NAME} characters, and this one becomes {len(flat)} there: "
            "give it a shorter name, or one with fewer characters that are not ASCII"
        )

    def _check_quota(self, uploads: Sequence[Upload]) -> None:
        """Refuse what Figshare would refuse later."""
        account, going = self._account, [upload for upload in uploads if self.complete_file(upload) is None]
        most = account.get("maximum_file_size") or _FREE_BYTES
        for upload in [upload for upload in going if upload.size > most]:
            reason = f"it has {upload.size} bytes, and the account takes {most} in one file"
            remedy = "Figshare lifts that on request for institutions, and sells Figshare+ for large data"
            raise PublishError(self.at(upload.name), reason, remedy)
        needed = sum(upload.size for upload in going if self.begun_file(upload) is None)
        quota = account.get("quota") or sys.maxsize
        free = max(0, quota - (account.get("used_quota_private") or 0))
        if needed > free:
            raise self.error(
                f"the files need {needed} bytes, and {free} are free of the {quota} that the account has for "
                "unpublished files",
                "publish or delete other drafts, publish fewer files at a time, or ask Figshare for more",
            )
        count = len({file.name for file in self.files} | {upload.name for upload in going})
        # an institution, or Figshare+, has a number of its own and reports it only when it is reached
        if count > _MOST_FILES and not account.get("institution_id"):
            reason = f"the article would have {count} files, and Figshare takes {_MOST_FILES}"
            raise self.error(reason, "spread them over several articles, or pack them")

    # -- the draft

    def send_metadata(self, *, new: bool) -> None:
        """Send what ``[about]`` says, and reserve a DOI if it asks for one."""
        if self._fields:
            self.api.call("PATCH", self._path, json=self._fields, again=True)
        if self.about.get("reserve_doi") and not self.api.json("GET", self._path).get("doi"):
            self.notes["doi"] = str(self.api.json("POST", f"{self._path}/reserve_doi", again=True).get("doi"))

    def make_draft(self, title: str) -> str:
        """Make an article; its mark goes with the first change of the title."""
        new = {**self._fields, "title": title, "defined_type": self.about.get("type", "dataset")}
        made = self.api.json("POST", "account/articles", json=new)
        return str(made.get("entity_id") or str(made["location"]).rstrip("/").rpartition("/")[2])

    def own_drafts(self) -> Iterable[tuple[str, str]]:
        return [(str(item["id"]), str(item.get("title", ""))) for item in self.api.pages("account/articles") or []]

    def delete_file(self, file: DraftFile) -> None:
        self.api.call("DELETE", f"{self._path}/files/{file.key}", accept=(404,))

    def publish(self) -> None:
        self.api.call("POST", f"{self._path}/publish")

    # -- one file: in the parts that the upload service wants, from where an earlier run stopped

    def send_file(self, upload: Upload, begun: DraftFile | None, notes: Notes, moved: Moved) -> DraftFile:
        """Send the parts that the upload service has not yet got, and say that all are there."""
        for _ in range(_TIMES_AN_UPLOAD_BEGINS):
            file = self.add(begun or self._announce(upload))
            if _Parts(self.api, file.data, upload, moved).send():
                break
            self.remove(file)
            begun = None
        else:
            reason = f"Figshare dropped the upload {_TIMES_AN_UPLOAD_BEGINS} times"
            raise PublishError(self.at(upload.name), reason, "run the same command again later")
        path = f"{self._path}/files/{file.key}"
        try:
            self.api.call("POST", path, again=True)
        except TransferError as error:
            if (there := self.api.find(path)) is None:
                reason = "somebody else who publishes to the article removed the file from its draft"
                raise Conflict(self.at(upload.name), reason, "run the same command again") from error
            # an earlier request may have done it, and only its answer was lost
            if there.get("status", "created") == "created":
                raise
        return file

    def _announce(self, upload: Upload) -> DraftFile:
        path, known = f"{self._path}/files", {file.key for file in self.files_named(upload)}
        new = {"name": article_name(upload.name), "size": upload.size, "md5": upload.md5}
        try:
            made = self.api.json("POST", path, json=new)
            number = str(made["location"]).rstrip("/").rpartition("/")[2]
            return self.api.file(self.api.json("GET", f"{path}/{number}"))
        except TransferError:
            # the answer may have been lost and not the request
            self.refresh()
            late = self.begun_file(upload)
            if late is None or late.key in known:
                raise
            return late

    # -- [about]

    @cached_property
    def _fields(self) -> dict[str, Any]:
        """The ``[about]`` table as Figshare takes it; what it does not hold is left out."""
        about = self.about
        fields: dict[str, Any] = {key: str(about[key]).strip() for key in ("title", "description") if about.get(key)}
        if about.get("keywords"):
            fields["tags"] = [str(word) for word in as_list(about["keywords"])]
        if about.get("authors"):
            fields["authors"] = [_figshare_author(author) for author in authors(about, self.at(), ids=True)]
        if about.get("categories"):
            fields["categories"] = [self._category(item) for item in as_list(about["categories"])]
        if about.get("license"):
            given = as_list(about["license"])[0]
            number = given if isinstance(given, int) else self.license_among(self._offered("licenses"))["value"]
            fields["license"] = int(number)
        return fields

    def _category(self, given: object) -> int:
        if isinstance(given, int):
            return given
        known = self._offered("categories")
        for item in known:
            if str(given).lower() in {str(item.get(key)).lower() for key in ("source_id", "title")}:
                return int(item["id"])
        titles = [str(item["title"]) for item in known]
        close = [title for title in titles if str(given).lower() in title.lower()] or close_names(str(given), titles)
        hint = f"; did you mean {' or '.join(map(repr, close[:3]))}?" if close else ""
        remedy = f"all of them, with their ids, are at {self.api.base}categories"
        raise self.error(f"Figshare has no category {given!r}{hint}", remedy)

    def _offered(self, what: str) -> list[dict[str, Any]]:
        """What this account may use; what anybody may, where the account has no list of its own."""
        return list(self.api.find(f"account/{what}") or self.api.json("GET", what))


class _Parts:
    """The parts of one unfinished upload. Its URL opens it for whoever has it, and so is in no message."""

    def __init__(self, api: _Api, item: Mapping[str, Any], upload: Upload, moved: Moved) -> None:
        self._url, self._upload, self._moved = str(item["upload_url"]).rstrip("/"), upload, moved
        login = api.login if _same_site(self._url, api.base) else {}
        self._client = ApiClient(api.settings, self._url, headers=login)

    def send(self) -> bool:
        """Send the parts that are missing; false where the service has dropped the upload."""
        for _ in range(4):
            if (missing := self._missing()) is None:
                return False
            if not missing:
                return True
            with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
                list(pool.map(self._put, missing))
        raise self._error("the upload service took all parts and reports that some are missing")

    def _missing(self) -> list[dict[str, Any]] | None:
        """The parts that have not arrived; None where the service knows the upload no longer."""
        try:
            answer = self._client.call("GET", self._url, accept=(404,))
        except TransferError as error:
            raise self._error(error.reason) from None
        upload: dict[str, Any] = answer.json() if answer.status != 404 else {}
        if upload.get("status", "ABORTED") == "ABORTED":
            return None
        if upload["status"] == "COMPLETED":  # by a run that was killed after it had said that all parts are there
            return []
        return [part for part in upload["parts"] if part.get("status") != "COMPLETE"]

    def _put(self, part: Mapping[str, Any]) -> None:
        number, start = int(part["partNo"]), int(part["startOffset"])
        size = int(part["endOffset"]) + 1 - start
        for _ in tries(_PART_LOCKED, 0.2, 5.0):
            try:
                with FileBody(self._upload.path, start, size, self._moved) as body:
                    self._client.call("PUT", f"{self._url}/{number}", body=body, again=False, timeout=120)
                return
            except TransferError as error:
                failed = error
            # the answer may be all that was lost; and an upload that was cut keeps its part locked for a while
            if number not in {int(other["partNo"]) for other in self._missing() or ()}:
                self._moved(size)
                return
            if failed.final and not is_status(failed, 409):
                break
        raise self._error(f"part {number}: {failed.reason}")

    def _error(self, reason: str) -> PublishError:
        place = f"{self._upload.name} at {urlsplit(self._url).netloc}"
        return PublishError(place, reason, "what arrived stays there: run it again to continue")


def _same_site(url: str, base: str) -> bool:
    """Whether two hosts are the same, or beside each other: the upload service of api.figshare.com."""
    one, other = (urlsplit(each).hostname or "" for each in (url, base))
    return one == other or (one.partition(".")[2] == other.partition(".")[2] and other.count(".") == 2)


def _figshare_author(author: Author) -> dict[str, Any]:
    fields = {
        "id": author.id,
        "name": author.name,
        "first_name": author.given,
        "last_name": author.family,
        "email": author.email,
        "orcid_id": author.orcid,
    }
    return {key: value for key, value in fields.items() if value}
