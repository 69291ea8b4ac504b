"""Archives and files of maps."""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import io
import lzma
import os
import random
import signal
import sys
import tarfile
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from damage import ODD_TEXTS, Dice, changed_bytes

from dataferry import maps
from dataferry.cache.archive import unpack
from dataferry.cli.app import dataferry as app
from dataferry.errors import MapError


def archives() -> list[bytes]:
    """Archives of each kind, small ones."""
    files = {"a/b.dat": b"b" * 3000, "c.dat": random.Random(1).randbytes(500), "é" * 60 + ".txt": b""}
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(packed := io.BytesIO(), "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        made.append(packed.getvalue())
    for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(fileobj=(packed := io.BytesIO()), mode="w", format=form) as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name.replace("é", "e") if form == tarfile.USTAR_FORMAT else name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        made.append(packed.getvalue())
    return made


MADE = archives()


def archive_files(dice: Dice, folder: Path) -> None:
    data = dice.choice(MADE)
    inside = data[:2] != b"PK" and dice.random() < 0.6
    if inside and dice.random() < 0.7:  # a header of tar counts only with its checksum
        data = with_checksums(changed_bytes(dice, data))
    data = data if inside else changed_bytes(dice, data)
    if inside:
        data = dice.choice([gzip.compress, bz2.compress, lzma.compress, bytes])(data)
        data = changed_bytes(dice, data, 0.3)
    (folder / "archive").write_bytes(data)
    unpack(str(folder / "archive"), str(folder / "out"), members=dice.choice([None, None, ["c.dat"]]))


def with_checksums(data: bytes) -> bytes:
    found = bytearray(data)
    for at in range(0, len(found) - 511, 512):
        if found[at + 257 : at + 262] == b"ustar":
            found[at + 148 : at + 156] = b" " * 8
            found[at + 148 : at + 156] = b"%06o\0 " % sum(found[at : at + 512])
    return bytes(found)


CARDS = ("0", "-1", "1", "7", "16", "99999999999", "T", "F", "''", "'NESTED'", "'3E'", "'K'", "1.5", "NaN", "(1,2)")
CARDS += (
    "",
    "'\xe9'",
    "'MAP",
    "= 5",
    "'1PE(3)'",
    "'HEALPIX'",
    "'EXPLICIT'",
    "1E400",
    "'8X'",
    "'0E'",
    "9" * 60,
    "'1QE(9)'",
    "2880",
)


@functools.cache
def fits_originals() -> list[bytes]:
    from astropy.io import fits

    sky = np.arange(2 * 12 * 4**2, dtype="f4").reshape(2, -1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maps.write_map(folder / "whole.fits", sky, unit="mK", order="NESTED")
        maps.write_map(folder / "partial.fits", sky[0, :9], pixels=np.arange(9), nside=4)
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(sky.reshape(16, 24), name="SCI")]).writeto(folder / "image.fits")
        packed = fits.CompImageHDU(sky.astype("i4").reshape(16, 24), compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(folder / "packed.fits")
        return [path.read_bytes() for path in sorted(folder.glob("*.fits"))]


def fits_files(dice: Dice, folder: Path) -> None:
    data = bytearray(dice.choice(fits_originals()))
    cards = [at for at in range(0, min(len(data), 5 * 2880), 80) if data[at + 8 : at + 10] == b"= "]
    for _ in range(dice.randrange(1, 5)):
        at, how = dice.choice(cards), dice.randrange(5)
        if how == 0:
            data[at + 10 : at + 80] = dice.choice(CARDS).rjust(20).ljust(70)[:70].encode("latin-1")
        elif how == 1:
            data[at : at + 80] = b" " * 80
        elif how == 2:
            data[at : at + 80] = data[(other := dice.choice(cards)) : other + 80]
        elif how == 3:
            data[at + dice.randrange(80)] = dice.randrange(256)
        else:
            data[at : at + 8] = bytes(data[at : at + 8]).lower()
    whole = changed_bytes(dice, bytes(data), 0.1)
    path = folder / "a.fits"
    path.write_bytes(gzip.compress(whole, 1) if dice.random() < 0.1 else whole)
    read(dice, path)


def readers(path: Path) -> list[Callable[[], Any]]:
    """All that reads maps."""
    return [
        lambda: maps.read_map(path),
        lambda: maps.read_map(path, None, unit="K", order="NESTED", nside=2),
        lambda: maps.read_map(path, 0, pixels=[5, 3], dtype="i4", fill=0),
        lambda: maps.read_partial(path),
        lambda: maps.header(path),
        lambda: maps.cutout(path, (slice(0, 2),)),
        lambda: maps.info(path),
    ]


def read(dice: Dice, path: Path) -> None:
    """One of the readers; an error has to name the file."""
    try:
        dice.choice(readers(path))()
    except MapError as error:
        assert path.name in str(error)  # noqa: PT017
        raise


@functools.cache
def hdf5_originals() -> list[bytes]:
    import h5py

    sky, made = np.arange(2 * 12 * 4**2, dtype="f4").reshape(2, -1), []
    for options in ({}, {"compression": "gzip", "chunks": (1, 64)}, {"libver": "latest"}):
        with h5py.File(packed := io.BytesIO(), "w", libver=options.pop("libver", None)) as file:
            file.create_dataset("sky/maps", data=sky, **options)
            file["sky/maps"].attrs.update({"unit": "mK", "nside": 4, "scale_factor": 2.0, "_FillValue": 7.0})
            file["sky"].attrs["ordering"] = "NESTED"
        made.append(packed.getvalue())
    with h5py.File(packed := io.BytesIO(), "w") as file:
        file["map/pixels"], file["map/values"] = np.arange(9), np.arange(9.0)
        file["map"].attrs.update({"nside": 4, "nested": True})
    with tempfile.NamedTemporaryFile() as file:  # what is imported now need not be in each child
        file.write(packed.getvalue())
        file.flush()
        for reader in readers(Path(file.name)):
            with contextlib.suppress(MapError):
                reader()
    return [*made, packed.getvalue()]


def hdf5_attribute(dice: Dice) -> Any:
    values = [
        4,
        -1,
        2**40,
        1.5,
        np.nan,
        True,
        b"\xff",
        "4",
        np.arange(3),
        np.zeros(0),
        np.bytes_("RING"),
        2.0,
        "T" * 5000,
    ]
    return dice.choice([*values, *(text.replace("\0", "") for text in ODD_TEXTS if text != "\ud800")])


class Stuck(Exception):
    """A library of C does not come to an end, or ends the process."""


def in_child(work: Callable[[], object]) -> None:
    """Call something in a process of its own: libhdf5 hears no signal."""
    child = os.fork()
    if not child:
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_VIRTUAL, 2)
        code = 2
        try:
            work()
            code = 0
        except MapError:
            code = 1
        except BaseException:  # noqa: BLE001 - what no user should see
            traceback.print_exc(limit=-3)
        finally:
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        raise Stuck
    if code == 1:
        raise MapError("a.h5", "as it should")
    assert code == 0


def hdf5_files(dice: Dice, folder: Path) -> None:
    import h5py

    path = folder / "a.h5"
    path.write_bytes(dice.choice(hdf5_originals()))
    if dice.random() < 0.4:
        names = ["nside", "ordering", "nested", "unit", "scale_factor", "add_offset", "_FillValue", "refinement_level"]
        with h5py.File(path, "a") as file:
            places = [file]
            file.visititems(lambda name, item: places.append(item))
            for _ in range(dice.choice([1, 2, 3])):
                dice.choice(places).attrs[dice.choice(names)] = hdf5_attribute(dice)
    else:
        path.write_bytes(changed_bytes(dice, path.read_bytes()))
    in_child(lambda: read(dice, path))


def distributions(dice: Dice, folder: Path) -> None:
    """Wheels and sdists that ``dataferry check-dist`` looks into."""
    data = dice.choice(MADE)
    kind = ".whl" if data[:2] == b"PK" else dice.choice([".tar.gz", ".tar.bz2", ".tar.xz", ".tar"])
    pack = {".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}.get(kind, bytes)
    inside = pack(with_checksums(changed_bytes(dice, data)) if kind != ".whl" else changed_bytes(dice, data))
    path = folder / f"mypkg-1.0{kind}"
    path.write_bytes(changed_bytes(dice, inside, 0.3))
    result = CliRunner().invoke(app, ["check-dist", str(path)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
