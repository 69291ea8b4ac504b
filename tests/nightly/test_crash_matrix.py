"""A command is killed, or gets an error of the disk, at each call that changes a file; the next run is as good.

``python -m pytest tests/nightly/test_crash_matrix.py -m nightly -s`` prints the figures. A position gets one of the
four errors of the disk, in turn; with ``DATAFERRY_ALL=1`` it gets each. ``DATAFERRY_STEP=3`` tries every third one.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataferry.testing import RangeServer

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(7200)]

#: Calls that change something on the disk. The state after a file was made empty is that before its first write.
CHANGES = (
    "write,pwrite64,writev,pwritev,pwritev2,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,ftruncate,truncate,fallocate,fsync,fdatasync,syncfs,sync_file_range,chmod,fchmod,fchmodat,"
    "utimensat,copy_file_range,sendfile"
)
ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS")
FILES = {
    "maps/large.bin": random.Random(1).randbytes(3_000_000),
    "maps/small.bin": random.Random(2).randbytes(20_000),
    "other.dat": random.Random(3).randbytes(300),
}

CHECK = """
import hashlib, sys
from dataferry import PackageData
names = sys.argv[1:]
for path in PackageData("mypkg", show_progress=False).fetch(names):
    with open(path, "rb") as file:
        print(hashlib.sha256(file.read()).hexdigest())
from astropy.utils.data import cache_contents, get_cached_urls
get_cached_urls(), cache_contents()
"""
ASTROPY = """
from astropy.utils.data import cache_contents, get_cached_urls
get_cached_urls(), cache_contents()
"""
PEERS = {
    "astropy": """
import sys
from astropy.utils.data import download_file
print(download_file(sys.argv[1], cache=True, show_progress=False))
""",
    "pooch": """
import sys, pooch
print(pooch.retrieve(sys.argv[1], sys.argv[2], progressbar=False))
""",
}
UNPACK = """
import sys
from dataferry import PackageData
from dataferry.errors import DataferryError
try:
    folder = PackageData("mypkg", show_progress=False).unpack("members.zip")
except DataferryError as error:
    raise SystemExit(str(error)) from None
if sys.argv[1:]:  # an error of this script's own output is not one of dataferry
    print(folder)
"""
MEMBERS = {f"members/{number}.dat": random.Random(number).randbytes(2_000) for number in range(4)}


class Case:
    """A home, a package at a server, an author's files and a host, in one folder that is put back each time."""

    def __init__(self, folder: Path, files: dict[str, bytes], server: RangeServer, public: RangeServer) -> None:
        self.folder, self.files, self.server, self.public = folder, files, server, public
        self.home, self.pristine = folder / "home", folder / "pristine"
        package = self.home / "site" / "mypkg"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").touch()
        (self.home / ".cache").mkdir()
        (self.home / ".config").mkdir()
        (self.home / "host").mkdir()
        (self.home / "new").mkdir()
        (self.home / "new" / "fresh.bin").write_bytes(FILES["maps/small.bin"])
        (self.home / "new" / "more.bin").write_bytes(FILES["maps/large.bin"])
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
        done = self.run("add", "mypkg", *self.sources())
        assert done.returncode == 0, done.stderr

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

    def traced(self, words: list[str], calls: str, *more: str) -> subprocess.CompletedProcess[str]:
        strace = ["strace", "-f", "-qq", "-o", str(self.folder / "trace"), "-e", f"trace={calls}", *more]
        return subprocess.run(
            [*strace, *words], env=self.env, cwd=self.home, capture_output=True, text=True, timeout=300
        )


@pytest.fixture
def case(tmp_path: Path, need: Any) -> Iterator[Case]:
    need("strace")
    (tmp_path / "home" / "host").mkdir(parents=True)
    (tmp_path / "home" / "host").rmdir()
    files = dict(FILES)
    with RangeServer(files) as server, RangeServer(tmp_path / "home" / "host") as public:
        yield Case(tmp_path, files, server, public)


def got(case: Case) -> None:
    """All files come, right, and astropy can read its cache."""
    done = subprocess.run(case.python(CHECK, *FILES), env=case.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-400:]
    assert done.stdout.split() == [hashlib.sha256(data).hexdigest() for data in FILES.values()]


def added(case: Case) -> None:
    tomllib.loads(case.registry.read_text())
    for left in case.registry.parent.glob(".dataferry-*"):
        os.utime(left, (0, 0))  # what is older than a minute belongs to no running command
    done = case.run("add", "mypkg", "new")
    assert done.returncode == 0, done.stderr
    assert set(tomllib.loads(case.registry.read_text())["files"]) == {*FILES, "fresh.bin", "more.bin"}
    assert case.registry.read_text().startswith("# kept")
    assert [path.name for path in case.registry.parent.iterdir()] == ["dataferry.toml"]
    got(case)


def published(case: Case) -> None:
    tomllib.loads(case.registry.read_text())
    for left in case.registry.parent.glob(".dataferry-*"):
        os.utime(left, (0, 0))
    done = case.run("publish", "new", "--to", f"folder:{case.home}/host?url={case.public.url}", "--package", "mypkg")
    assert done.returncode == 0, done.stderr
    assert (case.home / "host" / "fresh.bin").read_bytes() == FILES["maps/small.bin"]
    assert (case.home / "host" / "more.bin").read_bytes() == FILES["maps/large.bin"]
    assert {"fresh.bin", "more.bin"} <= set(tomllib.loads(case.registry.read_text())["files"])
    assert [path.name for path in case.registry.parent.iterdir()] == ["dataferry.toml"]


def pruned(case: Case) -> None:
    done = case.run("cache", "prune", "--yes", "--days", "0")
    assert done.returncode == 0, done.stderr
    got(case)


def unpacked(case: Case) -> None:
    done = subprocess.run(case.python(UNPACK, "print"), env=case.env, cwd=case.home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.dat")}
    assert found == MEMBERS, sorted(found)


def pack(case: Case) -> None:
    """Register an archive, and have it in the cache."""
    with zipfile.ZipFile(case.home / "new" / "members.zip", "w") as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    case.files["members.zip"] = (case.home / "new" / "members.zip").read_bytes()
    assert case.run("add", "mypkg", "new/members.zip").returncode == 0
    assert case.run("get", "mypkg", "members.zip").returncode == 0


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
    "unpack": (lambda case: case.python(UNPACK), unpacked),
}


def positions(case: Case, words: list[str]) -> list[tuple[str, int]]:
    """Each call that changes something: its name, and which of its name it is in its thread, as strace counts."""
    done = case.traced(words, f"{CHANGES},openat,close", "-y")
    assert done.returncode == 0, done.stderr
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    lines = (case.folder / "trace").read_text().splitlines()
    first = lines[0].split()[0]  # the thread that loads the interpreter
    written: dict[str, bool] = {}  # descriptor -> whether it was opened for writing below the home
    for line in lines:
        if " openat(" in line:
            descriptor = line.rpartition(" = ")[2].partition("<")[0]
            written[descriptor] = str(case.home) in line and not re.search("O_RDONLY|O_DIRECTORY", line)
        elif match := re.match(r"(\d+) +(\w+)\(", line):
            counts[match.groups()] += 1
            # A file system over a network tells of a full quota when a file is closed.
            closed = re.search(r"close\((\d+)", line)
            if closed is None or (match[1] == first and written.get(closed[1])):
                found.append((match[2], counts[match.groups()]))
    return list(dict.fromkeys(found))


def attempt(case: Case, words: list[str], position: tuple[str, int], kind: str, check: Check) -> str:
    """What was wrong, empty if nothing."""
    case.restore()
    name, number = position
    done = case.traced(words, name, "-y", "-e", f"inject={name}:{kind}:when={number}")
    hit = (case.folder / "trace").read_text().partition("(INJECTED)")[0].splitlines()
    if name == "close" and hit and str(case.home) not in hit[-1]:
        return ""  # the number of modules that are read is not always the same
    if "signal" not in kind and "Traceback" in done.stderr:
        return "traceback: " + done.stderr.strip().splitlines()[-1]
    if "signal" not in kind and done.returncode not in range(8):
        return f"exit code {done.returncode}"
    try:
        check(case)
    except (AssertionError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).strip()[:300]}"
    return ""


def report(*lines: str) -> None:
    sys.stdout.write("\ncrash matrix: " + "\n  ".join(lines) + "\n")


def matrix(case: Case, name: str, kinds: list[list[str]]) -> None:
    """Try each kind of a list at a position, and the lists in turn."""
    make, check = WORK[name]
    if name == "prune":
        fill(case)
    if name == "unpack":
        pack(case)
    if name in {"add", "publish"}:
        assert case.run("get", "mypkg", *FILES).returncode == 0  # so that the check finds a warm cache
    case.save()
    words = make(case)
    found = positions(case, words)
    trials = [(found[at], kind) for at in range(0, len(found), STEP) for kind in kinds[at % len(kinds)]]
    failures = []
    for (call, number), kind in trials:
        if wrong := attempt(case, words, (call, number), kind, check):
            failures.append(f"{kind} at {call} {number}: {wrong}")
    report(f"{name}: {len(found)} positions, {len(trials)} trials of {kinds[0][0]} etc., {len(failures)} failures")
    report(*failures[:20])
    assert not failures


# read before the tests, which run without the variables of the user
ALL = bool(os.environ.get("DATAFERRY_ALL"))
STEP = int(os.environ.get("DATAFERRY_STEP", "1"))
ERROR_KINDS = [f"error={error}" for error in ERRORS]


@pytest.mark.parametrize("name", WORK)
def test_killed_at_each_change(name: str, case: Case) -> None:
    matrix(case, name, [["signal=KILL"]])


@pytest.mark.parametrize("name", WORK)
def test_an_error_of_the_disk_at_each_change(name: str, case: Case) -> None:
    matrix(case, name, [ERROR_KINDS] if ALL else [[kind] for kind in ERROR_KINDS])


@pytest.mark.parametrize("peer", PEERS)
def test_peers_for_comparison(peer: str, case: Case) -> None:
    """What the next call of another tool gives after a kill at each change, and how often astropy's cache is broken."""
    pytest.importorskip(peer)
    case.save()
    data = FILES["maps/small.bin"]
    known = f"sha256:{hashlib.sha256(data).hexdigest()}"
    words = case.python(PEERS[peer], case.server.url_of("maps/small.bin"), known)
    found, outcomes = positions(case, words), Counter[str]()
    for name, number in found:
        case.restore()
        case.traced(words, name, "-e", f"inject={name}:signal=KILL:when={number}")
        done = subprocess.run(words, env=case.env, cwd=case.home, capture_output=True, text=True)
        path = done.stdout.splitlines()[-1] if done.returncode == 0 else ""
        outcomes["error" if not path else "right" if Path(path).read_bytes() == data else "other file"] += 1
        if peer == "astropy":
            listed = subprocess.run(case.python(ASTROPY), env=case.env, capture_output=True, text=True)
            outcomes["cache that cannot be read"] += listed.returncode != 0
    report(f"{peer}: {len(found)} positions tried, the next call: {dict(outcomes)}")
