"""A command is killed, or gets an error of the disk, at each of its calls that change a file; the next run is as good.

The figures go to docs/reliability.rst: ``python -m pytest tests/nightly/test_crash_matrix.py -m nightly -s``.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataferry.testing import RangeServer

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(7200)]

#: Calls that change something on the disk. The state after a file was made empty is that before its first write.
CHANGES = (
    "write,pwrite64,writev,pwritev,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,"
    "mkdirat,rmdir,ftruncate,truncate,fallocate,fsync,fdatasync,chmod,fchmod,fchmodat,utimensat,copy_file_range,sendfile"
)
ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS")
FILES = {
    "maps/large.bin": random.Random(1).randbytes(3_000_000),
    "maps/small.bin": random.Random(2).randbytes(20_000),
    "other.dat": random.Random(3).randbytes(300),
}

ASTROPY = """
import sys
from astropy.utils.data import cache_contents, get_cached_urls
get_cached_urls(), cache_contents()
"""
PLAIN = """
import sys
from astropy.utils.data import download_file
download_file(sys.argv[1], cache=True, show_progress=False)
"""


class Case:
    """A home, a package at a server, an author's files and a host, in one folder that is put back each time."""

    def __init__(self, folder: Path, server: RangeServer, public: RangeServer) -> None:
        self.folder, self.server, self.public = folder, server, public
        self.home, self.pristine = folder / "home", folder / "pristine"
        package = self.home / "site" / "mypkg"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").touch()
        (self.home / ".cache").mkdir()
        (self.home / ".config").mkdir()
        (self.home / "host").mkdir()
        (self.home / "new").mkdir()
        (self.home / "new" / "fresh.bin").write_bytes(FILES["maps/small.bin"])
        (self.home / "new" / "more.bin").write_bytes(FILES["other.dat"])
        self.registry = package / "data" / "dataferry.toml"
        self.registry.write_text(f'# kept\ndataurl = "{server.url}"\n')
        self.env = {
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("XDG_", "DATAFERRY_", "ASTROPY_"))
            },
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "PYTHONPATH": os.pathsep.join([str(self.home / "site"), *filter(None, sys.path)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.run("add", "mypkg", *self.sources())

    def sources(self) -> list[str]:
        folder = self.home / "sources"
        for name, data in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return [str(folder)]

    def save(self) -> None:
        shutil.rmtree(self.pristine, ignore_errors=True)
        shutil.copytree(self.home, self.pristine, symlinks=True)

    def restore(self) -> None:
        shutil.rmtree(self.home)
        shutil.copytree(self.pristine, self.home, symlinks=True)

    def program(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "dataferry", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.program(*words), env=self.env, cwd=self.home, capture_output=True, text=True)

    def python(self, code: str, *words: str) -> list[str]:
        return [sys.executable, "-c", code, *words]

    def injected(self, words: list[str], inject: str) -> subprocess.CompletedProcess[str]:
        strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={CHANGES}", "-e", f"inject={CHANGES}:{inject}"]
        return subprocess.run(
            [*strace, *words], env=self.env, cwd=self.home, capture_output=True, text=True, timeout=300
        )


@pytest.fixture
def case(tmp_path: Path, need: Any) -> Iterator[Case]:
    need("strace")
    (tmp_path / "home" / "host").mkdir(parents=True)
    (tmp_path / "home" / "host").rmdir()
    with RangeServer(dict(FILES)) as server, RangeServer(tmp_path / "home" / "host") as public:
        yield Case(tmp_path, server, public)


def got(case: Case) -> None:
    """All files come, right, and astropy can read its cache."""
    done = case.run("get", "mypkg", *FILES)
    assert done.returncode == 0, done.stderr
    assert [Path(path).read_bytes() for path in done.stdout.splitlines()] == list(FILES.values())
    done = subprocess.run(case.python(ASTROPY), env=case.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-400:]


def added(case: Case) -> None:
    tomllib.loads(case.registry.read_text())
    done = case.run("add", "mypkg", "new")
    assert done.returncode == 0, done.stderr
    assert set(tomllib.loads(case.registry.read_text())["files"]) == {*FILES, "fresh.bin", "more.bin"}
    assert case.registry.read_text().startswith("# kept")
    assert [path.name for path in case.registry.parent.iterdir()] == ["dataferry.toml"]
    got(case)


def published(case: Case) -> None:
    tomllib.loads(case.registry.read_text())
    done = case.run("publish", "new", "--to", f"folder:{case.home}/host?url={case.public.url}", "--package", "mypkg")
    assert done.returncode == 0, done.stderr
    assert (case.home / "host" / "fresh.bin").read_bytes() == FILES["maps/small.bin"]
    assert (case.home / "host" / "more.bin").read_bytes() == FILES["other.dat"]
    assert {"fresh.bin", "more.bin"} <= set(tomllib.loads(case.registry.read_text())["files"])
    assert [path.name for path in case.registry.parent.iterdir()] == ["dataferry.toml"]


def pruned(case: Case) -> None:
    done = case.run("cache", "prune", "--yes", "--days", "0")
    assert done.returncode == 0, done.stderr
    got(case)


def fill(case: Case) -> None:
    assert case.run("get", "mypkg", *FILES).returncode == 0
    text = case.registry.read_text().partition('[files."other.dat"]')[0]
    case.registry.write_text(text)
    # what a stopped download leaves
    assert case.run("get", "mypkg", "maps/large.bin").returncode == 0


Check = Callable[[Case], None]
WORK: dict[str, tuple[Callable[[Case], list[str]], Check]] = {
    "get": (lambda case: case.program("get", "mypkg", "maps/large.bin"), got),
    "fetch": (lambda case: case.program("get", "mypkg", "*"), got),
    "add": (lambda case: case.program("add", "mypkg", "new"), added),
    "publish": (
        lambda case: case.program(
            *("publish", "new", "--to", f"folder:{case.home}/host?url={case.public.url}", "--package", "mypkg")
        ),
        published,
    ),
    "prune": (lambda case: case.program("cache", "prune", "--yes", "--days", "0"), pruned),
}


def positions(case: Case, words: list[str], tmp_path: Path) -> int:
    """How many calls that change something the command makes."""
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={CHANGES}"]
    done = subprocess.run([*strace, *words], env=case.env, cwd=case.home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return sum("(" in line and "resumed" not in line for line in trace.read_text().splitlines())


def attempt(case: Case, words: list[str], inject: str, check: Check) -> str:
    """What was wrong, empty if nothing."""
    case.restore()
    done = case.injected(words, inject)
    if "signal" not in inject and "Traceback" in done.stderr:
        return "traceback: " + done.stderr.strip().splitlines()[-1]
    if "signal" not in inject and done.returncode not in range(8):
        return f"exit code {done.returncode}"
    try:
        check(case)
    except (AssertionError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).strip()[:300]}"
    return ""


def report(*lines: str) -> None:
    sys.stdout.write("\ncrash matrix: " + "\n  ".join(lines) + "\n")


def matrix(case: Case, name: str, tmp_path: Path, injections: list[str], step: int) -> None:
    make, check = WORK[name]
    if name == "prune":
        fill(case)
    if name in {"add", "publish"}:
        assert case.run("get", "mypkg", *FILES).returncode == 0  # so that the check finds a warm cache
    case.save()
    words = make(case)
    count = positions(case, words, tmp_path)
    failures, tried = [], 0
    for kind in injections:
        for position in range(1, count + 1, step):
            tried += 1
            if wrong := attempt(case, words, f"{kind}:when={position}", check):
                failures.append(f"{kind} at {position} of {count}: {wrong}")
    report(f"{name}: {', '.join(injections)}: {tried} positions tried, {len(failures)} failures", *failures[:20])
    assert not failures


STEP = int(os.environ.get("DATAFERRY_STEP", "1"))


@pytest.mark.parametrize("name", WORK)
def test_killed_at_each_change(name: str, case: Case, tmp_path: Path) -> None:
    matrix(case, name, tmp_path, ["signal=KILL"], STEP)


@pytest.mark.parametrize("name", WORK)
def test_an_error_of_the_disk_at_each_change(name: str, case: Case, tmp_path: Path) -> None:
    matrix(case, name, tmp_path, [f"error={error}" for error in ERRORS], STEP)


def test_astropy_itself_for_comparison(case: Case, tmp_path: Path) -> None:
    """How often astropy's own download leaves a cache that astropy cannot read."""
    case.save()
    words = case.python(PLAIN, case.server.url_of("other.dat"))
    count, broken = positions(case, words, tmp_path), 0
    for position in range(1, count + 1):
        case.restore()
        case.injected(words, f"signal=KILL:when={position}")
        done = subprocess.run(case.python(ASTROPY), env=case.env, capture_output=True, text=True)
        broken += done.returncode != 0
    report(f"astropy's download_file: {count} positions tried, {broken} leave a cache that cannot be read")
