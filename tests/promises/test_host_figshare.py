"""Figshare: what lines mean, names, and reading by number and by list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.figshare.author import bytes_of, fetched

from dataferry.config import Settings
from dataferry.errors import (
    BadName,
    FileUnavailable,
    TransferError,
)
from dataferry.hosts import make_host
from dataferry.hosts.base import HostedFile
from dataferry.hosts.figshare import FigshareHost, article_name, file_name
from dataferry.registry import Entry
from dataferry.testing import HostContract, RangeServer


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIGSHARE_TOKEN", "token-1")


# -- what a line means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "article", "version", "doi"),
    [
        ("figshare:14763051", 14763051, None, ""),
        ("figshare:14763051.v2", 14763051, 2, ""),
        ("figshare:10.6084/m9.figshare.14763051", 14763051, None, ""),
        ("figshare:10.6084/M9.figshare.14763051.v12", 14763051, 12, ""),
        ("figshare:doi:10.6084/m9.figshare.14763051.v2", 14763051, 2, ""),
        ("figshare:https://doi.org/10.6084/m9.figshare.14763051.v2", 14763051, 2, ""),
        ("figshare:https://figshare.com/articles/dataset/Some_title/14763051/3", 14763051, 3, ""),
        ("figshare:https://figshare.com/articles/14763051", 14763051, None, ""),
        ("figshare:10.25384/SAGE.12345678.v1", None, 1, "10.25384/sage.12345678"),
        ("figshare:10.1371/journal.pone.0123456.s001", None, None, "10.1371/journal.pone.0123456.s001"),
    ],
)
def test_lines(line: str, article: int | None, version: int | None, doi: str) -> None:
    host = FigshareHost(line)
    assert (host.article, host.version, host.doi) == (article, version, doi)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("figshare:10.5281/zenodo.4924875", "write zenodo:10.5281/zenodo.4924875"),
        ("figshare:10.5061/dryad.abc", "Dryad"),
        ("figshare:10.7910/DVN/ABC", "Dataverse"),
        ("figshare:10.6084/m9.figshare.c.5678", "a collection"),
        ("figshare:https://figshare.com/s/63fc1ada93e42e388e63", "private link"),
        ("figshare:https://figshare.com/collections/some/123", "no article"),
        ("figshare:", "figshare:14763051"),
        ("figshare:0", "figshare:14763051"),
        ("figshare:1 2", "figshare:14763051"),
        ("figshare:latest", "figshare:14763051"),
        ("figshare:10.1234/a\x1b[2Jb", "figshare:14763051"),
        ("figshare:https://figshare.com/articles/dataset/a\x1b[2J/123", "figshare:14763051"),
        ("figshare:1?sever=https://a.example/", "sever"),
        ("figshare:1?server=ftp://a.example/", "http"),
        ("figshare:1?server=https://u:p@a.example/", "without user"),
    ],
)
def test_lines_that_mean_nothing(line: str, says: str) -> None:
    with pytest.raises(BadName, match=says) as caught:
        make_host(line)
    assert "u:p" not in str(caught.value)


def test_sources_of_figshare_and_of_its_sandbox() -> None:
    entry = Entry("a.fits", "0" * 64, 1, {"figshare": 30123456})
    urls = [source.url for source in FigshareHost("figshare:14763051").sources("a.fits", entry)]
    assert urls == [
        "https://ndownloader.figshare.com/files/30123456",
        "https://api.figshare.com/v2/file/download/30123456",
    ]
    sandbox = FigshareHost("figshare:1?server=https://api.figsh.com/v2").sources("a.fits", entry)
    assert sandbox[0].url == "https://ndownloader.figsh.com/files/30123456"
    assert FigshareHost("figshare:14763051").sources("a.fits", Entry("a.fits", "0" * 64, 1)) == []


@pytest.mark.parametrize(
    "name", [*HostContract.names, "a=b.fits", "a=2Fb.fits", "a/b", "a=2fb", "=C3.fits", "a__b.fits"]
)
def test_names_there_and_back(name: str) -> None:
    flat = article_name(name)
    assert flat.isascii()
    assert "/" not in flat
    assert not flat.startswith(".")
    assert file_name(flat) == name


def test_names_that_others_gave_stay() -> None:
    for name in ("Grüße.csv", "x=1.csv", "y=2F z=FF.csv", "100%.csv"):
        assert file_name(name) == name
    assert file_name("a.fits", "/maps/deep") == "maps/deep/a.fits"


# -- reading ----------------------------------------------------------------------------------------------------------


class TestFigshareHost(HostContract):
    """Files by their numbers."""

    secrets = ()
    site: Any = None

    @pytest.fixture(autouse=True)
    def _site(self, figshare: Any) -> None:
        type(self).site = figshare

    def serving(self, files: Mapping[str, bytes]) -> Any:
        @contextmanager
        def serve() -> Iterator[FigshareHost]:
            article = self.site.put({article_name(name): data for name, data in files.items()})
            self.numbers = dict(zip(files, article.files, strict=True))
            yield FigshareHost(self.site.spec(article.number))

        return serve()

    def entry(self, name: str, data: bytes) -> Entry:
        number = self.numbers.get(name, 29999999)
        return Entry(name, hashlib.sha256(data).hexdigest(), len(data), {"figshare": number})


def test_files_are_looked_up_by_name_in_anybodys_article(figshare: Any, make_package: Any) -> None:
    files = {f"maps/{n:02}.fits": bytes_of(str(n), 300) for n in range(15)} | {"Grüße.fits": bytes_of("g")}
    article = figshare.put(files)
    assert fetched(make_package, figshare.spec(article.number), files) == files
    assert not [r for r in figshare.storage.requests if "authorization" in r.headers]


def test_a_pinned_version_keeps_its_files(figshare: Any, make_package: Any) -> None:
    old, new = bytes_of("old"), bytes_of("new")
    article = figshare.put({"a.fits": old})
    later = figshare.put({"a.fits": new})
    article.versions.append((article.draft, tuple(later.files)))
    assert fetched(make_package, figshare.spec(f"{article.number}.v1"), {"a.fits": old}) == {"a.fits": old}
    assert fetched(make_package, figshare.spec(article.number), {"a.fits": new}) == {"a.fits": new}
    with pytest.raises(TransferError, match="no version 7"):
        FigshareHost(figshare.spec(f"{article.number}.v7")).hosted(Settings())


def test_a_doi_of_an_institution_is_looked_up(figshare: Any, make_package: Any) -> None:
    article = figshare.put({"a.fits": bytes_of("a")})
    article.doi = "10.25405/data.ncl.4711"
    assert fetched(make_package, figshare.spec("10.25405/data.NCL.4711.v1"), {"a.fits": bytes_of("a")})
    with pytest.raises(TransferError, match="no public article of Figshare has the DOI"):
        FigshareHost(figshare.spec("10.25405/data.ncl.4712")).hosted(Settings())


def test_all_files_of_an_article_with_more_than_one_page(figshare: Any) -> None:
    article = figshare.put({f"{n}.txt": str(n).encode() for n in range(1203)})
    hosted = FigshareHost(figshare.spec(article.number)).hosted(Settings())
    assert len(hosted) == 1203
    assert hosted["7.txt"] == HostedFile(1, md5=hashlib.md5(b"7").hexdigest(), locators={"figshare": article.files[7]})


def test_a_firewall_before_the_download_host(figshare: Any, make_package: Any) -> None:
    article = figshare.put({"a.fits": bytes_of("a")})
    figshare.challenge = True
    numbers = {"a.fits": article.files[0]}
    assert fetched(make_package, figshare.spec(article.number), {"a.fits": bytes_of("a")}, numbers)


def test_an_embargo_is_named(figshare: Any, make_package: Any) -> None:
    article = figshare.put({"a.fits": bytes_of("a")}, is_embargoed=True, embargo_date="2027-05-18T00:00:00Z")
    with pytest.raises(FileUnavailable, match="embargo until 2027-05-18"):
        fetched(make_package, figshare.spec(article.number), {"a.fits": bytes_of("a")})


def test_an_embargo_does_not_keep_its_owner_out(figshare: Any, make_package: Any, home: Path) -> None:
    article = figshare.put({"a.fits": bytes_of("a")}, is_embargoed=True)
    (home / ".netrc").write_text("machine 127.0.0.1 login me password token-2\n")
    assert fetched(make_package, figshare.spec(article.number), {"a.fits": bytes_of("a")})


def test_a_file_that_is_only_linked(figshare: Any, make_package: Any) -> None:
    with RangeServer({"far.fits": bytes_of("far")}) as elsewhere:
        article = figshare.put({"far.fits": b"?"})
        figshare.files[article.files[0]].link = elsewhere.url_of("far.fits")
        spec = figshare.spec(article.number)
        assert fetched(make_package, spec, {"far.fits": bytes_of("far")}) == {"far.fits": bytes_of("far")}
        assert FigshareHost(spec).hosted(Settings())["far.fits"].size is None


def test_a_private_article(figshare: Any, make_package: Any, home: Path) -> None:
    article = figshare.put({"a.fits": bytes_of("a")}, public=False)
    spec, files = figshare.spec(article.number), {"a.fits": bytes_of("a")}
    # the variable is for Figshare itself: a package must not send it to a server of its own choice
    with pytest.raises(FileUnavailable, match="there is no public article"):
        fetched(make_package, spec, files)
    assert not [r for r in figshare.requests if "/account" in r[1]]
    config = home / ".config" / "dataferry"
    config.mkdir()
    host = figshare.url.removeprefix("http://").rstrip("/")
    (config / "config.toml").write_text(f'[hosts."{host}"]\ntoken = "token-1"\n')
    with pytest.raises(FileUnavailable, match="opens no private one"):
        fetched(make_package, spec, files)
    (config / "config.toml").write_text(f'[hosts."{host}"]\ntoken = "token-2"\n')
    assert fetched(make_package, spec, files) == files
    assert not [r for r in figshare.storage.requests if "authorization" in r.headers]


def test_a_download_host_that_a_package_names_sees_no_token(figshare: Any, make_package: Any, home: Path) -> None:
    article = figshare.put({"a.fits": bytes_of("a")}, public=False)
    host = figshare.url.removeprefix("http://").rstrip("/")
    (home / ".config" / "dataferry").mkdir()
    (home / ".config" / "dataferry" / "config.toml").write_text(f'[hosts."{host}"]\ntoken = "token-2"\n')
    with RangeServer({}) as elsewhere:
        spec = f"figshare:{article.number}?server={figshare.url}v2/&downloads={elsewhere.url}"
        assert fetched(make_package, spec, {"a.fits": bytes_of("a")}) == {"a.fits": bytes_of("a")}
        assert elsewhere.requests
        assert not [request for request in elsewhere.requests if "token-2" in str(request)]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", [True, True]),
        ("?server=https://api.figsh.com/v2", [True, True]),
        ("?downloads=https://evil.example/", [False, True]),
        ("?downloads=http://ndownloader.figshare.com/", [False, True]),
        ("?server=https://evil.example/v2&downloads=https://ndownloader.figshare.com/", [False, True]),
    ],
)
def test_who_sees_the_login_of_a_private_article(query: str, told: list[bool]) -> None:
    sources = FigshareHost(f"figshare:1{query}").downloads(7, {"Authorization": "token 1"})
    assert [bool(source.headers) for source in sources] == told


@pytest.mark.parametrize("server", ["http://api.figshare.com/v2", "https://api.figshare.com.evil.example/v2"])
def test_the_variable_is_for_figshare_alone_and_encrypted(server: str) -> None:
    assert FigshareHost("figshare:1").token(Settings()) is not None
    assert FigshareHost(f"figshare:1?server={server}").token(Settings()) is None
