"""The same faults for dataferry, astropy and pooch: ``python benchmarks/peers_faults.py [--kills 20]``.

Each tool downloads one file of 3 MB in a process of its own, from a server with a fault in its first two answers, and
is called once more if it failed. Then it is killed at random moments of a first download and called again, and twenty
processes ask for the file at the same time. At last twenty processes with four threads each want twelve files from a
server that cuts and refuses some requests, and are killed at random and started again. Printed is how often a tool
ended with the right file, with an error, with another file, or not within 30 s (of the last work 120 s), and how often
the server sent the file. astropy has no hash to compare with.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dataferry import testing
from dataferry.testing import RangeServer

DATA = random.Random(1).randbytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
CALLS = {
    "dataferry": "from dataferry import retrieve; path = retrieve(url, 'sha256:' + sha256, progress=False, timeout=3)",
    "astropy": "from astropy.utils.data import download_file;"
    "path = download_file(url, cache=True, show_progress=False, timeout=3)",
    "pooch": "import pooch; path = pooch.retrieve(url, 'sha256:' + sha256)",
}
CROWD = """
import hashlib, random, sys, threading
url, seed, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
pairs = [(url + word.split("=")[0], word.split("=")[1]) for word in sys.argv[4:]]
def work(number):
    for url, sha256 in random.Random(f"{{seed}} {{number}}").sample(pairs, len(pairs)):
        try:
            {}
            with open(path, "rb") as file:
                right = hashlib.sha256(file.read()).hexdigest() == sha256
            print("right" if right else "OTHER", flush=True)
        except Exception as error:
            print("error", type(error).__name__, flush=True)
crowd = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
for thread in crowd: thread.start()
for thread in crowd: thread.join()
"""
PROCESSES, THREADS = 20, 4
FILES = {f"{i}.bin": random.Random(i).randbytes((50_000, 700_000, 3_000_000)[i % 3]) for i in range(12)}
CODE = "import sys; url, sha256 = sys.argv[1:]; {}; sys.stdout.write(str(path))"
FAULTS = {
    "cut": testing.Cut(1_000_000),
    "cut in chunks": testing.Cut(1_000_000, chunked=True),
    "reset": testing.Reset(1_000_000),
    "looks whole, is short": testing.Truncated(1_000_000),
    "other file": testing.OtherFile(),
    "one byte differs": testing.FlippedByte(5),
    "login page": testing.LoginPage(),
    "empty 202": testing.Empty(),
    "git-lfs pointer": testing.LfsPointer(),
    "503": testing.Status(503),
    "compressed on the way": testing.GzipEncoding(),
    "stalls": testing.Stall(1_000_000),
    "trickles": testing.Trickle(100),
}


def start(tool: str, url: str, home: Path) -> subprocess.Popen[str]:
    return run(home, CODE.format(CALLS[tool]), url, SHA256)


def run(home: Path, *words: str) -> subprocess.Popen[str]:
    places = {"HOME": home, "XDG_CACHE_HOME": home / ".cache", "XDG_CONFIG_HOME": home / ".config"}
    env = {**os.environ, **{name: str(place) for name, place in places.items()}}
    words = (sys.executable, "-c", *words)
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def outcome(process: subprocess.Popen[str]) -> str:
    try:
        path = process.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "no end in 30 s"
    if process.returncode:
        return "error"
    return "right" if Path(path).read_bytes() == DATA else "ANOTHER FILE"


def home() -> tempfile.TemporaryDirectory[str]:
    made = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    (Path(made.name) / ".cache").mkdir()
    return made


def faults(tool: str) -> None:
    for name, fault in FAULTS.items():
        with RangeServer({"a.bin": DATA}) as server, home() as folder:
            server.fault("*", fault, first=2)
            words = [outcome(start(tool, server.url_of("a.bin"), Path(folder))) for _ in range(2)]
            sent = sum(request.sent for request in server.requests) / len(DATA)
            print(f"{tool:10} {name:22} {words[0]}, then {words[1]}; {sent:.2f} x the bytes", flush=True)


def kills(tool: str, count: int) -> None:
    dice, counts = random.Random(1), collections.Counter[str]()
    for _ in range(count):
        with RangeServer({"a.bin": DATA}, rate=3_000_000) as server, home() as folder:
            killed = start(tool, server.url_of("a.bin"), Path(folder))
            time.sleep(dice.uniform(0.1, 2.5))
            killed.kill()
            killed.communicate()
            counts[outcome(start(tool, server.url_of("a.bin"), Path(folder)))] += 1
    print(f"{tool:10} killed {count} times, the next call: {dict(counts)}", flush=True)


def crowd(tool: str) -> None:
    with RangeServer({"a.bin": DATA}, rate=3_000_000) as server, home() as folder:
        processes = [start(tool, server.url_of("a.bin"), Path(folder)) for _ in range(20)]
        counts = collections.Counter(map(outcome, processes))
        sent = sum(request.sent for request in server.requests) / len(DATA)
    print(f"{tool:10} 20 processes at once: {dict(counts)}; {sent:.1f} x the bytes", flush=True)


def killed_crowd(tool: str, kills: int) -> None:
    dice, counts, numbers = random.Random(1), collections.Counter[str](), iter(range(10_000))
    code = CROWD.format(CALLS[tool].replace("; ", ";").replace(";", "\n            "))
    pairs = [f"{name}={hashlib.sha256(data).hexdigest()}" for name, data in FILES.items()]
    with RangeServer(dict(FILES), rate=20_000_000) as server, home() as folder:
        for name in list(FILES)[::3]:
            server.fault(name, testing.Cut(after=20_000), first=2)
        server.fault("1.bin", testing.Status(503), first=3)
        server.fault("2.bin", testing.Reset(after=1_000_000), first=3)

        def begin(threads: int = THREADS) -> subprocess.Popen[str]:
            return run(Path(folder), code, server.url, str(next(numbers)), str(threads), *pairs)

        def end(process: subprocess.Popen[str]) -> None:
            try:
                text = process.communicate(timeout=120)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                text = process.communicate()[0] + "\nno end in 120 s"
            counts.update(line for line in text.splitlines() if line in {"right", "OTHER"} or line[:2] in {"er", "no"})

        crowd = [begin() for _ in range(PROCESSES)]
        killed = 0
        while killed < kills:
            time.sleep(dice.uniform(0.0, 0.3))
            victim = dice.randrange(PROCESSES)
            killed += crowd[victim].poll() is None
            crowd[victim].kill()
            end(crowd[victim])
            crowd[victim] = begin()
        for process in crowd:
            end(process)
        during, counts = dict(counts), collections.Counter[str]()
        sent = sum(request.sent for request in server.requests) / sum(map(len, FILES.values()))
        end(begin(1))
        found = [path.lstat() for path in Path(folder).rglob("*") if not path.is_dir()]
        left = sum({stat.st_ino: stat.st_size for stat in found}.values()) - sum(map(len, FILES.values()))
    print(f"{tool:10} {PROCESSES} processes x {THREADS} threads, {killed} kills: {during}; {sent:.1f} x the bytes")
    print(f"{tool:10} afterwards one process: {dict(counts)}; {left} bytes besides the files", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of one process; of the crowd it is five times as many")
    parser.add_argument("--only", choices=["faults", "kills", "crowd", "killed crowd"])
    options = parser.parse_args()
    for tool in CALLS:
        if importlib.util.find_spec(tool) is None:
            print(f"{tool} is not installed")
            continue
        works = {
            "faults": lambda tool=tool: faults(tool),
            "kills": lambda tool=tool: kills(tool, options.kills),
            "crowd": lambda tool=tool: crowd(tool),
            "killed crowd": lambda tool=tool: killed_crowd(tool, 5 * options.kills),
        }
        for name, work in works.items():
            if options.only in (None, name):
                work()


if __name__ == "__main__":
    main()
