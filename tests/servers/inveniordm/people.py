"""Who uses an InvenioRDM: with a browser, and with dataferry."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import urllib3

from dataferry.errors import DataferryError
from dataferry.registry import Registry
from dataferry.testing.author import Author

ABOUT = """
[about]
title = "Maps of the dust"
description = "Made for a test & nothing else.\\n\\nSecond paragraph."
authors = ["Ann Author", {name = "Writer, Bo", orcid = "https://orcid.org/0000-0002-1825-0097", affiliation = "Here"}]
keywords = ["dust", "cosmology"]
license = "CC-BY-4.0"
"""
DRAFT = {
    "metadata": {
        "title": "Somebody's data",
        "publication_date": "2026-11-01",
        "publisher": "Here",
        "resource_type": {"id": "dataset"},
        "creators": [{"person_or_org": {"type": "personal", "family_name": "Author"}}],
    },
    "files": {"enabled": True},
}
FILES = {"dust_064.fits": b"dust" * 720, "maps/deep/cmb.fits": b"cmb!" * 1440, "empty.dat": b""}


def about() -> str:
    """A table with a title that no other record has."""
    return ABOUT.replace("the dust", f"the dust {uuid.uuid4().hex}")


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.nightly)])
def rdm(request: pytest.FixtureRequest) -> Any:
    """A server with the users ann and bob."""
    return request.getfixturevalue("invenio_standin" if request.param == "stand-in" else "inveniordm")


class By:
    """A user with a browser: makes and publishes records without dataferry."""

    def __init__(self, rdm: Any, user: str = "ann") -> None:
        self.rdm, self.user = rdm, user

    def ask(self, method: str, path: str, told: object = None, body: bytes | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.rdm.tokens[self.user]}"}
        headers["Accept"] = "application/vnd.inveniordm.v1+json"
        if body is None and told is not None:
            headers["Content-Type"], body = "application/json", json.dumps(told).encode()
        elif body is not None:
            headers["Content-Type"] = "application/octet-stream"
        reply = urllib3.request(
            method, f"{self.rdm.url}api/{path}", headers=headers, body=body, retries=False, timeout=60
        )
        assert reply.status < 400, reply.data
        return json.loads(reply.data) if reply.data else None

    def draft(self, files: Mapping[str, bytes] = {}, **more: Any) -> str:
        record = str(self.ask("POST", "records", {**DRAFT, **more})["id"])
        self.put(record, files)
        return record

    def put(self, record: str, files: Mapping[str, bytes]) -> None:
        if files:
            self.ask("POST", f"records/{record}/draft/files", [{"key": name} for name in files])
        for name, data in files.items():
            place = f"records/{record}/draft/files/{quote(name)}"
            self.ask("PUT", f"{place}/content", body=data)
            self.ask("POST", f"{place}/commit")

    def record(self, files: Mapping[str, bytes], **more: Any) -> tuple[str, str]:
        """A published record: the id of its version, and of all its versions."""
        return self.publish(self.draft(files, **more))

    def publish(self, draft: str) -> tuple[str, str]:
        told = self.ask("POST", f"records/{draft}/draft/actions/publish")
        return str(told["id"]), str(told["parent"]["id"])

    def next(self, record: str, files: Mapping[str, bytes]) -> str:
        draft = str(self.ask("POST", f"records/{record}/versions")["id"])
        self.put(draft, files)
        return self.publish(draft)[0]


@pytest.fixture
def ann(rdm: Any) -> By:
    return By(rdm)


def an_author(rdm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Author:
    """ann, who publishes to a new record."""
    stranger = dict(os.environ)
    monkeypatch.setenv("INVENIORDM_TOKEN", rdm.tokens["ann"])
    made = Author(f"inveniordm:{rdm.url}new", tmp_path, stranger)
    made.registry.parent.mkdir(parents=True, exist_ok=True)
    made.registry.write_text(about())
    return made


def line_of(author: Author) -> str:
    return Registry(author.registry).mirrors[0]


def again(author: Author) -> Author:
    """The same author, who now names the record."""
    author.spec = line_of(author)
    return author


def locators(author: Author) -> dict[str, str]:
    entries = Registry(author.registry).entries()
    return {entry.name: str(next(iter(entry.locators.values()))) for entry in entries}


@contextmanager
def refused(says: str) -> Iterator[None]:
    """Some error, alone or in a group, that says this."""
    with pytest.raises(DataferryError) as caught:
        yield
    assert re.search(says, str(caught.value)), str(caught.value)


def asked(rdm: Any, pattern: str) -> int:
    """How often something was asked and not refused."""
    return sum(re.match(pattern, line) is not None and int(line.split()[-1]) < 400 for line in rdm.lines())
