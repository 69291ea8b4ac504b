"""What takes too long for the tests: ``python benchmarks/transport_nightly.py [kill crowd mirrors memory faults]``.

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
from typing import Any

from dataferry import testing
from dataferry.config import Settings
from dataferry.download.fetch import Arrived, Wanted, fetch
from dataferry.hosts.base import Source
from dataferry.testing import Fault, RangeServer

MB = 1_000_000


def order(name: str, data: bytes, *urls: str) -> Wanted:
    sources = tuple(Source(url + name, url) for url in urls)
    return Wanted(name, sources[0].url, len(data), hashlib.sha256(data).hexdigest(), sources)


def bring(place: Path, wanted: Wanted, **options: Any) -> Any:
    place.mkdir(exist_ok=True)
    target = place / wanted.name

    def store(_: Wanted, path: Path) -> Path:
        return path.rename(target)

    find = lambda _: target if target.exists() else None  # noqa: E731
    options = {"progress": False, "settings": Settings()} | options
    return fetch([wanted], find=find, store=store, workdir=place / "incoming", **options)[0]


def child(place: Path, wanted: Wanted) -> list[str]:
    known = (wanted.name, wanted.size, wanted.sha256, [source.url for source in wanted.sources])
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import transport_nightly as n\n"
        f"name, size, sha, urls = {known!r}\n"
        "w = n.Wanted(name, urls[0], size, sha, tuple(n.Source(u, u) for u in urls))\n"
        "r = n.bring(pathlib.Path(sys.argv[2]), w)\n"
        "print(getattr(r, 'moved_bytes', r))"
    )
    return [sys.executable, "-c", code, str(Path(__file__).parent), str(place)]


def right(place: Path, wanted: Wanted) -> bool:
    return hashlib.sha256((place / wanted.name).read_bytes()).hexdigest() == wanted.sha256


def kill(home: Path, times: int) -> None:
    data = random.randbytes(200 * MB)
    with RangeServer({"a.bin": data}) as server:
        wanted = order("a.bin", data, server.url)
        started = time.monotonic()
        subprocess.run(child(home / "whole", wanted), check=True, capture_output=True)
        whole = time.monotonic() - started
        server.forget()
        wrong = 0
        for index in range(times):
            place = home / f"kill-{index}"
            victim = subprocess.Popen(child(place, wanted), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(random.uniform(0.1, whole))
            victim.kill()
            victim.wait()
            subprocess.run(child(place, wanted), check=True, capture_output=True)
            wrong += not right(place, wanted)
            shutil.rmtree(place)
        sent = sum(request.sent for request in server.requests)
    print(f"kill: {times} times, {wrong} wrong files, {sent / times / len(data):.3f} x the bytes over the wire")


def crowd(home: Path) -> None:
    data = random.randbytes(40 * MB)
    with RangeServer({"a.bin": data}) as server:
        wanted = order("a.bin", data, server.url)

        def told(what: str, started: float, read: int | None = None) -> None:
            sent = sum(request.sent for request in server.requests) / len(data)
            seconds, asked = time.monotonic() - started, len(server.requests)
            read_here = "" if read is None else f"{read / len(data):.2f} x the bytes read, "
            print(f"crowd: {what}: {asked} requests, {read_here}{sent:.2f} x the bytes sent, {seconds:.1f} s")
            server.forget()

        for count in (8, 64):
            started = time.monotonic()
            crew = [
                subprocess.Popen(child(home / f"crowd{count}", wanted), stdout=subprocess.PIPE) for _ in range(count)
            ]
            read = sum(int(process.communicate()[0]) for process in crew)
            told(f"{count} processes, dataferry", started, read)
            if not right(home / f"crowd{count}", wanted):
                print("crowd: WRONG FILE")
        started = time.monotonic()
        brought: list[int] = []
        work = lambda: brought.append(bring(home / "threads", wanted).moved_bytes)  # noqa: E731
        threads = [threading.Thread(target=work) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told("64 threads, dataferry", started, sum(brought))
        url = server.url_of("a.bin")
        peers = {
            "pooch": f"import pooch; pooch.retrieve({url!r}, {wanted.sha256!r}, path={str(home / 'pooch')!r})",
            "astropy": f"from astropy.utils.data import download_file; download_file({url!r}, cache=True)",
        }
        (home / "astropy").mkdir()
        environment = os.environ | {"ASTROPY_CACHE_DIR": str(home / "astropy")}
        for peer, code in peers.items():
            started = time.monotonic()
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
            crew = [subprocess.Popen([sys.executable, "-c", code], **quiet) for _ in range(8)]  # type: ignore[call-overload]
            for process in crew:
                process.wait()
            told(f"8 processes, {peer}", started)


def mirrors(home: Path) -> None:
    data = random.randbytes(60 * MB)

    def trial(what: str, one: RangeServer, two: RangeServer) -> None:
        started = time.monotonic()
        result = bring(home / what.replace(" ", "-"), order("a.bin", data, one.url, two.url))
        first, second = (sum(request.sent for request in server.requests) / MB for server in (one, two))
        good = (
            isinstance(result, Arrived)
            and hashlib.sha256(result.path.read_bytes()).digest() == hashlib.sha256(data).digest()
        )
        seconds = time.monotonic() - started
        print(f"mirrors: {what}: {'right' if good else result}, {seconds:.1f} s, {first:.1f} MB and {second:.1f} MB")

    files = {"a.bin": data}
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
    with (home / "www" / "a.bin").open("wb") as stream:
        stream.truncate(size)
    digest, block = hashlib.sha256(), bytes(1 << 22)
    for start in range(0, size, len(block)):
        digest.update(block[: min(len(block), size - start)])
    with RangeServer(home / "www") as server:
        wanted = Wanted(
            "a.bin", server.url_of("a.bin"), size, digest.hexdigest(), (Source(server.url_of("a.bin"), "x"),)
        )
        code = child(home / "big", wanted)
        code[2] = (
            # VmHWM is the peak of this program alone; getrusage would start at that of the one which started it
            "import resource, dataferry.download.watch, tqdm\n"
            "def peak(): return int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]) // 1024\n"
            "idle = peak()\n" + code[2] + "\nused = resource.getrusage(resource.RUSAGE_SELF)\n"
            "print('memory: 20 GB, peak over the import:', peak() - idle, 'MB, processor',"
            " used.ru_utime + used.ru_stime, 's')"
        )
        started = time.monotonic()
        print(subprocess.run(code, capture_output=True, text=True, check=True).stdout.strip(), end=" ")
        print(f"in {time.monotonic() - started:.0f} s")
    shutil.rmtree(home / "big")


def faults(home: Path) -> None:
    from dataferry.testing import faults as room

    made: list[Fault] = []
    for name in room.__all__:
        kind = getattr(room, name)
        if isinstance(kind, type) and issubclass(kind, Fault) and kind is not Fault:
            with contextlib.suppress(TypeError):
                made.append(kind())
    for size in (300_000, 40 * MB):
        data = random.randbytes(size)
        with RangeServer({"a.bin": data}) as bad, RangeServer({"a.bin": data}) as good:
            for number, fault in enumerate(made):
                row = [f"faults: {size / MB:5.1f} MB {type(fault).__name__:20s}"]
                for what, urls in (("alone", [bad.url]), ("with a mirror", [bad.url, good.url])):
                    bad.heal()
                    bad.fault("*", fault)
                    place, started = home / f"{size}-{number}-{what[:5]}", time.monotonic()
                    result = bring(place, order("a.bin", data, *urls), stall_timeout=3)
                    arrived = isinstance(result, Arrived)
                    if arrived and result.path.read_bytes() != data:
                        row.append("WRONG BYTES")
                    row.append(f"{what}: {'right' if arrived else 'error'} in {time.monotonic() - started:.1f} s")
                    shutil.rmtree(place)
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
