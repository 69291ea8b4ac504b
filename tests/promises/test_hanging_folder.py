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


@pytest.fixture
def dead_mount(need, tmp_path):
    """A mounted file system that does not answer."""
    need("fusermount3", "no FUSE here")
    need.that("fuse", os.access("/dev/fuse", os.R_OK | os.W_OK), "/dev/fuse cannot be used")
    need.that(
        "fuse", not subprocess.run([sys.executable, "-c", "import mfusepy"], check=False).returncode, "no mfusepy"
    )
    folder = tmp_path / "dead"
    folder.mkdir()
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(DEAD), str(folder)])
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
