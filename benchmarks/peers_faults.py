"""The same faults for dataferry, astropy and pooch: ``python benchmarks/peers_faults.py [--kills 20]``.

Each tool downloads one file of 3 MB in a process of its own, from a server with a fault in its first two answers, and
is called once more if it failed. Then it is killed at random moments of a first download and called again, and twenty
processes ask for the file at the same time. Printed is how often a tool ended with the right file, with an error, with
another file, or not within 30 s, and how often the server sent the file. astropy has no hash to compare with.
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
    places = {"HOME": home, "XDG_CACHE_HOME": home / ".cache", "XDG_CONFIG_HOME": home / ".config"}
    env = {**os.environ, **{name: str(place) for name, place in places.items()}}
    words = [sys.executable, "-c", CODE.format(CALLS[tool]), url, SHA256]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    for tool in CALLS:
        if importlib.util.find_spec(tool) is None:
            print(f"{tool} is not installed")
            continue
        faults(tool)
        kills(tool, options.kills)
        crowd(tool)


if __name__ == "__main__":
    main()
