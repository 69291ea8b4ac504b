"""A machine without power: what is verified earlier has its bytes on the disk, or its stamp does not count."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dataferry_test_servers.downloads import RANDOM

from dataferry.testing import RangeServer

LARGE, SMALL = RANDOM, {f"small/{i}.bin": os.urandom(20_000) for i in range(40)}
FILES = {"large.bin": LARGE, **SMALL}

GET = "import sys, dataferry; dataferry.PackageData(sys.argv[1], show_progress=False).fetch(sys.argv[2:] or '*')"
#: Name, what `where` says of it offline, and the sha256 of what `get` would hand out.
LOOK = """
import hashlib, sys, dataferry
data = dataferry.PackageData(sys.argv[1], show_progress=False)
for name in data.names():
    where = data.where(name)
    found = [step.note for step in where.steps if step.found]
    print(name, hashlib.sha256(open(where.path, "rb").read()).hexdigest() if where.path else "-", *found[:1])
"""


class Disk:
    """A file system on a loop device that can lose its power."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.image, self.mounted = folder / f"{kind}.img", folder / kind
        self.mounted.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(320 << 20)
        subprocess.run([f"mkfs.{kind}", "-q", str(self.image)], check=True, capture_output=True)

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.mounted)], check=True)

    def cut(self) -> None:
        """Drop what is not on the disk, and start again."""
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", str(self.mounted)], check=True)
        self.unmount()
        self.mount()

    def unmount(self) -> None:
        for _ in range(50):
            if subprocess.run(["umount", str(self.mounted)], check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", str(self.mounted)], check=False)
        # a program that made a mount namespace of its own (unshare -m) has the file system until it ends
        for _ in range(600):
            if not subprocess.run(["losetup", "-j", str(self.image)], check=True, capture_output=True).stdout:
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.image} is still mounted somewhere")


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, need: Callable[..., None], tmp_path: Path) -> Iterator[Disk]:
    need("xfs_io")
    need(f"mkfs.{request.param}")
    need.that("mount", os.geteuid() == 0, "only root mounts")
    made = Disk(request.param, tmp_path)
    made.mount()
    yield made
    made.unmount()


def start(code: str, disk: Disk, *args: str, **more: str) -> list[str]:
    """The command of a fresh process whose cache is on the disk."""
    env = {"ASTROPY_CACHE_DIR": f"{disk.mounted}/astropy", "PYTHONPATH": os.pathsep.join(sys.path), **more}
    return ["env", *(f"{key}={value}" for key, value in env.items()), sys.executable, "-c", code, *args]


def run(code: str, disk: Disk, *args: str, **more: str) -> str:
    command = start(code, disk, *args, **more)
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def accepted(package: str, disk: Disk) -> dict[str, tuple[str, str]]:
    """The files that a fresh process finds, each with its sha256 now and why it was accepted."""
    output = run(LOOK, disk, package, DATAFERRY_OFFLINE="1")
    rows = [line.split(maxsplit=2) for line in output.splitlines()]
    return {row[0]: (row[1], row[2]) for row in rows if row[1] != "-"}


def wrong(package: str, disk: Disk) -> list[str]:
    found = accepted(package, disk)
    return [f"{name}: {why}" for name, (sha256, why) in found.items() if sha256 != sha256_of(name)]


def sha256_of(name: str) -> str:
    return hashlib.sha256(FILES[name]).hexdigest()


def commit(folder: Path) -> None:
    """What the kernel may do at any moment: stamps and names reach the disk before the bytes of the files."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or "stamps" in path.parts:
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)


def test_a_stamp_is_not_on_the_disk_before_the_bytes(disk, make_package):
    (disk.mounted / "astropy").mkdir()
    with RangeServer(FILES) as server:
        package = make_package(FILES, head=f'dataurl = "{server.url}"')
        run(GET, disk, package)
        commit(disk.mounted / "astropy/dataferry")
        disk.cut()
        assert wrong(package, disk) == []
        run(GET, disk, package)
    assert wrong(package, disk) == []
    assert accepted(package, disk).keys() == FILES.keys()


def test_what_was_hashed_later_is_on_the_disk_before_its_stamp(disk, make_package):
    """Another program's file is hashed while its bytes are still in memory."""
    from dataferry import PackageData

    (disk.mounted / "astropy").mkdir()
    package = make_package(FILES, head='dataurl = "http://127.0.0.1:9/"')
    code = """
import sys, dataferry
from astropy.utils.data import import_file_to_cache
import_file_to_cache("http://127.0.0.1:9/large.bin", sys.argv[2])
dataferry.PackageData(sys.argv[1], show_progress=False).get("large.bin")
"""
    source = disk.image.with_name("source.bin")
    source.write_bytes(LARGE)
    run(code, disk, package, str(source))
    commit(disk.mounted / "astropy/dataferry")
    disk.cut()
    assert wrong(package, disk) == []
    assert PackageData(package).names()


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_hundred_cuts_at_any_moment(disk, make_package):
    (disk.mounted / "astropy").mkdir()
    moments = random.Random(int(os.environ.get("DATAFERRY_SEED", "1")))
    with RangeServer(FILES) as server:
        package = make_package(FILES, head=f'dataurl = "{server.url}"')
        for turn in range(100):
            process = subprocess.Popen(start(GET, disk, package))
            time.sleep(moments.uniform(0.3, 2.5))
            if moments.random() < 0.5:
                process.kill()
                process.wait()
            else:
                process.wait()
                time.sleep(moments.choice([0, 0, 0, 1, 6]))
            disk.cut()
            assert wrong(package, disk) == [], f"cut {turn}"
            if moments.random() < 0.3:
                subprocess.run(["rm", "-rf", str(disk.mounted / "astropy")], check=True)
                (disk.mounted / "astropy").mkdir()
