"""One URL, an archive and a folder of many files, beside pooch; and eight processes that want the same at once.

Run with ``python benchmarks/retrieve.py [--quick]`` in an environment with ``pip install -e '.[bench]'``; the server is
on this machine and counts its requests. CPU is that of the process that gets the files, with the import of the library.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from dataferry.testing import RangeServer

TIMED = """
import json, os, resource, time
def cpu():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
start = cpu(), time.perf_counter()
{imports}
{call}
print(json.dumps([cpu() - start[0], time.perf_counter() - start[1]]))
"""
#: Name -> imports and call; the same for a cold and for a warm cache.
RETRIEVE = {
    "pooch": ("import pooch", "pooch.retrieve({url!r}, {hash!r}, progressbar=False)"),
    "dataferry": ("import dataferry", "dataferry.retrieve({url!r}, {hash!r}, progress=False)"),
}
UNPACK = {
    "pooch": ("import pooch", "pooch.retrieve({url!r}, {hash!r}, processor=pooch.Unzip(), progressbar=False)"),
    "dataferry": ("import dataferry", "dataferry.PackageData('zipped', show_progress=False).unpack('data.zip')"),
}
FETCH_ALL = """\
p = pooch.create(os.environ["XDG_CACHE_HOME"] + "/pooch", {base!r})
p.load_registry("registry.txt")
for name in p.registry:
    p.fetch(name)
"""
FOLDER = {
    "pooch": ("import pooch", FETCH_ALL),
    "dataferry": ("import dataferry", "dataferry.PackageData('cubes', show_progress=False).folder('cube.zarr')"),
}


def make_zip(path: Path, size: int, members: int) -> None:
    """A zip as Zenodo has them: many files, half of the bytes of each compressible."""
    noise = random.Random(1).randbytes(1 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(members):
            half = size // members // 2
            start = number * 7919 % (1 << 19)
            content = noise[start : start + half] * max(1, half // (len(noise) - start)) + b"0123456789" * (half // 10)
            archive.writestr(f"data/{number % 10}/{number:05d}.bin", content)


def make_cube(folder: Path, chunks: int) -> None:
    """A zarr of two dimensions, as files."""
    (folder / "cube.zarr" / "c").mkdir(parents=True)
    (folder / "cube.zarr" / "zarr.json").write_text('{"zarr_format": 3}')
    noise = random.Random(2).randbytes(1 << 20)
    for number in range(chunks):
        chunk = folder / "cube.zarr" / "c" / str(number // 100) / str(number % 100)
        chunk.parent.mkdir(exist_ok=True)
        chunk.write_bytes(noise[number * 97 : number * 97 + 8000])


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_package(root: Path, package: str, files: dict[str, Path], url: str) -> None:
    data = root / package / "data"
    data.mkdir(parents=True)
    (root / package / "__init__.py").touch()
    hashes = {name: sha256(path) for name, path in files.items()}
    lines = [f"{hashes[name]}  {path.stat().st_size}  {name}" for name, path in files.items()]
    (data / "files.txt").write_text("\n".join(lines) + "\n")
    (data / "dataferry.toml").write_text(f'dataurl = "{url}"\nregistry = "files.txt"\n')
    (root / "registry.txt").write_text("\n".join(f"{name} {hashes[name]}" for name in files) + "\n")


@contextmanager
def started(code: str, root: Path, cache: Path) -> Iterator[subprocess.Popen[str]]:
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    env |= {"HOME": str(cache), "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(root)}
    (cache / "astropy").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, env=env, text=True, stdout=pipe, stderr=pipe) as child:
        yield child


def result(child: subprocess.Popen[str]) -> list[float]:
    output, errors = child.communicate()
    if child.returncode:
        raise RuntimeError(errors.splitlines()[-1])
    seconds: list[float] = json.loads(output.splitlines()[-1])
    return seconds


def outcome(child: subprocess.Popen[str]) -> list[float] | str:
    try:
        return result(child)
    except RuntimeError as error:
        return str(error)


class Bench:
    def __init__(self, root: Path, server: RangeServer, runs: int) -> None:
        self.root, self.server, self.runs = root, server, runs

    def load(self) -> str:
        """What the server had to do: one download can be several requests, for ranges."""
        requests = self.server.requests
        return f"{len(requests):6}, {sum(request.sent for request in requests) / 1e6:.0f} MB"

    def row(self, title: str, tools: dict[str, tuple[str, str]], **values: str) -> None:
        """Cold and warm, in turns, as medians; the requests that the server got for one cold call."""
        seconds: dict[str, list[list[float]]] = {name: [] for name in tools}
        requests = {}
        for _ in range(self.runs):
            for name, (imports, call) in tools.items():
                code = TIMED.format(imports=imports, call=call.format(**values))
                with tempfile.TemporaryDirectory(dir=self.root) as cache:
                    self.server.forget()
                    with started(code, self.root, Path(cache)) as child:
                        cold = result(child)
                    requests[name] = self.load()
                    with started(code, self.root, Path(cache)) as child:
                        seconds[name].append([*cold, *result(child)])
        for name, rounds in seconds.items():
            cpu, wall, warm, _ = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"{title:34}  {name:9}  {cpu:7.2f} s  {wall:7.2f} s  {warm:8.3f} s  {requests[name]}")
        self.crowd(title, tools, values)

    def crowd(self, title: str, tools: dict[str, tuple[str, str]], values: dict[str, str], processes: int = 8) -> None:
        """What all processes together cost that want the same at once."""
        for name, (imports, call) in tools.items():
            code = TIMED.format(imports=imports, call=call.format(**values))
            with tempfile.TemporaryDirectory(dir=self.root) as cache:
                self.server.forget()
                crowd = [started(code, self.root, Path(cache)) for _ in range(processes)]
                children = [each.__enter__() for each in crowd]
                with ThreadPoolExecutor(processes) as threads:  # pooch logs so much that it waits for its reader
                    outcomes = list(threads.map(outcome, children))
                for each in crowd:
                    each.__exit__(None, None, None)
                requests = self.load()
            seconds = [each for each in outcomes if isinstance(each, list)]
            failures = [each for each in outcomes if isinstance(each, str)]
            cpu, wall = sum(each[0] for each in seconds), max((each[1] for each in seconds), default=0.0)
            label = f"{title}, {processes} processes"
            print(f"{label:34}  {name:9}  {cpu:7.2f} s  {wall:7.2f} s  {'':10}  {requests}")
            for failure in sorted(set(failures)):
                print(f"    failed in {failures.count(failure)} of {processes}: {failure}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 MB and 500 chunks, once")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    size, members, chunks = (20 << 20, 200, 500) if options.quick else (300 << 20, 2000, 5000)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        served = root / "served"
        served.mkdir()
        make_zip(served / "data.zip", size, members)
        make_cube(served, chunks)
        megabytes = (served / "data.zip").stat().st_size / 1e6
        print(f"a zip of {megabytes:.0f} MB with {members} files, a folder of {chunks} chunks of 8 kB")
        print(f"{'':34}  {'':9}  {'CPU':>9}  {'time':>9}  {'warm CPU':>10}  requests, sent")
        with RangeServer(served) as server:
            bench = Bench(root, server, 1 if options.quick else options.runs)
            chunk_files = sorted(path for path in (served / "cube.zarr").rglob("*") if path.is_file())
            names = {path.relative_to(served).as_posix(): path for path in chunk_files}
            make_package(root, "zipped", {"data.zip": served / "data.zip"}, server.url)
            values = {"url": server.url + "data.zip", "hash": f"sha256:{sha256(served / 'data.zip')}"}
            bench.row("retrieve", RETRIEVE, **values)
            bench.row("retrieve and unpack", UNPACK, **values)
            make_package(root, "cubes", names, server.url)
            bench.row("folder", FOLDER, base=server.url)


if __name__ == "__main__":
    main()
