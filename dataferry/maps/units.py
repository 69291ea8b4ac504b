"""Units of maps: what TUNITn means, on astropy.units. A thermodynamic temperature (K_CMB) is never a kelvin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .columns import Column

if TYPE_CHECKING:
    from astropy.units import Quantity, UnitBase

__all__ = ["K_CMB", "K_RJ", "cmb_equivalencies", "parse_unit", "units_of"]

_ABSENT = {"", "unknown", "none", "undefined", "n/a", "null", "unitless", "dimensionless", "1", "-"}
_SAME = {
    "counts": "count",
    "hits": "",
    "angstroms": "Angstrom",
    "km/s": "km/s",
    "mk,thermodynamic": "mK_CMB",
    "muk": "uK",
    "microk": "uK",
    "degrees": "deg",
    "adu": "adu",
    "jy/sr": "Jy/sr",
    "mjy/sr": "MJy/sr",
}
# K_CMB, Kcmb, K_{CMB}, KCMB, K CMB, K_thermo ..., with any SI prefix
_SPECIAL = re.compile(
    r"(?<![A-Za-z])(micro|mu|[numkM\u00b5\u03bc]?)[Kk][ _]?\{?(CMB|cmb|RJ|rj|thermo|ant)\}?(?![A-Za-z])"
)


@lru_cache(maxsize=1)
def _own() -> dict[str, Any]:
    from astropy import units as u

    names: dict[str, Any] = {}
    for name, doc in (
        ("K_CMB", "Kelvin of thermodynamic temperature relative to the CMB."),
        ("K_RJ", "Kelvin of Rayleigh-Jeans brightness temperature."),
    ):
        latex = name.replace("_", "_{") + "}"
        u.def_unit(name, namespace=names, prefixes=True, doc=doc, format={"latex": rf"\mathrm{{{latex}}}"})
    return names


def _named(name: str) -> Any:
    """A unit by name: a package that enabled its own in astropy's registry, as pysm3 does, gets its own."""
    from astropy import units as u

    known = u.Unit(name, parse_strict="silent")
    return _own()[name] if isinstance(known, u.UnrecognizedUnit) else known


def __getattr__(name: str) -> Any:
    if name in ("K_CMB", "K_RJ"):
        return _own()[name]
    raise AttributeError(name)


if TYPE_CHECKING:
    K_CMB: UnitBase
    K_RJ: UnitBase


@lru_cache(maxsize=256)
def _parse(text: str, enabled: int) -> Any:
    from astropy import units as u

    text = text.strip()
    text = _SAME.get(text.lower(), text)
    used: dict[str, Any] = {}

    def swap(match: re.Match[str]) -> str:
        prefix = {"micro": "u", "mu": "u", "\u00b5": "u", "\u03bc": "u"}.get(match[1], match[1])
        name = prefix + ("K_CMB" if match[2].lower() in ("cmb", "thermo") else "K_RJ")
        # the parser knows no own units: a stand-in of no dimension that has, keeps the place
        stand_in = "bin" if name.endswith("CMB") else "vox"
        used[stand_in] = _named(name)
        return stand_in

    plain = _SPECIAL.sub(swap, text)
    plain = re.sub(r"\((\w+)\)", r"\1", plain)  # astropy does not know (K)^2
    parsed = u.Unit(plain)
    if not used:
        return parsed
    bases = [used.get(str(base), base) for base in parsed.bases]
    unit = u.CompositeUnit(parsed.scale, bases, parsed.powers)
    return bases[0] if parsed.scale == 1 and parsed.powers == [1] else unit


def parse_unit(text: str) -> UnitBase | None:
    """Read a unit as the headers of maps spell it.

    Parameters
    ----------
    text : str
        ``MJy/sr``, ``uK_CMB``, ``Kcmb``, ``K_RJ^2``, ``unknown``...

    Returns
    -------
    astropy.units.UnitBase or None
        None where the text says that there is none, or that it is not known.

    Raises
    ------
    ValueError
        If it is no unit that anybody knows.
    """
    from astropy import units as u

    if text.strip().lower() in _ABSENT:
        return None
    unit: UnitBase = _parse(text, len(u.get_current_unit_registry().all_units))
    return unit


def _canonical(unit: Any) -> Any:
    """The same unit over our own special kelvins: another package's K_CMB is the same by name only."""
    from astropy import units as u

    own = _own()
    parts = unit.decompose()
    bases = [own.get(str(base), base) for base in parts.bases]
    return u.CompositeUnit(parts.scale, bases, parts.powers)


def factor_between(unit: UnitBase, other: UnitBase) -> float:
    """Find what to multiply values in one unit with to have them in another.

    Parameters
    ----------
    unit, other : astropy.units.UnitBase
        From and to.

    Returns
    -------
    float
        The factor.

    Raises
    ------
    astropy.units.UnitConversionError
        If there is none.
    """
    if unit == other:
        return 1.0
    return float(_canonical(unit).to(_canonical(other)))


def units_of(columns: Sequence[Column], wanted: Any) -> tuple[UnitBase, list[float]]:
    """Find the unit of a map that is read, and what to multiply each column with.

    Parameters
    ----------
    columns : sequence of Column
        The fields.
    wanted : unit-like or None
        States the unit where the file does not, else converts.

    Returns
    -------
    unit : astropy.units.UnitBase
        Of the values returned.
    factors : list of float
        One a column.

    Raises
    ------
    MapError
        If a unit is not known, does not convert, or the fields have different ones.
    """
    from astropy import units as u

    target = None if wanted is None else _wanted(columns[0], wanted)
    found: list[UnitBase | None] = []
    for column in columns:
        try:
            found.append(parse_unit(column.unit))
        except (ValueError, TypeError) as error:
            if target is None:
                raise column.place.error(
                    f"{column.unit!r} is no unit that astropy knows", "state what it is: unit="
                ) from error
            found.append(None)
    if target is None:
        if all(unit is None for unit in found):
            return u.dimensionless_unscaled, [1.0] * len(columns)
        target = next(unit for unit in found if unit is not None)
        if found[0] is None or any(unit is None for unit in found):
            raise _different(columns)
    factors = []
    for column, unit in zip(columns, found, strict=True):
        try:
            factors.append(1.0 if unit is None else factor_between(unit, target))
        except u.UnitConversionError as error:
            if wanted is None:
                raise _different(columns) from error
            note = " (K_CMB is not K)" if "CMB" in f"{unit}{target}" else ""
            raise column.place.error(f"its unit {column.unit!r} does not convert to {target}{note}") from error
    return target, factors


def _wanted(column: Column, wanted: Any) -> Any:
    from astropy import units as u

    try:
        return (parse_unit(wanted) or u.dimensionless_unscaled) if isinstance(wanted, str) else u.Unit(wanted)
    except (ValueError, TypeError) as error:
        raise column.place.error(f"unit={wanted!r} is no unit that astropy knows") from error


def _different(columns: Sequence[Column]) -> Exception:
    said = ", ".join(f"{c.name!r} in {c.unit or 'no unit'!r}" for c in columns)
    return columns[0].place.error(f"the fields have different units ({said})", "read them one by one, or give unit=")


def cmb_equivalencies(frequency: Quantity) -> list[Any]:
    """Make the equivalencies between K_CMB, K_RJ and Jy/sr at a frequency.

    Parameters
    ----------
    frequency : astropy.units.Quantity
        Scalar, convertible to GHz.

    Returns
    -------
    list
        For ``Quantity.to(unit, equivalencies=...)``.

    Raises
    ------
    astropy.units.UnitConversionError
        If it is not a frequency.
    """
    from astropy import units as u

    [(_, _, to_cmb, from_cmb, *_)] = u.thermodynamic_temperature(frequency)
    [(_, _, to_rj, from_rj, *_)] = u.brightness_temperature(frequency)
    cmb, rj = _named("K_CMB"), _named("K_RJ")
    return [
        (u.Jy / u.sr, cmb, to_cmb, from_cmb),
        (u.Jy / u.sr, rj, to_rj, from_rj),
        (rj, cmb, lambda t: to_cmb(from_rj(t)), lambda t: to_rj(from_cmb(t))),
    ]
