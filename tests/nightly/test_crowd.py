"""Many processes with threads want the same files from one cache and are killed at random: no wrong file.

``python -m pytest tests/nightly/test_crowd.py -m nightly -s``; ``DATAFERRY_KILLS`` and ``DATAFERRY_SEED`` change it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dataferry import PackageData
from dataferry.testing import Cut, RangeServer, Reset, Status

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(7200)]

PROCESSES, THREADS = 20, 4
SIZES = {f"maps/{i}.bin": (50_000, 700_000, 3_000_000)[i % 3] for i in range(12)}

CHILD = """
import hashlib, random, sys, threading
from dataferry import PackageData
from dataferry.errors import DataferryError
package, seed, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = PackageData(package, show_progress=False)
def work(number):
    dice = random.Random(seed * 100 + number)
    names = data.names()
    dice.shuffle(names)
    for name in names:
        try:
            path = data.get(name) if dice.random() < 0.7 else data.fetch([name])[0]
        except DataferryError as error:
            print("error", str(error).splitlines()[0], flush=True)
            continue
        try:
            with open(path, "rb") as file:
                sha256 = hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            print("cleared", name, flush=True)
            continue
        if sha256 != data.registry.find(name).sha256:
            print("WRONG", name, path, flush=True)
crowd = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
for thread in crowd: thread.start()
for thread in crowd: thread.join()
print("done", flush=True)
"""


def test_twenty_processes_with_random_kills(make_package: Any, command: Any) -> None:
    files = {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}
    seed = int(os.environ.get("DATAFERRY_SEED", "1"))
    kills, dice = int(os.environ.get("DATAFERRY_KILLS", "200")), random.Random(seed)
    counts = {"killed": 0, "done": 0, "error": 0, "WRONG": 0, "Traceback": 0, "cleared": 0}
    clearings = 0
    with RangeServer(dict(files), rate=20_000_000) as server:
        for name in list(files)[::3]:
            server.fault(name, Cut(after=20_000), first=2)
        server.fault("maps/1.bin", Status(503), first=3)
        server.fault("maps/2.bin", Reset(after=1_000_000), first=3)
        package = make_package(files, head=f'dataurl = "{server.url}"\ntimeout = 20')
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        numbers = iter(range(10_000))

        def start() -> subprocess.Popen[str]:
            words = [sys.executable, "-c", CHILD, package, str(seed * 10_000 + next(numbers)), str(THREADS)]
            return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def end(process: subprocess.Popen[str]) -> None:
            text = process.communicate()[0]
            for word in counts:
                counts[word] += text.count(word)
            if "WRONG" in text or "Traceback" in text:
                sys.stdout.write(text)

        crowd = [start() for _ in range(PROCESSES)]
        while counts["killed"] < kills:
            time.sleep(dice.uniform(0.0, 0.15))
            victim = dice.randrange(PROCESSES)
            if crowd[victim].poll() is None:
                crowd[victim].kill()
                counts["killed"] += 1
            end(crowd[victim])
            if all(process.poll() is not None for process in crowd) or dice.random() < 0.02:
                assert command("cache", "clear", "--yes").exit_code == 0  # it begins again
                clearings += 1
            crowd[victim] = start()
        for process in crowd:
            end(process)
        result = command("get", package, "*")
        assert result.exit_code == 0, result.stderr
        names = PackageData(package).names()
        assert [Path(path).read_bytes() for path in result.stdout.splitlines()] == [files[name] for name in names]
    assert command("cache", "prune", "--yes", "--days", "0").exit_code == 0
    found = [path.lstat() for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*") if not path.is_dir()]
    size = sum({stat.st_ino: stat.st_size for stat in found}.values()) - sum(map(len, files.values()))
    sys.stdout.write(f"\ncrowd: {PROCESSES} processes x {THREADS} threads: {counts}, {size} bytes besides the files\n")
    assert size < 200_000  # stamps and the like
    assert counts["WRONG"] == counts["Traceback"] == counts["error"] == 0
    assert counts["cleared"] <= clearings * PROCESSES * THREADS  # between the call and the opening of its file
