"""A predefined folder on a dead mount must not stop anybody."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from dataferry import PackageData
from dataferry.testing import RangeServer

NAME, BYTES = "maps/a.fits", b"some bytes\n" * 100

DEAD = """
    import sys, time
    import mfusepy
    class Dead(mfusepy.Operations):
        def getattr(self, path, fh=None):
            if path != "/":
                raise mfusepy.FuseOSError(2)
            time.sleep(60)
    mfusepy.FUSE(Dead(), sys.argv[1], foreground=True, nothreads=False)
"""


#: Answers after a while, as an automount does the first time.
SLOW = """
    import os, sys, time
    import mfusepy
    began = time.monotonic()
    NAMES = {"/": 0o40755, "/maps": 0o40755, "/maps/a.fits": 0o100644}
    BYTES = b"some bytes\\n" * 100
    class Slow(mfusepy.Operations):
        def getattr(self, path, fh=None):
            time.sleep(max(0, began + 5 - time.monotonic()))
            if path not in NAMES:
                raise mfusepy.FuseOSError(2)
            return {"st_mode": NAMES[path], "st_nlink": 1, "st_size": len(BYTES), "st_mtime": 1e9, "st_ctime": 1e9}
        def read(self, path, size, offset, fh):
            return BYTES[offset : offset + size]
    mfusepy.FUSE(Slow(), sys.argv[1], foreground=True, nothreads=False)
"""


@pytest.fixture
def dead_mount(need, tmp_path, request):
    """A mounted file system that does not answer."""
    need("fusermount3", "no FUSE here")
    need.that("fuse", os.access("/dev/fuse", os.R_OK | os.W_OK), "/dev/fuse cannot be used")
    need.that(
        "fuse", not subprocess.run([sys.executable, "-c", "import mfusepy"], check=False).returncode, "no mfusepy"
    )
    folder = tmp_path / "dead"
    folder.mkdir()
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(getattr(request, "param", DEAD)), str(folder)])
    try:
        for _ in range(600):
            if str(folder) in Path("/proc/mounts").read_text():
                break
            time.sleep(0.05)
        else:
            need.that("fuse", False, "the file system did not mount")
        yield folder
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(folder)], check=False)
        server.kill()
        server.wait()


def test_it_is_given_up_once_and_named(dead_mount, make_package, monkeypatch, home):
    (home / ".config/dataferry").mkdir()
    (home / ".config/dataferry/config.toml").write_text("folder_timeout = 0.5")
    with RangeServer({NAME: BYTES}) as server:
        package = make_package({NAME: BYTES, "b": b"b"}, head=f'dataurl = "{server.url}"\nenv = "MADE_DATA"')
        monkeypatch.setenv("MADE_DATA", str(dead_mount))
        data = PackageData(package, show_progress=False)
        assert Path(data.get(NAME)).read_bytes() == BYTES
    step = data.where(NAME).steps[0]
    assert step.place.startswith(str(dead_mount)) and "does not answer within 0.5 s" in step.note


def test_several_folders_on_one_dead_mount_are_given_up_together(dead_mount, make_package, monkeypatch, home):
    (home / ".config/dataferry").mkdir()
    (home / ".config/dataferry/config.toml").write_text("folder_timeout = 0.5")
    package = make_package({NAME: BYTES}, head='env = "MADE_DATA"')
    folders = [dead_mount, dead_mount / "a", dead_mount / "b"]
    monkeypatch.setenv("MADE_DATA", os.pathsep.join(map(str, folders)))
    steps = PackageData(package, show_progress=False).where(NAME).steps
    assert "does not answer within 0.5 s" in steps[0].note
    assert [step.note for step in steps[1:3]] == ["its file system does not answer"] * 2


@pytest.mark.parametrize("dead_mount", [SLOW], indirect=True, ids=["slow"])
def test_a_folder_that_answers_late_is_used_from_then_on(dead_mount, make_package, monkeypatch, home):
    """An automount may need longer the first time."""
    (home / ".config/dataferry").mkdir()
    (home / ".config/dataferry/config.toml").write_text("folder_timeout = 0.5")
    with RangeServer({NAME: BYTES}) as server:
        package = make_package({NAME: BYTES}, head=f'dataurl = "{server.url}"\nenv = "MADE_DATA"')
        monkeypatch.setenv("MADE_DATA", str(dead_mount))
        data = PackageData(package, show_progress=False)
        assert "does not answer within 0.5 s" in data.where(NAME).steps[0].note
        until = time.monotonic() + 60
        while not data.where(NAME).steps[0].found and time.monotonic() < until:
            time.sleep(0.1)
        assert data.get(NAME) == str(dead_mount / NAME)
    assert not server.requests
