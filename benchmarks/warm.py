"""Files that are here and verified: one of them again, 50,000 of them, and the first in a new process.

Beside pooch, the plain astropy idiom and bare Python.

Run with ``python benchmarks/warm.py`` in an environment with ``pip install -e '.[bench]'``; no network is used.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
import warnings
from collections.abc import Callable
from pathlib import Path

SIZES = {"1 KB": 1 << 10, "10 MB": 10 << 20, "1 GB": 1 << 30}


def median_us(call: Callable[[], object], seconds: float = 0.3) -> float:
    """The median of seven rounds, in microseconds a call."""
    call()
    once = timeit.timeit(call, number=1)
    number = max(1, int(seconds / 7 / max(once, 1e-7)))
    return statistics.median(timeit.repeat(call, number=number, repeat=7 if once < 0.2 else 3)) / number * 1e6


def make_package(root: Path, sizes: dict[str, int]) -> dict[str, str]:
    """A package ``warmpkg`` with one registered file a size, and each file's hash."""
    data = root / "warmpkg" / "data"
    data.mkdir(parents=True)
    (root / "warmpkg" / "__init__.py").touch()
    hashes = {}
    lines = ['dataurl = "http://127.0.0.1:9/warm/"']
    for size in sizes.values():
        file = root / "files" / f"{size}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"\0" * size)
        with open(file, "rb") as opened:
            hashes[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
        lines.append(f'[files."{file.name}"]\nsize = {size}\nsha256 = "{hashes[file.name]}"')
    (data / "dataferry.toml").write_text("\n".join(lines))
    return hashes


def main() -> None:
    """Measure and print one row a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the 1 GB file, and 5,000 files")
    options = parser.parse_args()
    sizes = {k: v for k, v in SIZES.items() if not (options.quick and v > 1 << 28)}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ |= {"XDG_CACHE_HOME": str(root / "cache"), "DATAFERRY_OFFLINE": "1"}
        (root / "cache").mkdir()
        hashes = make_package(root, sizes)
        sys.path.insert(0, folder)
        import pooch
        from astropy.utils import data as astropy_data

        from dataferry import PackageData

        url = "http://127.0.0.1:9/warm/"
        for name in hashes:
            astropy_data.import_file_to_cache(url + name, str(root / "files" / name))
        peer = pooch.create(root / "files", url, registry={n: f"sha256:{h}" for n, h in hashes.items()})
        ours = PackageData("warmpkg")

        def idiom(name: str) -> str:
            with (
                astropy_data.conf.set_temp("dataurl", url),
                astropy_data.conf.set_temp("dataurl_mirror", url),
                warnings.catch_warnings(),
            ):
                return str(astropy_data.get_pkg_data_filename(name, package="warmpkg", show_progress=False))

        exists = median_us(lambda: os.path.exists(root / "files"))
        print(f"os.path.exists: {exists:.1f} us; all times in us, in brackets the ratio to dataferry")
        print(f"{'size':>6} {'dataferry':>10} {'pooch.fetch':>20} {'astropy idiom':>20}")
        for label, size in sizes.items():
            name = f"{size}.bin"
            mine = median_us(lambda name=name: ours.get(name))
            rows = [median_us(lambda name=name: peer.fetch(name)), median_us(lambda name=name: idiom(name))]
            print(f"{label:>6} {mine:>10.1f} " + " ".join(f"{t:>12.1f} ({t / mine:.0f} x)".rjust(20) for t in rows))
        many(root, 5_000 if options.quick else 50_000)
        first(root, 41)


def many(root: Path, count: int) -> None:
    """A second ``fetch("*")`` of files that are all here, on the same object."""
    from dataferry import PackageData

    folder = root / "many"
    (folder / "files").mkdir(parents=True)
    data = b"x" * 100
    digest = hashlib.sha256(data).hexdigest()
    for index in range(count):
        (folder / "files" / f"{index:05}.dat").write_bytes(data)
    (folder / "files.txt").write_text("".join(f"{digest}  100  {index:05}.dat\n" for index in range(count)))
    text = f'registry = "files.txt"\n[folders]\nany = "{folder}/files"\n'
    (folder / "dataferry.toml").write_text(text)
    files = PackageData("many", registry=folder / "dataferry.toml", show_progress=False)
    files.fetch("*")
    best = min(timeit.repeat(lambda: files.fetch("*"), number=1, repeat=3))
    print(f"fetch('*') of {count} files that are here, again: {best / count * 1e6:.1f} us a file")


FIRST = """
import sys
from dataferry import PackageData
PackageData("first", registry=sys.argv[1], show_progress=False).get("a.dat")
"""
PLAIN = """
import sys
from dataferry import get_data_filename
get_data_filename("a.dat", package="warmpkg", dataurl="http://127.0.0.1:9/", folders=sys.argv[1])
"""


def first(root: Path, runs: int) -> None:
    """The first hit in a new process over bare Python: in a folder, in the package, in the cache, of the wrapper."""
    from dataferry.testing import RangeServer

    data = b"x" * 1000
    digest = hashlib.sha256(data).hexdigest()
    # the bytecode of all modules is on the disk, as after any installation
    env = {
        key: value for key, value in os.environ.items() if key not in {"DATAFERRY_OFFLINE", "PYTHONDONTWRITEBYTECODE"}
    }
    env["PYTHONPATH"] = str(root)
    there = root / "first" / "there"
    with RangeServer({"a.dat": data}) as server:
        rows = {}
        for place in ("folder", "package", "cache"):
            folder = root / "first" / place / "data"
            folder.mkdir(parents=True)
            heads = {
                "folder": f'[folders]\nany = "{there}"',
                "package": "",
                "cache": f'dataurl = "{server.url}"',
            }
            file = f'[files."a.dat"]\nsize = 1000\nsha256 = "{digest}"'
            (folder / "dataferry.toml").write_text(f"{heads[place]}\n{file}\n")
            if place != "cache":
                target = folder if place == "package" else there
                target.mkdir(exist_ok=True)
                (target / "a.dat").write_bytes(data)
                os.utime(target / "a.dat", (1e9, 1e9))  # one of the last two seconds would be hashed each time
            rows[place] = [sys.executable, "-c", FIRST, str(folder / "dataferry.toml")]
            subprocess.run(rows[place], env=env, check=True)
    rows["plain wrapper, folder"] = [sys.executable, "-c", PLAIN, str(there)]
    rows["bare Python"] = [sys.executable, "-c", "pass"]
    times: dict[str, list[float]] = {label: [] for label in rows}
    for _ in range(runs):
        for label, words in rows.items():
            began = time.perf_counter()
            subprocess.run(words, env=env, check=True)
            times[label].append(time.perf_counter() - began)
    bare = min(times.pop("bare Python"))
    text = ", ".join(f"{label} +{(min(t) - bare) * 1e3:.0f} ms" for label, t in times.items())
    print(f"first hit in a new process over bare Python ({bare * 1e3:.0f} ms), best of {runs}: {text}")


if __name__ == "__main__":
    main()
