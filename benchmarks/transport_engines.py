"""One download by one engine, in a process of its own: ``python transport_engines.py ENGINE < work.json``.

Prints seconds from the first request to verified files on disk, without the start of the interpreter and the imports.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BLOCK = 1 << 20


def check(path: Path, sha256: str) -> None:
    with open(path, "rb", 0) as stream:
        digest, buffer = hashlib.sha256(), memoryview(bytearray(BLOCK))
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
    if digest.hexdigest() != sha256:
        raise SystemExit(f"{path}: wrong bytes")


def limit(work: dict[str, Any], out: Path) -> None:
    """Copy and hash in one pass: what the disk and the hash cost."""
    buffer = memoryview(bytearray(BLOCK))
    for item in work["files"]:
        digest = hashlib.sha256()
        with open(item["path"], "rb", 0) as source, open(out / item["flat"], "wb", 0) as target:
            while count := source.readinto(buffer):
                target.write(buffer[:count])
                digest.update(buffer[:count])
        if digest.hexdigest() != item["sha256"]:
            raise SystemExit("wrong bytes")


def dataferry(work: dict[str, Any], out: Path) -> None:
    from dataferry.config import Settings
    from dataferry.download.fetch import Arrived, Wanted, fetch
    from dataferry.hosts.base import Source

    wanted = [
        Wanted(i["flat"], i["url"], i["size"], i["sha256"], (Source(i["url"], work["base"]),)) for i in work["files"]
    ]
    settings = Settings()
    if work.get("connections"):
        settings.hosts[work["host"]] = {"connections": work["connections"]}
    results = fetch(
        wanted,
        find=lambda _: None,
        store=lambda item, path: path.rename(out / item.name),
        workdir=out / "incoming",
        settings=settings,
        progress=False,
    )
    for result in results:
        if not isinstance(result, Arrived):
            raise SystemExit(str(result))


def requests(work: dict[str, Any], out: Path) -> None:
    import requests as library

    with library.Session() as session:
        for item in work["files"]:
            digest = hashlib.sha256()
            with session.get(item["url"], stream=True) as reply, open(out / item["flat"], "wb", 0) as target:
                for block in reply.iter_content(BLOCK):
                    target.write(block)
                    digest.update(block)
            if digest.hexdigest() != item["sha256"]:
                raise SystemExit("wrong bytes")


def pooch(work: dict[str, Any], out: Path) -> None:
    import logging

    import pooch as library

    library.get_logger().setLevel(logging.ERROR)
    for item in work["files"]:
        library.retrieve(item["url"], known_hash=item["sha256"], path=out, fname=item["flat"])


def astropy(work: dict[str, Any], out: Path) -> None:
    os.environ["ASTROPY_CACHE_DIR"] = str(out)
    from astropy.utils.data import download_file

    for item in work["files"]:
        check(Path(download_file(item["url"], cache=True, show_progress=False)), item["sha256"])


def parfive(work: dict[str, Any], out: Path) -> None:
    import parfive as library

    downloader = library.Downloader(max_conn=16, max_splits=16, progress=False)
    for item in work["files"]:
        downloader.enqueue_file(item["url"], path=out, filename=item["flat"])
    if downloader.download().errors:
        raise SystemExit("errors")
    for item in work["files"]:
        check(out / item["flat"], item["sha256"])


def curl(work: dict[str, Any], out: Path) -> None:
    lines = [f'url="{i["url"]}"\noutput="{out / i["flat"]}"\n' for i in work["files"]]
    subprocess.run(["curl", "-sf", "--parallel", "-K", "-"], input="".join(lines), text=True, check=True)
    for item in work["files"]:
        check(out / item["flat"], item["sha256"])


def aria2c(work: dict[str, Any], out: Path) -> None:
    lines = [f"{i['url']}\n  out={i['flat']}\n" for i in work["files"]]
    (out / "list").write_text("".join(lines))
    words = ["aria2c", "-q", "-x16", "-s16", "-j16", "-k1M", "--file-allocation=none", "-d", str(out)]
    subprocess.run([*words, "-i", str(out / "list")], check=True, stdout=subprocess.DEVNULL)
    for item in work["files"]:
        check(out / item["flat"], item["sha256"])


IMPORTS = {
    "dataferry": "dataferry.download.watch",
    "requests": "requests",
    "pooch": "pooch",
    "astropy": "astropy.utils.data",
    "parfive": "parfive",
}


def peak(reset: bool = False) -> int:
    """KiB of memory at the most so far; a fresh process would else start with its parent's."""
    if reset and Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def main() -> None:
    name = sys.argv[1]
    work = json.load(sys.stdin)
    out = Path(work["out"])
    out.mkdir(parents=True, exist_ok=True)
    if name == "astropy":
        os.environ["ASTROPY_CACHE_DIR"] = str(out)
    if name in IMPORTS:
        __import__(IMPORTS[name])
    idle = peak(reset=True)
    before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    started = time.perf_counter()
    globals()[name](work, out)
    seconds = time.perf_counter() - started
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(a.ru_utime + a.ru_stime - b.ru_utime - b.ru_stime for a, b in zip(after, before, strict=True))
    print(json.dumps({"seconds": seconds, "cpu": cpu, "memory": (peak() - idle) / 1024}))
    if work.get("remove"):
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
