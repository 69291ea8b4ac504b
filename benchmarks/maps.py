"""Reading maps beside the disk and beside others: ``python benchmarks/maps.py [--nside 1024 ...] [--rst FILE]``.

The limit is `numpy.fromfile` of the bytes of one field, from a FITS file that holds nothing else; all else is given as
a ratio to its time in the same run. Each way runs in a process of its own and takes turns with the limit there; it
reports the ratio of the best of several runs, of their medians, and of the processor time of all threads, which other
programs on the machine disturb least; and the peak of its memory in fields. healpy, fitsio, astropy and pysm3 are
measured where they are installed; another Python with some of them can be named: ``--python PATH``. Linux only, where
the kernel tells a process its own peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SETUP = """
import os, sys, json, statistics, time, warnings
warnings.simplefilter("ignore")
import numpy as np
folder, nside, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
npix = 12 * nside**2
one, alone, ring, nested = (f"{folder}/{name}.fits" for name in ("one", "alone", "ring", "nested"))
part = slice(npix // 3, npix // 3 + npix // 64)
"""
# what numpy does in a few lines, for columns whose rows are as here, with no look for UNSEEN
LOOP = """
def by_blocks(path, convert, out):
    with open(path, "rb", buffering=0) as stream:
        stream.seek(offset)
        block, rows = bytearray(512 * 12288), npix // 1024
        for row in range(0, rows, 512):
            stream.readinto(block)
            count = min(512, rows - row)
            convert(out[row:row + count], np.frombuffer(block, ">f4").reshape(512, 3072)[:count, :1024])
    return out
def means(out, values):
    out[...] = values.astype("f4").reshape(-1, 64).mean(axis=1).reshape(out.shape)
"""
OURS = "from dataferry.maps import read_map; from astropy.units import Quantity; "
WRITE = "from dataferry.maps import read_map, write_map; sky = read_map(one).value"
HEALPY = "import healpy as hp; hp.mask_bad(np.zeros(1)); "
# name: (library or "", what comes before the clock starts, what is measured)
WAYS = {
    "np.fromfile of one field": ("", "", "np.fromfile(one, '>f4', npix, offset=offset)"),
    "one field, alone in its file": ("", OURS, "read_map(one)"),
    "one field of three": ("", OURS, "read_map(ring)"),
    "three fields": ("", OURS, "read_map(ring, None)"),
    "one field, NESTED to RING": ("", OURS, "read_map(nested, order='RING')"),
    "one field alone, NESTED to RING": ("", OURS, "read_map(alone, order='RING')"),
    "three fields, NESTED to RING": ("", OURS, "read_map(nested, None, order='RING')"),
    "one field, RING to NESTED": ("", OURS, "read_map(ring, order='NESTED')"),
    "RING down by 8": ("", OURS, "read_map(ring, nside=nside // 8)"),
    "1/64 of the sky": ("", OURS, "read_map(ring, pixels=part)"),
    "1/64 of the sky, RING from NESTED": ("", OURS, "read_map(nested, pixels=part, order='RING')"),
    "1/64 of the sky, NESTED from RING": ("", OURS, "read_map(ring, pixels=part, order='NESTED')"),
    "NESTED down by 8, alone in its file": (
        "",
        OURS,
        "read_map(alone, nside=nside // 8, order='NESTED')",
    ),
    "NESTED down by 8": ("", OURS, "read_map(nested, nside=nside // 8, order='NESTED')"),
    "NESTED down by 8, RING": ("", OURS, "read_map(nested, nside=nside // 8, order='RING')"),
    "write_map, one field": ("", WRITE, "write_map(f'{folder}/new.fits', sky, unit='uK_RJ', overwrite=True)"),
    "healpy, write_map": (
        "healpy",
        HEALPY + WRITE,
        "hp.write_map(f'{folder}/new.fits', sky, column_units='uK_RJ', dtype='f4', overwrite=True)",
    ),
    "a loop of blocks of 6 MB and byte swaps, one of three": (
        "",
        LOOP,
        "by_blocks(ring, np.copyto, np.empty((npix // 1024, 1024), 'f4'))",
    ),
    "the same loop, NESTED down by 8": ("", LOOP, "by_blocks(nested, means, np.empty((npix // 1024, 16), 'f4'))"),
    "astropy, memmap, big-endian": (
        "astropy",
        "from astropy.io import fits",
        "np.array(fits.open(ring, memmap=True)[1].data.field(0))",
    ),
    "astropy, no memmap": ("astropy", "from astropy.io import fits", "fits.open(ring, memmap=False)[1].data.field(0)"),
    "fitsio, one column": ("fitsio", "import fitsio", "fitsio.read(ring, columns=['TEMPERATURE'])['TEMPERATURE']"),
    "healpy, one field of three": ("healpy", HEALPY, "hp.read_map(ring)"),
    "healpy, NESTED to RING": ("healpy", HEALPY, "hp.read_map(nested)"),
    "healpy, three fields, NESTED to RING": ("healpy", HEALPY, "hp.read_map(nested, (0, 1, 2))"),
    "healpy, NESTED down by 8": (
        "healpy",
        HEALPY,
        "hp.ud_grade(hp.read_map(nested, nest=None), nside // 8, order_in='NESTED')",
    ),
    "pysm3, 1/64 of the sky": (
        "pysm3",
        "import pysm3; dist = pysm3.MapDistribution(pixel_indices=np.arange(npix)[part], nside=nside)",
        "pysm3.read_map(ring, nside=nside, unit='uK_RJ', map_dist=dist)",
    ),
}
MEASURE = """
with open(one, "rb") as stream:  # the primary header is one block, the table's is some
    head = stream.read(28800)
offset = 2880 * (next(k for k in range(0, len(head), 80) if k > 2880 and head[k:k + 8] == b"END     ") // 2880 + 1)
def limit():
    return np.fromfile(one, ">f4", npix, offset=offset)
def way():
    return {code}
def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) * 1024
def now():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS"))) * 1024
open("/proc/self/clear_refs", "w").write("5")
before = now()
found = way()
highest = peak() - before
del found
times, busy = {{limit: [], way: []}}, {{limit: [], way: []}}
for _ in range(runs):
    for call in times:
        start, used = time.perf_counter(), time.process_time()
        found = call()
        times[call].append(time.perf_counter() - start)
        busy[call].append(time.process_time() - used)
        del found
middle = statistics.median
print(json.dumps([min(times[way]) / min(times[limit]), middle(times[way]) / middle(times[limit]),
                  min(busy[way]) / min(busy[limit]), highest / (4 * npix)]))
"""


def make(folder: Path, nside: int) -> None:
    """Make a one-field, a RING and a NESTED three-field map, and a NESTED map of one field."""
    import numpy as np

    from dataferry import maps

    rng = np.random.default_rng(0)
    sky = np.empty((3, 12 * nside**2), "f4")
    for line in sky:
        rng.standard_normal(out=line, dtype="f4")
    maps.write_map(folder / "one.fits", sky[0], unit="uK_RJ")
    maps.write_map(folder / "alone.fits", sky[0], unit="uK_RJ", order="NESTED")
    maps.write_map(folder / "ring.fits", sky, unit="uK_RJ")
    maps.write_map(folder / "nested.fits", sky, unit="uK_RJ", order="NESTED")


def measure(python: str, folder: Path, nside: int, name: str, runs: int) -> list[float] | None:
    """Run one way in a process of its own: ratios of best, median and processor time, peak; None if not installed."""
    library, before, code = WAYS[name]
    program = f"{SETUP}\n{before}\n" + MEASURE.format(code=code)
    done = subprocess.run(
        [python, "-c", program, str(folder), str(nside), str(runs)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing = library and f"No module named '{library}'" in done.stderr
        if not missing:
            print(done.stderr[-2000:], file=sys.stderr)
        return None
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def remote(folder: Path) -> int:
    """Count the bytes that the header and one row of a table move over HTTP."""
    from dataferry import maps
    from dataferry.testing import RangeServer

    with RangeServer(folder) as server:
        got = maps.read_map(server.url_of("ring.fits"), None, pixels=[12345], remote=True)
    moved: int = got.info.meta["moved_bytes"]
    return moved


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--folder", type=Path, help="where the files are made, and deleted after")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", nargs="+", default=[""], help="only ways whose name holds one of these")
    parser.add_argument("--python", action="append", default=[], help="another Python to look for libraries in")
    parser.add_argument("--rst", type=Path, help="write the table there")
    options = parser.parse_args()
    lines = ["call," + ",".join(f"nside {n}: best,processor,peak" for n in options.nside)]
    rows: dict[str, list[str]] = {name: [] for name in WAYS if any(word in name for word in options.only)}
    for nside in options.nside:
        with tempfile.TemporaryDirectory(dir=options.folder) as made:
            folder = Path(made)
            make(folder, nside)
            for name, row in rows.items():
                runs = options.runs if nside < 4096 and WAYS[name][0] != "healpy" else 3
                for python in [sys.executable, *options.python]:
                    found = measure(python, folder, nside, name, runs)
                    if found:
                        break
                told = [*(f"{ratio:.2g}" for ratio in found[:3]), f"{found[3]:.2f}"] if found else [""] * 4
                row.extend((told[0], *told[2:]))
                print(f"nside {nside}  {name:40s}", *(f"{word:>8}" for word in told), flush=True)
            print(f"nside {nside}  header and one row over HTTP: {remote(folder)} bytes", flush=True)
    lines += [",".join([f'"{name}"', *row]) for name, row in rows.items()]
    if options.rst:
        options.rst.write_text(".. csv-table::\n   :header-rows: 1\n\n" + "".join(f"   {line}\n" for line in lines))


if __name__ == "__main__":
    main()
