"""Units of maps: what TUNITn means, on astropy.units. A thermodynamic temperature (K_CMB) is never a kelvin."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from astropy import units as u
from astropy.units import Quantity, UnitBase

from .layout import Column

_ABSENT = {"", "unknown", "none", "undefined", "n/a", "null", "unitless", "dimensionless", "1", "-"}
# How headers spell units that astropy does not know, in lower case: whole texts, then words within a text.
_TEXTS = {"hits": ""}
_WORDS = {
    "adus": "adu",  # CCD images
    "angstroms": "Angstrom",  # IRAF
    "counts": "count",  # gamma rays and X rays (Fermi, ROSAT, eROSITA)
    "degrees": "deg",  # AIPS
    "electrons": "electron",  # Hubble
    "ergs": "erg",  # Hubble, IRAF
    "jansky": "Jy",
    "kelvin": "K",  # radio surveys
    "kelvins": "K",
    "microk": "uK",  # LAMBDA (WMAP)
    "millik": "mK",
    "muk": "uK",  # Planck
    "photons": "photon",  # Fermi
    "pixels": "pix",
    "rayleighs": "R",  # H alpha
    "sec": "s",
    "seconds": "s",
}
# K_CMB, Kcmb, K_{CMB}, KCMB (Planck), "mK, thermodynamic" and "uK_thermodynamic" (LAMBDA), K_RJ, uK(RJ), mK_antenna,
# K (Tb): brightness temperature is Rayleigh-Jeans, as in astropy.units.brightness_temperature. Any SI prefix.
_KIND = r"(?i:CMB|thermodynamic|thermo|RJ|antenna|ant|Tb)"
_SPECIAL = re.compile(
    rf"(?<![A-Za-z])(micro|mu|[numkM\u00b5\u03bc]?)[Kk][ _,]*(?:\{{{_KIND}\}}|\({_KIND}\)|{_KIND})(?![A-Za-z])"
)
_MICRO = {"micro": "u", "mu": "u", "\u00b5": "u", "\u03bc": "u"}
# the parser knows no own units: one of these, which are no unit of anything else, keeps the place of each
_STAND_INS = ("bin", "vox", "beam", "chan", "electron", "adu")
_MOST_READINGS = 64


# the special kelvins, with all SI prefixes, by name
_OWN: dict[str, Any] = {}
for _name, _doc in (
    ("K_CMB", "Kelvin of thermodynamic temperature relative to the CMB."),
    ("K_RJ", "Kelvin of Rayleigh-Jeans brightness temperature."),
):
    _latex = rf"\mathrm{{{_name.replace('_', '_{')}}}}}"
    u.def_unit(_name, namespace=_OWN, prefixes=True, doc=_doc, format={"latex": _latex})
K_CMB: UnitBase = _OWN["K_CMB"]
K_RJ: UnitBase = _OWN["K_RJ"]


def _unit_named(name: str) -> Any:
    """A unit by name: a package that enabled its own in astropy's registry, as pysm3 does, gets its own."""
    known = u.Unit(name, parse_strict="silent")
    return _OWN[name] if isinstance(known, u.UnrecognizedUnit) else known


def parse_unit(text: str) -> UnitBase | None:
    """Read a unit as the headers of maps spell it; None where the text says that there is none, or is not known.

    Raises ValueError if it is no unit that anybody knows, or could be several.
    """
    if text.strip().lower() in _ABSENT:
        return None
    unit: UnitBase = _parse(text, len(u.get_current_unit_registry().all_units))
    return unit


@lru_cache(maxsize=256)
def _parse(text: str, enabled: int) -> Any:
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    text = _TEXTS.get(text.lower(), text)
    used: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        thermodynamic = any(word in match[0].lower() for word in ("cmb", "thermo"))
        name = _MICRO.get(match[1], match[1]) + ("K_CMB" if thermodynamic else "K_RJ")
        free = next((s for s in _STAND_INS if used.get(s, name) == name and s not in text), None)
        if free is None:
            raise ValueError(f"{text!r} has too many special units")
        used[free] = name
        return free

    plain = _SPECIAL.sub(stand_in, text)
    plain = re.sub(r"\{([-+\w./]+)\}", r"\1", plain)  # K^{2}
    plain = re.sub(r"\((\w+)\)", r"\1", plain)  # astropy does not know (K)^2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # of W/m2/sr: one meaning, and many headers have it
        parsed = _parse_plain(plain)
    if not isinstance(parsed, u.UnitBase):
        raise ValueError(f"{text!r} is no single unit on a linear scale")
    if not used:
        return parsed
    bases = [_unit_named(used[str(base)]) if str(base) in used else base for base in parsed.bases]
    unit = u.CompositeUnit(parsed.scale, bases, parsed.powers)
    return bases[0] if parsed.scale == 1 and parsed.powers == [1] else unit


def _parse_plain(text: str) -> Any:
    """Read a text as it stands, else with words of `_WORDS`, else in another case where that leaves one reading."""
    # writers that put all values in upper case (AIPS, IRAF) mean km/s by KM/S, not siemens
    with_words = re.sub(
        r"[A-Za-z]+", lambda word: _WORDS.get(word[0].lower(), word[0]), text.lower() if text.isupper() else text
    )
    for one in (text, with_words):
        try:
            return u.Unit(one)
        except ValueError as error:
            failed = error
    by_lower = defaultdict(set)
    for name in u.get_current_unit_registry().registry:
        by_lower[name.lower()].add(name)
    parts = re.split(r"([A-Za-z]+)", with_words)
    choices = [sorted(by_lower.get(p.lower(), ())) if p.isalpha() else [p] for p in parts]
    if math.prod(map(len, choices)) > _MOST_READINGS:
        raise failed
    readings: dict[str, Any] = {}
    for words in itertools.product(*choices):
        try:
            unit = u.Unit("".join(words))
        except ValueError:
            continue
        if unit not in readings.values():
            readings["".join(words)] = unit
    if len(readings) > 1:
        raise ValueError(f"it may be {' or '.join(readings)}")
    if not readings:
        raise failed
    return next(iter(readings.values()))


def unit_text(unit: UnitBase) -> str:
    """Write a unit as FITS has it (``W/(m2 sr)``, ``arcmin uK_CMB``), so that it is read again as the same.

    Raises ValueError if there is no such text.
    """
    if not isinstance(unit, u.UnitBase):
        raise ValueError(f"{unit} is no unit on a linear scale")
    power = math.log10(unit.scale) if unit.scale > 0 else 0.0
    if power and power.is_integer():  # the one form of a scale in FITS
        text = f"10**{int(power)} {_products(u.CompositeUnit(1, unit.bases, unit.powers))}"
    else:
        text = _products(unit)
    again = parse_unit(text) or u.dimensionless_unscaled
    if abs(factor_between(again, unit) - 1) >= 1e-12 or not text.isascii():
        raise ValueError(f"{unit} cannot be written into a header: it would be read as {again}")
    return text


def _products(unit: Any) -> str:
    text = str(unit).replace(" / ", "/")
    if text.startswith("1/"):  # astropy does not read that from FITS
        text = " ".join(
            f"{base}{power}" if power == int(power) else f"{base}({power})"
            for base, power in zip(unit.bases, unit.powers, strict=True)
        )
    return text


def factor_between(unit: UnitBase, other: UnitBase) -> float:
    """What to multiply values in one unit with to have them in another; raises UnitConversionError."""
    return 1.0 if unit == other else float(_canonical(unit).to(_canonical(other)))


def _canonical(unit: Any) -> Any:
    """The same unit over our own special kelvins: another package's K_CMB is the same by name only."""
    parts = unit.decompose()
    return u.CompositeUnit(parts.scale, [_OWN.get(str(base), base) for base in parts.bases], parts.powers)


def units_of(columns: Sequence[Column], wanted: Any) -> tuple[UnitBase, list[float]]:
    """The unit of a map that is read, and what to multiply each column with.

    ``wanted`` converts all columns, or states the unit of all that have none.
    """
    found = [_unit_of(column, stated=wanted is not None) for column in columns]
    known = [unit for unit in found if unit is not None]
    if wanted is not None:
        target = _wanted(columns[0], wanted)
    elif known and len(known) < len(found):
        raise _different(columns)
    else:
        target = known[0] if known else u.dimensionless_unscaled
    factors = []
    for column, unit in zip(columns, found, strict=True):
        try:
            factors.append(1.0 if unit is None else factor_between(unit, target))
        except u.UnitConversionError as error:
            if wanted is None:
                raise _different(columns) from error
            note = " (K_CMB is not K)" if "CMB" in f"{unit}{target}" else ""
            raise column.context.error(f"its unit {column.unit!r} does not convert to {target}{note}") from error
    if None in found and any(factor != 1 for factor in factors):
        column = columns[found.index(None)]
        raise column.context.error(
            f"has {f'the unit {column.unit!r}' if column.unit else 'no unit'}, and unit={target} would convert others",
            "read the fields one by one",
        )
    return target, factors


def _unit_of(column: Column, *, stated: bool) -> UnitBase | None:
    try:
        return parse_unit(column.unit)
    except (ValueError, TypeError) as error:
        if stated:
            return None
        which = f": {error}" if str(error).startswith("it may be") else ""
        reason = f"{column.unit!r} is no unit that astropy knows{which}"
        raise column.context.error(reason, "state what it is: unit=") from error


def _wanted(column: Column, wanted: Any) -> Any:
    try:
        unit = (parse_unit(wanted) or u.dimensionless_unscaled) if isinstance(wanted, str) else u.Unit(wanted)
    except (ValueError, TypeError) as error:
        raise column.context.error(f"unit={wanted!r} is no unit that astropy knows") from error
    if not isinstance(unit, u.UnitBase):
        raise column.context.error(f"unit={unit} is no single unit on a linear scale")
    return unit


def _different(columns: Sequence[Column]) -> Exception:
    units = ", ".join(f"{c.name!r} in {c.unit or 'no unit'!r}" for c in columns)
    return columns[0].context.error(f"the fields have different units ({units})", "read them one by one, or give unit=")


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
    [(_, _, to_cmb, from_cmb, *_)] = u.thermodynamic_temperature(frequency)
    [(_, _, to_rj, from_rj, *_)] = u.brightness_temperature(frequency)
    cmb, rj = _unit_named("K_CMB"), _unit_named("K_RJ")
    return [
        (u.Jy / u.sr, cmb, to_cmb, from_cmb),
        (u.Jy / u.sr, rj, to_rj, from_rj),
        (rj, cmb, lambda t: to_cmb(from_rj(t)), lambda t: to_rj(from_cmb(t))),
    ]
