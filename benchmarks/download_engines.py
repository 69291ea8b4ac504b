"""One piece of work by one program, in a process of its own: ``python download_engines.py PROGRAM < work.json``.

Prints the seconds from the call to verified files on disk, without the start of the interpreter and the imports.
Of dataferry only `PackageData.fetch` and the command line are called, on an empty cache.
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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

BLOCK = 1 << 20
Call = Callable[[], None]


def check(pairs: Iterable[tuple[Path, str]]) -> None:
    """Hash what a program wrote that does not verify by itself."""
    buffer = memoryview(bytearray(BLOCK))
    for path, sha256 in pairs:
        with open(path, "rb", 0) as stream:
            digest = hashlib.sha256()
            while count := stream.readinto(buffer):
                digest.update(buffer[:count])
        if digest.hexdigest() != sha256:
            raise SystemExit(f"{path}: wrong bytes")


def flat(work: dict[str, Any], out: Path) -> Iterable[tuple[Path, str]]:
    return ((out / item["flat"], item["sha256"]) for item in work["files"])


def copy(work: dict[str, Any], out: Path) -> Call:
    """Copy and hash in one pass: what the disk and the hash cost."""

    def call() -> None:
        buffer = memoryview(bytearray(BLOCK))
        for item in work["files"]:
            digest = hashlib.sha256()
            with open(item["path"], "rb", 0) as source, open(out / item["flat"], "wb", 0) as target:
                while count := source.readinto(buffer):
                    target.write(buffer[:count])
                    digest.update(buffer[:count])
            if digest.hexdigest() != item["sha256"]:
                raise SystemExit("wrong bytes")

    return call


def registry_of(work: dict[str, Any], out: Path, base: str, files: list[dict[str, Any]]) -> Path:
    folder = out / f"registry-{len(files)}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataferry.toml").write_text(f'dataurl = "{base}"\nregistry = "files.txt"\n')
    (folder / "files.txt").write_text("".join(f"{i['sha256']}  {i['size']}  {i['name']}\n" for i in files))
    return folder / "dataferry.toml"


def configure(work: dict[str, Any], out: Path) -> None:
    """An empty cache, and the user's configuration."""
    os.environ |= {"XDG_CACHE_HOME": str(out / "cache"), "XDG_CONFIG_HOME": str(out / "config")}
    (out / "cache").mkdir(parents=True)
    (out / "config" / "dataferry").mkdir(parents=True)
    if work.get("connections"):
        text = f'[hosts."127.0.0.1"]\nconnections = {work["connections"]}\n'
        (out / "config" / "dataferry" / "config.toml").write_text(text)


def dataferry(work: dict[str, Any], out: Path) -> Call:
    """``PackageData(...).fetch("*")``."""
    configure(work, out)
    from dataferry import PackageData

    # one file by another name of the server: modules are imported, its connection is not the one that is measured
    warm = registry_of(work, out / "warm", work["base"].replace("127.0.0.1", "localhost"), [work["warm"]])
    PackageData("warm", registry=warm, show_progress=False).fetch("*")
    registry = registry_of(work, out, work["base"], work["files"])

    def call() -> None:
        paths = PackageData("bench", registry=registry, show_progress=False).fetch("*")
        assert len(paths) == len(work["files"])

    return call


def dataferry_get(work: dict[str, Any], out: Path) -> Call:
    """``dataferry get PACKAGE '*'``, with the start of the interpreter and the imports."""
    configure(work, out)
    registry = registry_of(work, out, work["base"], work["files"])
    words = [sys.executable, "-m", "dataferry", "get", "bench", "*", "--registry", str(registry)]
    return lambda: print(len(subprocess.check_output(words, stderr=subprocess.DEVNULL)), file=sys.stderr)


def requests(work: dict[str, Any], out: Path) -> Call:
    import requests as library

    def call() -> None:
        with library.Session() as session:
            for item in work["files"]:
                digest = hashlib.sha256()
                with session.get(item["url"], stream=True) as response, open(out / item["flat"], "wb", 0) as target:
                    for block in response.iter_content(BLOCK):
                        target.write(block)
                        digest.update(block)
                if digest.hexdigest() != item["sha256"]:
                    raise SystemExit("wrong bytes")

    return call


def pooch(work: dict[str, Any], out: Path) -> Call:
    import logging

    import pooch as library

    library.get_logger().setLevel(logging.ERROR)

    def call() -> None:
        for item in work["files"]:
            library.retrieve(item["url"], known_hash=item["sha256"], path=out, fname=item["flat"])

    return call


def astropy(work: dict[str, Any], out: Path) -> Call:
    os.environ["ASTROPY_CACHE_DIR"] = str(out)
    from astropy.utils.data import download_file

    def call() -> None:
        for item in work["files"]:
            check([(Path(download_file(item["url"], cache=True, show_progress=False)), item["sha256"])])

    return call


def parfive(work: dict[str, Any], out: Path) -> Call:
    import parfive as library

    def call() -> None:
        downloader = library.Downloader(max_conn=16, max_splits=16, progress=False)
        for item in work["files"]:
            downloader.enqueue_file(item["url"], path=out, filename=item["flat"])
        if errors := downloader.download().errors:
            raise SystemExit(str(errors[0]))
        check(flat(work, out))

    return call


def curl(work: dict[str, Any], out: Path, *options: str) -> Call:
    lines = [f'url="{i["url"]}"\noutput="{out / i["flat"]}"\n' for i in work["files"]]

    def call() -> None:
        words = ["curl", "-sf", "--parallel", *options, "-K", "-"]
        subprocess.run(words, input="".join(lines), text=True, check=True)
        check(flat(work, out))

    return call


def curl_immediate(work: dict[str, Any], out: Path) -> Call:
    return curl(work, out, "--parallel-immediate")


def axel(work: dict[str, Any], out: Path) -> Call:
    def call() -> None:
        for item in work["files"]:
            words = ["axel", "-q", "-n", "16", "-o", str(out / item["flat"]), item["url"]]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        check(flat(work, out))

    return call


def aria2c(work: dict[str, Any], out: Path) -> Call:
    (out / "list").write_text("".join(f"{i['url']}\n  out={i['flat']}\n" for i in work["files"]))
    words = ["aria2c", "-q", "-x16", "-s16", "-j16", "-k1M", "--file-allocation=none", "-d", str(out)]
    if "SSL_CERT_FILE" in os.environ:
        words.append(f"--ca-certificate={os.environ['SSL_CERT_FILE']}")

    def call() -> None:
        subprocess.run([*words, "-i", str(out / "list")], check=True, stdout=subprocess.DEVNULL)
        check(flat(work, out))

    return call


PROGRAMS = {
    "copy and sha256": copy,
    "dataferry": dataferry,
    "dataferry get": dataferry_get,
    "requests": requests,
    "pooch": pooch,
    "astropy": astropy,
    "parfive": parfive,
    "curl --parallel": curl,
    "curl --parallel-immediate": curl_immediate,
    "axel -n 16": axel,
    "aria2c -x16": aria2c,
}


def peak(reset: bool = False) -> int:
    """KiB of memory at the most so far; a fresh process would else start with its parent's."""
    if reset and Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def main() -> None:
    work = json.load(sys.stdin)
    out = Path(work["out"])
    out.mkdir(parents=True, exist_ok=True)
    call = PROGRAMS[sys.argv[1]](work, out)
    idle, before, started = peak(reset=True), cpu(), time.perf_counter()
    call()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "cpu": cpu() - before, "memory": (peak() - idle) / 1024}))
    if work.get("remove"):
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
