"""What tests of downloads share: a package at some servers, ``dataferry get`` as a process, and what was sent."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataferry import PackageData
from dataferry.testing import RangeServer

MB = 1_000_000
#: One block for all tests, so that each module does not have its own in memory.
RANDOM = random.Random(1).randbytes(20 * MB)
NAME, DATA = "maps/a.bin", RANDOM[: 12 * MB]
Make = Callable[..., str]


def config(text: str) -> None:
    """Write the user's configuration."""
    path = Path(os.environ["XDG_CONFIG_HOME"], "dataferry", "config.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def one_connection() -> None:
    """Over one connection nothing is sent in vain, which a range that a second one helps with may be."""
    config('[hosts."127.0.0.1"]\nconnections = 1\n')


def package_at(make_package: Make, *servers: RangeServer, data: bytes = DATA, head: str = "timeout = 30") -> str:
    """A package whose file all these servers have."""
    cache()
    first, *mirrors = (server.url for server in servers)
    return make_package({NAME: data}, head=f'dataurl = "{first}"\nmirrors = {mirrors!r}\n{head}')


def get(package: str, **options: Any) -> bytes:
    """The bytes that a user gets in this process."""
    return Path(PackageData(package, show_progress=False).get(NAME, **options)).read_bytes()


def environment(**more: str) -> dict[str, str]:
    """That of a process which finds the packages of this test."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


def start(package: str, *before: str) -> subprocess.Popen[bytes]:
    """``dataferry get`` as a process of its own."""
    words = [*before, sys.executable, "-m", "dataferry", "get", package, NAME]
    return subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


_CROWD = """
import os, sys
from dataferry import PackageData
import astropy.utils.data
children = []
for _ in range(int(sys.argv[4])):
    child = os.fork()
    if not child:
        try:
            path = PackageData(sys.argv[1], show_progress=False).get(sys.argv[2])
            os._exit(0 if os.path.getsize(path) == int(sys.argv[3]) else 3)
        finally:
            os._exit(4)
    children.append(child)
print(sorted({os.waitpid(child, 0)[1] for child in children}))
"""


def crowd(package: str, processes: int, before: str = "") -> subprocess.Popen[str]:
    """So many forks that want the file at once; their different exit statuses are printed as a list."""
    words = [sys.executable, "-c", before + _CROWD, package, NAME, str(len(DATA)), str(processes)]
    return subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True)


def sent(*servers: RangeServer) -> int:
    """Bytes of bodies that these servers sent."""
    return sum(request.sent for server in servers for request in server.requests)


def cache() -> Path:
    """The user's folder of caches; astropy 7 uses it only if it has a folder called astropy."""
    folder = Path(os.environ["XDG_CACHE_HOME"])
    (folder / "astropy").mkdir(parents=True, exist_ok=True)
    return folder


def on_disk() -> int:
    """Bytes that were written below the cache, in whatever file."""
    total = 0
    for path in cache().rglob("*"):
        try:
            stat = path.lstat()
        except FileNotFoundError:
            continue
        total += min(stat.st_blocks * 512, stat.st_size) if path.is_file() else 0
    return total


def until(condition: Callable[[], object], process: subprocess.Popen[Any] | None = None) -> None:
    """Wait for something, as long as a process runs."""
    tick = threading.Event()
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        tick.wait(0.01)
