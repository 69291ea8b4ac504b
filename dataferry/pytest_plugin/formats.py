"""Arrays and tables as FITS, npy and ecsv: read, compared, written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.units import Quantity

from ..errors import BadName

__all__ = ["compare", "load", "save"]


def _suffix(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    suffix = Path(name).suffix.lower()
    if suffix in {".fit", ".fts"}:
        return ".fits"
    if suffix not in {".fits", ".npy", ".ecsv"}:
        raise BadName(f"{path.name!r}: only .fits, .npy and .ecsv files are compared")
    return suffix


def load(path: Path) -> Any:
    """The first HDU with data, array or table of a file; a quantity where a FITS file has a BUNIT."""
    suffix = _suffix(path)
    if suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if suffix == ".ecsv":
        return QTable.read(path, format="ascii.ecsv")
    with fits.open(path, memmap=False) as hdus:
        hdu = next((hdu for hdu in hdus if hdu.data is not None), None)
        if hdu is None:
            raise BadName(f"{path.name!r} holds no data")
        return _of_hdu(hdu)


def _of_hdu(hdu: Any) -> Any:
    if hdu.is_image:
        unit = hdu.header.get("BUNIT")
        if unit is None:
            return hdu.data
        return Quantity(hdu.data, unit)
    return QTable.read(hdu, mask_invalid=False)


def _plain(value: Any) -> Any:
    """A table as it is, the data of an HDU, anything else as an array."""
    if isinstance(value, fits.HDUList):
        value = next(hdu for hdu in value if hdu.data is not None)
    if hasattr(value, "is_image"):
        value = _of_hdu(value)
    if isinstance(value, Table):
        return value if isinstance(value, QTable) else QTable(value)
    return np.asanyarray(value)


def save(value: Any, path: Path) -> None:
    """Write an array, quantity, table or HDU; BadName if the format cannot store it."""
    suffix = _suffix(path)
    if suffix == ".fits" and hasattr(value, "writeto"):
        value.writeto(path, overwrite=True)
        return
    value = _plain(value)
    if isinstance(value, Table):
        if suffix == ".npy":
            raise BadName(f"{path.name!r}: a table is kept as .ecsv or .fits")
        value.write(path, format="fits" if suffix == ".fits" else "ascii.ecsv", overwrite=True)
    elif suffix == ".npy":
        np.save(path, np.asarray(value))
    elif suffix == ".fits":
        hdu = fits.PrimaryHDU(np.asarray(value))
        if getattr(value, "unit", None) is not None:
            hdu.header["BUNIT"] = value.unit.to_string("fits")
        hdu.writeto(path, overwrite=True)
    else:
        raise BadName(f"{path.name!r}: an array is kept as .npy or .fits")


def compare(actual: Any, expected: Any, rtol: float, atol: float) -> None:
    """Raise AssertionError where two arrays, quantities, tables or HDUs differ."""
    actual, expected = _plain(actual), _plain(expected)
    if isinstance(actual, Table) != isinstance(expected, Table):
        raise AssertionError(f"{type(actual).__name__} is compared with {type(expected).__name__}")
    if not isinstance(actual, Table):
        _compare_arrays(actual, expected, rtol, atol, "")
        return
    if actual.colnames != expected.colnames:
        raise AssertionError(f"columns are {actual.colnames}, not {expected.colnames}")
    for name in expected.colnames:
        _compare_arrays(actual[name], expected[name], rtol, atol, f"column {name!r}: ")


def _compare_arrays(actual: Any, expected: Any, rtol: float, atol: float, where: str) -> None:
    if actual.shape != expected.shape:
        raise AssertionError(f"{where}the shape is {actual.shape}, not {expected.shape}")
    units = getattr(actual, "unit", None), getattr(expected, "unit", None)
    if None not in units:
        try:
            actual = actual.to(units[1])
        except (ValueError, TypeError) as error:
            raise AssertionError(f"{where}{error}") from None
    elif units[0] != units[1]:
        raise AssertionError(f"{where}the unit is {units[0]}, not {units[1]}")
    masked, expected_mask = (
        np.broadcast_to(np.ma.getmaskarray(np.ma.asanyarray(a)), a.shape) for a in (actual, expected)
    )
    if not np.array_equal(masked, expected_mask):
        raise AssertionError(f"{where}other elements are masked")
    got, wanted = (np.asarray(getattr(a, "value", a))[~masked] for a in (actual, expected))
    if got.dtype.kind in "fc" or wanted.dtype.kind in "fc":
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol, err_msg=where)
    else:
        np.testing.assert_array_equal(got, wanted, err_msg=where)
