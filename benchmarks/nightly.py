"""What takes too long for the tests: ``python benchmarks/nightly.py [kill crowd mirrors memory faults]``.

kill     a 200 MB download is killed (SIGKILL) at random moments, a new process goes on: right file, bytes over the wire
crowd    8 and 64 processes and 64 threads want one cold file: requests and bytes, beside astropy and pooch
mirrors  a host switched off in mid-file, one with another file, one throttled beside a fast one: times and bytes
memory   the peak of one file of 20 GB (sparse at nginx) over the bare import
faults   every fault of the range server at 300 KB and 40 MB, alone and with a mirror: the time to the answer
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from dataferry import PackageData, testing
from dataferry.errors import DataferryError
from dataferry.testing import Fault, RangeServer

MB = 1_000_000
NAME = "a.bin"


class Place:
    """A registry of one file, and an empty cache for who gets it."""

    def __init__(self, folder: Path, data: bytes, *urls: str, size: int = 0, sha256: str = "", head: str = "") -> None:
        folder.mkdir()
        self.cache = folder / "cache"
        self.cache.mkdir()
        self.sha256 = sha256 or hashlib.sha256(data).hexdigest()
        self.registry = folder / "dataferry.toml"
        mirrors = f"mirrors = {list(urls[1:])!r}"
        file = f'[files."{NAME}"]\nsize = {size or len(data)}\nsha256 = "{self.sha256}"\n'
        self.registry.write_text(f'dataurl = "{urls[0]}"\n{mirrors}\n{head}\n{file}')

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"XDG_CACHE_HOME": str(self.cache)}

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "dataferry", "get", "bench", NAME, "--registry", str(self.registry)]

    def start(self) -> subprocess.Popen[bytes]:
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self.command, env=self.environment, **quiet)  # type: ignore[call-overload,no-any-return]

    def run(self) -> Path:
        return Path(
            subprocess.run(self.command, env=self.environment, capture_output=True, check=True).stdout.decode().strip()
        )

    def get(self) -> Path | DataferryError:
        """In this process."""
        os.environ["XDG_CACHE_HOME"] = str(self.cache)
        try:
            return Path(PackageData("bench", registry=self.registry, show_progress=False).get(NAME))
        except DataferryError as error:
            return error

    def right(self, path: Path | DataferryError) -> bool:
        return isinstance(path, Path) and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


def kill(home: Path, times: int) -> None:
    data = random.randbytes(200 * MB)
    with RangeServer({NAME: data}) as server:
        started = time.monotonic()
        Place(home / "whole", data, server.url).run()
        whole = time.monotonic() - started
        server.forget()
        wrong = 0
        for index in range(times):
            place = Place(home / f"kill-{index}", data, server.url)
            victim = place.start()
            time.sleep(random.uniform(0.1, whole))
            victim.kill()
            victim.communicate()
            wrong += not place.right(place.run())
            shutil.rmtree(place.registry.parent)
        sent = sum(request.sent for request in server.requests)
    print(f"kill: {times} times, {wrong} wrong files, {sent / times / len(data):.3f} x the bytes over the wire")


def crowd(home: Path) -> None:
    data = random.randbytes(40 * MB)
    with RangeServer({NAME: data}) as server:

        def report(what: str, started: float, right: bool = True) -> None:
            sent = sum(request.sent for request in server.requests) / len(data)
            seconds, requests, note = time.monotonic() - started, len(server.requests), "" if right else " WRONG"
            print(f"crowd: {what}: {requests} requests, {sent:.2f} x the bytes, {seconds:.1f} s{note}")
            server.forget()

        for count in (8, 64):
            place, started = Place(home / f"crowd{count}", data, server.url), time.monotonic()
            processes = [place.start() for _ in range(count)]
            paths = {process.communicate()[0] for process in processes}
            report(f"{count} processes, dataferry", started, all(place.right(Path(p.decode().strip())) for p in paths))
        place, started = Place(home / "threads", data, server.url), time.monotonic()
        got: list[Path | DataferryError] = []
        threads = [threading.Thread(target=lambda: got.append(place.get())) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report("64 threads, dataferry", started, len(got) == 64 and all(place.right(path) for path in set(got)))
        url = server.url_of(NAME)
        peers = {
            "pooch": f"import pooch; pooch.retrieve({url!r}, {place.sha256!r}, path={str(home / 'pooch')!r})",
            "astropy": f"from astropy.utils.data import download_file; download_file({url!r}, cache=True)",
        }
        (home / "astropy").mkdir()
        environment = os.environ | {"ASTROPY_CACHE_DIR": str(home / "astropy")}
        for peer, code in peers.items():
            started = time.monotonic()
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
            words = [sys.executable, "-c", code]
            processes = [subprocess.Popen(words, **quiet) for _ in range(8)]  # type: ignore[call-overload]
            for process in processes:
                process.wait()
            report(f"8 processes, {peer}", started)


def mirrors(home: Path) -> None:
    data = random.randbytes(60 * MB)

    def trial(what: str, one: RangeServer, two: RangeServer) -> None:
        place, started = Place(home / what.replace(" ", "-"), data, one.url, two.url), time.monotonic()
        result = place.get()
        first, second = (sum(request.sent for request in server.requests) / MB for server in (one, two))
        seconds, good = time.monotonic() - started, place.right(result)
        print(f"mirrors: {what}: {'right' if good else result}, {seconds:.1f} s, {first:.1f} MB and {second:.1f} MB")

    files = {NAME: data}
    with RangeServer(files, rate=5 * MB) as one, RangeServer(files) as two:
        threading.Timer(0.5, one.stop).start()
        trial("switched off in mid-file", one, two)
    with RangeServer(files) as one, RangeServer(files) as two:
        one.fault("*", testing.OtherFile())
        trial("another file at the first", one, two)
    with RangeServer(files, rate=MB / 16) as one, RangeServer(files) as two:
        trial("first at 1 MB per s in all", one, two)


def memory(home: Path) -> None:
    size = 20_000_000_000
    (home / "www").mkdir()
    with (home / "www" / NAME).open("wb") as stream:
        stream.truncate(size)
    digest, block = hashlib.sha256(), bytes(1 << 22)
    for start in range(0, size, len(block)):
        digest.update(block[: min(len(block), size - start)])
    with RangeServer(home / "www") as server:
        place = Place(home / "big", b"", server.url, size=size, sha256=digest.hexdigest())
        code = (
            "import resource, sys, tqdm, astropy.utils.data, dataferry\n"
            # VmHWM is the peak of this program alone; getrusage would start at that of the one which started it
            "def peak(): return int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]) // 1024\n"
            "idle = peak()\n"
            f"dataferry.PackageData('bench', registry=sys.argv[1], show_progress=False).get({NAME!r})\n"
            "used = resource.getrusage(resource.RUSAGE_SELF)\n"
            "print('memory: 20 GB, peak over the import:', peak() - idle, 'MB, processor',"
            " used.ru_utime + used.ru_stime, 's')"
        )
        started = time.monotonic()
        words = [sys.executable, "-c", code, str(place.registry)]
        print(
            subprocess.run(words, env=place.environment, capture_output=True, text=True, check=True).stdout.strip(),
            end=" ",
        )
        print(f"in {time.monotonic() - started:.0f} s")
    shutil.rmtree(home / "big")


def faults(home: Path) -> None:
    made: list[Fault] = []
    for name in testing.faults.__all__:
        kind = getattr(testing.faults, name)
        if isinstance(kind, type) and issubclass(kind, Fault) and kind is not Fault:
            with contextlib.suppress(TypeError):
                made.append(kind())
    for size in (300_000, 40 * MB):
        data = random.randbytes(size)
        with RangeServer({NAME: data}) as bad, RangeServer({NAME: data}) as good:
            for number, fault in enumerate(made):
                row = [f"faults: {size / MB:5.1f} MB {type(fault).__name__:20s}"]
                for what, urls in (("alone", [bad.url]), ("with a mirror", [bad.url, good.url])):
                    bad.heal()
                    bad.fault("*", fault)
                    place = Place(home / f"{size}-{number}-{what[:5]}", data, *urls, head="timeout = 3")
                    started = time.monotonic()
                    result = place.get()
                    right = place.right(result)
                    if isinstance(result, Path) and not right:
                        row.append("WRONG BYTES")
                    row.append(f"{what}: {'right' if right else 'error'} in {time.monotonic() - started:.1f} s")
                    shutil.rmtree(place.registry.parent)
                print(", ".join(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["kill", "crowd", "mirrors", "faults"])
    parser.add_argument("--times", type=int, default=200)
    options = parser.parse_args()
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)
    for what in options.what:
        with tempfile.TemporaryDirectory(prefix="dataferry-nightly-") as place:
            if what == "kill":
                kill(Path(place), options.times)
            else:
                {"crowd": crowd, "mirrors": mirrors, "memory": memory, "faults": faults}[what](Path(place))


if __name__ == "__main__":
    main()
