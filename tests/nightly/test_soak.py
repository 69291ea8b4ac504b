"""A long life of one process: memory, descriptors and threads stay as they are.

``python -m pytest tests/nightly/test_soak.py -m nightly -s``; ``DATAFERRY_SOAK=0.01`` does a hundredth.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from dataferry.testing import RangeServer, Status

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(7200)]

SCALE = float(os.environ.get("DATAFERRY_SOAK", "1"))
HEAD = """
import gc, os, shutil, sys, threading
from dataferry import PackageData
from dataferry.errors import DataferryError
data = PackageData(sys.argv[1], show_progress=False)
count = int(sys.argv[2])
def now():
    gc.collect()
    with open("/proc/self/status") as status:
        rss = int(status.read().partition("VmRSS:")[2].split()[0]) // 1024
    return rss, len(os.listdir("/proc/self/fd")), threading.active_count()
"""
WORK = {
    "warm gets": """
for _ in range(1000): data.get("one.dat")
before = now()
for _ in range(count): data.get("one.dat")
""",
    "small files fetched one by one": """
names = data.names("many/*")
for name in names[:200]: data.get(name)
before = now()
for name in names[200:]: data.get(name)
""",
    "small files fetched at once": """
names = data.names("many/*")
def fetch():
    for start in range(0, len(names), 1000): data.fetch(names[start:start + 1000])
    shutil.rmtree(os.path.join(os.environ["XDG_CACHE_HOME"], "astropy"))
fetch()
before = now()  # with what is remembered of each file
fetch()
""",
    "failures": """
def fail():
    try: data.get("gone.dat")
    except DataferryError: pass
for _ in range(200): fail()
before = now()
for _ in range(count): fail()
""",
}
TAIL = """
after = now()
print(before, after)
"""
COUNTS = {
    "warm gets": 1_000_000,
    "small files fetched one by one": 5_000,
    "small files fetched at once": 25_000,  # each twice
    "failures": 10_000,
}


@pytest.mark.parametrize("work", WORK)
def test_soak(work: str, make_package: Any, need: Any) -> None:
    need.that("proc", os.path.exists("/proc/self/status"), "there is no /proc")
    count = max(400, int(COUNTS[work] * SCALE))
    data = b"x" * 100
    files = {f"many/{number:05}.dat": data for number in range(count if "files" in work else 0)} | {"one.dat": data}
    with RangeServer(files) as server:
        server.fault("gone.dat", Status(404))
        package = make_package(files | {"gone.dat": data}, head=f'dataurl = "{server.url}"')
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        words = [sys.executable, "-c", HEAD + WORK[work] + TAIL, package, str(count)]
        done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = (eval(f"({part})") for part in done.stdout.strip().strip("()").split(") ("))
    sys.stdout.write(f"\nsoak: {count} {work}: MB, descriptors, threads {before} -> {after}\n")
    assert after[0] <= before[0] + 10 + (count * 1e-3 if "one by one" in work else 0)  # what is remembered of each file
    # Connections are kept open: as many as one host gets, and more of them for many small files.
    assert after[1] <= max(before[1], 16 + (100 if "files" in work else 16))
    assert after[2] <= before[2] + 1
