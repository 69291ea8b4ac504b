"""Dataverse: datasets with a DOI at Harvard's and some hundred other installations; each file has a number."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ..errors import AccessDenied, BadName
from ..registry.names import redact_url
from .about import Author, as_list, authors
from .api_client import FileBody
from .base import Credential, Limits, Moved, Notes, Publisher, Source, Upload
from .deposit import ArchiveApi, DepositHost, DepositPublisher, DraftFile, read_options
from .doi import DOI, foreign_doi, without_resolver

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings


_HARVARD = "https://dataverse.harvard.edu/"
_FORMS = "dataverse:doi:10.7910/DVN/ABCDEF, with ?server=https://... for another installation, or dataverse:new"
#: What the name of a file, and of a folder, may hold.
_LABEL, _FOLDER = re.compile(r'[^:<>;#/"*|?\\]+'), re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ ./-]*")
#: Installations unpack these on arrival.
_UNPACKED = (".zip", ".fits.gz", ".shp.zip")
_LOCKED = 600.0
_ABSENT = (401, 403, 404)
_VOCABULARIES = {"subject", "authorIdentifierScheme"}


class DataverseHost(DepositHost["_Api"]):
    """A dataset of a Dataverse installation.

    Every file has a number of its own, which the registry keeps as its locator and which finds the same bytes in every
    version of the dataset.

    It is declared as ``dataverse:doi:10.7910/DVN/ABCDEF`` at Harvard's installation, or behind it
    ``?server=https://demo.dataverse.org``; ``dataverse:new?server=...&collection=alias`` to publish a new dataset.
    """

    schemes = ("dataverse",)
    example = "dataverse:new"
    record_noun = "dataset"

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        rest, options = read_options(spec, "server", "collection")
        doi = without_resolver(rest)
        if rest != "new" and not DOI.fullmatch(doi):
            raise BadName(f"{redact_url(spec)!r} names no dataset; write {_FORMS}")
        if "server" not in options and rest != "new" and (error := foreign_doi(doi, "Harvard Dataverse")):
            raise error
        self.server, self.collection = options.get("server", _HARVARD), options.get("collection", ":root")
        self.record = "" if rest == "new" else f"doi:{doi}"
        self.locator = f"dataverse:{urlsplit(self.server).netloc}"

    @property
    def credentials(self) -> tuple[Credential, ...]:
        page = f"{self.server}dataverseuser.xhtml?selectTab=apiTokenTab"
        return (Credential("Dataverse", urlsplit(self.server).netloc, ("DATAVERSE_API_TOKEN",), (), page),)

    def connect(self, settings: Settings, token: Token | None) -> _Api:
        return _Api(settings, self, token)

    def downloads(self, number: str) -> Sequence[Source]:
        """The number does not say whether it is a table."""
        url = f"{self.server}api/access/datafile/{number}"
        return [Source(url, self.redacted), Source(f"{url}?format=original", self.redacted)]

    def places(self, file: DraftFile) -> Sequence[Source]:
        """A table that was ingested gives the uploaded bytes as its original, and other files have none."""
        query = "?format=original" if "originalFileName" in file.data["dataFile"] else ""
        return [Source(f"{self.server}api/access/datafile/{file.key}{query}", self.redacted)]

    def id_in_doi(self, file: DraftFile) -> str:
        """Installations may give each file a DOI; Harvard's does: ``10.7910/DVN/ABCDEF/GHIJKL``."""
        before, _, after = str(file.data["dataFile"].get("persistentId") or "").partition(f"{self.record}/")
        return "" if before else after

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        return DataversePublisher(self, settings, about)


class _Api(ArchiveApi):
    """Asks one installation."""

    login_header, login_form = "X-Dataverse-key", "{}"

    def __init__(self, settings: Settings, host: DataverseHost, token: Token | None) -> None:
        super().__init__(settings, f"{host.server}api/", token)
        self.locator = host.locator

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The ``data`` of an answer."""
        return super().json(method, path, **options).get("data")

    def dataset(self, record: str, method: str, path: str, more: Mapping[str, str] = {}, **options: Any) -> Any:
        """The ``data`` of an answer about a dataset."""
        query = {"persistentId": record, **more}
        return self.json(method, f"datasets/:persistentId/{path}", query=query, **options)

    def files(self, record: str, *, draft: bool) -> list[DraftFile] | None:
        """Of a dataset without a draft, ``:latest`` is the newest public version."""
        version = ":latest" if draft else ":latest-published"
        found = self.dataset(record, "GET", f"versions/{version}/files", accept=_ABSENT)
        return None if found is None else [self.file(item) for item in found]

    def file(self, item: Mapping[str, Any]) -> DraftFile:
        """A file; a table that was ingested is a .tab file there, and its checksum is that of the original."""
        data = item["dataFile"]
        checksum = data.get("checksum") or {"type": "MD5", "value": data.get("md5")}
        digests = {str(checksum.get("type")).upper(): str(checksum.get("value") or "").lower() or None}
        name, key = str(data.get("originalFileName") or item["label"]), str(data["id"])
        return DraftFile(
            data.get("originalFileSize") or data.get("filesize"),
            digests.get("SHA-256"),
            digests.get("MD5"),
            {self.locator: int(key)},
            "/".join(filter(None, [item.get("directoryLabel"), name])),
            key,
            data=item,
        )


class DataversePublisher(DepositPublisher[_Api]):
    """Takes files to a dataset; see `DepositPublisher`."""

    limits = Limits(empty=False)
    one_of_a_name = True
    patience = 0.0, _LOCKED
    needed = ("title", "description", "authors")
    table = "dataverse"
    host: DataverseHost
    _email = ""

    def problem(self, upload: Upload) -> str:
        """A name that Dataverse changes, or a file that it unpacks."""
        path = PurePosixPath(upload.name)
        if upload.name.lower().endswith(_UNPACKED):
            return f"Dataverse unpacks files that end in {' or '.join(_UNPACKED)}: unpack it, or pack it with tar"
        folder = str(path.parent)
        if _LABEL.fullmatch(path.name) and (folder == "." or _FOLDER.fullmatch(folder)):
            return ""
        return (
            "Dataverse takes only letters and digits of ASCII, '_', '.', '-' and spaces in folders, and none of "
            ': < > ; # " * | in names'
        )

    def account_name(self) -> str:
        user = self.api.json("GET", "users/:me")
        self._email = str(user.get("email") or "")
        return str(user.get("displayName") or user.get("identifier"))

    def check_record(self) -> None:
        rights = self.api.dataset(self.record, "GET", "userPermissions", accept=_ABSENT)
        if rights is not None and not (rights.get("canEditDataset") and rights.get("canPublishDataset")):
            raise AccessDenied(self.at(), "this account may not edit and publish the dataset", self.remedy)
        super().check_record()

    def own_drafts(self) -> Iterable[tuple[str, str]]:
        """Datasets with the mark of a killed run, as far as the search knows them."""
        found = self.api.json(
            "GET", "search", query={"q": f'"{self.notes["mark"]}"', "type": "dataset", "per_page": 25}
        )
        return [(str(item["global_id"]), str(item["name"])) for item in found.get("items", [])]

    def make_draft(self, title: str) -> str:
        path = f"dataverses/{quote(self.host.collection, safe=':')}/datasets"
        return str(self.api.json("POST", path, json=self._body(title))["persistentId"])

    def send_metadata(self, *, new: bool) -> None:
        """Take the mark out of the title; what else a dataset says is edited on its page."""
        if new:
            fields = {"fields": [{"typeName": "title", "value": str(self.about["title"]).strip()}]}
            self.api.dataset(self.record, "PUT", "editMetadata", {"replace": "true"}, json=fields)

    def send_file(self, upload: Upload, begun: DraftFile | None, notes: Notes, moved: Moved) -> DraftFile:
        """Add a file in one request; a request that was cut leaves nothing behind."""
        path = PurePosixPath(upload.name)
        folder = {} if str(path.parent) == "." else {"directoryLabel": str(path.parent)}
        self._wait_for_locks()
        with _Form(upload, {"tabIngest": "false", "restrict": "false", **folder}, moved) as body:
            headers = {"Content-Type": f"multipart/form-data; boundary={body.boundary}"}
            added = self.api.dataset(self.record, "POST", "add", body=body, headers=headers, again=False, timeout=600.0)
        file = self.add(self.api.file(added["files"][0]))
        if file.name != upload.name or file.matches(upload) is False:
            raise self.other_bytes(upload, file)
        return file

    def delete_file(self, file: DraftFile) -> None:
        self.api.json("DELETE", f"files/{file.key}", accept=(404,))

    def publish(self) -> None:
        self._wait_for_locks()
        self.api.dataset(self.record, "POST", "actions/:publish", {"type": "major"})

    def _wait_for_locks(self) -> None:
        """An ingest, a workflow, or an earlier publication keeps others out for a while; a review does for long."""
        for _ in self.waiting(_LOCKED, "the dataset is no longer locked"):
            locks = {str(lock.get("lockType")) for lock in self.api.dataset(self.record, "GET", "locks") or []}
            if not locks:
                return
            if "InReview" in locks:
                break
        reason = f"the dataset is locked ({', '.join(sorted(locks))})"
        raise self.error(reason, "run the same command again later")

    def _body(self, title: str) -> dict[str, Any]:
        """``[about]`` as Dataverse takes it."""
        about, people = self.about, authors(self.about, self.at())
        email = about.get("contact") or next((person.email for person in people if person.email), self._email)
        contact = {"datasetContactName": _family_first(people[0]), "datasetContactEmail": email}
        keywords = [{"keywordValue": str(word)} for word in as_list(about.get("keywords"))]
        fields = {
            "title": title,
            "author": [_author(person) for person in people],
            "datasetContact": [contact],
            "dsDescription": [{"dsDescriptionValue": str(about["description"])}],
            "subject": as_list(about.get("subjects") or ["Other"]),
            "keyword": keywords,
        }
        citation = {"fields": [_field(name, value) for name, value in fields.items() if value]}
        version: dict[str, Any] = {"metadataBlocks": {"citation": citation}}
        if about.get("license"):
            found = self.license_among(self.api.json("GET", "licenses") or [])
            version["license"] = {"name": found["name"], "uri": found["uri"]}
        return {"datasetVersion": version}


def _family_first(person: Author) -> str:
    return ", ".join(filter(None, person.name_parts))


def _author(person: Author) -> dict[str, str]:
    author = {"authorName": _family_first(person)}
    if person.affiliations:
        author["authorAffiliation"] = person.affiliations[0]
    if person.orcid:
        author |= {"authorIdentifierScheme": "ORCID", "authorIdentifier": person.orcid}
    return author


def _field(name: str, value: Any) -> dict[str, Any]:
    """A field of a metadata block; compound ones hold fields themselves."""
    kind = "controlledVocabulary" if name in _VOCABULARIES else "primitive"
    if isinstance(value, list) and isinstance(value[0], dict):
        kind, value = "compound", [{key: _field(key, part) for key, part in item.items()} for item in value]
    return {"typeName": name, "typeClass": kind, "multiple": isinstance(value, list), "value": value}


class _Form(FileBody):
    """A form with ``jsonData`` and a file, read from the disk as it goes."""

    def __init__(self, upload: Upload, options: Mapping[str, str], moved: Moved) -> None:
        super().__init__(upload.path, 0, upload.size, moved)
        self.boundary = uuid.uuid4().hex
        start = f"--{self.boundary}\r\nContent-Disposition: form-data; name="
        head = f'{start}"jsonData"\r\n\r\n{json.dumps(options)}\r\n{start}"file"; filename="'
        head += f'{PurePosixPath(upload.name).name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        self._head, self._tail = BytesIO(head.encode()), BytesIO(f"\r\n--{self.boundary}--\r\n".encode())

    def __len__(self) -> int:
        return self.size + len(self._head.getbuffer()) + len(self._tail.getbuffer())

    def read(self, count: int = -1) -> bytes:
        """The next bytes, perhaps fewer."""
        return self._head.read(count) or super().read(count) or self._tail.read(count)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go back to the beginning, the only place from which a request is sent again."""
        self._head.seek(offset)
        self._tail.seek(offset)
        return super().seek(offset)
