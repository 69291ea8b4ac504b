"""A Dataverse on loopback, after the API guides of versions 4 and 5: datasets, versions, locks, files by number.

What it plays of the guide's small print: the answers are wrapped in ``{"status": "OK", "data": ...}``; a name that is
taken gets ``-1`` before its suffix; ``.zip`` and ``.fits.gz`` are unpacked on arrival; folders lose what they may not
hold; a table that was ingested is a ``.tab`` file whose checksum is that of the original; publishing answers 202 and
locks the dataset for a while; a file that is taken out of a draft stays in the versions that have it.
"""

from __future__ import annotations

import email.parser
import email.policy
import gzip
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from .stand_in import Handler, StandIn

__all__ = ["Dataverse", "dataverse"]

LICENSES = [
    {"name": "CC0 1.0", "uri": "http://creativecommons.org/publicdomain/zero/1.0"},
    {"name": "CC BY 4.0", "uri": "http://creativecommons.org/licenses/by/4.0"},
]
NEEDED = {"title", "author", "datasetContact", "dsDescription", "subject"}


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Dataset:
    pid: str
    owner: str
    fields: dict[str, Any]
    license: str = ""
    draft: list[int] | None = field(default_factory=list)
    versions: list[list[int]] = field(default_factory=list)
    locked: float = 0.0
    lock: str = "finalizePublication"


@dataclass
class Fault:
    pattern: str
    status: int = 0  # this is answered instead
    lost: bool = False  # it is done, and the connection is reset instead of an answer
    cut: int | None = None  # the connection is reset after so many bytes of the body
    left: int = 1
    before: Callable[[], object] | None = None


class Dataverse(StandIn):
    """An installation with the users ann (``key-ann``) and bob (``key-bob``); a context manager."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.datasets: dict[str, Dataset] = {}
        self.files: dict[int, dict[str, Any]] = {}
        self.bytes: dict[int, bytes] = {}
        self.log: list[str] = []
        self.faults: list[Fault] = []
        self.digest = "MD5"
        self.locks_for = 0.0
        self.most_bytes = 10**9
        self._numbers = 100
        self._lock = threading.RLock()

    def spec(self, dataset: str = "new", **options: str) -> str:
        query = "&".join(f"{key}={value}" for key, value in {"server": self.url.rstrip("/"), **options}.items())
        return f"dataverse:{dataset}?{query}"

    def fault(self, pattern: str, **how: Any) -> Fault:
        self.faults.append(Fault(pattern, **how))
        return self.faults[-1]

    def count(self, pattern: str) -> int:
        return sum(bool(re.match(pattern, line)) and int(line.split()[-1]) < 400 for line in self.log)

    def number(self) -> int:
        with self._lock:
            self._numbers += 1
            return self._numbers

    def put(self, files: Mapping[str, bytes], owner: str = "bob", *, public: bool = True) -> Dataset:
        """A dataset that somebody made on the page, where names are what they are."""
        made = Dataset(f"doi:10.5072/FK2/{self.number():06}", owner, {"title": "Somebody's data"})
        made.draft = [self.keep(name, data) for name, data in files.items()]
        if public:
            made.versions, made.draft = [made.draft], None
        self.datasets[made.pid] = made
        return made

    def keep(self, name: str, data: bytes) -> int:
        number, (folder, _, label) = self.number(), name.rpartition("/")
        kind = hashlib.md5 if self.digest == "MD5" else hashlib.sha256
        known = {"id": number, "filename": label, "filesize": len(data)}
        known["checksum"] = {"type": self.digest, "value": kind(data).hexdigest()}
        self.files[number] = {"label": label, **({"directoryLabel": folder} if folder else {}), "dataFile": known}
        self.bytes[number] = data
        return number

    # -- answers -------------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        with self._lock:
            try:
                status, data = self.route(method, target, headers, body)
                sent = data if isinstance(data, bytes) else json.dumps({"status": "OK", "data": data}).encode()
            except Refused as refused:
                status, sent = refused.status, json.dumps({"status": "ERROR", "message": str(refused)}).encode()
            self.log.append(f"{method} {target} {status}")
            return status, sent

    def route(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        key = headers.get("x-dataverse-key", "")
        user = {"key-ann": "ann", "key-bob": "bob"}.get(key, "")
        if key and not user:
            raise Refused(401, "Bad API key")
        path = parts.path.removeprefix("/api/")
        if found := re.fullmatch(r"access/datafile/(\d+)", path):
            return self.download(int(found[1]), user, query)
        if (method, path) == ("GET", "users/:me"):
            self.need(user)
            return 200, {"identifier": f"@{user}", "displayName": user.title(), "email": f"{user}@x.example"}
        if (method, path) == ("GET", "licenses"):
            return 200, LICENSES
        if (method, path) == ("GET", "search"):
            mine = [d for d in self.datasets.values() if d.owner == user and query["q"].strip('"') in d.fields["title"]]
            return 200, {"items": [{"global_id": d.pid, "name": d.fields["title"], "type": "dataset"} for d in mine]}
        if method == "POST" and re.fullmatch(r"dataverses/[\w:]+/datasets", path):
            return self.create(self.need(user), json.loads(body))
        if method == "DELETE" and (found := re.fullmatch(r"files/(\d+)", path)):
            return self.take_out(self.need(user), int(found[1]))
        if found := re.fullmatch(r"datasets/:persistentId/(.+)", path):
            return self.of_dataset(method, found[1], query, user, headers, body)
        raise Refused(404, f"no {method} {path} here")

    def need(self, user: str) -> str:
        if not user:
            raise Refused(401, "Please provide an API key")
        return user

    def of_dataset(
        self, method: str, path: str, query: Mapping[str, str], user: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Any]:
        dataset = self.datasets.get(query.get("persistentId", ""))
        if dataset is None or (dataset.owner != user and not dataset.versions):
            raise Refused(404 if dataset is None else 401, "Dataset with Persistent ID not found.")
        mine = dataset.owner == user
        if (method, path) == ("GET", "locks"):
            locked = time.monotonic() < dataset.locked
            return 200, [{"lockType": dataset.lock, "user": user}] if locked else []
        if (method, path) == ("GET", "userPermissions"):
            return 200, {"canViewUnpublishedDataset": mine, "canEditDataset": mine, "canPublishDataset": mine}
        if method == "GET" and (found := re.fullmatch(r"versions/(:\S+)/files", path)):
            numbers = dataset.versions[-1] if dataset.versions else None
            if found[1] == ":latest" and mine and dataset.draft is not None:
                numbers = dataset.draft
            if numbers is None:
                raise Refused(404, "No published version found")
            return 200, [self.files[number] for number in numbers]
        if not mine:
            raise Refused(403, "User is not permitted to perform requested action.")
        if time.monotonic() < dataset.locked:
            raise Refused(403, "Dataset cannot be edited due to dataset lock.")
        if dataset.draft is None:
            dataset.draft = list(dataset.versions[-1])
        if (method, path) == ("PUT", "editMetadata"):
            dataset.fields |= {item["typeName"]: item["value"] for item in json.loads(body)["fields"]}
            return 200, {}
        if (method, path) == ("POST", "add"):
            return self.add(dataset, headers, body)
        if (method, path) == ("POST", "actions/:publish"):
            if query.get("type") not in {"major", "minor"}:
                raise Refused(400, "Missing 'type' parameter")
            if not dataset.versions or dataset.draft != dataset.versions[-1]:
                dataset.versions.append(dataset.draft)
            dataset.draft, dataset.locked = None, time.monotonic() + self.locks_for
            return 202 if self.locks_for else 200, {}
        raise Refused(404, f"no {method} {path} here")

    def create(self, user: str, told: Mapping[str, Any]) -> tuple[int, Any]:
        version = told["datasetVersion"]
        fields = {item["typeName"]: item["value"] for item in version["metadataBlocks"]["citation"]["fields"]}
        if missing := NEEDED - {key for key, value in fields.items() if value}:
            raise Refused(400, f"Validation Failed: {', '.join(sorted(missing))} is required.")
        if "@" not in fields["datasetContact"][0]["datasetContactEmail"]["value"]:
            raise Refused(400, "Validation Failed: Point of Contact Email is required.")
        made = Dataset(f"doi:10.5072/FK2/{self.number():06}", user, fields, version.get("license", {}).get("name", ""))
        self.datasets[made.pid] = made
        return 201, {"id": self.number(), "persistentId": made.pid}

    def add(self, dataset: Dataset, headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        options = json.loads(parts["jsonData"].get_payload(decode=True))
        name, data = str(parts["file"].get_filename()), bytes(parts["file"].get_payload(decode=True))
        if options.get("tabIngest") != "false":
            raise Refused(400, "the test does not want tables to be ingested")
        if not data or len(data) > self.most_bytes:
            raise Refused(400, f"This file size ({len(data)} B) exceeds the size limit of {self.most_bytes} B.")
        if name.endswith(".fits.gz"):
            name, data = name.removesuffix(".gz"), gzip.decompress(data)
        folder = re.sub(r"[^A-Za-z0-9_. /-]", "_", str(options.get("directoryLabel", ""))).strip("./- ")
        taken = {self.full_name(number) for number in dataset.draft or ()}
        stem, dot, suffix = name.rpartition(".")
        wanted, number = name, 0
        while f"{folder}/{wanted}".lstrip("/") in taken:
            number += 1
            wanted = f"{stem}-{number}.{suffix}" if dot else f"{name}-{number}"
        kept = self.keep(f"{folder}/{wanted}".lstrip("/"), data)
        assert dataset.draft is not None
        dataset.draft.append(kept)
        return 200, {"files": [self.files[kept]]}

    def full_name(self, number: int) -> str:
        file = self.files[number]
        return f"{file.get('directoryLabel', '')}/{file['label']}".lstrip("/")

    def take_out(self, user: str, number: int) -> tuple[int, Any]:
        for dataset in self.datasets.values():
            there = dataset.draft if dataset.draft is not None else (dataset.versions or [[]])[-1]
            if dataset.owner == user and number in there:
                dataset.draft = [other for other in there if other != number]
                return 200, {"message": "deleted"}
        raise Refused(404, "File not found")

    def download(self, number: int, user: str, query: Mapping[str, str]) -> tuple[int, Any]:
        public = any(number in version for dataset in self.datasets.values() for version in dataset.versions)
        mine = any(dataset.owner == user and number in (dataset.draft or ()) for dataset in self.datasets.values())
        if number not in self.bytes or not (public or mine):
            raise Refused(404 if number not in self.bytes else 403, "You do not have permission to access this file.")
        table = "originalFileName" in self.files[number]["dataFile"]
        return 200, b"a\tb\n" if table and query.get("format") != "original" else self.bytes[number]

    def next_fault(self, line: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.left and re.match(fault.pattern, line):
                    fault.left -= 1
                    return fault
        return None


class _Handler(Handler):
    def _serve(self) -> None:
        site: Dataverse = self.server.stand_in
        size = int(self.headers.get("Content-Length") or 0)
        fault = site.next_fault(f"{self.command} {self.path}")
        if fault is not None and fault.cut is not None:
            self.rfile.read(min(size, fault.cut))
            self.reset()
            return
        body = self.rfile.read(size)
        if fault is not None and fault.before is not None:
            fault.before()
        headers = {key.lower(): value for key, value in self.headers.items()}
        if fault is not None and fault.status:
            status, sent = fault.status, b'{"status": "ERROR", "message": "as the test wants it"}'
        else:
            status, sent = site.answer(self.command, self.path, headers, body)
        if fault is not None and fault.lost:
            self.reset()
            return
        kind = "octet-stream" if "/datafile/" in self.path else "json"
        self.send_whole(status, {"Content-Type": f"application/{kind}"}, sent)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815


@pytest.fixture
def dataverse() -> Iterator[Dataverse]:
    """A Dataverse installation."""
    with Dataverse() as site:
        yield site
