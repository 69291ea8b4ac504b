"""Assets of releases on GitHub, against a stand-in that is held against descriptions of GitHub's interface."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataferry import PackageData, retrieve
from dataferry.config import load_settings
from dataferry.errors import (
    BadName,
    DataferryError,
    TransferError,
)
from dataferry.hosts import make_host
from dataferry.hosts.base import Host
from dataferry.hosts.github_assets import asset_name, file_name, pieces
from dataferry.hosts.github_release import GitHubReleaseHost
from dataferry.publish import publish
from dataferry.registry import Entry
from dataferry.registry.names import check_name
from dataferry.testing import HostContract

DUST, BEAM = b"dust" * 700, b"beam" * 900


def entry(name: str, data: bytes, **locators: str) -> Entry:
    return Entry(name, hashlib.sha256(data).hexdigest(), len(data), locators)


class TestReading(HostContract):
    secrets = ()

    @pytest.fixture(autouse=True)
    def _server(self, github: Any) -> None:
        self.github = github

    def serving(self, files: Mapping[str, bytes]) -> AbstractContextManager[Host]:
        @contextmanager
        def serve() -> Iterator[Host]:
            self.github.repository("ann/data")
            for name, data in files.items():
                self.github.put("v1", asset_name(name), data)
            yield GitHubReleaseHost(self.github.spec())

        return serve()


class TestReadingParts(TestReading):
    """Every file is more than one asset may hold."""

    def serving(self, files: Mapping[str, bytes]) -> AbstractContextManager[Host]:
        @contextmanager
        def serve() -> Iterator[Host]:
            self.github.repository("ann/data")
            for name, data in files.items():
                start = 0
                for asset, size in pieces(name, len(data), 1000):
                    self.github.put("v1", asset, data[start : start + size])
                    start += size
            yield GitHubReleaseHost(self.github.spec(part=1000))

        return serve()


# -- names and declarations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "asset"),
    [
        ("dust_064.fits", "dust_064.fits"),
        ("a+b@2.fits.gz", "a+b@2.fits.gz"),
        ("maps/deep/dust.fits", "maps+-deep+-dust.fits"),
        ("50 GHz.fits", "50+_20_GHz.fits"),
        ("Übersicht.fits", "+_c39c_bersicht.fits"),
        (".hidden", "+_2e_hidden"),
        ("a..b", "a.+_2e_b"),
        ("+-", "+_2b_-"),
        ("x+_20_", "x+_2b__20_"),
        ("x.part01-of-02", "x+_2e_part01-of-02"),
    ],
)
def test_a_name_becomes_an_asset_and_comes_back(name: str, asset: str) -> None:
    assert asset_name(name) == asset
    assert file_name(asset) == name


@given(st.text(alphabet="aA0f2+-_./ @é%part-of01", max_size=12) | st.text(max_size=12))
def test_any_name_is_kept_by_github_and_comes_back(name: str) -> None:
    try:
        check_name(name)
    except BadName:
        return
    asset = asset_name(name)
    assert kept_by_github(asset) == asset
    assert file_name(asset) == name


def kept_by_github(name: str) -> str:
    return str(sys.modules["dataferry_test_servers.github.state"].kept_name(name))


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ("data@v1", "owner and a repository"),
        ("ann/data", "names no tag"),
        ("ann/data@", "names no tag"),
        ("ann/data@a b", "is not a tag"),
        ("ann/data@a..b", "is not a tag"),
        ("https://github.com/ann/data@v1", "owner and a repository"),
        ("ann/data.git@v1", "owner and a repository"),
        ("ann/..@v1", "owner and a repository"),
        ("ann/data@v1?server=http://example.org", "https URL"),
        ("ann/data@v1?server=https://ann:s3cret@example.org", "https URL"),
        ("ann/data@v1?part=0", "number of bytes"),
        ("ann/data@v1?part=2147483648", "number of bytes"),
        ("ann/data@v1?token=x", "'token' is not known"),
    ],
)
def test_the_error_of_an_invalid_declaration_has_its_reason(declared: str, reason: str) -> None:
    with pytest.raises(BadName, match=reason) as caught:
        make_host(f"github-release:{declared}")
    assert "s3cret" not in str(caught.value)


def test_urls_are_those_of_github() -> None:
    def url(spec: str, name: str, known: Entry | None = None) -> str:
        return make_host(f"github-release:{spec}").sources(name, known)[0].url

    base = "https://github.com/ann/data/releases"
    assert url("ann/data@v1", "maps/dust.fits") == f"{base}/download/v1/maps%2B-dust.fits"
    assert url("ann/data@data/v1", "dust.fits") == f"{base}/download/data%2Fv1/dust.fits"
    assert url("ann/data@latest", "dust.fits") == f"{base}/latest/download/dust.fits"
    further = entry("dust.fits", DUST, **{"github-release": "v1-more2"})
    assert url("ann/data@v1", "dust.fits", further) == f"{base}/download/v1-more2/dust.fits"
    # the locator is of another mirror
    assert url("ann/data@v7", "dust.fits", further) == f"{base}/download/v7/dust.fits"
    server = "ann/data@v1?server=https://github.example.org/"
    assert url(server, "dust.fits") == "https://github.example.org/ann/data/releases/download/v1/dust.fits"


def test_a_file_of_5_gib_is_kept_in_parts() -> None:
    large = Entry("map.fits", "0" * 64, 5 * 2**30)
    [source] = make_host("github-release:ann/data@v1").sources("map.fits", large)
    assert [part.url.rpartition("/")[2] for part in source.parts] == [f"map.fits.part0{i}-of-03" for i in (1, 2, 3)]
    assert [part.size for part in source.parts] == [1900 * 2**20, 1900 * 2**20, 1320 * 2**20]
    [source] = make_host("github-release:ann/data@v1").sources("map.fits", Entry("map.fits", "0" * 64, 2**31 - 1))
    assert source.parts == ()


# -- reading -----------------------------------------------------------------------------------------------------------


def test_the_latest_release_is_read_and_another_one_stays_as_it_is(
    github: Any, make_package: Callable[..., str]
) -> None:
    github.put("v1", "dust.fits", DUST)
    package = make_package({"dust.fits": DUST}, head=f'mirrors = ["{github.spec("latest")}"]')
    assert Path(PackageData(package, show_progress=False).get("dust.fits")).read_bytes() == DUST


def test_what_a_release_holds(github: Any) -> None:
    dust = DUST[:900]
    github.put("v1", "maps+-dust.fits", dust)
    github.put("v1", "too-large-for-one-asset.fits", DUST)
    github.put("v1", "cut.fits", b"", state="starter")
    for number, start in enumerate(range(0, len(BEAM), 1000), 1):
        github.put("v1", f"beam.fits.part{number:02}-of-04", BEAM[start : start + 1000])
    github.put("v1", "half.fits.part01-of-02", b"x" * 1000)
    github.put("v1", "a+_zz_+_61_.fits", b"made by somebody else, and no name leads to it")
    github.put("v1-more2", "late.fits", dust)
    github.put("v1", "draft.fits", dust, draft=True)
    hosted = make_host(github.spec(part=1000)).hosted(load_settings())
    assert sorted(hosted) == ["beam.fits", "late.fits", "maps/dust.fits"]
    assert hosted["maps/dust.fits"].sha256 == hashlib.sha256(dust).hexdigest()
    assert (hosted["beam.fits"].size, hosted["beam.fits"].sha256) == (len(BEAM), None)
    assert hosted["late.fits"].locators == {"github-release": "v1-more2"}


def test_a_release_of_250_assets_is_asked_for_in_pages(github: Any) -> None:
    for number in range(250):
        github.put("v1", f"{number}.dat", b"%d" % number)
    assert len(make_host(github.spec()).hosted(load_settings())) == 250
    assert github.count(r"GET .*/assets\?") == 3


def test_files_of_the_hundredth_release_are_found(github: Any) -> None:
    github.put("v1", "first.fits", DUST)
    for number in range(2, 101):
        github.put(f"v1-more{number}", f"{number}.fits", DUST)
    assert len(make_host(github.spec()).hosted(load_settings())) == 100


def test_a_release_that_is_not_there_is_an_error(github: Any) -> None:
    github.put("v1", "dust.fits", DUST, draft=True)
    with pytest.raises(TransferError, match="no published release 'v1' of ann/data"):
        make_host(github.spec()).hosted(load_settings())


@pytest.mark.parametrize("parts", [False, True])
def test_private_files_are_for_those_with_a_token(
    github: Any, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch, parts: bool
) -> None:
    github.repository("ann/data", private=True)
    spec = github.spec(**({"part": 1000} if parts else {}))
    start = 0
    for asset, size in pieces("maps/dust.fits", len(DUST), 1000 if parts else None):
        github.put("v1", asset, DUST[start : start + size])
        start += size
    package = make_package({"maps/dust.fits": DUST}, head=f'mirrors = ["{spec}"]')
    with pytest.raises(DataferryError, match=r"private repository need a token \(`keyring set dataferry 127\.0\.0\.1`"):
        PackageData(package, show_progress=False).get("maps/dust.fits")
    github.user("github_pat_eve", "eve", push=(), sees=frozenset({"ann/data"}), contents="read")
    monkeypatch.setenv("GH_HOST", github.url.partition("//")[2])
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "github_pat_eve")
    # the storage refuses a token: this shows that it is not sent there
    assert Path(PackageData(package, show_progress=False).get("maps/dust.fits")).read_bytes() == DUST


def test_a_private_file_with_other_bytes_is_not_fetched(github: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    github.repository("ann/data", private=True)
    github.put("v1", "dust.fits", BEAM[: len(DUST)])
    monkeypatch.setenv("GH_HOST", github.url.partition("//")[2])
    monkeypatch.setenv("GH_TOKEN", "ghp_ann")
    host = make_host(github.spec())
    assert host.look_up({"dust.fits": entry("dust.fits", DUST)}, load_settings()) == {}
    assert list(host.look_up({"dust.fits": None}, load_settings())) == ["dust.fits"]


def test_a_package_that_names_a_server_gets_no_token_of_the_user(github: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"):
        monkeypatch.setenv(variable, "ghp_ann")
    seen = []
    github.when(".*", lambda handler: seen.append(handler.headers.get("Authorization")), times=99)  # type: ignore[func-returns-value]
    github.put("v1", "dust.fits", DUST)
    host = make_host(github.spec())
    host.hosted(load_settings())
    with pytest.raises(TransferError, match="need a token"):
        host.look_up({"dust.fits": None}, load_settings())
    assert set(seen) == {None}


def test_a_signed_address_that_is_over_is_asked_for_again(github: Any, make_package: Callable[..., str]) -> None:
    data = DUST * 2000
    github.put("v1", "dust.fits", data)
    github.signature_seconds = 0.3
    package = make_package({"dust.fits": data}, head=f'mirrors = ["{github.spec()}"]')
    assert Path(PackageData(package, show_progress=False).get("dust.fits")).read_bytes() == data


# -- the stand-in itself -----------------------------------------------------------------------------------------------


def test_the_stand_in_is_compared_with_the_description(github: Any) -> None:
    exchange = sys.modules["dataferry_test_servers.described"].Exchange
    url = "https://api.github.com/repos/ann/data/releases"
    json_ = {"Content-Type": "application/json"}
    github.check(exchange("POST", url, json_, b'{"name": "no tag"}', 201, json_, b"{}"))
    assert any("request of POST" in told and "tag_name" in told for told in github.violations)
    assert any("answer of POST" in told for told in github.violations)
    github.violations.clear()


def test_a_tag_with_slashes(github: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "ghp_ann")
    (tmp_path / "dust").write_bytes(b"dust")
    spec = github.spec("data/v1")
    publish({"maps/dust.fits": tmp_path / "dust"}, spec, tmp_path / "dataferry.toml", progress=False)
    url = spec.replace("@data/v1", "@data/v1/maps/dust.fits")
    assert Path(retrieve(url, folder=tmp_path / "got", progress=False)).read_bytes() == b"dust"
