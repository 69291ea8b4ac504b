"""``dataferry cache size``, ``list`` and ``prune -n`` with 50,000 files, beside ``find`` over the same tree.

Run with ``python benchmarks/cache.py`` in an environment with ``pip install -e '.[bench]'``; everything is on loopback.
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
from pathlib import Path

from dataferry.testing import RangeServer

COMMANDS = {
    "cache size": ["cache", "size"],
    "cache list": ["cache", "list"],
    "cache prune -n": ["cache", "prune", "--dry-run"],
}


def main() -> None:
    """Fill a cache through ``dataferry get``, measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    data = b"x" * 100
    digest = hashlib.sha256(data).hexdigest()
    names = [f"{index // 1000:02}/{index:05}.dat" for index in range(options.count)]
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "cache").mkdir()
        (root / "manypkg" / "data").mkdir(parents=True)
        (root / "manypkg" / "__init__.py").touch()
        env = os.environ | {"XDG_CACHE_HOME": str(root / "cache"), "XDG_CONFIG_HOME": place, "PYTHONPATH": place}
        program = [sys.executable, "-m", "dataferry"]
        with RangeServer(dict.fromkeys(names, data)) as server:
            head = f'dataurl = "{server.url}"\nregistry = "files.txt"\n'
            (root / "manypkg" / "data" / "dataferry.toml").write_text(head)
            (root / "manypkg" / "data" / "files.txt").write_text("".join(f"{digest}  100  {n}\n" for n in names))
            subprocess.run([*program, "get", "manypkg", "*"], env=env, check=True, stdout=subprocess.DEVNULL)
        rows = {"find": ["find", str(root / "cache"), "-type", "f", "-size", "+0"]}
        rows |= {label: [*program, *words] for label, words in COMMANDS.items()}
        times: dict[str, list[float]] = {label: [] for label in rows}
        for _ in range(options.runs):
            for label, words in rows.items():
                began = time.perf_counter()
                subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL)
                times[label].append(time.perf_counter() - began)
    unit = statistics.median(times["find"])
    print(f"{options.count} files in the cache, medians of {options.runs}: python benchmarks/cache.py")
    for label, taken in times.items():
        print(f"{label:16} {statistics.median(taken):7.2f} s {statistics.median(taken) / unit:7.1f} x find")


if __name__ == "__main__":
    main()
