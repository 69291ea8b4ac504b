"""GitHub Pages: git over HTTP with real logins, Jekyll where it is asked for, nginx in front of the site."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from dataferry import PackageData
from dataferry.config import Settings
from dataferry.errors import AccessDenied, BadName, Conflict, DataferryError, PublishError, TransferError
from dataferry.hosts import git as git_module
from dataferry.hosts import github_pages, make_host
from dataferry.hosts.base import Limits, Upload
from dataferry.hosts.github_pages import GitHubPagesHost
from dataferry.publish import publish
from dataferry.testing import HostContract, PublishContract

TOKEN = "gh-s3cret-write"
READER = "gh-s3cret-read"


def git(folder: Path, *words: str) -> str:
    who = {f"GIT_{who}_{what}": "ann@a.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(
        ["git", *words], cwd=folder, env={**os.environ, **who}, capture_output=True, text=True, check=True
    ).stdout.strip()


def bare(path: Path, branch: str) -> Path:
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "-b", branch, ".")
    git(path, "config", "uploadpack.allowFilter", "true")
    return path


def a_file(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


class Forge:
    """One git server and one web server for all repositories and sites of these tests."""

    def __init__(self, home: Path, request: pytest.FixtureRequest) -> None:
        self.repositories, self.sites = home / "git", home / "www"
        self.sites.mkdir()
        tokens = {TOKEN: "write", READER: "read"}
        self.git = request.getfixturevalue("git_http")(self.repositories, tokens=tokens)
        self.web = request.getfixturevalue("nginx")(self.sites)
        self.owners = (f"ann{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Forge:
    return Forge(tmp_path_factory.mktemp("forge"), request)


class Site:
    """A repository, its server, and the site that its pushes become."""

    def __init__(self, home: Path, request: pytest.FixtureRequest, branch: str = "gh-pages", **options: Any) -> None:
        forge: Forge = request.getfixturevalue("forge")
        owner = next(forge.owners)
        self.repository = bare(forge.repositories / owner / "data.git", branch)
        current = request.getfixturevalue("pages")(self.repository, branch, home / "site", **options)
        (forge.sites / owner).symlink_to(current)
        self.git, self.url, self.branch = forge.git, f"{forge.web.url}{owner}/", branch
        self.git.rules(busy=0, cut=0, private=False)
        self.spec = f"github-pages:{owner}/data?git={self.git.url}{owner}/data.git&url={self.url}"

    def files(self) -> list[str]:
        return git(self.repository, "ls-tree", "-r", "--name-only", "-z", self.branch).strip("\0").split("\0")

    def commits(self) -> int:
        return int(git(self.repository, "rev-list", "--count", "--all"))

    def push(self, files: dict[str, bytes], folder: Path) -> None:
        """As somebody who works with git alone."""
        if not folder.exists():
            git(self.repository, "clone", "-q", f"file://{self.repository}", str(folder))
        if self.commits():
            git(folder, "fetch", "-q", "origin", self.branch)
            git(folder, "switch", "-q", "-C", self.branch, "FETCH_HEAD")
        else:
            git(folder, "switch", "-q", "--orphan", self.branch)
        for name, data in files.items():
            a_file(folder / name, data)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", "by hand")
        git(folder, "push", "-q", "origin", self.branch)


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", TOKEN)
    return Site(tmp_path, request)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_module, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(github_pages, "SERVED_WITHIN", 20.0)


class TestGitHubPagesHost(HostContract):
    def host_at(self, url: str) -> GitHubPagesHost:
        return GitHubPagesHost(f"github-pages:ann/data?git=https://git.example.org/ann/data.git&url={url}")


class TestPublishToPages(PublishContract):
    secret = TOKEN

    @pytest.fixture(autouse=True)
    def with_fixtures(self, request: pytest.FixtureRequest) -> None:
        self.request = request

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        self.site = Site(folder, self.request)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GH_ENTERPRISE_TOKEN", TOKEN)
            yield self.site.spec

    def writes(self) -> int:
        return self.site.commits()

    @contextmanager
    def without_rights(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GH_ENTERPRISE_TOKEN", READER)
            yield


@pytest.mark.parametrize(
    ("spec", "site", "raw"),
    [
        (
            "github-pages:Ann/Data",
            "https://ann.github.io/Data/",
            "https://raw.githubusercontent.com/Ann/Data/refs/heads/gh-pages/",
        ),
        (
            "github-pages:ann/data@release/v1",
            "https://ann.github.io/data/",
            "https://raw.githubusercontent.com/ann/data/refs/heads/release/v1/",
        ),
        (
            "github-pages:ann/Ann.github.io",
            "https://ann.github.io/",
            "https://raw.githubusercontent.com/ann/Ann.github.io/HEAD/",
        ),
        (
            "github-pages:ann/data@main?folder=docs&path=maps/v 1",
            "https://ann.github.io/data/maps/v%201/",
            "https://raw.githubusercontent.com/ann/data/refs/heads/main/docs/maps/v%201/",
        ),
        (
            "github-pages:ann/data?url=https://data.example.org/",
            "https://data.example.org/",
            "https://raw.githubusercontent.com/ann/data/refs/heads/gh-pages/",
        ),
        (
            "github-pages:ann/data?git=file:///srv/data.git&url=https://data.example.org/x/",
            "https://data.example.org/x/",
            "",
        ),
    ],
)
def test_sources(spec: str, site: str, raw: str) -> None:
    urls = [source.url for source in make_host(spec).sources("a b/c+1%.fits", None)]
    assert urls == [base + "a%20b/c+1%25.fits" for base in (site, raw) if base]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("github-pages:data", "not an owner and a repository"),
        ("github-pages:ann/data.git", "not an owner and a repository"),
        ("github-pages:ann/data@", "not a branch"),
        ("github-pages:ann/data@a..b", "not a branch"),
        ("github-pages:ann/data?user=x", "'user' is not known"),
        ("github-pages:ann/data?git=https://git.example.org/ann/data.git", "also says url="),
        ("github-pages:ann/data?url=https://x:s3cret@a.example/", "everybody reads"),
        ("github-pages:ann/data?path=../x", "could leave"),
    ],
)
def test_declarations_that_are_wrong(spec: str, said: str) -> None:
    with pytest.raises(BadName, match=said) as caught:
        make_host(spec)
    assert "s3cret" not in str(caught.value)


def test_real_files(site: Site, tmp_path: Path, need: Any) -> None:
    """Three real FITS files; the site has a page of them, its branch nothing else, and git never a work tree."""
    astropy = Path(need.module("astropy").__file__).parent
    fits = sorted(astropy.glob("io/fits/tests/data/*.fits"), key=lambda p: p.stat().st_size)[-3:]
    registry = a_file(tmp_path / "data" / "dataferry.toml", b'[about]\ntitle = "Dust & <maps>"\n')
    names = {f"maps/{path.name}": path for path in fits}
    assert all(file.proven for file in publish(names, site.spec, registry, progress=False).files)
    data = PackageData("mypkg", registry=registry, show_progress=False)
    for name, path in names.items():
        assert Path(data.get(name)).read_bytes() == path.read_bytes()
    assert sorted(site.files()) == sorted([*names, ".nojekyll", "index.html", "dataferry-catalog.json"])
    with urlopen(site.url) as answer:
        page = answer.read().decode()
    assert "<h1>Dust &amp; &lt;maps&gt;</h1>" in page
    assert all(f'href="./{name}"' in page for name in names)
    hosted = make_host(site.spec).hosted(Settings())
    assert {n: h.size for n, h in hosted.items()} == {n: p.stat().st_size for n, p in names.items()}
    assert not list(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.git"))


def test_tokens_are_written_nowhere(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not into the work folder, and no program is given one as an argument."""
    calls: list[str] = []
    run = subprocess.run

    def watched(words: Any, *args: Any, **options: Any) -> Any:
        if Path(str(words[0])).name == "git":
            calls.append(" ".join(map(str, words)))
            done = run(words, *args, **options)
            for file in Path(os.environ["XDG_CACHE_HOME"]).rglob("*"):
                if file.is_file():
                    assert TOKEN.encode() not in file.read_bytes(), file
            return done
        return run(words, *args, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    publish({"a.fits": a_file(tmp_path / "a", b"a" * 100)}, site.spec, tmp_path / "r.toml", progress=False)
    assert [call for call in calls if " push " in call]
    assert not [call for call in calls if TOKEN in call]
    assert TOKEN not in (tmp_path / "r.toml").read_text()


def test_the_token_goes_to_its_host_alone(site: Site, tmp_path: Path) -> None:
    """A server that sends git elsewhere does not make it tell the token there."""
    from dataferry.config.credentials import Token
    from dataferry.hosts.git import Git

    other = "http://127.0.0.1:1/"
    asker = Git(tmp_path, "here", remote=site.git.url, token=Token("s3cret", "here"))
    for url, known in ((site.git.url, True), (other, False)):
        asked = f"url={url}x.git\n\n".encode()
        said = asker.run("credential", "fill", stdin=asked, check=False)
        assert (b"s3cret" in said.out) is known


def test_others_push_at_the_same_time(site: Site, tmp_path: Path) -> None:
    """Authors in several processes and somebody with git alone: nothing is lost, nothing is forced."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from dataferry.publish import publish
        author, spec, home = sys.argv[1:]
        for n in range(2):
            path = Path(home, f"{author}-{n}"); path.write_text(f"{author} {n}")
            publish({f"{author}/{n}.dat": path}, spec, Path(home, f"{author}.toml"), progress=False)
    """)
    words = [sys.executable, "-c", script]
    running = [
        subprocess.Popen([*words, f"author{n}", site.spec, tmp_path], stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    for process in running:
        said = process.communicate()[1]
        assert process.returncode == 0, said
    names = sorted(f"author{a}/{n}.dat" for a in range(3) for n in range(2))
    assert sorted(make_host(site.spec).hosted(Settings())) == names
    assert sorted(name for name in site.files() if "/" in name) == names
    assert site.commits() == 6


def test_a_push_that_loses_is_made_again(site: Site, tmp_path: Path) -> None:
    """Somebody pushes between fetch and push; the same name with other bytes is a conflict even then."""
    pub = make_host(site.spec).publisher(Settings(), {})
    a, b = a_file(tmp_path / "a", b"a" * 100), a_file(tmp_path / "b", b"b" * 100)
    publish({"first.fits": b}, site.spec, tmp_path / "r.toml", progress=False)
    from dataferry.hosts.git import Branch

    push, times = Branch.push, [0]

    def late(self: Branch, commit: str, **options: Any) -> bool:
        if not options:
            times[0] += 1
            if times[0] == 1:
                site.push({"by hand.dat": b"hand"}, tmp_path / "clone")
            if times[0] == 3:
                site.push({"taken.fits": b"taken"}, tmp_path / "clone")
        return push(self, commit, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Branch, "push", late)
        publish({"a.fits": a}, site.spec, tmp_path / "r.toml", progress=False)
        assert times[0] == 2
        with pytest.raises(Conflict, match="other bytes under that name"):
            publish({"taken.fits": a}, site.spec, tmp_path / "r.toml", progress=False)
    assert {"a.fits", "by hand.dat", "first.fits", "taken.fits"} <= set(site.files())
    assert git(site.repository, "show", f"{site.branch}:taken.fits") == "taken"
    assert pub.declared == site.spec


@pytest.mark.parametrize("fault", ["busy", "cut"])
def test_faults_on_the_way(site: Site, tmp_path: Path, fault: str) -> None:
    """429 at any request, a push that is cut within its body."""
    site.git.rules(**{fault: 2})
    source = a_file(tmp_path / "a", os.urandom(3_000_000))
    publish({"a.fits": source}, site.spec, tmp_path / "r.toml", progress=False)
    assert site.commits() == 1
    assert PackageData("p", registry=tmp_path / "r.toml", show_progress=False).get("a.fits")


def test_killed_anywhere(site: Site, tmp_path: Path) -> None:
    """SIGKILL at several times; the next run finishes, with one commit for each push that was taken."""
    files = {f"{n}.fits": os.urandom(2_000_000) for n in range(3)}
    paths = {name: str(a_file(tmp_path / name, data)) for name, data in files.items()}
    script = f"""
        from dataferry.publish import publish
        publish({paths!r}, {site.spec!r}, {str(tmp_path / "r.toml")!r}, progress=False)
    """
    words = [sys.executable, "-c", textwrap.dedent(script)]
    for requests, group in ((0, True), (4, False), (7, True), (9, False), (10, True)):
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
        seen = site.git.log.count("\n")
        while process.poll() is None and site.git.log.count("\n") <= seen + requests:
            time.sleep(0.002)
        ended = process.poll() == 0
        # git dies with its run, or outlives it
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(process.pid, 9)
        process.wait()
        if ended:
            break
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert site.commits() <= 2
    data = PackageData("p", registry=tmp_path / "r.toml", show_progress=False)
    assert {name: Path(data.get(name)).read_bytes() for name in files} == files
    assert git(site.repository, "fsck", "--strict", "--no-dangling") == ""
    assert not list(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.git"))


def test_limits(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 MiB a file; 1 GB a site, of what lies there as well; a warning above 50 MiB."""
    large = tmp_path / "large"
    with open(large, "wb") as file:
        file.truncate(100 * 2**20 + 1)
    with pytest.raises(DataferryError, match="large.fits") as caught:
        publish({"large.fits": large}, site.spec, tmp_path / "r.toml", progress=False)
    assert "104857600" in str(caught.value).replace(",", "") or "100 MiB" in str(caught.value)
    site.push({"by hand.dat": bytes(900_000)}, tmp_path / "clone")
    limits = Limits(file_bytes=github_pages.FILE_BYTES, total_bytes=1_000_000)
    monkeypatch.setattr(github_pages.GitHubPagesPublisher, "limits", limits)
    source = a_file(tmp_path / "a", os.urandom(200_000))
    with pytest.raises(DataferryError, match=r"1100000 bytes, with the 1 that are there, and 1000000 are the most"):
        publish({"a.fits": source}, site.spec, tmp_path / "r.toml", progress=False)
    assert site.commits() == 1
    monkeypatch.setattr(github_pages, "SITE_BYTES", 1_200_000)
    monkeypatch.setattr(github_pages, "FILE_BYTES", 300_000)
    pub = make_host(site.spec).publisher(Settings(), {})
    uploads = [Upload("a.fits", source, 200_000, "0" * 64, "0" * 32)]
    assert TOKEN not in pub.check_rights()
    assert pub.hosted(uploads) == {}
    assert "of which GitHub warns: a.fits" in " ".join(pub.remarks(uploads))
    assert "1 GB is the most" in " ".join(pub.remarks(uploads))


def test_pushes_in_portions(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut push begins again, so no push is very large."""
    monkeypatch.setattr(github_pages, "PUSH_BYTES", 250_000)
    files = {f"{n}.fits": a_file(tmp_path / f"{n}", os.urandom(100_000)) for n in range(7)}
    publish(files, site.spec, tmp_path / "r.toml", progress=False)
    assert site.commits() == 3
    assert len(make_host(site.spec).hosted(Settings())) == 7


def test_names_that_git_or_pages_do_not_take(site: Site, tmp_path: Path) -> None:
    source = a_file(tmp_path / "a", b"a")
    names = ("x/.git/y", ".GIT/config", "git~1", ".nojekyll", "CNAME", "index.html", "_config.yml")
    with pytest.raises(DataferryError) as caught:
        publish(dict.fromkeys(names, source), site.spec, tmp_path / "r.toml", progress=False)
    assert str(caught.value).count("choose another") == len(names)
    assert [name for name in names if name not in str(caught.value)] == []
    site.push({"maps": b"a file", "Dust.fits": b"upper"}, tmp_path / "clone")
    with pytest.raises(Conflict):
        publish({"maps/a.fits": source}, site.spec, tmp_path / "r.toml", progress=False)
    publish({"dust.fits": source}, site.spec, tmp_path / "r.toml", progress=False)  # Pages knows upper from lower case
    with urlopen(f"{site.url}Dust.fits") as answer:
        assert answer.read() == b"upper"


def test_a_site_of_jekyll_stays_one(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody has a Jekyll site, no .nojekyll is put there; what Jekyll would drop is refused."""
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", TOKEN)
    site = Site(tmp_path, request, branch="main", folder="docs", jekyll=True)
    spec = site.spec.replace("/data?", "/data@main?") + "&folder=docs"
    site.push(
        {"docs/_config.yml": b"title: x\n", "docs/index.md": b"---\n---\n# Hello\n", "code.py": b""}, tmp_path / "c"
    )
    plain, matter = a_file(tmp_path / "a", b"\x00\xff" * 500), a_file(tmp_path / "b", b"---\n---\n")
    for name, source in {"_maps/a.fits": plain, ".a.fits": plain, "a.txt": matter, "notes.md": plain}.items():
        with pytest.raises(DataferryError, match="made by Jekyll"):
            publish({name: source}, spec, tmp_path / "r.toml", progress=False)
    publish({"maps/a.fits": plain}, spec, tmp_path / "r.toml", progress=False)
    assert "docs/maps/a.fits" in site.files()
    assert "docs/.nojekyll" not in site.files()
    data = PackageData("p", registry=tmp_path / "r.toml", show_progress=False)
    assert Path(data.get("maps/a.fits")).read_bytes() == plain.read_bytes()
    with urlopen(site.url) as answer:
        assert b"Hello" in answer.read()


def test_a_site_that_is_not_served(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages is off: said after the wait, with what to do; the push stays, and the next run goes on from there."""
    hook = site.repository / "hooks" / "post-receive"
    hook.rename(hook.with_name("off"))
    monkeypatch.setattr(github_pages, "SERVED_WITHIN", 0.5)
    source = a_file(tmp_path / "a", b"a" * 100)
    with pytest.raises(PublishError, match="Pages must publish the branch gh-pages"):
        publish({"a.fits": source}, site.spec, tmp_path / "r.toml", progress=False)
    assert not (tmp_path / "r.toml").exists()
    assert site.commits() == 1
    hook.with_name("off").rename(hook)
    subprocess.run([hook], cwd=site.repository, check=True)
    publish({"a.fits": source}, site.spec, tmp_path / "r.toml", progress=False)
    assert site.commits() == 1


def test_a_repository_on_this_machine_stays_private_and_a_wait_is_no_silence(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(github_pages, "SERVED_WITHIN", 1.0)
    registry, source = tmp_path / "registry.toml", a_file(tmp_path / "one.dat", b"one")
    repository = bare(tmp_path / "not served.git", "gh-pages")
    spec = f"github-pages:ann/data?git=file://{repository}&url={site.url}"
    with pytest.raises(PublishError, match="pushed, but after"):
        publish({"one.dat": source}, spec, registry)
    assert f"{site.url}: waiting up to 1 s" in capfd.readouterr().err
    with pytest.raises(PublishError, match="pushed, but after 0 s"):
        publish({"one.dat": source}, spec, registry, wait=0)
    local = site.spec.replace(site.git.url, f"file://{site.repository.parent.parent}/")
    publish({"one.dat": source}, local, registry, progress=False)
    assert site.url in registry.read_text() and str(tmp_path.parent) not in registry.read_text()


def test_a_private_repository(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger, a wrong token, one that may only read; a repository that is not there."""
    site.git.rules(private=True)
    source = a_file(tmp_path / "a", b"a")
    for token, said in (
        (None, "could not read Username"),
        ("wrong", "Authentication failed"),
        (READER, "not granted|403"),
    ):
        monkeypatch.setenv("GH_ENTERPRISE_TOKEN", token or "")
        with pytest.raises(AccessDenied, match=said) as caught:
            publish({"a.fits": source}, site.spec, tmp_path / "r.toml", progress=False)
        assert "Contents: read and write" in caught.value.remedy
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", TOKEN)
    with pytest.raises(AccessDenied, match="not found"):
        publish({"a.fits": source}, site.spec.replace("data.git", "none.git"), tmp_path / "r.toml", progress=False)
    publish({"a.fits": source}, site.spec, tmp_path / "r.toml", progress=False)


def test_without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    host = make_host("github-pages:ann/data?git=file:///srv/data.git&url=https://data.example.org/")
    with pytest.raises(PublishError, match="git, which is not installed") as caught:
        host.publisher(Settings(), {}).check_rights()
    assert "apt install git" in caught.value.remedy


def test_a_site_without_a_catalog(site: Site, tmp_path: Path) -> None:
    """Somebody else's: the names are those of the branch."""
    site.push({".nojekyll": b"", "maps/a.fits": b"a", "_b.fits": b"b", "index.html": b""}, tmp_path / "clone")
    assert sorted(make_host(site.spec).hosted(Settings())) == ["_b.fits", "maps/a.fits"]


def test_the_repository_is_the_second_source(
    tmp_path: Path, nginx: Callable[..., Any], make_package: Callable[..., str]
) -> None:
    """The site is gone: the branch's files still come."""
    raw = tmp_path / "raw"
    a_file(raw / "docs" / "a.fits", b"a" * 5000)
    server = nginx(raw, extra="location /site/ { return 429; }")
    head = f'mirrors = ["github-pages:ann/data?git=file:///x.git&url={server.url}site/&raw={server.url}&folder=docs"]\n'
    package = make_package({"a.fits": b"a" * 5000}, head=head)
    assert Path(PackageData(package, show_progress=False).get("a.fits")).read_bytes() == b"a" * 5000


def test_several_runs_have_work_folders_of_their_own(site: Site) -> None:
    """What a killed run left is removed by the next one."""
    from dataferry.hosts.github_pages import Clone

    host = GitHubPagesHost(site.spec)
    first, second = (Clone(host, Settings(), None) for _ in range(2))
    assert first.path != second.path
    first.close()
    assert not first.path.exists()
    script = "from dataferry.hosts.folder_files import temporary_name; print(temporary_name())"
    dead = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip()
    left = second.path.with_name(f"{dead}.git")
    left.mkdir()
    third = Clone(host, Settings(), None)
    assert not left.exists()
    assert second.path.exists() and third.path.exists()
    for clone in (second, third):
        clone.close()


def test_the_error_of_a_refused_push_has_a_remedy(site: Site, tmp_path: Path) -> None:
    hook = a_file(site.repository / "hooks/pre-receive", b"#!/bin/sh\necho GH006: Protected branch >&2\nexit 1\n")
    hook.chmod(0o755)
    files = {"a.txt": a_file(tmp_path / "a.txt", b"a")}
    with pytest.raises(PublishError, match="the push was refused: .*GH006") as caught:
        publish(files, site.spec, tmp_path / "r.toml", progress=False)
    assert "the branch is protected: let this user push to it" in str(caught.value)


def test_the_default_branch_of_a_users_own_site(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", TOKEN)
    site = Site(tmp_path, request, branch="trunk")
    site.push({"README.md": b"# Ann"}, tmp_path / "clone")
    spec = site.spec.replace("/data?", "/OWNER.github.io?").replace("OWNER", site.repository.parent.name)
    files = {"a.txt": a_file(tmp_path / "a.txt", b"a")}
    publish(files, spec, tmp_path / "r.toml", progress=False)
    assert "a.txt" in site.files()


def test_a_site_whose_catalog_is_another_file(site: Site, tmp_path: Path) -> None:
    site.push({"dataferry-catalog.json": b"[]", ".nojekyll": b"", "a.txt": b"a"}, tmp_path / "clone")
    host = make_host(site.spec)
    assert list(host.hosted(Settings())) == ["a.txt"]
    site.git.rules(private=True)
    with pytest.raises(TransferError, match="its branch cannot be read"):
        make_host(site.spec).hosted(Settings().as_anonymous())
