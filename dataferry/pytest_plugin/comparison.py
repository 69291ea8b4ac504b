"""Results compared with registered FITS, npy and ecsv files; ``--dataferry-update`` writes new ones instead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.units import Quantity, UnitConversionError

from ..errors import BadName
from ..registry.names import check_name

if TYPE_CHECKING:
    import pytest

    from .run import Run


def assert_matches(
    run: Run,
    item: pytest.Item,
    actual: Any,
    name: str,
    *,
    rtol: float = 1e-7,
    atol: float = 0.0,
    package: str | None = None,
) -> None:
    """Compare an array, Quantity, Table or HDU with a registered ``.fits``, ``.npy`` or ``.ecsv`` file.

    NaN equals NaN. A quantity is compared in the unit of the file. Integers, strings and booleans must be equal.
    """
    __tracebackhide__ = True
    package = package or run.package_of(item)
    update = run.config.option.dataferry_update
    if not update or run.files.data(package).registry.find(check_name(name)) is not None:
        expected = _load(run.path(name, package))
        try:
            _compare(_plain(actual), _plain(expected), rtol, atol)
            return
        except AssertionError as error:
            if not update:
                raise AssertionError(
                    f"the result differs from {name!r} of {package}\n{error}\nif the new result is right: "
                    f"pytest --dataferry-update {item.nodeid}"
                ) from None
    path = run.config.rootpath / run.config.getini("dataferry_update_dir") / package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(actual, path)
    run.report.updated.add((package, name, str(path)))
    item.user_properties.append(("dataferry.updated", f"{package}:{name}"))


def _suffix(path: Path) -> str:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in {".fit", ".fts"}:
        return ".fits"
    if suffix not in {".fits", ".npy", ".ecsv"}:
        raise BadName(f"{path.name!r}: only .fits, .npy and .ecsv files are compared")
    return suffix


def _load(path: Path) -> Any:
    suffix = _suffix(path)
    if suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if suffix == ".ecsv":
        return QTable.read(path, format="ascii.ecsv")
    with fits.open(path, memmap=False) as hdus:
        return _plain(hdus)


def _save(value: Any, path: Path) -> None:
    suffix = _suffix(path)
    if suffix == ".fits" and hasattr(value, "writeto"):
        value.writeto(path, overwrite=True)
        return
    value = _plain(value)
    is_table = isinstance(value, Table)
    if suffix == (".npy" if is_table else ".ecsv"):
        raise BadName(f"{path.name!r}: a table is kept as .ecsv or .fits, an array as .npy or .fits")
    if suffix == ".npy":
        np.save(path, np.asarray(value))
    elif is_table:
        value.write(path, format="fits" if suffix == ".fits" else "ascii.ecsv", overwrite=True)
    else:
        hdu = fits.PrimaryHDU(np.asarray(value))
        if getattr(value, "unit", None) is not None:
            hdu.header["BUNIT"] = value.unit.to_string("fits")
        hdu.writeto(path, overwrite=True)


def _plain(value: Any) -> Any:
    """A QTable for a table; an array for all else, a quantity where an image has a BUNIT."""
    if isinstance(value, fits.HDUList):
        value = next((hdu for hdu in value if hdu.data is not None), None)
        if value is None:
            raise BadName("a FITS file that is compared holds no data")
    if isinstance(value, Table):
        return QTable(value)
    if not hasattr(value, "is_image"):
        return np.asanyarray(value)
    if not value.is_image:
        return QTable.read(value, mask_invalid=False)
    unit = value.header.get("BUNIT")
    return value.data if unit is None else Quantity(value.data, unit)


def _compare(actual: Any, expected: Any, rtol: float, atol: float) -> None:
    if isinstance(actual, Table) != isinstance(expected, Table):
        raise AssertionError(f"{type(actual).__name__} is compared with {type(expected).__name__}")
    if isinstance(actual, Table):
        if actual.colnames != expected.colnames:
            raise AssertionError(f"columns are {actual.colnames}, not {expected.colnames}")
        for name in expected.colnames:
            _compare_arrays(actual[name], expected[name], rtol, atol, f"column {name!r}: ")
    else:
        _compare_arrays(actual, expected, rtol, atol, "")


def _compare_arrays(actual: Any, expected: Any, rtol: float, atol: float, where: str) -> None:
    if actual.shape != expected.shape:
        raise AssertionError(f"{where}the shape is {actual.shape}, not {expected.shape}")
    unit, wanted_unit = getattr(actual, "unit", None), getattr(expected, "unit", None)
    if (unit is None) != (wanted_unit is None):
        raise AssertionError(f"{where}the unit is {unit}, not {wanted_unit}")
    if unit is not None:
        try:
            actual = actual.to(wanted_unit)
        except UnitConversionError as error:
            raise AssertionError(f"{where}{error}") from None
    mask, wanted_mask = (np.ma.getmaskarray(np.ma.asanyarray(array)) for array in (actual, expected))
    np.testing.assert_array_equal(mask, wanted_mask, err_msg=f"{where}other elements are masked")
    got, wanted = (np.asarray(getattr(array, "value", array))[~mask] for array in (actual, expected))
    if got.dtype.kind in "fc" or wanted.dtype.kind in "fc":
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol, err_msg=where)
    else:
        np.testing.assert_array_equal(got, wanted, err_msg=where)
