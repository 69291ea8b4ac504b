"""Zenodo and InvenioRDM, reading: the same tests against a stand-in and, nightly, against the real server."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import urllib3
from dataferry_test_servers.inveniordm.people import FILES, By, refused

from dataferry.config import Settings, load_settings
from dataferry.errors import AccessDenied, BadName, TransferError
from dataferry.hosts import make_host
from dataferry.hosts.inveniordm import InvenioHost, ZenodoHost, ZenodoSandboxHost
from dataferry.registry import Entry, Registry
from dataferry.testing import HostContract
from dataferry.testing.author import Author

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
    assert (host.server, host.record) == (server, record)


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
    monkeypatch.setenv("ZENODO_TOKEN", "zenodo-token")
    monkeypatch.setenv("INVENIORDM_TOKEN", "rdm-token")
    zenodo, other = make_host("zenodo:1"), make_host("inveniordm:https://evil.example/1")
    plain = make_host("inveniordm:http://rdm.example.org/1")
    assert isinstance(zenodo, InvenioHost) and isinstance(other, InvenioHost) and isinstance(plain, InvenioHost)
    assert zenodo.token(Settings(), publishing=False)
    assert zenodo.token(Settings().as_anonymous(), publishing=False) is None
    assert other.token(Settings(), publishing=False) is None  # a package named it, and not the user
    assert other.token(Settings(), publishing=True)
    assert plain.token(Settings(), publishing=True) is None
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


class TestZenodoHost(TestInvenioHost):
    """Zenodo's lines and locators, with a server on loopback in its place; the registry names the version."""

    kind: ClassVar[type[ZenodoHost]] = ZenodoHost

    @contextmanager
    def serving(self, files: Mapping[str, bytes]) -> Iterator[InvenioHost]:
        self.record, _ = By(self.rdm).record(files)
        near = type("Near", (self.kind,), {"server": self.rdm.url})
        yield near(f"{self.kind.schemes[0]}:1")

    def entry(self, name: str, data: bytes) -> Entry:
        return Entry(name, hashlib.sha256(data).hexdigest(), len(data), {self.kind.schemes[0]: self.record})


class TestZenodoSandboxHost(TestZenodoHost):
    kind = ZenodoSandboxHost


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
    hosted = make_host(spec).hosted(load_settings())
    assert {name: told.locators for name, told in hosted.items()} == {"a.dat": {make_host(spec).locator: second}}
    assert hosted["a.dat"].md5 == hashlib.md5(b"two").hexdigest()
    older = make_host(f"inveniordm:{rdm.url}{first}").hosted(load_settings())
    assert set(older) == {"a.dat", "old.dat"}
    pinned = user(tmp_path / "2", spec, {"a.dat": b"one"}, {"a.dat": first})
    assert pinned.users_get(["a.dat"]) == {"a.dat": b"one"}
    # a line with an old version still finds what came later, also under a name that the old one has
    late = user(tmp_path / "3", f"inveniordm:{rdm.url}{first}", {"a.dat": b"two"})
    assert late.users_get(["a.dat"]) == {"a.dat": b"two"}
    ann.next(second, {"new.dat": b"new"})
    late = user(tmp_path / "4", f"inveniordm:{rdm.url}{first}", {"new.dat": b"new"})
    assert late.users_get(["new.dat"]) == {"new.dat": b"new"}


def test_a_record_that_the_server_fails_at_hides_no_other(
    invenio_standin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataferry.hosts.api_client.FIRST_PAUSE", 0.001)
    ann = By(invenio_standin)
    broken, first = ann.record({"a.dat": b"one"})[0], ann.record({"c.dat": b"three"})[0]
    ann.next(first, {"b.dat": b"two"})
    invenio_standin.fault(f"GET .*/records/{broken}", status=500, left=100)
    host = make_host(f"inveniordm:{invenio_standin.url}{first}")
    wanted = {"a.dat": Entry("a.dat", "0" * 64, 3, {host.locator: broken}), "b.dat": None}
    assert list(host.look_up(wanted, load_settings())) == ["b.dat"]


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
    with refused("files of the record .* are restricted, and an anonymous user may not get them"):
        someone.users_get(["a.dat"])
    # the variable could be for another server; what is said of this one is not
    monkeypatch.setenv("INVENIORDM_TOKEN", rdm.tokens["ann"])
    with pytest.raises(TransferError, match="restricted"):
        make_host(spec).hosted(load_settings())
    settings = Settings(hosts={"127.0.0.1": {"token": rdm.tokens["ann"]}})
    [source] = make_host(spec).look_up({"a.dat": None}, settings)["a.dat"]
    reply = urllib3.request("GET", source.url, headers=dict(source.headers), retries=False)
    assert reply.data == b"secret"
    assert rdm.tokens["ann"] not in source.redacted
    bob = Settings(hosts={"127.0.0.1": {"token": rdm.tokens["bob"]}})
    with pytest.raises(TransferError, match="the owner of the token in .*config.toml may not"):
        make_host(spec).hosted(bob)


def test_records_that_cannot_be_had(rdm: Any, ann: By, tmp_path: Path) -> None:
    closed, _ = ann.record({"a.dat": b"secret"}, access={"record": "restricted", "files": "restricted"})
    gone, _ = ann.record({"a.dat": b"gone"})
    rdm.delete(gone)
    draft = ann.draft({"a.dat": b"draft"})
    for record, says in (
        (closed, "restricted, and an anonymous user may not see it"),
        (gone, "was deleted"),
        (draft, "a draft has to be published first"),
        ("zzzzz-99999", "there is no published record"),
    ):
        spec = f"inveniordm:{rdm.url}{record}"
        with pytest.raises(TransferError, match=says):
            make_host(spec).hosted(load_settings())
        with refused(says):
            user(tmp_path / record, spec, {"a.dat": b"gone"}).users_get(["a.dat"])


def test_a_doi_of_another_record(rdm: Any, ann: By) -> None:
    record, _ = ann.record({"a.dat": b"a"})
    doi = ann.ask("GET", f"records/{record}")["pids"]["doi"]["identifier"]
    assert set(make_host(f"inveniordm:{rdm.url}{doi}").hosted(load_settings())) == {"a.dat"}
    with pytest.raises(TransferError, match=f"has the DOI {doi}"):
        make_host(f"inveniordm:{rdm.url}10.1234/{record}").hosted(load_settings())
