"""How headers of maps spell units: read to units of astropy, and written so that they are read again."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.units import UnitBase

__all__ = ["factor_between", "own_units", "parse_unit", "unit_named", "unit_text"]

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
# the parser knows no own units: one of these, which are no unit of anything else, keeps the place of each
_STAND_INS = ("bin", "vox", "beam", "chan", "electron", "adu")


@lru_cache(maxsize=1)
def own_units() -> dict[str, Any]:
    """The special kelvins, with all SI prefixes, by name."""
    from astropy import units as u

    names: dict[str, Any] = {}
    for name, doc in (
        ("K_CMB", "Kelvin of thermodynamic temperature relative to the CMB."),
        ("K_RJ", "Kelvin of Rayleigh-Jeans brightness temperature."),
    ):
        latex = name.replace("_", "_{") + "}"
        u.def_unit(name, namespace=names, prefixes=True, doc=doc, format={"latex": rf"\mathrm{{{latex}}}"})
    return names


def unit_named(name: str) -> Any:
    """A unit by name: a package that enabled its own in astropy's registry, as pysm3 does, gets its own."""
    from astropy import units as u

    known = u.Unit(name, parse_strict="silent")
    return own_units()[name] if isinstance(known, u.UnrecognizedUnit) else known


@lru_cache(maxsize=256)
def _parse(text: str, enabled: int) -> Any:
    from astropy import units as u

    text = text.strip()
    text = _SAME.get(text.lower(), text)
    used: dict[str, Any] = {}

    def swap(match: re.Match[str]) -> str:
        prefix = {"micro": "u", "mu": "u", "\u00b5": "u", "\u03bc": "u"}.get(match[1], match[1])
        name = prefix + ("K_CMB" if match[2].lower() in ("cmb", "thermo") else "K_RJ")
        free = (s for s in _STAND_INS if used.get(s, name) == name and s not in text)
        stand_in = next(free, None)
        if stand_in is None:
            raise ValueError(f"{text!r} has too many special units")
        used[stand_in] = name
        return stand_in

    plain = _SPECIAL.sub(swap, text)
    plain = re.sub(r"\((\w+)\)", r"\1", plain)  # astropy does not know (K)^2
    parsed = u.Unit(plain)
    if not isinstance(parsed, u.UnitBase):
        raise ValueError(f"{text!r} is no single unit on a linear scale")
    if not used:
        return parsed
    bases = [unit_named(used[str(base)]) if str(base) in used else base for base in parsed.bases]
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


def _products(unit: Any) -> str:
    text = str(unit).replace(" / ", "/")
    if text.startswith("1/"):  # astropy does not read that from FITS
        text = " ".join(
            f"{base}{power}" if power == int(power) else f"{base}({power})"
            for base, power in zip(unit.bases, unit.powers, strict=True)
        )
    return text


def unit_text(unit: UnitBase) -> str:
    """Write a unit as FITS has it, so that it is read again as the same.

    Parameters
    ----------
    unit : astropy.units.UnitBase
        The unit.

    Returns
    -------
    str
        ``W/(m2 sr)``, ``arcmin uK_CMB``; empty for no unit.

    Raises
    ------
    ValueError
        If there is no such text.
    """
    from astropy import units as u

    if not isinstance(unit, u.UnitBase):
        raise ValueError(f"{unit} is no unit on a linear scale")
    power = math.log10(unit.scale) if unit.scale > 0 else 0.0
    if power and power.is_integer():  # the one form of a scale in FITS
        text = f"10**{int(power)} {_products(u.CompositeUnit(1, unit.bases, unit.powers))}"
    else:
        text = _products(unit)
    again = parse_unit(text) or u.dimensionless_unscaled
    try:
        same = abs(factor_between(again, unit) - 1) < 1e-12
    except u.UnitConversionError:
        same = False
    if not same or not text.isascii():
        raise ValueError(f"{unit} cannot be written into a header: it would be read as {again}")
    return text


def _canonical(unit: Any) -> Any:
    """The same unit over our own special kelvins: another package's K_CMB is the same by name only."""
    from astropy import units as u

    own = own_units()
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
