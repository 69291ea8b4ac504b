"""An InvenioRDM on loopback that keeps records, drafts and files, and answers as the real one was seen to do.

What it mimics was seen from invenio-app-rdm 14.0.5, which `inveniordm` starts; the same tests run against both.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from .described import Exchange, descriptions
from .stand_in import Handler, StandIn

__all__ = ["InvenioStandIn", "invenio_standin"]

RDM_JSON = "application/vnd.inveniordm.v1+json"
_RESOURCE_TYPES, _LICENSES = {"dataset"}, {"cc-by-4.0"}


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.told = {"status": status, "message": message} | ({"errors": errors} if errors else {})
        self.status = status


@dataclass
class File:
    """A file: announced, with bytes, complete."""

    key: str
    data: bytes | None = None
    complete: bool = False


@dataclass
class Record:
    """A version of a record, or the draft of one."""

    id: str
    parent: str
    owner: str
    index: int
    metadata: dict[str, Any] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    access: dict[str, Any] = field(default_factory=lambda: {"record": "public", "files": "public"})
    pids: dict[str, Any] = field(default_factory=dict)
    published: bool = False
    deleted: bool = False
    created: float = field(default_factory=time.time)


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]


@dataclass
class Fault:
    """What goes wrong with some requests: ``"METHOD path"`` matches the pattern."""

    pattern: str
    status: int = 0  # this is answered instead
    wait: str = ""  # with this Retry-After
    lost: bool = False  # it is done, and the connection is reset instead of an answer
    cut: int | None = None  # the connection is reset after so many bytes of the body
    left: int = 1
    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None


class InvenioStandIn(StandIn):
    """A server with the users ann and bob; a context manager.

    Attributes
    ----------
    url : str
        With a slash at its end.
    tokens : dict of str to str
        User -> token.
    log : list of str
        A line for each request: method, path, status.
    violations : list of str
        What was asked or answered against the descriptions.
    """

    real = False

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.tokens = {"ann": "token-of-ann-0123456789", "bob": "token-of-bob-0123456789"}
        self.records: dict[str, Record] = {}
        self.log: list[str] = []
        self.faults: list[Fault] = []
        self.violations: list[str] = []
        self.quota = 4 * 10**6
        self.most_files = 100
        self.dois = True
        self.folders = True  # InvenioRDM before 13 had no names with slashes
        self.limit: tuple[int, float] | None = None  # so many requests in so many seconds
        self._times: list[float] = []
        self._numbers = 0
        self._lock = threading.RLock()
        self._descriptions = descriptions("inveniordm.yaml", "inveniordm/openapi.yaml", gaps=_fill_gaps)

    def fault(self, pattern: str, **how: Any) -> Fault:
        fault = Fault(pattern, **how)
        self.faults.append(fault)
        return fault

    def lines(self) -> list[str]:
        return list(self.log)

    def delete(self, record: str) -> None:
        """Take a version away, as an administrator does."""
        self.records[record].deleted = True

    # -- answers -------------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with self._lock:
            try:
                left = self._limit()
                told = self._route(method, target, headers, body)
            except Refused as refused:
                left = {}
                told = Answer(refused.status, json.dumps(refused.told).encode(), {"Content-Type": "application/json"})
                if refused.status == 429:
                    told.headers["Retry-After"] = "1"
            told.headers |= left
            self.log.append(f"{method} {target} {told.status}")
        url = "http://127.0.0.1" + re.sub(
            r"(?<=/files/)(.+?)(?=/content$|/commit$|$)", lambda found: quote(unquote(found[1]), safe=""), target
        )
        # whether a type of InvenioRDM's own was asked for is in the description; its form is JSON
        plain = {key: value.replace(RDM_JSON, "application/json") for key, value in told.headers.items()}
        exchange = Exchange(method, url, headers, body, told.status, plain, told.body)
        for description in self._descriptions:
            self.violations += description.violations(exchange)
        return told

    def _limit(self) -> dict[str, str]:
        if self.limit is None:
            return {}
        most, seconds = self.limit
        now = time.time()
        self._times = [at for at in self._times if at > now - seconds] + [now]
        left, reset = most - len(self._times), self._times[0] + seconds
        if left < 0:
            self._times.pop()
            raise Refused(429, f"{most} per {seconds} seconds")
        return {
            "X-RateLimit-Limit": str(most),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(reset),
        }

    def _route(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        parts = urlsplit(target)
        path = unquote(parts.path)
        secret = headers.get("Authorization", "").removeprefix("Bearer ")
        user = next((name for name, token in self.tokens.items() if token == secret), None)
        asked = _Asked(user, headers, parse_qs(parts.query), body)
        for verb, pattern, act in _ROUTES:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                words = found.groupdict()
                if "/" in words.get("key", "") and not self.folders:
                    break
                told: Answer = getattr(self, act)(asked, **words)
                return told
        raise Refused(404, "The requested URL was not found on the server.")

    def _json(self, asked: _Asked, status: int, told: Any, **headers: str) -> Answer:
        kind = RDM_JSON if RDM_JSON in asked.headers.get("Accept", "") else "application/json"
        return Answer(status, json.dumps(told).encode(), {"Content-Type": kind, **headers})

    def _told(self, asked: _Asked, record: Record, status: int = 200) -> Answer:
        if RDM_JSON not in asked.headers.get("Accept", ""):
            # Zenodo's own form for those who ask for nothing else
            return self._json(asked, status, {"id": record.id, "conceptrecid": record.parent, "files": []})
        mine = asked.user == record.owner
        place = f"{self.url}api/records/{record.id}"
        files: dict[str, Any] = {"enabled": True}
        if mine or record.access["files"] == "public":
            entries = {file.key: _entry(file) for file in record.files.values() if file.complete}
            files |= {"count": len(entries), "entries": entries}
        links = {"self": place if record.published else f"{place}/draft"}
        links |= {"reserve_doi": f"{place}/draft/pids/doi"} if self.dois else {}
        told: dict[str, Any] = {
            "id": record.id,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(record.created)),
            "links": links,
            "parent": {
                "id": record.parent,
                "access": {"owned_by": {"user": record.owner}} | ({"grants": []} if mine else {}),
                "pids": {"doi": {"identifier": f"10.5072/{record.parent}"}} if record.published else {},
            },
            "versions": {"index": record.index, "is_latest": self._newest(record.parent) is record}
            | ({"is_latest_draft": True} if mine else {}),
            "is_published": record.published,
            "is_draft": not record.published,
            "pids": record.pids,
            "metadata": record.metadata,
            "access": {**record.access, "embargo": {"active": False, "reason": None}, "status": "open"},
            "custom_fields": {},
            "files": files,
            "status": "published" if record.published else "draft",
        }
        if errors := self._errors(record):
            told["errors"] = errors
        return self._json(asked, status, told)

    def _errors(self, record: Record) -> list[dict[str, Any]]:
        missing = ["Missing data for required field."]
        needed = ("resource_type", "creators", "title", "publication_date")
        found = [{"field": f"metadata.{key}", "messages": missing} for key in needed if not record.metadata.get(key)]
        if not record.metadata.get("publisher"):
            found.append(
                {"field": "metadata.publisher", "messages": ["Missing publisher field required for DOI registration."]}
            )
        if len(record.metadata.get("title", "...")) < 3:
            found.append({"field": "metadata.title", "messages": ["Shorter than minimum length 3."]})
        if not record.published and record.pids and not record.files:
            text = "Missing uploaded files. To disable files for this record please mark it as metadata-only."
            found.append({"field": "files.enabled", "messages": [text]})
        return found

    # -- what is published ---------------------------------------------------------------------------------------------

    def _newest(self, parent: str) -> Record | None:
        versions = [r for r in self.records.values() if r.parent == parent and r.published and not r.deleted]
        return max(versions, key=lambda record: record.index, default=None)

    def _public(self, asked: _Asked, record: str, *, files: bool = False) -> Record:
        found = self.records.get(record)
        if found is None:
            raise Refused(404, "The persistent identifier does not exist.")
        if not found.published:
            raise Refused(404, "The persistent identifier is not registered.")
        if found.deleted:
            raise Refused(410, "Record deleted")
        closed = found.access["record"] == "restricted" or (files and found.access["files"] == "restricted")
        if closed and asked.user != found.owner:
            raise Refused(403, "Permission denied.")
        return found

    def read(self, asked: _Asked, record: str) -> Answer:
        if record not in self.records and (newest := self._newest(record)):
            return Answer(
                302, b"<!doctype html>", {"Content-Type": "text/html", "Location": f"/api/records/{newest.id}"}
            )
        return self._told(asked, self._public(asked, record))

    def latest(self, asked: _Asked, record: str) -> Answer:
        parent = self.records[record].parent if record in self.records else record
        newest = self._newest(parent)
        if newest is None:
            raise Refused(404, "The persistent identifier does not exist.")
        place = f"{self.url}api/records/{newest.id}"
        told = {"status": 301, "message": "Redirecting...", "location": place}
        return Answer(301, json.dumps(told).encode(), {"Content-Type": "application/json", "Location": place})

    def files(self, asked: _Asked, record: str) -> Answer:
        if record not in self.records:
            raise Refused(404, "Not found.")
        found = self._public(asked, record, files=True)
        return self._json(asked, 200, {"enabled": True, "entries": [_entry(file) for file in found.files.values()]})

    def content(self, asked: _Asked, record: str, key: str) -> Answer:
        if record not in self.records and self._newest(record):
            raise Refused(404, "Not found.")
        found = self._public(asked, record, files=True)
        archive, inside, _ = key.partition("/container/")
        if inside or key not in found.files:
            raise Refused(404, f"Record '{record}' has no file '{archive}'.")
        data = found.files[key].data or b""
        digest = hashlib.md5(data).hexdigest()
        kind = {"Content-Type": "application/octet-stream", "ETag": f'"md5:{digest}"', "Content-MD5": digest}
        return Answer(200, data, kind)  # whatever Range asks for

    def own(self, asked: _Asked) -> Answer:
        if asked.user is None:
            raise Refused(403, "Permission denied.")
        mine = [r for r in self.records.values() if r.owner == asked.user and not r.deleted]
        for published in asked.query.get("is_published", ()):
            mine = [r for r in mine if r.published == (published == "true")]
        mine = sorted(mine, key=lambda r: -r.created)[: int(asked.query.get("size", ["25"])[0])]
        hits = [json.loads(self._told(asked, record).body) for record in mine]
        return self._json(asked, 200, {"hits": {"hits": hits, "total": len(hits)}})

    # -- drafts --------------------------------------------------------------------------------------------------------

    def _number(self) -> str:
        self._numbers += 1
        return f"{self._numbers:05}-{hashlib.md5(str(self._numbers).encode()).hexdigest()[:5]}"

    def _mine(self, asked: _Asked, record: str, gone: str = "Not found.") -> Record:
        found = self.records.get(record)
        if found is None or found.published:
            raise Refused(404, gone)
        if asked.user != found.owner:
            raise Refused(403, "Permission denied.")
        return found

    def _fill(self, record: Record, body: bytes) -> None:
        told = json.loads(body)
        metadata = told.get("metadata", {})
        known = {("resource_type", ""): _RESOURCE_TYPES, ("rights", ""): _LICENSES}
        for (key, _), ids in known.items():
            given = metadata.get(key) or []
            for item in given if isinstance(given, list) else [given]:
                if "id" in item and item["id"] not in ids:
                    raise Refused(400, f"Invalid value {item['id']}.")
        record.metadata = dict(metadata)
        record.access |= {k: v for k, v in told.get("access", {}).items() if k in {"record", "files"}}

    def create(self, asked: _Asked) -> Answer:
        if asked.user is None:
            raise Refused(403, "Permission denied.")
        record = Record(self._number(), self._number(), asked.user, 1)
        self._fill(record, asked.body)
        self.records[record.id] = record
        return self._told(asked, record, 201)

    def next_version(self, asked: _Asked, record: str) -> Answer:
        found = self.records.get(record)
        if found is None or not found.published:
            raise Refused(404, "Not found.")
        if asked.user != found.owner:
            raise Refused(403, "Permission denied.")
        drafts = [r for r in self.records.values() if r.parent == found.parent and not r.published]
        if drafts:
            return self._told(asked, drafts[0], 201)
        newest = self._newest(found.parent) or found
        made = Record(self._number(), found.parent, found.owner, newest.index + 1, dict(newest.metadata))
        made.access = dict(newest.access)
        self.records[made.id] = made
        return self._told(asked, made, 201)

    def draft(self, asked: _Asked, record: str) -> Answer:
        return self._told(asked, self._mine(asked, record, "The persistent identifier does not exist."))

    def update(self, asked: _Asked, record: str) -> Answer:
        found = self._mine(asked, record)
        self._fill(found, asked.body)
        found.pids = json.loads(asked.body).get("pids", {})
        return self._told(asked, found)

    def discard(self, asked: _Asked, record: str) -> Answer:
        self._mine(asked, record)
        del self.records[record]
        return Answer(204, b"", {})

    def reserve(self, asked: _Asked, record: str) -> Answer:
        found = self._mine(asked, record)
        if "doi" in found.pids:
            errors = [{"field": "pids.doi", "messages": ["A PID already exists for type doi"]}]
            raise Refused(400, "A validation error occurred.", errors)
        found.pids = {"doi": {"identifier": f"10.5072/{record}", "provider": "datacite", "client": "datacite"}}
        return self._told(asked, found, 201)

    def publish(self, asked: _Asked, record: str) -> Answer:
        found = self._mine(asked, record)
        errors = self._errors(found)
        if not found.files:
            errors.append({"field": "files.enabled", "messages": ["Missing uploaded files."]})
        if any(not file.complete for file in found.files.values()):
            text = "One or more files have not completed their transfer, please wait."
            errors.append({"field": "files", "messages": [text]})
        if errors:
            raise Refused(400, "A validation error occurred.", errors)
        found.pids.setdefault("doi", {"identifier": f"10.5072/{record}"})
        found.published = True
        return self._told(asked, found, 202)

    def draft_files(self, asked: _Asked, record: str) -> Answer:
        return self._listed(asked, self._mine(asked, record), 200)

    def _listed(self, asked: _Asked, record: Record, status: int) -> Answer:
        return self._json(asked, status, {"enabled": True, "entries": [_entry(file) for file in record.files.values()]})

    def import_files(self, asked: _Asked, record: str) -> Answer:
        found = self._mine(asked, record)
        if found.files:
            errors = [{"field": "files.enabled", "messages": ["Please remove all files first."]}]
            raise Refused(400, "A validation error occurred.", errors)
        before = self._newest(found.parent)
        found.files = {k: File(k, f.data, True) for k, f in (before.files if before else {}).items()}
        return self._listed(asked, found, 201)

    def start(self, asked: _Asked, record: str) -> Answer:
        found = self._mine(asked, record)
        keys = [str(item["key"]) for item in json.loads(asked.body)]
        for key in keys:
            if key in found.files:
                raise Refused(400, f"File with key {key} already exists.")
        if len(found.files) + len(keys) > self.most_files:
            raise Refused(400, "Uploading selected files will result in exceeding the max amount per record.")
        made = {key: File(key) for key in keys}
        found.files |= made
        return self._json(asked, 201, {"enabled": True, "entries": [_entry(file) for file in made.values()]})

    def _file(self, asked: _Asked, record: str, key: str) -> File:
        found = self._mine(asked, record)
        if key not in found.files:
            raise Refused(404, f"Record '{record}' has no file '{key}'.")
        return found.files[key]

    def send(self, asked: _Asked, record: str, key: str) -> Answer:
        file = self._file(asked, record, key)
        others = sum(len(f.data or b"") for f in self.records[record].files.values() if f is not file)
        if len(asked.body) + others > self.quota:
            raise Refused(400, "Maximum file size exceeded.")
        if file.complete:
            del self.records[record].files[key]  # the real one loses it like this, and says 200
        file.data = asked.body
        return self._json(asked, 200, _entry(file))

    def commit(self, asked: _Asked, record: str, key: str) -> Answer:
        file = self._file(asked, record, key)
        if file.data is None:
            raise Refused(500, "The server encountered an internal error and was unable to complete your request.")
        file.complete = True
        return self._json(asked, 200, _entry(file))

    def remove(self, asked: _Asked, record: str, key: str) -> Answer:
        self._file(asked, record, key)
        del self.records[record].files[key]
        return Answer(204, b"", {})


@dataclass
class _Asked:
    user: str | None
    headers: Mapping[str, str]
    query: dict[str, list[str]]
    body: bytes


def _entry(file: File) -> dict[str, Any]:
    told: dict[str, Any] = {
        "key": file.key,
        "status": "pending",
        "transfer": {"type": "L"},
        "access": {"hidden": False},
    }
    if file.complete:
        data = file.data or b""
        told |= {"status": "completed", "size": len(data), "checksum": f"md5:{hashlib.md5(data).hexdigest()}"}
    return told


_RECORD = "/api/records/(?P<record>[^/]+)"
_KEY = "/files/(?P<key>.+)"
_ROUTES = [
    ("GET", "/api/user/records", "own"),
    ("POST", "/api/records", "create"),
    ("GET", _RECORD, "read"),
    ("GET", f"{_RECORD}/versions/latest", "latest"),
    ("POST", f"{_RECORD}/versions", "next_version"),
    ("GET", f"{_RECORD}/files", "files"),
    ("GET", f"{_RECORD}{_KEY}/content", "content"),
    ("GET", f"{_RECORD}/draft", "draft"),
    ("PUT", f"{_RECORD}/draft", "update"),
    ("DELETE", f"{_RECORD}/draft", "discard"),
    ("POST", f"{_RECORD}/draft/pids/doi", "reserve"),
    ("POST", f"{_RECORD}/draft/actions/publish", "publish"),
    ("POST", f"{_RECORD}/draft/actions/files-import", "import_files"),
    ("GET", f"{_RECORD}/draft/files", "draft_files"),
    ("POST", f"{_RECORD}/draft/files", "start"),
    ("PUT", f"{_RECORD}/draft{_KEY}/content", "send"),
    ("POST", f"{_RECORD}/draft{_KEY}/commit", "commit"),
    ("DELETE", f"{_RECORD}/draft{_KEY}", "remove"),
]


class _Handler(Handler):
    wbufsize = 1 << 16

    def _serve(self) -> None:
        stand_in = self.server.stand_in
        size = int(self.headers.get("Content-Length") or 0)
        line = f"{self.command} {self.path}"
        fault = next((f for f in stand_in.faults if f.left and re.search(f.pattern, line)), None)
        if fault is not None:
            fault.left -= 1
            if fault.cut is not None:
                self.rfile.read(min(size, fault.cut))
                if fault.before is not None:
                    fault.before()
                self.reset()
                return
        body = self.rfile.read(size)
        if len(body) < size:  # whoever sent it is gone
            self.close_connection = True
            return
        if fault is not None and fault.before is not None:
            fault.before()
        if fault is not None and fault.status:
            told = Answer(fault.status, b'{"message": "as the test wants it"}', {"Content-Type": "application/json"})
            told.headers |= {"Retry-After": fault.wait} if fault.wait else {}
            stand_in.log.append(f"{line} {fault.status}")
        else:
            told = stand_in.answer(self.command, self.path, dict(self.headers.items()), body)
        if fault is not None and fault.after is not None:
            fault.after()
        if fault is not None and fault.lost:
            self.reset()
            return
        self.send_whole(told.status, told.headers, told.body)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815


def _fill_gaps(told: dict[str, Any]) -> None:
    """What the description of InvenioRDM is known to say wrong."""
    told["servers"] = [{"url": "/"}]
    told.pop("security", None)
    for path, methods in told["paths"].items():
        for method in methods.values():
            if isinstance(method, dict):
                method.pop("security", None)  # what is public is for everybody
        if path.endswith("/draft/files"):
            methods["post"]["requestBody"]["content"]["application/json"]["schema"] = {"type": "array"}
        if path.endswith("/draft/files/{file-name}/content"):
            methods["put"]["requestBody"]["required"] = False  # a file may be empty
        elif path.endswith("/files/{file-name}/content"):
            methods["get"]["responses"]["200"] = {"description": "the file and no JSON"}


@pytest.fixture
def invenio_standin(need: Any) -> Iterator[InvenioStandIn]:
    """See `InvenioStandIn`."""
    need.module("openapi_core")
    with InvenioStandIn() as server:
        yield server
    assert not server.violations, server.violations[:3]
