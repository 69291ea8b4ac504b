"""Read every FITS and HDF5 file that installed packages bring: ``python benchmarks/maps_real_files.py [FOLDER ...]``.

`maps.info`, `maps.header`, `maps.read_map`, `maps.draw` and `maps.cutout` are called with each file. What they give is
compared with astropy (headers, images) and healpy (maps). An error has to be a `MapError` that names the file. Install
astropy, healpy, fitsio, reproject, photutils, specutils, ligo.skymap and mocpy for some hundred files. The exit code is
1 if anything differs or another exception is raised.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError

ENDINGS = (".fits", ".fit", ".fits.gz", ".fits.bz2", ".fits.fz", ".fits.xz", ".h5", ".hdf5", ".hdf", ".asdf.fits")

Outcome = tuple[str, str]


def files(folders: list[Path]) -> Iterator[Path]:
    """All files with a fitting name, each once."""
    for folder in folders:
        yield from sorted(path for path in folder.rglob("*") if path.name.lower().endswith(ENDINGS) and path.is_file())


def call(path: Path, function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Outcome, Any]:
    """Call a function with a file: ("ok" or "MapError" or what is wrong, and its text), and the result."""
    try:
        return ("ok", ""), function(path, *arguments, **options)
    except MapError as error:
        return ("MapError" if str(path) in str(error) else "MapError without the file", str(error)), None
    except Exception as error:  # noqa: BLE001  what is looked for
        return ("foreign exception", f"{type(error).__name__}: {error}"), None


def call_in_any_unit(path: Path, function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Outcome, Any]:
    """As `call`; a unit that nobody knows is stated as none."""
    found = call(path, function, *arguments, **options)
    if "is no unit that astropy knows" in found[0][1]:
        found = call(path, function, *arguments, unit="", **options)
    return found


def same(ours: Any, theirs: Any) -> bool:
    """Whether two arrays have the same values, in the precision of the coarser."""
    theirs = np.asarray(theirs)
    if ours.shape != theirs.shape:
        return False
    if ours.dtype.kind != "f":
        return bool((ours == theirs).all())
    return np.allclose(ours, theirs.astype(ours.dtype), rtol=1e-6, atol=0, equal_nan=True)


def compare_hdus(path: Path, counts: Counter[str]) -> Iterator[str]:
    """Headers and images beside those of astropy."""
    try:
        with fits.open(path, disable_image_compression=True) as opened:
            # of random groups astropy shows a header that it has changed
            headers = ["" if "GROUPS" in hdu.header else repr(hdu.header) for hdu in opened]
        with fits.open(path) as opened:
            images = [hdu.data if hdu.is_image and hdu.shape and 0 not in hdu.shape else None for hdu in opened]
    except Exception as error:  # noqa: BLE001  astropy does not read it
        counts["not read by astropy"] += 1
        (kind, _), _ = call(path, maps.header, 0)
        if kind == "ok":
            counts["header read that astropy refuses: " + type(error).__name__] += 1
        return
    for index, (header, image) in enumerate(zip(headers, images, strict=True)):
        (kind, text), ours = call(path, maps.header, index)
        counts[f"header {kind}"] += 1
        if kind == "ok":
            equal = not header or repr(ours).strip() == header.strip()
            counts["headers equal to astropy's" if equal else "headers that differ"] += 1
            if not equal:
                yield f"HDU {index}: another header than astropy's"
        elif kind != "MapError":
            yield f"HDU {index}: header: {kind}: {text}"
        if image is None or image.dtype.names:
            continue
        (kind, text), ours = call_in_any_unit(path, maps.cutout, (), index)
        counts[f"cutout {kind}"] += 1
        if kind == "ok":
            equal = same(ours.value, image)
            counts["images equal to astropy's" if equal else "images that differ"] += 1
            if not equal:
                yield f"HDU {index}: another image than astropy's"
        elif kind != "MapError":
            yield f"HDU {index}: cutout: {kind}: {text}"


def compare_map(path: Path, counts: Counter[str]) -> Iterator[str]:
    """The map, field by field, beside that of healpy."""
    import healpy as hp

    (kind, text), first = call_in_any_unit(path, maps.read_map, order="file")
    counts[f"read_map {kind}"] += 1
    if kind not in ("ok", "MapError"):
        yield f"read_map: {kind}: {text}"
    if path.suffix in (".h5", ".hdf5", ".hdf"):
        return
    if first is None:
        try:
            hp.read_map(path, nest=None)
        except Exception:  # noqa: BLE001  healpy does not read it either
            counts["read_map MapError, and healpy reads no map"] += 1
        else:
            yield f"read_map: {text}; healpy reads a map"
        return
    for order, nest in (("RING", False), ("NESTED", True), ("file", None)):
        for field in range(32):
            (kind, text), ours = call_in_any_unit(path, maps.read_map, field, order=order)
            if "there is no field" in text:
                break
            if kind != "ok":
                counts[f"field {kind}"] += 1
                continue
            try:
                theirs = hp.read_map(path, field, hdu=ours.info.meta["hdu"], nest=nest)
            except Exception as error:  # noqa: BLE001  healpy does not read it
                counts[f"field that healpy does not read: {type(error).__name__}"] += 1
                continue
            equal = np.array_equal(ours.value, theirs, equal_nan=ours.dtype.kind == "f")
            counts["fields equal to healpy's" if equal else "fields that differ"] += 1
            if not equal:
                yield f"field {field} in {order}: another map than healpy's"


def main() -> int:
    """Read, compare and print the counts."""
    folders = [Path(argument) for argument in sys.argv[1:]] or [Path(np.__file__).parent.parent]
    counts: Counter[str] = Counter()
    found: list[str] = []
    warnings.simplefilter("ignore")
    for path in files(folders):
        counts["files"] += 1
        for name, function in (("info", maps.info), ("show", maps.draw)):
            (kind, text), _ = call(path, function)
            counts[f"{name} {kind}"] += 1
            if kind not in ("ok", "MapError"):
                found.append(f"{path}: {name}: {kind}: {text}")
        steps = [compare_map(path, counts)]
        if path.suffix not in (".h5", ".hdf5", ".hdf"):
            steps.append(compare_hdus(path, counts))
        found += [f"{path}: {difference}" for step in steps for difference in step]
    for name in sorted(counts):
        print(f"{counts[name]:6}  {name}")
    print(*found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
