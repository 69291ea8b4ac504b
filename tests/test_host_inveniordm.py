"""Zenodo and InvenioRDM: the same tests against a stand-in and, nightly, against the real server."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import urllib3

from dataferry.errors import AccessDenied, BadName, Conflict, DataferryError, PublishError, TransferError
from dataferry.hosts import make_host
from dataferry.hosts.inveniordm import InvenioHost, ZenodoHost
from dataferry.hosts.inveniordm.metadata import draft_body
from dataferry.hosts.publisher import Upload
from dataferry.publish import publish
from dataferry.registry import Entry, Registry
from dataferry.settings import Settings, load_settings
from dataferry.testing import HostContract, PublishContract
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


#: For faults that only the stand-in plays.
only_stand_in = pytest.mark.parametrize("rdm", ["stand-in"], indirect=True)


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


@pytest.fixture
def author(rdm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Author:
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


# -- what a line means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "server", "record"),
    [
        ("zenodo:4924875", "https://zenodo.org/", "4924875"),
        ("zenodo:10.5281/zenodo.4924875", "https://zenodo.org/", "4924875"),
        ("zenodo:https://doi.org/10.5281/zenodo.4924875", "https://zenodo.org/", "4924875"),
        ("zenodo:doi:10.5281/ZENODO.4924875", "https://zenodo.org/", "4924875"),
        ("zenodo:https://zenodo.org/records/4924875", "https://zenodo.org/", "4924875"),
        ("zenodo:https://www.zenodo.org/record/4924875/files/a.fits", "https://zenodo.org/", "4924875"),
        ("zenodo:https://zenodo.org/uploads/4924875", "https://zenodo.org/", "4924875"),
        ("zenodo:new", "https://zenodo.org/", ""),
        ("zenodo-sandbox:12345", "https://sandbox.zenodo.org/", "12345"),
        ("zenodo-sandbox:10.5072/zenodo.12345", "https://sandbox.zenodo.org/", "12345"),
        ("inveniordm:https://sandbox.zenodo.org/12345", "https://sandbox.zenodo.org/", "12345"),
        ("inveniordm:https://rdm.example.org/abcde-12345", "https://rdm.example.org/", "abcde-12345"),
        ("inveniordm:https://rdm.example.org/records/abcde-12345", "https://rdm.example.org/", "abcde-12345"),
        ("inveniordm:https://rdm.example.org:8443/new", "https://rdm.example.org:8443/", ""),
        ("inveniordm:https://rdm.example.org/doi/10.1234/abcde-12345", "https://rdm.example.org/", "abcde-12345"),
        ("inveniordm:https://rdm.example.org/10.1234/rdm.abcde-12345", "https://rdm.example.org/", "abcde-12345"),
    ],
)
def test_lines(line: str, server: str, record: str) -> None:
    host = make_host(line)
    assert isinstance(host, InvenioHost)
    assert (host.declared.server, host.declared.record) == (server, record)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("zenodo:10.6084/m9.figshare.14763051", "write figshare:10.6084/m9.figshare.14763051"),
        ("zenodo:10.7910/DVN/ABC", "Dataverse"),
        ("zenodo:10.48550/arXiv.2101.00001", "arXiv"),
        ("zenodo:10.3847/1538-4357/abc", "not a DOI that Zenodo gave"),
        ("zenodo:10.5281/other.1", "no DOI of a record of Zenodo"),
        ("zenodo:10.5072/zenodo.1", "write zenodo-sandbox:10.5072/zenodo.1"),
        ("zenodo-sandbox:10.5281/zenodo.1", "write zenodo:10.5281/zenodo.1"),
        ("zenodo:https://rdm.example.org/records/1", "write inveniordm:https://rdm.example.org/records/1"),
        ("zenodo:", "zenodo:4924875"),
        ("zenodo:0", "zenodo:4924875"),
        ("zenodo:latest", "zenodo:4924875"),
        ("zenodo:https://zenodo.org/communities/dust", "zenodo:4924875"),
        ("inveniordm:10.5281/zenodo.1", "write zenodo:10.5281/zenodo.1"),
        ("inveniordm:10.1234/abcde-12345", "write inveniordm:https://host/10.1234/abcde-12345"),
        ("inveniordm:https://rdm.example.org/", "inveniordm:https://host/"),
        ("inveniordm:ftp://rdm.example.org/1", "inveniordm:https://host/"),
        ("inveniordm:https://ann:s3cret@rdm.example.org/1", "do not belong"),
        ("inveniordm:https://rdm.example.org/a b", "inveniordm:https://host/"),
        ("inveniordm:https://[::1/1", "no address"),
    ],
)
def test_lines_that_mean_nothing(line: str, says: str) -> None:
    with pytest.raises(BadName, match=re.escape(says)) as caught:
        make_host(line)
    assert "s3cret" not in str(caught.value)


def test_sources_of_zenodo() -> None:
    host = ZenodoHost("zenodo:10.5281/zenodo.4924875")
    [source] = host.sources("maps/a b.fits", None)
    assert source.url == "https://zenodo.org/api/records/4924875/files/maps/a%20b.fits/content"
    for pin in (4924999, "4924999"):
        [pinned] = host.sources("a.fits", Entry("a.fits", "0" * 64, 1, {"zenodo": pin}))
        assert pinned.url == "https://zenodo.org/api/records/4924999/files/a.fits/content"
    [other] = host.sources("a.fits", Entry("a.fits", "0" * 64, 1, {"zenodo-sandbox": 1, "figshare": 2}))
    assert "/4924875/" in other.url
    assert ZenodoHost("zenodo:new").sources("a.fits", None) == []


def test_each_server_has_a_key_of_its_own() -> None:
    entry = Entry("a.fits", "0" * 64, 1, {"inveniordm:a.example": "aaaaa-11111", "inveniordm:b.example": "bbbbb-22222"})
    for server, record in (("a", "aaaaa-11111"), ("b", "bbbbb-22222"), ("c", "ccccc-33333")):
        [source] = make_host(f"inveniordm:https://{server}.example/ccccc-33333").sources("a.fits", entry)
        assert f"/{record}/" in source.url


def test_tokens_go_to_their_own_server_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataferry.hosts.inveniordm.records import token_for

    monkeypatch.setenv("ZENODO_TOKEN", "zenodo-token")
    monkeypatch.setenv("INVENIORDM_TOKEN", "rdm-token")
    zenodo, other = make_host("zenodo:1"), make_host("inveniordm:https://evil.example/1")
    plain = make_host("inveniordm:http://rdm.example.org/1")
    assert isinstance(zenodo, InvenioHost) and isinstance(other, InvenioHost) and isinstance(plain, InvenioHost)
    assert token_for(zenodo, Settings(), publishing=False)
    assert token_for(zenodo, Settings().as_stranger(), publishing=False) is None
    assert token_for(other, Settings(), publishing=False) is None  # a package named it, and not the user
    assert token_for(other, Settings(), publishing=True)
    assert token_for(plain, Settings(), publishing=True) is None
    with pytest.raises(AccessDenied, match="unencrypted"):
        plain.publisher(Settings(), {}).check_rights()


# -- reading ----------------------------------------------------------------------------------------------------------


class TestInvenioHost(HostContract):
    """Files of a version that the line names."""

    rdm: Any

    @pytest.fixture(autouse=True)
    def _rdm(self, rdm: Any) -> None:
        self.rdm = rdm

    @contextmanager
    def serving(self, files: Mapping[str, bytes]) -> Iterator[InvenioHost]:
        record, _ = By(self.rdm).record(files)
        yield InvenioHost(f"inveniordm:{self.rdm.url}{record}")


def user(tmp_path: Path, spec: str, files: Mapping[str, bytes], pins: Mapping[str, str] = {}) -> Author:
    """Somebody who wrote a registry by hand."""
    made = Author(spec, tmp_path, dict(os.environ))
    host = make_host(spec)
    lines = [f'mirrors = ["{spec}"]']
    for name, data in files.items():
        lines += [f'[files."{name}"]', f"size = {len(data)}", f'sha256 = "{hashlib.sha256(data).hexdigest()}"']
        lines += [f'"{host.locator}" = "{pins[name]}"'] if name in pins else []
    made.registry.parent.mkdir(parents=True, exist_ok=True)
    made.registry.write_text("\n".join(lines))
    return made


def test_the_id_of_all_versions_means_the_newest(rdm: Any, ann: By, tmp_path: Path) -> None:
    first, family = ann.record({"a.dat": b"one", "old.dat": b"old"})
    second = ann.next(first, {"a.dat": b"two"})
    spec = f"inveniordm:{rdm.url}{family}"
    assert user(tmp_path / "1", spec, {"a.dat": b"two"}).users_get(["a.dat"]) == {"a.dat": b"two"}
    held = make_host(spec).held(load_settings())
    assert {name: told.locators for name, told in held.items()} == {"a.dat": {make_host(spec).locator: second}}
    assert held["a.dat"].md5 == hashlib.md5(b"two").hexdigest()
    older = make_host(f"inveniordm:{rdm.url}{first}").held(load_settings())
    assert set(older) == {"a.dat", "old.dat"}
    pinned = user(tmp_path / "2", spec, {"a.dat": b"one"}, {"a.dat": first})
    assert pinned.users_get(["a.dat"]) == {"a.dat": b"one"}
    # a line with an old version still finds what came later, also under a name that the old one has
    late = user(tmp_path / "3", f"inveniordm:{rdm.url}{first}", {"a.dat": b"two"})
    assert late.users_get(["a.dat"]) == {"a.dat": b"two"}
    ann.next(second, {"new.dat": b"new"})
    late = user(tmp_path / "4", f"inveniordm:{rdm.url}{first}", {"new.dat": b"new"})
    assert late.users_get(["new.dat"]) == {"new.dat": b"new"}


def test_other_peoples_data_are_added(rdm: Any, tmp_path: Path, command: Callable[..., Any]) -> None:
    record, family = By(rdm, "bob").record(FILES)
    registry = tmp_path / "data" / "dataferry.toml"
    registry.parent.mkdir()
    registry.touch()
    done = command("add", str(registry), "--from", f"inveniordm:{rdm.url}{family}")
    assert done.exit_code == 0, done.output
    entries = {entry.name: entry for entry in Registry(registry).entries()}
    assert {name: entry.sha256 for name, entry in entries.items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()
    }
    assert {str(v) for entry in entries.values() for v in entry.locators.values()} == {record}


def test_restricted_files_with_a_token(rdm: Any, ann: By, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, _ = ann.record({"a.dat": b"secret"}, access={"record": "public", "files": "restricted"})
    spec = f"inveniordm:{rdm.url}{record}"
    someone = user(tmp_path, spec, {"a.dat": b"secret"})
    with refused("files of the record .* are restricted, and a stranger may not get them"):
        someone.users_get(["a.dat"])
    # the variable could be for another server; what is said of this one is not
    monkeypatch.setenv("INVENIORDM_TOKEN", rdm.tokens["ann"])
    with pytest.raises(TransferError, match="restricted"):
        make_host(spec).held(load_settings())
    settings = Settings(hosts={"127.0.0.1": {"token": rdm.tokens["ann"]}})
    [source] = make_host(spec).look_up({"a.dat": None}, settings)["a.dat"]
    reply = urllib3.request("GET", source.url, headers=dict(source.headers), retries=False)
    assert reply.data == b"secret"
    assert rdm.tokens["ann"] not in source.shown
    bob = Settings(hosts={"127.0.0.1": {"token": rdm.tokens["bob"]}})
    with pytest.raises(TransferError, match="the owner of the token in .*config.toml may not"):
        make_host(spec).held(bob)


def test_records_that_cannot_be_had(rdm: Any, ann: By, tmp_path: Path) -> None:
    closed, _ = ann.record({"a.dat": b"secret"}, access={"record": "restricted", "files": "restricted"})
    gone, _ = ann.record({"a.dat": b"gone"})
    rdm.delete(gone)
    draft = ann.draft({"a.dat": b"draft"})
    for record, says in (
        (closed, "restricted, and a stranger may not see it"),
        (gone, "was deleted"),
        (draft, "a draft has to be published first"),
        ("zzzzz-99999", "there is no published record"),
    ):
        spec = f"inveniordm:{rdm.url}{record}"
        with pytest.raises(TransferError, match=says):
            make_host(spec).held(load_settings())
        with refused(says):
            user(tmp_path / record, spec, {"a.dat": b"gone"}).users_get(["a.dat"])


def test_a_doi_of_another_record(rdm: Any, ann: By) -> None:
    record, _ = ann.record({"a.dat": b"a"})
    doi = ann.ask("GET", f"records/{record}")["pids"]["doi"]["identifier"]
    assert set(make_host(f"inveniordm:{rdm.url}{doi}").held(load_settings())) == {"a.dat"}
    with pytest.raises(TransferError, match=f"has the DOI {doi}"):
        make_host(f"inveniordm:{rdm.url}10.1234/{record}").held(load_settings())


# -- publishing -------------------------------------------------------------------------------------------------------


class TestPublishInvenio(PublishContract):
    """To a draft that the author made on the page of the server."""

    rdm: Any

    @pytest.fixture(autouse=True)
    def _rdm(self, rdm: Any) -> None:
        self.rdm = rdm
        type(self).secret = rdm.tokens["ann"]

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INVENIORDM_TOKEN", self.rdm.tokens["ann"])
            yield f"inveniordm:{self.rdm.url}{By(self.rdm).draft()}"

    @contextmanager
    def _as(self, token: str) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INVENIORDM_TOKEN", token)
            yield

    def without_rights(self) -> Any:
        return self._as(self.rdm.tokens["bob"])

    def writes(self) -> int:
        return asked(self.rdm, "(POST|PUT|DELETE) ")


def test_a_new_record(rdm: Any, ann: By, author: Author) -> None:
    outcome = author.publish(FILES)
    assert all(file.proven for file in outcome.files)
    assert author.users_get(list(FILES)) == FILES
    [version] = set(locators(author).values())
    told = ann.ask("GET", f"records/{version}")
    assert line_of(author) == f"inveniordm:{rdm.url}{told['parent']['id']}"
    assert told["pids"]["doi"]["identifier"].endswith(version)
    metadata = told["metadata"]
    assert metadata["title"].startswith("Maps of the dust")
    assert metadata["description"] == "<p>Made for a test &amp; nothing else.</p><p>Second paragraph.</p>"
    first, second = (creator["person_or_org"] for creator in metadata["creators"])
    assert (first["family_name"], first["given_name"]) == ("Author", "Ann")
    assert (second["family_name"], second["identifiers"][0]["identifier"]) == ("Writer", "0000-0002-1825-0097")
    assert [right["id"] for right in metadata["rights"]] == ["cc-by-4.0"]
    assert [subject["subject"] for subject in metadata["subjects"]] == ["dust", "cosmology"]
    assert asked(rdm, r"POST \S+/actions/publish") == 1 or rdm.real
    assert outcome.files[0].sent


def test_the_same_command_again_makes_no_second_record(rdm: Any, author: Author) -> None:
    author.publish(FILES)
    before, text = asked(rdm, "(POST|PUT|DELETE) "), author.registry.read_text()
    assert not any(file.sent for file in author.publish(FILES).files)
    assert author.registry.read_text() == text
    with pytest.raises(Conflict, match=f"other files: {re.escape(line_of(author))}"):
        author.publish({**FILES, "more.dat": b"more"})
    assert asked(rdm, "(POST|PUT|DELETE) ") == before


def test_versions_are_whole_and_old_releases_keep_theirs(rdm: Any, author: Author) -> None:
    author.publish(FILES)
    old, first = author.registry.read_text(), locators(author)
    again(author)
    puts = asked(rdm, r"PUT \S+/content")
    changed = {"dust_064.fits": b"other" * 100, "more.dat": b"more"}
    with pytest.raises(Conflict, match="--new-version"):
        author.publish(changed)
    author.publish(changed, new_version=True)
    assert asked(rdm, r"PUT \S+/content") == puts + 2  # what did not change went with the version
    second = locators(author)
    assert second["dust_064.fits"] == second["more.dat"] != first["dust_064.fits"]
    held = make_host(f"inveniordm:{rdm.url}{second['more.dat']}").held(load_settings())
    assert set(held) == {*FILES, "more.dat"}
    author.registry.with_name("old.toml").write_text(old)
    assert author.users_get(list(FILES), author.registry.with_name("old.toml")) == FILES
    assert author.users_get([*FILES, "more.dat"]) == {**FILES, **changed}
    posts = asked(rdm, "(POST|PUT|DELETE) ")
    author.publish({**FILES, **changed}, new_version=True)  # nothing new: no version
    assert asked(rdm, "(POST|PUT|DELETE) ") == posts


def test_three_real_files_by_command(
    rdm: Any, author: Author, need: Any, command: Callable[..., Any], tmp_path: Path
) -> None:
    folder = Path(need.module("healpy").__file__).parent / "data"
    real = sorted(folder.glob("weight_ring_n0*.fits"))[:3]
    assert len(real) == 3
    done = command("publish", *real, "--to", author.spec, "--package", author.registry)
    assert done.exit_code == 0, done.output
    assert rdm.tokens["ann"] not in done.output
    names = [path.name for path in real]
    assert sorted(locators(author)) == sorted(names)
    assert author.users_get(names) == {path.name: path.read_bytes() for path in real}


def test_a_license_that_the_server_does_not_list(ann: By, author: Author) -> None:
    author.registry.write_text(about().replace("CC-BY-4.0", "My own license"))
    author.publish({"a.dat": b"a"})
    told = ann.ask("GET", f"records/{locators(author)['a.dat']}")
    assert told["metadata"]["rights"] == [{"title": {"en": "My own license"}}]


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ("", "title and authors"),
        ('[about]\ntitle = "Dust"\n', "authors"),
        ('[about]\ntitle = "Du"\nauthors = ["Ann"]\n', "less than 3 characters"),
        ('[about]\ntitle = "Dust"\nauthors = [7]\n', "7 in \\[about\\] is no author"),
    ],
)
def test_what_a_record_must_say(rdm: Any, author: Author, about: str, says: str) -> None:
    author.registry.write_text(about)
    before = asked(rdm, "(POST|PUT|DELETE) ")
    with pytest.raises(PublishError, match=says):
        author.publish({"a.dat": b"a"})
    assert asked(rdm, "(POST|PUT|DELETE) ") == before
    assert author.registry.read_text() == about


def test_a_wrong_token(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENIORDM_TOKEN", "wrong")
    with pytest.raises(AccessDenied, match="account/settings/applications"):
        author.publish({"a.dat": b"a"})


def test_records_of_others_deleted_and_restricted_ones(rdm: Any, ann: By, author: Author) -> None:
    theirs, _ = By(rdm, "bob").record({"b.dat": b"b"})
    closed, _ = ann.record({"a.dat": b"a"}, access={"record": "public", "files": "restricted"})
    gone, _ = ann.record({"a.dat": b"a"})
    rdm.delete(gone)
    before = asked(rdm, "(POST|PUT|DELETE) /api")
    for record, error, says in (
        (theirs, AccessDenied, "somebody else's"),
        (By(rdm, "bob").draft(), AccessDenied, "not yours"),
        (closed, PublishError, "files of this record are restricted"),
        (gone, PublishError, "was deleted"),
        ("zzzzz-99999", PublishError, "there is no record"),
    ):
        author.spec = f"inveniordm:{rdm.url}{record}"
        with pytest.raises(error, match=says):
            author.publish({"a.dat": b"a"})
    assert asked(rdm, "(POST|PUT|DELETE) /api") == before + 1  # bob's draft


def test_too_large_too_many_and_hidden_names(rdm: Any, author: Author) -> None:
    with pytest.raises(PublishError, match="container"):
        author.publish({"a/container/b.dat": b"b"})
    with pytest.raises(PublishError, match="(Maximum file size|quota) exceeded"):
        author.publish({"big.dat": b"x" * 5_000_000})
    assert locators(author) == {}
    with pytest.raises(PublishError, match="exceeding the max amount"):
        author.publish({f"{n:03}.dat": b"%d" % n for n in range(101)})
    author.publish({"a.dat": b"a"})  # the same draft, without what did not fit
    held = make_host(line_of(author)).held(load_settings())
    assert set(held) == {"a.dat"}


def test_limits_of_zenodo(tmp_path: Path) -> None:
    new, old = (make_host(spec).publisher(Settings(), {}) for spec in ("zenodo:new", "zenodo:1"))
    assert (new.limits.total_bytes, new.limits.files, old.limits.total_bytes) == (50 * 10**9, 100, 200 * 10**9)
    assert make_host("inveniordm:https://rdm.example.org/new").publisher(Settings(), {}).limits.files is None


def test_a_draft_with_somebodys_other_file(rdm: Any, ann: By, author: Author) -> None:
    author.publish({"a.dat": b"a1"})
    again(author)
    draft = str(ann.ask("POST", f"records/{locators(author)['a.dat']}/versions")["id"])
    ann.put(draft, {"b.dat": b"by hand"})
    with pytest.raises(Conflict, match=f"uploads/{draft}"):
        author.publish({"b.dat": b"by dataferry"})
    ann.ask("DELETE", f"records/{draft}/draft/files/b.dat")
    author.publish({"b.dat": b"by dataferry"})
    assert author.users_get(["a.dat", "b.dat"]) == {"a.dat": b"a1", "b.dat": b"by dataferry"}


def test_an_author_changes_a_file_between_two_tries(rdm: Any, author: Author) -> None:
    with refused("exceeded"):
        author.publish({"a.dat": b"first", "gone.dat": b"gone", "big.dat": b"x" * 5_000_000})
    author.publish({"a.dat": b"second", "big.dat": b"small"})
    assert author.users_get(["a.dat", "big.dat"]) == {"a.dat": b"second", "big.dat": b"small"}
    held = make_host(line_of(author)).held(load_settings())
    assert set(held) == {"a.dat", "big.dat"}  # what the first try brought and the second had not is not public


def test_two_authors_at_once(rdm: Any, author: Author, tmp_path: Path) -> None:
    """Who is second finds the draft filled or gone, gets an error or the next version; nothing is mixed up."""
    author.publish({"a.dat": b"a"})
    spec = line_of(author)
    host = make_host(spec)
    publishers = [host.publisher(load_settings(), {}) for _ in range(2)]
    uploads = []
    for n in range(2):
        path = tmp_path / f"same{n}"
        path.write_bytes(data := f"of author {n}".encode())
        digests = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
        uploads.append(Upload("same.dat", path, len(data), *digests))
    notes: list[dict[str, Any]] = [{}, {}]
    for publisher, upload, note in zip(publishers, uploads, notes, strict=True):
        publisher.check_rights()
        assert publisher.held([upload]) == {}
        publisher.begin([upload], note)
    publishers[0].upload(uploads[0], {}, lambda _: None)

    def go_on() -> None:
        publishers[1].upload(uploads[1], {}, lambda _: None)
        publishers[1].finish([uploads[1]], notes[1])
        publishers[0].finish([uploads[0]], notes[0])

    with pytest.raises((Conflict, PublishError)):
        go_on()
    held = host.held(load_settings())
    assert held.keys() <= {"a.dat", "same.dat"}
    if "same.dat" in held:
        assert held["same.dat"].md5 in {upload.md5 for upload in uploads}


# -- killed, cut, refused for a while ----------------------------------------------------------------------------------


def _publish_and_report(files: dict[str, str], spec: str, registry: str, environ: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environ)
    publish(files, spec, registry, progress=False)


class Process:
    """An author in a process of its own, who may be killed."""

    def __init__(self, author: Author, files: Mapping[str, bytes]) -> None:
        self.author = author
        folder = author.folder / "files"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        context = multiprocessing.get_context("forkserver")
        # what each would load: a process then starts at once
        context.set_forkserver_preload(
            ["dataferry.publish", "dataferry.hosts.inveniordm.publisher", "astropy.utils.data"]
        )
        paths = {name: str(folder / name) for name in files}
        words = (paths, author.spec, str(author.registry), dict(os.environ))
        self.process = context.Process(target=_publish_and_report, args=words)

    def start(self) -> None:
        self.process.start()

    def kill(self) -> None:
        os.kill(self.process.pid or 0, signal.SIGKILL)
        self.process.join()


def check_one_version(rdm: Any, author: Author, files: Mapping[str, bytes]) -> None:
    """What has to hold after the run that came through."""
    assert author.users_get(list(files)) == files
    [version] = set(locators(author).values())
    held = make_host(f"inveniordm:{rdm.url}{version}").held(load_settings())
    assert {name: told.md5 for name, told in held.items()} == {
        name: hashlib.md5(data).hexdigest() for name, data in files.items()
    }


@pytest.mark.parametrize("when", ["before", "after"])
@only_stand_in
def test_killed_at_every_request(rdm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """At each request that changes something, before the server does it or before it answers."""
    monkeypatch.setenv("INVENIORDM_TOKEN", rdm.tokens["ann"])
    stranger = dict(os.environ)
    done = False
    for step in range(40):
        author = Author(f"inveniordm:{rdm.url}new", tmp_path / f"{when}{step}", stranger)
        author.registry.parent.mkdir(parents=True)
        author.registry.write_text(about())
        first = Process(author, FILES)
        start = len(rdm.log)
        # all that came before the step goes on, the step itself kills
        rdm.faults.clear()
        if step:
            rdm.fault("^(POST|PUT|DELETE) ", left=step)
        how = {"before": first.kill, "cut": 1 << 20} if when == "before" else {"after": first.kill}
        rdm.fault("^(POST|PUT|DELETE) ", **how)
        first.start()
        first.process.join(30)
        if done := rdm.faults[-1].left == 1:
            assert first.process.exitcode == 0
            break
        rdm.faults.clear()
        again = Process(author, FILES)
        again.start()
        again.process.join(30)
        assert again.process.exitcode == 0, f"step {step}"
        check_one_version(rdm, author, FILES)
        lines = [line for line in rdm.log[start:] if int(line.split()[-1]) < 400]
        assert sum("/actions/publish" in line for line in lines) == 1, f"step {step}: {lines}"
        # of two that were on their way at once the server may have had less than all bytes
        sent = [line for line in lines if line.startswith("PUT") and "/content" in line]
        assert len(sent) <= len(FILES) + 2, f"step {step}: {lines}"
        made = sum(line.startswith("POST /api/records ") for line in lines)
        assert made == 1, f"step {step}: {made} records were made"
    assert done


@pytest.mark.nightly
def test_killed_at_random(rdm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENIORDM_TOKEN", rdm.tokens["ann"])
    stranger = dict(os.environ)
    chance = random.Random(64)
    longest = 1.2 if rdm.real else 0.25
    for number in range(12 if rdm.real else 40):
        author = Author(f"inveniordm:{rdm.url}new", tmp_path / str(number), stranger)
        author.registry.parent.mkdir(parents=True)
        author.registry.write_text(about())
        start, kills = len(rdm.lines()), 0
        while True:
            run = Process(author, FILES)
            run.start()
            run.process.join(chance.uniform(0.0, longest * (1 + kills)))
            if run.process.exitcode is None:
                run.kill()
                kills += 1
                continue
            assert run.process.exitcode == 0
            break
        check_one_version(rdm, author, FILES)
        lines = rdm.lines()[start:]
        assert sum("/actions/publish 202" in line for line in lines) == 1
        sent = sum(line.startswith("PUT") and "/content 200" in line for line in lines)
        assert sent <= len(FILES) + kills
        print(f"\nkilled {kills} times, {sent} files sent, {len(lines)} requests")  # noqa: T201


@pytest.mark.parametrize(
    "pattern",
    [
        "GET /api/user/records",
        "POST /api/records ?$",
        r"POST \S+/pids/doi",
        r"PUT \S+/draft$",
        r"POST \S+/draft/files$",
        r"PUT \S+/content",
        r"POST \S+/commit",
        r"GET \S+/draft/files$",
        r"POST \S+/actions/publish",
        r"GET \S+/files$",
    ],
)
@pytest.mark.parametrize("how", ["lost", "cut"])
@only_stand_in
def test_a_connection_that_breaks(
    rdm: Any, author: Author, monkeypatch: pytest.MonkeyPatch, pattern: str, how: str
) -> None:
    """Once at each kind of request: either this run or the next one goes through, and nothing is there twice."""
    monkeypatch.setattr("dataferry.hosts.inveniordm.publisher.InvenioPublisher.patience", 0.2)
    rdm.fault(pattern, **({"lost": True} if how == "lost" else {"cut": 100}))
    try:
        author.publish(FILES)
    except DataferryError:
        author.publish(FILES)
    check_one_version(rdm, author, FILES)
    assert asked(rdm, r"POST \S+/actions/publish") == 1


@only_stand_in
def test_a_publish_that_a_proxy_gave_up_on(rdm: Any, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    rdm.fault(r"POST \S+/actions/publish", status=504)
    monkeypatch.setattr("dataferry.hosts.inveniordm.publisher.InvenioPublisher.patience", 0.2)
    with pytest.raises((PublishError, TransferError), match="504"):
        author.publish(FILES)
    author.publish(FILES)
    check_one_version(rdm, author, FILES)


@only_stand_in
def test_bytes_that_change_on_the_way(rdm: Any, author: Author) -> None:

    def spoil() -> None:
        for record in rdm.records.values():
            for file in record.files.values():
                file.data = b"spoiled"

    rdm.fault(r"POST \S+/dust_064.fits/commit", before=spoil)
    with refused("other bytes arrived"):
        author.publish(FILES)
    assert not any(record.published for record in rdm.records.values())
    author.publish(FILES)
    check_one_version(rdm, author, FILES)


@only_stand_in
def test_a_draft_that_changes_before_it_is_published(rdm: Any, author: Author) -> None:

    def lose() -> None:
        for record in rdm.records.values():
            record.files.pop("dust_064.fits", None)

    rdm.fault(r"GET \S+/draft/files$", left=1)
    rdm.fault(r"GET \S+/draft/files$", before=lose)
    with pytest.raises(Conflict, match="dust_064.fits"):
        author.publish(FILES)
    assert not any(record.published for record in rdm.records.values())
    author.publish(FILES)
    check_one_version(rdm, author, FILES)


@only_stand_in
def test_rate_limits_are_waited_for(rdm: Any, author: Author) -> None:
    files = {f"{n:02}.dat": b"%d" % n for n in range(10)}
    rdm.limit = 15, 2.0
    began = time.monotonic()
    author.publish(files)
    took = time.monotonic() - began
    rdm.limit = None
    refused = sum(line.endswith(" 429") for line in rdm.log)
    assert took > 2.0
    assert refused <= len(rdm.log) // 4
    check_one_version(rdm, author, files)


@only_stand_in
def test_a_server_without_folders(rdm: Any, author: Author) -> None:
    rdm.folders = False
    with pytest.raises(PublishError, match="no folders in names"):
        author.publish({"maps/a.dat": b"a"})


@only_stand_in
def test_a_server_without_dois(rdm: Any, author: Author) -> None:
    rdm.dois = False
    author.publish(FILES)
    check_one_version(rdm, author, FILES)


@only_stand_in
def test_a_draft_that_was_made_and_not_noted(rdm: Any, author: Author) -> None:
    rdm.fault("POST /api/records$", lost=True)
    with pytest.raises(TransferError):
        author.publish(FILES)
    author.publish(FILES)
    assert len(rdm.records) == 1


def test_what_the_about_table_says() -> None:
    body = draft_body({"authors": [{"name": "A Team", "type": "organization"}, "Ann"]}, {}, "", "Here")
    assert body["metadata"]["creators"] == [
        {"person_or_org": {"type": "organizational", "name": "A Team"}},
        {"person_or_org": {"type": "personal", "family_name": "Ann"}},
    ]
    before = {
        "metadata": {"resource_type": {"id": "image", "title": {"en": "Image"}}, "publication_date": "2020-01-01"},
        "access": {"record": "public", "files": "public", "status": "open"},
        "pids": {"doi": {"identifier": "10.5072/1"}},
    }
    body = draft_body({"description": "Has <b>tags</b>"}, before, "", "Here")
    assert body["metadata"]["resource_type"] == {"id": "image"}
    assert body["metadata"]["publication_date"] > "2026-01-01"
    assert body["metadata"]["description"] == "Has <b>tags</b>"
    assert body["pids"] == before["pids"]
    assert body["access"] == {"record": "public", "files": "public"}
