"""Depot, the archive of ``docs/write_a_host.rst``: its stand-in, and its host installed from the page."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import pytest

from .webdav import _forget

__all__ = ["Depot", "depot", "depot_module"]

KEY = "k3y-5ecret"
_MODULE = re.compile(r'^\.\. code-block:: python\n\n((?:    """Records at Depot.*\n)(?:    .*\n|\n)+)', re.MULTILINE)


@dataclass
class Record:
    title: str
    draft: dict[str, int] = field(default_factory=dict)
    versions: list[dict[str, int]] = field(default_factory=list)


class Depot:
    """Records with drafts and versions; a file keeps its number in all of them."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.files: list[bytes] = []
        self.writes = 0
        depot = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                found = depot.answer(self.command, urlsplit(self.path).path, self.headers.get("X-Key"), body)
                status = 404 if found is None else 401 if found == "key" else 200
                content = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spec(self, record: object) -> str:
        return f"depot:{record}?server={self.url}"

    def put(self, title: str = "Somebody's") -> tuple[int, Record]:
        """A record with an empty draft."""
        self.records.append(Record(title))
        return len(self.records) - 1, self.records[-1]

    def add(self, record: Record, name: str, data: bytes) -> dict[str, Any]:
        """A file of a draft."""
        self.files.append(data)
        record.draft[name] = len(self.files) - 1
        return self.item(name, record.draft[name])

    def item(self, name: str, number: int) -> dict[str, Any]:
        data = self.files[number]
        return {"id": number, "name": name, "size": len(data), "md5": hashlib.md5(data).hexdigest()}

    def answer(self, method: str, path: str, key: str | None, body: bytes) -> Any:
        words = path.strip("/").split("/")
        if words[0] == "files":
            number = int(words[1])
            public = any(number in v.values() for record in self.records for v in record.versions)
            return self.files[number] if public else None
        words = words[1:]
        if words[-2:] == ["newest", "files"]:
            record = self.records[int(words[1])]
            return [self.item(*file) for file in record.versions[-1].items()] if record.versions else None
        if key != KEY:
            return "key"
        self.writes += method not in {"GET", "HEAD"}
        if words[0] == "account":
            drafts = [{"id": n, "title": record.title} for n, record in enumerate(self.records)]
            return {"name": "Ann"} if words == ["account"] else drafts
        if words == ["records"]:
            return {"id": self.put(json.loads(body)["title"])[0]}
        record = self.records[int(words[1])]
        return self.change(record, method, words[3:], body)

    def change(self, record: Record, method: str, words: list[str], body: bytes) -> Any:
        """What an author asks of a draft."""
        if not words:
            record.title = json.loads(body).get("title", record.title)
            return {}
        if words == ["publish"]:
            record.versions.append(dict(record.draft))
            return {}
        if words == ["files"]:
            return [self.item(*file) for file in record.draft.items()]
        if method == "PUT":
            return self.add(record, unquote(words[1]), body)
        return {"deleted": record.draft.pop(unquote(words[1]), None)}


@pytest.fixture
def depot() -> type[Depot]:
    """``with depot() as site``: a Depot on loopback."""
    return Depot


@pytest.fixture(scope="module")
def depot_module(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The module of the page, installed as a third party's package."""
    folder = tmp_path_factory.mktemp("depot")
    page = (repository / "docs" / "write_a_host.rst").read_text(encoding="utf-8")
    [text] = _MODULE.findall(page)
    (folder / "dataferry_depot.py").write_text(textwrap.dedent(text), encoding="utf-8")
    installed = folder / "dataferry_depot-0.1.dist-info"  # what pip leaves
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: dataferry-depot\nVersion: 0.1\n")
    (installed / "entry_points.txt").write_text("[dataferry.hosts]\ndepot = dataferry_depot:DepotHost\n")
    hosts = importlib.import_module("dataferry.hosts")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        _forget(hosts)
        yield importlib.import_module("dataferry_depot")
    sys.modules.pop("dataferry_depot", None)
    _forget(hosts)
