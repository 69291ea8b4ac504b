"""Published folders that are work trees with git-lfs."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import config

from dataferry import PackageData
from dataferry.config import Settings
from dataferry.errors import AccessDenied, Conflict, PublishError
from dataferry.hosts import git as git_module
from dataferry.hosts import make_host
from dataferry.publish import publish
from dataferry.testing import PublishContract, RangeServer

TOKEN = "lfs-s3cret-write"


@pytest.fixture(autouse=True)
def quick(need: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    need("git-lfs")
    monkeypatch.setattr(git_module, "FIRST_WAIT", 0.05)


def git(folder: Path, *words: str | Path) -> str:
    who = {f"GIT_{who}_{what}": "ann@a.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *map(str, words)], cwd=folder, env={**os.environ, **who}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bare(path: Path) -> Path:
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "-b", "main", ".")
    return path


def work_tree(path: Path, remote: str) -> Path:
    """The published folder as its owner made it."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main", ".")
    git(path, "remote", "add", "origin", remote)
    git(path, "lfs", "install", "--local")
    return path


def a_file(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def clone(remote: str, path: Path) -> dict[str, bytes]:
    """What somebody with git and git-lfs gets."""
    git(
        path.parent,
        "-c",
        "filter.lfs.smudge=git-lfs smudge -- %f",
        "-c",
        "filter.lfs.required=true",
        "clone",
        "-q",
        remote,
        path,
    )
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and ".git" not in file.relative_to(path).parts and file.name != ".gitattributes"
    }


def real_files(need: Any) -> dict[str, Path]:
    astropy = Path(need.module("astropy").__file__).parent
    fits = sorted(astropy.glob("io/fits/tests/data/*.fits"), key=lambda p: p.stat().st_size)[-3:]
    return {f"maps/{path.name}": path for path in fits}


class TestPublishToLFSFolder(PublishContract):
    """The whole contract with a repository behind the folder."""

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        self.remote = bare(folder / "bare.git")
        www = work_tree(folder / "www", f"file://{self.remote}")
        with RangeServer(www) as server:
            yield f"folder:{www}?url={server.url}&lfs=1"

    def writes(self) -> int:
        return int(git(self.remote, "rev-list", "--count", "--all"))


@pytest.mark.parametrize("server", ["nginx", "apache"])
@pytest.mark.parametrize("way", ["file", "giftless"])
def test_real_files(way: str, server: str, request: pytest.FixtureRequest, tmp_path: Path, need: Any) -> None:
    """Three real FITS files through a web server, in a clone, and straight from the git-lfs server."""
    repository = bare(tmp_path / "git" / "team" / "data.git")
    www = work_tree(tmp_path / "www", f"file://{repository}")
    if way == "giftless":
        lfs = request.getfixturevalue("giftless")(tmp_path / "store")
        git(www, "config", "lfs.url", f"{lfs.url}team/data.git/info/lfs")
        git(www, "config", "lfs.locksverify", "false")
    running = request.getfixturevalue(server)(www)
    names, registry = real_files(need), tmp_path / "mypkg" / "dataferry.toml"
    outcome = publish(names, f"folder:{www}?url={running.url}&lfs=1", registry, progress=False)
    assert all(file.proven for file in outcome.files)
    data = PackageData("mypkg", registry=registry, show_progress=False)
    expected = {name: path.read_bytes() for name, path in names.items()}
    assert {name: Path(data.get(name)).read_bytes() for name in names} == expected
    assert git(repository, "show", "main:" + next(iter(names))).startswith("version https://git-lfs.github.com/spec/v1")
    assert git(www, "status", "--porcelain") == ""
    objects = tmp_path / "store" if way == "giftless" else repository / "lfs" / "objects"
    stored = {path.name for path in objects.rglob("*") if path.is_file()}
    assert stored == {hashlib.sha256(content).hexdigest() for content in expected.values()}
    # the folder and git-lfs share the bytes
    assert all((www / name).stat().st_nlink >= 2 for name in names)
    if way == "file":
        assert clone(f"file://{repository}", tmp_path / "clone") == expected


def test_two_folders_of_one_repository(tmp_path: Path) -> None:
    """Members publish into folders of their own; each folder gets all files, and no push is forced."""
    repository = bare(tmp_path / "data.git")
    folders = [work_tree(tmp_path / name, f"file://{repository}") for name in ("one", "two")]
    first, second = (a_file(tmp_path / f"{n}.src", os.urandom(10_000 + n)) for n in (1, 2))
    with RangeServer(folders[0]) as one, RangeServer(folders[1]) as two:
        to = [f"folder:{f}?url={s.url}&lfs=1" for f, s in zip(folders, (one, two), strict=True)]
        publish({"maps/a.fits": first}, to[0], tmp_path / "1.toml", progress=False)
        # the second folder has not seen that
        publish({"maps/b.hdf5": second}, to[1], tmp_path / "2.toml", progress=False)
        assert (folders[1] / "maps/a.fits").read_bytes() == first.read_bytes()
        assert stat.S_IMODE((folders[1] / "maps/a.fits").stat().st_mode) == 0o444
        assert "maps/a.fits" in (folders[1] / "SHA256SUMS").read_text()
        # somebody commits by hand in the first one, and did not push
        a_file(folders[0] / "by hand.fits", b"hand" * 1000)
        git(folders[0], "add", "by hand.fits")
        git(folders[0], "commit", "-q", "-m", "by hand")
        third = a_file(tmp_path / "3.src", b"no suffix")
        publish({"README first": third}, to[0], tmp_path / "1.toml", progress=False)
        assert (folders[0] / "maps/b.hdf5").read_bytes() == second.read_bytes()
        for folder in folders[:1]:
            assert git(folder, "status", "--porcelain") == ""
    got = clone(f"file://{repository}", tmp_path / "clone")
    assert got == {
        "README first": b"no suffix",
        "by hand.fits": b"hand" * 1000,
        "maps/a.fits": first.read_bytes(),
        "maps/b.hdf5": second.read_bytes(),
    }
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folders[0], check=True)


def test_a_push_that_loses_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another member pushes between fetch and push; the same name with other bytes is a conflict even then."""
    from dataferry.hosts.git import Branch

    repository = bare(tmp_path / "data.git")
    one, two = (work_tree(tmp_path / name, f"file://{repository}") for name in ("one", "two"))
    a, b = (a_file(tmp_path / f"{n}.src", os.urandom(1000)) for n in (1, 2))
    push, times = Branch.push, [0]
    with RangeServer(one) as first, RangeServer(two) as second:
        to_one, to_two = (f"folder:{f}?url={s.url}&lfs=1" for f, s in ((one, first), (two, second)))

        def late(self: Branch, commit: str, **options: Any) -> bool:
            if not options:
                times[0] += 1
                if times[0] == 1:
                    publish({"theirs.fits": b}, to_two, tmp_path / "2.toml", progress=False)
            return push(self, commit, **options)

        monkeypatch.setattr(Branch, "push", late)
        publish({"ours.dat": a}, to_one, tmp_path / "1.toml", progress=False)
        assert times[0] == 3
        assert (one / "theirs.fits").read_bytes() == b.read_bytes()
        with pytest.raises(Conflict, match=r"ours\.dat"):
            publish({"ours.dat": b}, to_two, tmp_path / "2.toml", progress=False)
    assert sorted(clone(f"file://{repository}", tmp_path / "clone")) == ["ours.dat", "theirs.fits"]
    lines = git(repository, "show", "main:.gitattributes").splitlines()
    assert len(lines) == 2 and all("filter=lfs" in line for line in lines)


def test_over_http_with_a_token(
    tmp_path: Path, git_http: Callable[..., Any], giftless: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token reaches git and is written nowhere; without it nothing is copied."""
    repository = bare(tmp_path / "git" / "team" / "data.git")
    server = git_http(tmp_path / "git", tokens={TOKEN: "write", "reader": "read"})
    lfs = giftless(tmp_path / "store")
    www = work_tree(tmp_path / "www", f"{server.url}team/data.git")
    git(www, "config", "lfs.url", f"{lfs.url}team/data.git/info/lfs")
    git(www, "config", "lfs.locksverify", "false")
    source = a_file(tmp_path / "a", os.urandom(50_000))
    with RangeServer(www) as web:
        to, registry = f"folder:{www}?url={web.url}&lfs=1", tmp_path / "r.toml"
        for token in ("", "wrong", "reader"):
            monkeypatch.setenv("GIT_TOKEN", token)
            with pytest.raises(AccessDenied) as caught:
                publish({"a.fits": source}, to, registry, progress=False)
            assert "GIT_TOKEN" in caught.value.remedy
            assert not (www / "a.fits").exists()
        monkeypatch.setenv("GIT_TOKEN", TOKEN)
        publish({"a.fits": source}, to, registry, progress=False)
        monkeypatch.delenv("GIT_TOKEN")
        host = server.url.split("/")[2]
        config(f'[hosts."{host}"]\nuser = "ann"\npassword = "{TOKEN}"\n')
        publish({"b.fits": source}, to, registry, progress=False)
    assert git(repository, "ls-tree", "-r", "--name-only", "main").split() == [".gitattributes", "a.fits", "b.fits"]
    for path in (*www.rglob("*"), *tmp_path.glob("*.toml")):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_git_lfs_is_detected_without_an_option(tmp_path: Path) -> None:
    repository = bare(tmp_path / "data.git")
    www = work_tree(tmp_path / "www", f"file://{repository}")
    source = a_file(tmp_path / "a", b"a" * 1000)
    with RangeServer(www) as web:
        to = f"folder:{www}?url={web.url}"
        publish({"a.fits": source}, to, tmp_path / "r.toml", progress=False)
        assert git(repository, "rev-list", "--count", "--all") == "0"
        a_file(www / ".gitattributes", b"*.fits filter=lfs diff=lfs merge=lfs -text\n")
        publish({"b.fits": source}, to, tmp_path / "r.toml", progress=False)
        assert git(repository, "ls-tree", "--name-only", "main").split() == [".gitattributes", "b.fits"]
        publish({"c.fits": source}, f"{to}&lfs=0", tmp_path / "r.toml", progress=False)
        assert git(repository, "rev-list", "--count", "--all") == "1"


def test_a_line_that_keeps_git_lfs_from_a_file_is_named(tmp_path: Path) -> None:
    www = work_tree(tmp_path / "www", f"file://{bare(tmp_path / 'data.git')}")
    a_file(www / "maps/.gitattributes", b"*.fits -filter\n")
    source = a_file(tmp_path / "a", b"a" * 1000)
    with RangeServer(www) as web, pytest.raises(PublishError, match="keeps git-lfs from tracking 'maps/a.fits'"):
        publish({"maps/a.fits": source}, f"folder:{www}?url={web.url}&lfs=1", tmp_path / "r.toml", progress=False)


def test_commits_that_do_not_go_together_are_merged_by_hand(tmp_path: Path) -> None:
    repository = bare(tmp_path / "data.git")
    www = work_tree(tmp_path / "www", f"file://{repository}")
    source = a_file(tmp_path / "a", b"a" * 1000)
    with RangeServer(www) as web:
        to = f"folder:{www}?url={web.url}&lfs=1"
        publish({"a.fits": source}, to, tmp_path / "r.toml", progress=False)
        git(tmp_path, "clone", "-q", f"file://{repository}", "other")
        for folder in (tmp_path / "other", www):
            a_file(folder / "README", folder.name.encode())
            git(folder, "add", "README")
            git(folder, "commit", "-q", "-m", "by hand")
        git(tmp_path / "other", "push", "-q", "origin", "main")
        with pytest.raises(PublishError, match=f"merge them by hand in {www}"):
            publish({"b.fits": source}, to, tmp_path / "r.toml", progress=False)
        git(www, "pull", "-q", "--no-rebase", "-X", "ours", "origin", "main")
        publish({"b.fits": source}, to, tmp_path / "r.toml", progress=False)
    assert "b.fits" in git(repository, "ls-tree", "--name-only", "main").split()


def test_a_repository_without_a_remote(tmp_path: Path) -> None:
    """As the seed makes its folder: git init, git lfs track, git add, git commit. It is committed there alone."""
    www = tmp_path / "www"
    www.mkdir()
    git(www, "init", "-q", "-b", "main", ".")
    git(www, "lfs", "install", "--local")
    git(www, "lfs", "track", "*.fits")
    a_file(www / "old.fits", b"old" * 1000)
    git(www, "add", ".")
    git(www, "commit", "-q", "-m", "data")
    new, empty = a_file(tmp_path / "new", b"new" * 2000), a_file(tmp_path / "empty", b"")
    with RangeServer(www) as web:
        to, registry = f"folder:{www}?url={web.url}", tmp_path / "r.toml"
        who = make_host(to).publisher(Settings(), {}).check_rights()
        assert "pushed nowhere: the repository has no remote" in who
        outcome = publish({"maps/new.fits": new, "empty.fits": empty}, to, registry, progress=False)
        assert all(file.proven for file in outcome.files)
        publish({"maps/new.fits": new}, to, registry, progress=False)
    assert git(www, "status", "--porcelain") == ""
    assert git(www, "rev-list", "--count", "HEAD") == "2"
    assert git(www, "show", "HEAD:maps/new.fits").startswith("version https://git-lfs")
    assert sorted(git(www, "lfs", "ls-files", "-n").splitlines()) == ["maps/new.fits", "old.fits"]
    assert git(www, "lfs", "fsck").endswith("OK")
    got = clone(f"file://{www}", tmp_path / "clone")
    assert got == {"old.fits": b"old" * 1000, "maps/new.fits": new.read_bytes(), "empty.fits": b""}


def test_a_repository_that_the_web_server_gives_away(tmp_path: Path, nginx: Callable[..., Any]) -> None:
    www = tmp_path / "www"
    www.mkdir()
    git(www, "init", "-q", "-b", "main", ".")
    a_file(www / ".gitattributes", b"*.fits filter=lfs diff=lfs merge=lfs -text\n")
    for extra, served in (("", True), ("location ~ /\\.git { return 404; }", False)):
        publisher = make_host(f"folder:{www}?url={nginx(www, extra=extra).url}").publisher(Settings(), {})
        publisher.check_rights()
        assert ("return 404" in " ".join(publisher.remarks([]))) is served


def test_what_is_wrong_with_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, no remote, on no branch, no git-lfs: each says what to do."""
    www = tmp_path / "www"
    www.mkdir()

    def said() -> str:
        with pytest.raises(PublishError) as caught:
            make_host(f"folder:{www}?url=http://127.0.0.1:1/&lfs=1").publisher(Settings(), {}).check_rights()
        return str(caught.value)

    assert "git lfs install --local" in said()
    git(www, "init", "-q", "-b", "main", ".")
    assert "git remote add origin URL" in said()
    git(www, "remote", "add", "origin", f"file://{tmp_path}/none.git")
    assert "none.git" in said()
    bare(tmp_path / "none.git")
    git(www, "commit", "-q", "--allow-empty", "-m", "x")
    git(www, "checkout", "-q", "--detach")
    assert "on no branch" in said()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "apt install git-lfs" in said()


@pytest.mark.nightly
def test_killed_at_any_time(tmp_path: Path) -> None:
    """SIGKILL at random times, between copy, lists, objects, commit and push; in the end all is there once."""
    repository = bare(tmp_path / "data.git")
    www = work_tree(tmp_path / "www", f"file://{repository}")
    files = {f"maps/{n}.fits": os.urandom(300_000 + n) for n in range(6)}
    paths = {name: str(a_file(tmp_path / "src" / name, data)) for name, data in files.items()}
    with RangeServer(www) as server:
        script = (
            "from dataferry.publish import publish\n"
            f"publish({paths!r}, 'folder:{www}?url={server.url}&lfs=1', {str(tmp_path / 'r.toml')!r}, progress=False)"
        )
        words = [sys.executable, "-c", script]
        for _ in range(40):
            process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                process.wait(random.uniform(0.2, 2.0))
                (tmp_path / "r.toml").unlink(missing_ok=True)  # begin again with the registry
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert git(www, "status", "--porcelain") == ""
    assert clone(f"file://{repository}", tmp_path / "clone") == files
    assert git(repository, "rev-list", "--count", "--all") == "1"
    assert not [path for path in www.rglob(".dataferry-*") if ".git" not in path.relative_to(www).parts]
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=www, check=True)
