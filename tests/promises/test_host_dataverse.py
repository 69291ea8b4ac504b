"""Dataverse: what lines mean, reading by number and by list, and publishing, against a stand-in made from its guide."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dataferry.config.settings import Settings, load_settings
from dataferry.errors import AccessDenied, BadName, Conflict, DataferryError, PublishError, TransferError
from dataferry.hosts import make_host
from dataferry.hosts.base import HostedFile
from dataferry.hosts.dataverse import DataverseHost, DataversePublisher
from dataferry.registry.entry import Entry
from dataferry.registry.registry import Registry
from dataferry.testing import HostContract, PublishContract
from dataferry.testing.author import Author

ABOUT = """
[about]
title = "Maps of the dust"
description = "Made for a test."
authors = ["Ann Author", {name = "Writer, Bo", orcid = "https://orcid.org/0000-0002-1825-0097", affiliation = "Here"}]
keywords = ["dust", "cosmology"]
license = "CC-BY-4.0"
"""
FILES = {"maps/dust_064.fits": b"dust" * 700, "beam.fits": b"beam" * 900}
KEY = "key-ann"


# -- what a line means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "server", "dataset"),
    [
        ("dataverse:doi:10.7910/DVN/ABCDEF", "https://dataverse.harvard.edu/", "doi:10.7910/DVN/ABCDEF"),
        ("dataverse:10.7910/DVN/ABCDEF", "https://dataverse.harvard.edu/", "doi:10.7910/DVN/ABCDEF"),
        ("dataverse:https://doi.org/10.7910/DVN/A", "https://dataverse.harvard.edu/", "doi:10.7910/DVN/A"),
        (
            "dataverse:10.70122/FK2/X?server=https://demo.dataverse.org",
            "https://demo.dataverse.org/",
            "doi:10.70122/FK2/X",
        ),
        ("dataverse:new?server=https://demo.dataverse.org&collection=dust", "https://demo.dataverse.org/", ""),
    ],
)
def test_lines(line: str, server: str, dataset: str) -> None:
    host = make_host(line)
    assert isinstance(host, DataverseHost)
    assert (host.server, host.record) == (server, dataset)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("dataverse:10.5281/zenodo.4924875", "write zenodo:10.5281/zenodo.4924875"),
        ("dataverse:10.6084/m9.figshare.1", "write figshare:10.6084/m9.figshare.1"),
        ("dataverse:", "names no dataset"),
        ("dataverse:4711", "names no dataset"),
        ("dataverse:new?server=ftp://a.example", "http or https URL"),
        ("dataverse:new?server=https://u:s3cret@a.example", "without user"),
        ("dataverse:new?sever=https://a.example", "'sever' is not known"),
    ],
)
def test_lines_that_mean_nothing(line: str, says: str) -> None:
    with pytest.raises(BadName, match=says) as caught:
        make_host(line)
    assert "s3cret" not in str(caught.value)


# -- reading ----------------------------------------------------------------------------------------------------------


class TestDataverseHost(HostContract):
    """Files by their numbers."""

    site: Any = None

    @pytest.fixture(autouse=True)
    def _site(self, dataverse: Any) -> None:
        type(self).site = dataverse

    def serving(self, files: Mapping[str, bytes]) -> Any:
        @contextmanager
        def serve() -> Iterator[DataverseHost]:
            dataset = self.site.put(files)
            self.numbers = dict(zip(files, dataset.versions[0], strict=True))
            yield DataverseHost(self.site.spec(dataset.pid))

        return serve()

    def entry(self, name: str, data: bytes) -> Entry:
        locator = DataverseHost(self.site.spec()).locator
        return Entry(name, hashlib.sha256(data).hexdigest(), len(data), {locator: self.numbers.get(name, 99999)})


def test_files_are_looked_up_by_name(dataverse: Any, make_package: Callable[..., str]) -> None:
    from dataferry import PackageData

    dataset = dataverse.put(FILES)
    package = make_package(FILES, head=f'mirrors = ["{dataverse.spec(dataset.pid)}"]')
    data = PackageData(package, show_progress=False)
    assert [Path(path).read_bytes() for path in data.fetch(list(FILES))] == list(FILES.values())


@pytest.mark.parametrize("kind", ["MD5", "SHA-256"])
def test_what_a_dataset_has(dataverse: Any, kind: str) -> None:
    dataverse.digest = kind
    dataset = dataverse.put({"maps/a.fits": b"abc"})
    host = make_host(dataverse.spec(dataset.pid))
    digests = {"MD5": (None, hashlib.md5(b"abc").hexdigest()), "SHA-256": (hashlib.sha256(b"abc").hexdigest(), None)}
    [number] = dataset.versions[0]
    found = host.hosted(Settings())["maps/a.fits"]
    assert (found.size, found.sha256, found.md5, found.locators) == (3, *digests[kind], {host.locator: number})


def test_a_table_that_was_ingested_is_read_as_it_was_uploaded(dataverse: Any, make_package: Callable[..., str]) -> None:
    from dataferry import PackageData

    dataset = dataverse.put({"table.csv": b"a,b\n1,2\n"})
    [number] = dataset.versions[0]
    dataverse.files[number]["label"] = "table.tab"
    dataverse.files[number]["dataFile"] |= {"originalFileName": "table.csv", "originalFileSize": 8, "filesize": 4}
    spec = dataverse.spec(dataset.pid)
    assert make_host(spec).hosted(Settings())["table.csv"].size == 8
    package = make_package({"table.csv": b"a,b\n1,2\n"}, head=f'mirrors = ["{spec}"]')
    assert Path(PackageData(package, show_progress=False).get("table.csv")).read_bytes() == b"a,b\n1,2\n"


@pytest.mark.parametrize(
    ("pid", "name"),
    [
        ("doi:10.7910/DVN/ABCDEF", "maps/a.fits"),
        ("doi:10.5072/FK2/ABC", "maps/a.fits"),
        ("doi:10.5683/SP2/ABCDEF", "maps/a.fits"),  # Borealis
        ("doi:10.18710/ABCDEF", "maps/a.fits"),  # DataverseNO: no shoulder
        ("doi:10.11588/data/ABCDEF", "a.fits"),  # heiDATA
        ("doi:10.13130/RD_UNIMI/ABCDEF", "a.fits"),  # Milan
        ("doi:10.15454/1.5572369328961167E12", "maps/v1/a.fits"),  # INRAE
        ("doi:10.5072/FK2/A/B/C", "maps/a.fits"),
        ("doi:10.5072/x/y", "MAPS12/a.fits"),
    ],
)
@pytest.mark.parametrize("scheme", ["doi:", "dataverse:doi:"])
def test_the_doi_of_a_dataset_ends_where_the_installation_says(
    dataverse: Any, pid: str, name: str, scheme: str, tmp_path: Path
) -> None:
    from dataferry import retrieve

    dataset = dataverse.put({name: b"abc", "b.fits": b"no"})
    dataset.pid = pid
    dataverse.datasets = {pid: dataset}
    url = f"{scheme}{pid.removeprefix('doi:')}/{name}?server={dataverse.url}"
    path = retrieve(url, folder=tmp_path)
    assert (Path(path).read_bytes(), Path(path).name) == (b"abc", "a.fits")


def test_the_doi_of_a_file(dataverse: Any, tmp_path: Path) -> None:
    from dataferry import retrieve

    dataset = dataverse.put({"maps/a.fits": b"abc", "b.fits": b"no"})
    for number, name in zip(dataset.versions[0], ("AAAAAA", "BBBBBB"), strict=True):
        dataverse.files[number]["dataFile"]["persistentId"] = f"{dataset.pid}/{name}"
    url = f"{dataset.pid}/AAAAAA?server={dataverse.url}"
    assert Path(retrieve(url, folder=tmp_path, name="a.fits")).read_bytes() == b"abc"


def test_a_dataset_that_is_not_there_is_named_in_each_form(dataverse: Any, tmp_path: Path) -> None:
    from dataferry import retrieve
    from dataferry.errors import FileUnavailable

    with pytest.raises(FileUnavailable, match=r"no public dataset doi:10\.5683/SP2;.* doi:10\.5683/SP2/NO(;|\n)"):
        retrieve(f"dataverse:doi:10.5683/SP2/NO/a.fits?server={dataverse.url}", folder=tmp_path)


def test_a_dataset_that_is_not_public(dataverse: Any) -> None:
    dataset = dataverse.put({"a.fits": b"abc"}, public=False)
    for spec in (dataverse.spec(dataset.pid), dataverse.spec("doi:10.5072/FK2/NONE")):
        with pytest.raises(TransferError, match="there is no public dataset"):
            make_host(spec).hosted(Settings())
    with pytest.raises(TransferError, match="yet to be made"):
        make_host(dataverse.spec()).hosted(Settings())


def test_the_variable_goes_only_where_the_user_named_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVERSE_API_TOKEN", KEY)
    host = make_host("dataverse:new?server=https://evil.example")
    assert host.token(Settings()) is None
    assert host.token(Settings(), publishing=True) is not None


# -- publishing -------------------------------------------------------------------------------------------------------


class TestPublishDataverse(PublishContract):
    """To a dataset that the author made on the page."""

    secret = KEY
    site: Any = None
    refused_names = ("what?.fits", "no#1.fits", "colon: [brackets] {braces} ^`|.fits")

    @pytest.fixture(autouse=True)
    def _site(self, dataverse: Any) -> None:
        type(self).site = dataverse

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        dataset = self.site.put({}, owner="ann", public=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATAVERSE_API_TOKEN", KEY)
            yield self.site.spec(dataset.pid)

    def writes(self) -> int:
        return int(self.site.count("(POST|PUT|DELETE) "))

    @contextmanager
    def without_rights(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATAVERSE_API_TOKEN", "key-bob")
            yield


@pytest.fixture
def author(dataverse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Author:
    anonymous = dict(os.environ)
    monkeypatch.setenv("DATAVERSE_API_TOKEN", KEY)
    made = Author(dataverse.spec(), tmp_path, anonymous)
    made.registry.parent.mkdir(parents=True, exist_ok=True)
    made.registry.write_text(ABOUT)
    return made


def mirrors(author: Author) -> tuple[str, ...]:
    return tuple(Registry(author.registry).mirrors)


def test_a_new_dataset(dataverse: Any, author: Author) -> None:
    dataverse.locks_for = 0.3
    assert all(file.proven for file in author.publish(FILES).files)
    [dataset] = dataverse.datasets.values()
    assert mirrors(author) == (dataverse.spec(dataset.pid),)
    assert dataset.fields["title"] == "Maps of the dust"
    assert dataset.license == "CC BY 4.0"
    assert [a["authorName"]["value"] for a in dataset.fields["author"]] == ["Author, Ann", "Writer, Bo"]
    assert dataset.fields["author"][1]["authorIdentifier"]["value"] == "0000-0002-1825-0097"
    assert dataset.fields["datasetContact"][0]["datasetContactEmail"]["value"] == "ann@x.example"
    assert [k["keywordValue"]["value"] for k in dataset.fields["keyword"]] == ["dust", "cosmology"]
    assert len(dataset.versions) == 1
    assert author.users_get(list(FILES)) == FILES
    assert not any(file.sent for file in author.publish(FILES).files)
    assert len(dataverse.datasets) == len(dataset.versions) == 1


def test_the_same_command_adds_to_the_dataset_that_it_made(dataverse: Any, author: Author) -> None:
    author.publish(FILES)
    author.publish({**FILES, "more.fits": b"more"})
    [dataset] = dataverse.datasets.values()
    assert [len(version) for version in dataset.versions] == [2, 3]
    assert author.users_get([*FILES, "more.fits"]) == {**FILES, "more.fits": b"more"}


STEPS = [
    "GET /api/users/:me",
    "POST /api/dataverses/",
    "PUT /api/datasets/:persistentId/editMetadata",
    "GET /api/datasets/:persistentId/locks",
    "POST /api/datasets/:persistentId/add",
    "GET /api/datasets/:persistentId/versions/:latest/files",
    "POST /api/datasets/:persistentId/actions/:publish",
    "GET /api/datasets/:persistentId/versions/:latest-published/files",
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", [{"lost": True}, {"cut": 10}, {"status": 503}])
def test_every_step_may_fail_once(
    dataverse: Any, author: Author, monkeypatch: pytest.MonkeyPatch, step: str, how: dict[str, Any]
) -> None:
    monkeypatch.setattr(DataversePublisher, "patience", (0.0, 1.0))
    dataverse.fault(step, **how)
    message = ""
    try:
        author.publish(FILES)
    except DataferryError as error:
        message = str(error)
        author.publish(FILES)
    assert KEY not in message
    [dataset] = dataverse.datasets.values()
    assert dataset.fields["title"] == "Maps of the dust"
    assert sorted(map(dataverse.full_name, dataset.versions[-1])) == sorted(FILES)
    assert len(dataset.versions) == 1
    assert author.users_get(list(FILES)) == FILES


def test_a_lock_is_waited_for_and_a_review_is_named(dataverse: Any, author: Author) -> None:
    import time

    author.publish(FILES)
    [dataset] = dataverse.datasets.values()
    dataset.lock, dataset.locked = "Ingest", time.monotonic() + 0.5
    author.publish({"c.fits": b"c"})
    dataset.lock, dataset.locked = "InReview", time.monotonic() + 60
    with pytest.raises(PublishError, match=r"locked \(InReview\)"):
        author.publish({"d.fits": b"d"})


def test_what_dataverse_would_unpack_or_rename(dataverse: Any, author: Author) -> None:
    with pytest.raises(PublishError, match="unpacks files"):
        author.publish({"a.fits.gz": gzip.compress(b"a")})
    dataset = dataverse.put({"b.fits": b"somebody's"}, owner="ann", public=False)
    author.spec = dataverse.spec(dataset.pid)
    with pytest.raises(Conflict, match=r"b\.fits"):
        author.publish({"b.fits": b"mine"})
    assert [dataverse.full_name(number) for number in dataset.draft] == ["b.fits"]


def test_somebody_elses_dataset(dataverse: Any, author: Author) -> None:
    dataset = dataverse.put({"a.fits": b"a"})
    author.spec = dataverse.spec(dataset.pid)
    with pytest.raises(AccessDenied, match="may not edit and publish"):
        author.publish(FILES)
    author.spec = dataverse.spec("doi:10.5072/FK2/NONE")
    with pytest.raises(AccessDenied, match="no such dataset"):
        author.publish(FILES)


def test_a_wrong_token_or_license(dataverse: Any, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    author.registry.write_text(ABOUT.replace("CC-BY-4.0", "WTFPL"))
    with pytest.raises(PublishError, match=r"CC0 1\.0, CC BY 4\.0"):
        author.publish(FILES)
    monkeypatch.setenv("DATAVERSE_API_TOKEN", "wrong-key")
    with pytest.raises(AccessDenied, match="apiTokenTab") as caught:
        author.publish(FILES)
    assert "wrong-key" not in str(caught.value)
    assert dataverse.datasets == {}


def test_a_file_that_is_too_large_is_the_servers_reason(dataverse: Any, author: Author) -> None:
    dataverse.most_bytes = 1000
    with pytest.raises(PublishError, match="exceeds the size limit of 1000 B"):
        author.publish({"dust.fits": b"x" * 2000})


def test_other_peoples_data_are_added(dataverse: Any, tmp_path: Path, command: Callable[..., Any]) -> None:
    dataset = dataverse.put(FILES)
    registry = tmp_path / "data" / "dataferry.toml"
    registry.parent.mkdir()
    registry.touch()
    done = command("add", str(registry), "--from", dataverse.spec(dataset.pid))
    assert done.exit_code == 0, done.output
    entries = {entry.name: entry for entry in Registry(registry).entries()}
    assert {name: entry.sha256 for name, entry in entries.items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()
    }
    assert isinstance(make_host(dataverse.spec(dataset.pid)).hosted(load_settings())["beam.fits"], HostedFile)
