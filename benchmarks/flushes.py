"""What it costs that files are on the disk before they are stamped: ``python benchmarks/flushes.py [--quick]``.

2,000 files of 20 kB and one of 2 GB come from nginx, in turns as they are and with each call that flushes, or that
begins to write what has arrived, turned into nothing.
Needs strace and nginx, and measures the file system of ``--folder``. The medians of the runs are printed: the calls,
how long they took together, and the time of ``PackageData.fetch`` beside that without them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import downloads

from dataferry.testing import CertificateAuthority

CALLS = "syncfs,fdatasync,fsync,sync_file_range"
TRACED = ("strace", "-f", "-qq", "--seccomp-bpf", "-T", "-e", f"trace={CALLS}")
NOTHING = ("-e", f"inject={CALLS}:retval=0")
FETCH = """
import sys, time
from dataferry import PackageData
data = PackageData("bench", registry=sys.argv[1], show_progress=False)
data.fetch("warm/*")
started = time.monotonic()
data.fetch(sys.argv[2])
print(time.monotonic() - started)
"""


def fetch(place: Path, registry: Path, kind: str, *words: str) -> tuple[float, dict[str, list[float]]]:
    """The seconds of a download into an empty cache, and those of each traced call."""
    place.mkdir()
    command = [*TRACED, *words, "-o", str(place / "trace"), sys.executable, "-c", FETCH, str(registry), f"{kind}/*"]
    env = {**os.environ, "XDG_CACHE_HOME": str(place)}
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    calls: dict[str, list[float]] = {}
    for name, seconds in re.findall(
        r"^\d+ +(?:<\.\.\. )?(\w+).*<([\d.]+)>$", (place / "trace").read_text(), re.MULTILINE
    ):
        calls.setdefault(name, []).append(float(seconds))
    if kind == "large":  # what was removed a moment ago makes new small files slow on ext4
        shutil.rmtree(place)
    return float(done.stdout), calls


def measure(home: Path, registry: Path, kind: str, runs: int) -> None:
    flushed, bare = [], []
    inside: dict[str, list[list[float]]] = {}
    for turn in range(runs):
        seconds, calls = fetch(home / f"{kind}-{turn}", registry, kind)
        flushed.append(seconds)
        for name, found in calls.items():
            inside.setdefault(name, []).append(found)
        bare.append(fetch(home / f"{kind}-{turn}-bare", registry, kind, *NOTHING)[0])
    with_flush, without = statistics.median(flushed), statistics.median(bare)
    print(f"{kind}: fetch {with_flush:.2f} s, without flushes {without:.2f} s, {with_flush / without:.2f} x")
    for name, each in inside.items():
        if name != "sync_file_range":  # it begins to write and returns; strace takes most of its time
            sums = sorted(map(sum, each))
            print(f"  {max(map(len, each))} {name}: {statistics.median(sums):.3f} s ({sums[0]:.3f} to {sums[-1]:.3f})")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", help="where all files are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dataferry-bench-", dir=options.folder) as place:
        home, folder = Path(place), Path(place) / "www"
        folder.mkdir()
        made = downloads.make(folder, {"small", "large"}, options.quick)
        with downloads.servers(home, folder, CertificateAuthority()) as bases:
            registry = home / "dataferry.toml"
            files = [file for several in made.values() for file in several]
            rows = [f'[files."{file["name"]}"]\nsize = {file["size"]}\nsha256 = "{file["sha256"]}"\n' for file in files]
            registry.write_text(f'dataurl = "{bases["http"]}"\n' + "".join(rows))
            for kind in ("small", "large"):
                measure(home, registry, kind, options.runs)


if __name__ == "__main__":
    main()
