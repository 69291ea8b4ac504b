"""Figshare: publishing, in every bad case that a stand-in can play."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.figshare.author import ABOUT, Author, bytes_of, fetched

from dataferry.errors import (
    AccessDenied,
    Conflict,
    PublishError,
)
from dataferry.hosts.figshare import article_name
from dataferry.testing import HostContract, PublishContract


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIGSHARE_TOKEN", "token-1")


@pytest.fixture
def author(figshare: Any, tmp_path: Path) -> Author:
    return Author(figshare, tmp_path)


# -- publishing -------------------------------------------------------------------------------------------------------

FILES = {"maps/dust 064.fits": bytes_of("one", 300_000), "b.fits": bytes_of("two", 64 * 1024), "c.fits": b"x"}


def test_a_new_article(figshare: Any, author: Author, make_package: Any) -> None:
    figshare.slowness = 3
    numbers = author.publish(FILES)
    [article] = figshare.articles.values()
    assert author.declared == figshare.spec(article.number)
    assert len(article.versions) == 1
    state, files = article.versions[0]
    assert state["title"] == "Maps of the dust"
    assert (state["tags"], state["license"], state["categories"]) == (ABOUT["keywords"], 1, [29800])
    assert state["authors"] == [{"name": "Ann Author"}, {"name": "Bo Writer", "orcid_id": "0000-0002-1825-0097"}]
    assert sorted(files) == sorted(numbers.values())
    assert author.moved == sum(map(len, FILES.values()))
    assert fetched(make_package, author.declared, FILES, numbers) == FILES


def test_nothing_new_means_no_new_version(figshare: Any, author: Author) -> None:
    numbers = author.publish(FILES)
    again = Author(figshare, author.folder, author.declared, {**ABOUT, "title": "Other words", "keywords": ["x"]})
    assert again.publish(FILES) == numbers
    [article] = figshare.articles.values()
    assert len(article.versions) == 1
    assert figshare.count("POST", "/publish") == 1
    assert again.moved == 0


def test_a_new_version_and_the_old_one(figshare: Any, author: Author, make_package: Any) -> None:
    old = author.publish(FILES)
    figshare.locks_for = 0.3
    again = Author(figshare, author.folder, author.declared)
    changed = {**FILES, "b.fits": bytes_of("other")}
    with pytest.raises(Conflict, match=r"b\.fits"):
        again.publish(changed)
    new = again.publish(changed, replace=True)
    [article] = figshare.articles.values()
    assert [len(files) for _, files in article.versions] == [3, 3]
    assert {name for name in FILES if old[name] != new[name]} == {"b.fits"}
    assert again.moved == 5000
    assert fetched(make_package, author.declared, FILES, old) == FILES
    assert fetched(make_package, author.declared, changed, new) == changed


def test_an_article_that_is_there(figshare: Any, author: Author) -> None:
    article = figshare.put({"read me.txt": b"kept"}, owner=1)
    mine = Author(figshare, author.folder, figshare.spec(article.number))
    mine.publish(FILES)
    assert len(article.versions) == 2
    assert len(article.versions[1][1]) == 4
    assert figshare.count("POST", "/account/articles$") == 0


def test_an_article_by_its_doi(figshare: Any, author: Author) -> None:
    article = figshare.put({"read me.txt": b"kept"}, owner=1)
    Author(figshare, author.folder, figshare.spec(article.doi)).publish(FILES)
    assert [len(files) for _, files in article.versions] == [1, 4]


@pytest.mark.parametrize("cut", [0, 1000, 64 * 1024 - 1])
def test_a_cut_in_the_middle(figshare: Any, author: Author, cut: int) -> None:
    figshare.locks_for = 0.3
    figshare.fault("PUT", r"/upload/.*/3$", cut=cut)
    author.publish(FILES)
    assert figshare.received[article_name("maps/dust 064.fits")] == 300_000


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/account$"),
        ("POST", "/account/articles$"),
        ("PATCH", r"/account/articles/\d+$"),
        ("POST", "/files$"),
        ("GET", r"/files/\d+$"),
        ("GET", "/upload/[^/]+$"),
        ("PUT", "/2$"),
        ("POST", r"/files/\d+$"),
        ("POST", "/publish$"),
    ],
)
@pytest.mark.parametrize("how", [{"lost": True}, {"cut": 0}, {"status": 503}, {"status": 429, "wait": 0}])
def test_every_step_may_fail_once(figshare: Any, author: Author, method: str, path: str, how: dict[str, Any]) -> None:
    figshare.fault(method, path, **how)
    said = ""
    try:
        numbers = author.publish(FILES)
    except PublishError as error:
        said = str(error)
        numbers = author.publish(FILES)
    assert "token-1" not in said
    [article] = figshare.articles.values()
    assert len(article.versions) == 1
    assert article.versions[0][0]["title"] == ABOUT["title"]
    assert sorted(article.versions[0][1]) == sorted(numbers.values())
    for name, data in FILES.items():
        assert figshare.received[article_name(name)] == len(data)


def test_a_publication_of_which_only_the_answer_is_lost(figshare: Any, author: Author) -> None:
    figshare.fault("POST", "/publish$", lost=True)
    assert author.publish(FILES).keys() == FILES.keys()
    [article] = figshare.articles.values()
    assert len(article.versions) == 1


def test_the_service_gives_an_upload_up(figshare: Any, author: Author) -> None:
    def abort() -> None:
        next(iter(figshare.files.values())).aborted = True

    figshare.fault("PUT", "/3$", when=abort)
    numbers = author.publish(FILES)
    [article] = figshare.articles.values()
    assert sorted(article.versions[0][1]) == sorted(numbers.values())


def test_the_service_gives_every_upload_up(figshare: Any, author: Author) -> None:
    def abort() -> None:
        for file in figshare.files.values():
            file.aborted = True

    figshare.fault("PUT", "/3$", when=abort, left=99)
    with pytest.raises(PublishError, match="Figshare dropped the upload 3 times") as caught:
        author.publish(FILES)
    assert "run the same command again later" in str(caught.value)
    [article] = figshare.articles.values()
    assert not article.versions


def test_half_an_upload_is_continued_by_another_process_without_notes(figshare: Any, author: Author) -> None:
    article = figshare.put({}, owner=1, public=False)
    one = Author(figshare, author.folder, figshare.spec(article.number))
    fault = figshare.fault("PUT", "/4$", status=400, left=99)
    with pytest.raises(PublishError, match="run it again") as caught:
        one.publish(FILES)
    assert not any(file.token in str(caught.value) for file in figshare.files.values())
    assert not article.versions
    fault.left = 0
    other = Author(figshare, author.folder, figshare.spec(article.number))
    other.publish(FILES)
    assert figshare.received[article_name("maps/dust 064.fits")] == 300_000
    assert len(article.files) == 3


def test_a_file_that_changes_while_it_is_sent(figshare: Any, author: Author) -> None:
    def change() -> None:
        for path in author.folder.iterdir():
            if path.stat().st_size == 300_000:
                path.with_suffix(".new").write_bytes(bytes(300_000))
                path.with_suffix(".new").replace(path)

    figshare.part_size = 8 * 1024  # so many parts that some are read after the change
    figshare.fault("PUT", "/1$", when=change)
    with pytest.raises(PublishError, match="other bytes"):
        author.publish(FILES)
    [article] = figshare.articles.values()
    assert not article.versions
    author.publish(FILES)
    assert len(article.versions) == 1
    assert len(article.files) == 3


def test_two_authors_at_once(figshare: Any, author: Author) -> None:
    article = figshare.put({"x.txt": b"x"}, owner=1)
    spec = figshare.spec(article.number)
    (author.folder / "1").mkdir()
    (author.folder / "2").mkdir()
    both = Author(figshare, author.folder / "1", spec), Author(figshare, author.folder / "2", spec)
    meet = threading.Barrier(2, timeout=60)
    figshare.fault("POST", r"/files$", when=meet.wait, left=2)
    results: list[Any] = [None, None]

    def go(at: int) -> None:
        try:
            results[at] = both[at].publish({"same.fits": bytes_of(f"author {at}", 1000)})
        except PublishError as error:
            results[at] = error

    threads = [threading.Thread(target=go, args=(at,)) for at in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r for r in results if isinstance(r, Conflict)], results
    for _, numbers in article.versions:
        names = [figshare.files[n].name for n in numbers]
        assert len(names) == len(set(names))


def test_two_authors_of_the_same_bytes(figshare: Any, author: Author) -> None:
    article = figshare.put({"x.txt": b"x"}, owner=1)
    files = {"same.fits": bytes_of("same", 1000)}
    first = Author(figshare, author.folder, figshare.spec(article.number)).publish(files)
    assert Author(figshare, author.folder, figshare.spec(article.number)).publish(files) == first
    assert len(article.versions) == 2


# -- rights and room --------------------------------------------------------------------------------------------------


def test_no_token(figshare: Any, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIGSHARE_TOKEN")
    with pytest.raises(AccessDenied, match="account/applications"):
        author.publish(FILES)
    assert figshare.requests == []


def test_a_wrong_token(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIGSHARE_TOKEN", "token-9secret")
    with pytest.raises(AccessDenied, match="FIGSHARE_TOKEN") as caught:
        author.publish(FILES)
    assert "9secret" not in str(caught.value)


@pytest.mark.parametrize("form", ["token", "bearer"])
@pytest.mark.parametrize("given", ["token-1", "token token-1", "Bearer token-1"])
def test_both_forms_of_a_token(
    figshare: Any, author: Author, monkeypatch: pytest.MonkeyPatch, form: str, given: str
) -> None:
    monkeypatch.setenv("FIGSHARE_TOKEN", given)
    figshare.forms = {form}
    assert author.publish({"c.fits": b"x"})


def test_a_token_in_netrc(figshare: Any, author: Author, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.delenv("FIGSHARE_TOKEN")
    (home / ".netrc").write_text("machine 127.0.0.1 login me password token-1\n")
    (home / ".netrc").chmod(0o600)
    who = author.publisher().check_rights()
    assert ".netrc" in who
    assert "token-1" not in who


def test_somebody_elses_article(figshare: Any, author: Author) -> None:
    article = figshare.put({"a.fits": b"a"}, owner=2)
    with pytest.raises(AccessDenied, match="somebody else's"):
        Author(figshare, author.folder, figshare.spec(article.number)).publish(FILES)
    with pytest.raises(AccessDenied, match="sees none of that number"):
        Author(figshare, author.folder, figshare.spec(12345)).publish(FILES)


def test_a_version_takes_nothing(figshare: Any, author: Author) -> None:
    article = figshare.put({"a.fits": b"a"}, owner=1)
    with pytest.raises(PublishError, match="never changes"):
        Author(figshare, author.folder, figshare.spec(f"{article.number}.v1")).publish(FILES)


def test_an_embargo_or_a_curator(figshare: Any, author: Author) -> None:
    article = figshare.put({"a.fits": b"a"}, owner=1, is_embargoed=True)
    with pytest.raises(PublishError, match="embargo"):
        Author(figshare, author.folder, figshare.spec(article.number)).publish(FILES)
    figshare.curated = True
    with pytest.raises(PublishError, match="curator"):
        author.publish(FILES)
    figshare.curated = False
    author.publish(FILES)
    assert figshare.received["b.fits"] == 64 * 1024


def test_full(figshare: Any, author: Author) -> None:
    figshare.accounts[1].quota = 200_000
    with pytest.raises(PublishError, match="200000 that the account has"):
        author.publish(FILES)
    assert figshare.received == {}
    figshare.accounts[1].quota = 20 * 10**9
    figshare.accounts[1].most = 100_000
    with pytest.raises(PublishError, match="takes 100000 in one file"):
        author.publish(FILES)
    assert figshare.received == {}


def test_too_many(figshare: Any, author: Author) -> None:
    article = figshare.put({f"{n}.txt": b"x" for n in range(499)}, owner=1)
    mine = Author(figshare, author.folder, figshare.spec(article.number))
    with pytest.raises(PublishError, match="502 files, and Figshare takes 500"):
        mine.publish(FILES)
    figshare.accounts[1].institution, figshare.most_files = 7, 5000
    mine.publish(FILES)
    assert len(article.files) == 502


@pytest.mark.parametrize("key", ["title", "description", "keywords", "categories", "license"])
def test_without_a_word_about_it(figshare: Any, author: Author, key: str) -> None:
    author.about = {k: v for k, v in ABOUT.items() if k != key}
    with pytest.raises(PublishError, match=f"without {key}"):
        author.publish(FILES)
    assert figshare.articles == {}


def test_words_that_figshare_does_not_know(figshare: Any, author: Author) -> None:
    author.about = {**ABOUT, "license": "WTFPL"}
    with pytest.raises(PublishError, match="CC BY 4.0, CC0"):
        author.publish(FILES)
    author.about = {**ABOUT, "categories": ["Cosmology"]}
    with pytest.raises(PublishError, match="no category 'Cosmology'; did you mean"):
        author.publish(FILES)
    author.about = {**ABOUT, "authors": [3.5]}
    with pytest.raises(PublishError, match="no author"):
        author.publish(FILES)
    assert figshare.articles == {}


def test_words_by_their_numbers(figshare: Any, author: Author) -> None:
    author.about = {**ABOUT, "license": 2, "categories": [29800], "authors": [1]}
    author.publish({"c.fits": b"x"})
    [article] = figshare.articles.values()
    state = article.versions[0][0]
    assert (state["license"], state["categories"], state["authors"]) == (2, [29800], [{"id": 1}])


@pytest.mark.parametrize(("spdx", "number"), [("CC0-1.0", 2), ("MIT", 3), ("GPL-3.0-or-later", 6), ("cc-by-4.0", 1)])
def test_licenses_by_their_spdx_names(figshare: Any, author: Author, spdx: str, number: int) -> None:
    author.about = {**ABOUT, "license": spdx, "figshare": {"reserve_doi": True, "title": "Only here"}}
    author.publish({"c.fits": b"x"})
    [article] = figshare.articles.values()
    assert article.versions[0][0]["license"] == number
    assert article.versions[0][0]["title"] == "Only here"
    assert author.notes["doi"] == f"10.6084/m9.figshare.{article.number}"


def test_names_that_are_too_long(author: Author) -> None:
    [long, fits] = author.uploads({"日本" * 40 + ".fits": b"x", "a" * 200 + ".fits": b"x"})
    publisher = author.publisher()
    assert "shorter name" in publisher.problem(long)
    assert publisher.problem(fits) == ""


def test_a_rate_limit(figshare: Any, author: Author) -> None:
    figshare.rate = 8
    author.publish(FILES)
    assert len(figshare.articles) == 1


def test_odd_names(figshare: Any, author: Author, make_package: Any) -> None:
    files: dict[str, bytes] = {n: bytes_of(n, 100) for n in HostContract.names if not set("?#%|^`") & set(n)}
    files |= {"A.fits": b"upper", "a.fits": b"lower", "50%.fits": b"half"}
    legal: Sequence[str] = [n for n in files if "\u0308" not in n]
    numbers = author.publish({n: files[n] for n in legal})
    assert fetched(make_package, author.declared, {n: files[n] for n in legal}, numbers)
    assert fetched(make_package, author.declared, {n: files[n] for n in legal})


# -- through the engine -----------------------------------------------------------------------------------------------


class TestPublishFigshare(PublishContract):
    """To an article that is there, which is the case in which all runs mean the same place."""

    secret = "token-1"
    site: Any = None

    @pytest.fixture(autouse=True)
    def _site(self, figshare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        type(self).site = figshare
        monkeypatch.delenv("FIGSHARE_TOKEN")

    def publishing(self, folder: Path) -> Any:
        @contextmanager
        def serve() -> Iterator[str]:
            article = self.site.put({}, owner=1, public=False)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("FIGSHARE_TOKEN", self.secret)
                yield self.site.spec(article.number)

        return serve()

    def writes(self) -> int:
        return sum(method != "GET" for method, _, _ in self.site.requests)

    @contextmanager
    def without_rights(self) -> Iterator[None]:  # type: ignore[override]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FIGSHARE_TOKEN", "token-2")
            yield


class Package:
    """An author's package with three real FITS files, published by the command, and its users."""

    def __init__(self, folder: Path, site: Any) -> None:
        from astropy.io import fits
        from astropy.utils.data import get_pkg_data_filename

        self.folder, self.site = folder, site
        self.registry = folder / "mypkg" / "data" / "dataferry.toml"
        self.registry.parent.mkdir(parents=True)
        table = "\n".join(f"{k} = {json.dumps(v)}" for k, v in ABOUT.items() if k != "authors")
        self.registry.write_text(f'[about]\n{table}\nauthors = ["Ann Author"]\n')
        self.files: dict[str, bytes] = {}
        for name in ("checksum.fits", "tb.fits", "scale.fits"):
            path = Path(get_pkg_data_filename(f"data/{name}", package="astropy.io.fits.tests"))
            (folder / "maps").mkdir(exist_ok=True)
            (folder / "maps" / name).write_bytes(path.read_bytes())
            self.files[f"maps/{name}"] = path.read_bytes()
            with fits.open(path) as opened:
                assert opened[0].header["SIMPLE"]

    def command(self, *more: str) -> list[str]:
        words = [sys.executable, "-m", "dataferry", "publish", str(self.folder / "maps"), "--prefix", "maps"]
        return [*words, "--package", str(self.registry), "--to", self.site.spec(), *more]

    def publish(self, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*more), capture_output=True, text=True, timeout=120)

    def users_get(self) -> dict[str, bytes]:
        """Somebody with an empty cache, no token, and the package."""
        home = self.folder / f"user{uuid.uuid4().hex}"
        home.mkdir()
        env = {k: v for k, v in os.environ.items() if k not in {"FIGSHARE_TOKEN", "XDG_CACHE_HOME"}}
        env |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
        (home / ".cache").mkdir()
        words = ["get", "mypkg", *self.files, "--registry", str(self.registry)]
        done = subprocess.run(
            [sys.executable, "-m", "dataferry", *words], env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return {n: Path(p).read_bytes() for n, p in zip(self.files, done.stdout.splitlines(), strict=True)}


@pytest.fixture
def package(figshare: Any, tmp_path: Path) -> Package:
    figshare.part_size = 8 * 1024
    return Package(tmp_path, figshare)


def test_a_package_is_published_and_used(package: Package) -> None:
    done = package.publish()
    assert done.returncode == 0, done.stderr
    [article] = package.site.articles.values()
    assert f'mirrors = ["{package.site.spec(article.number)}"]' in package.registry.read_text()
    assert "figshare = 3000" in package.registry.read_text()
    assert package.users_get() == package.files
    again = package.publish()
    assert again.returncode == 0, again.stderr
    assert len(package.site.articles) == len(article.versions) == 1


@pytest.mark.parametrize(
    ("method", "path", "which"),
    [
        pytest.param("POST", "/account/articles$", 1, marks=pytest.mark.nightly),
        pytest.param("PATCH", r"/account/articles/\d+$", 1, marks=pytest.mark.nightly),
        pytest.param("POST", "/files$", 2, marks=pytest.mark.nightly),
        ("PUT", r"/upload/", 3),
        pytest.param("POST", r"/files/\d+$", 1, marks=pytest.mark.nightly),
        ("POST", "/publish$", 1),
        pytest.param("GET", r"/ndownloader/", 1, marks=pytest.mark.nightly),
    ],
)
def test_killed(package: Package, method: str, path: str, which: int) -> None:
    """kill -9 while a request is under way, once before and once after it is done; then the same command again."""
    site = package.site
    for what in ("undone", "lost"):
        started: list[subprocess.Popen[bytes]] = []

        def kill(started: list[subprocess.Popen[bytes]] = started) -> None:
            started[0].kill()
            started[0].wait(20)

        fault = site.fault(method, path, when=kill, skip=which - 1, **{what: True})
        started.append(subprocess.Popen(package.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        # the second run may have nothing of this kind left to do
        assert started[0].wait(60) == (0 if fault.left else -9)
        assert what == "lost" or not fault.left
        fault.left = 0
    done = package.publish()
    assert done.returncode == 0, done.stderr
    [article] = site.articles.values()
    assert len(article.versions) == 1
    state, numbers = article.versions[0]
    assert state["title"] == ABOUT["title"]
    assert sorted(site.files[n].name for n in numbers) == sorted(map(article_name, package.files))
    for name, data in package.files.items():
        assert site.received[article_name(name)] == len(data)
    assert package.users_get() == package.files
