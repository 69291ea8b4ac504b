"""Units of maps: what TUNITn means, on astropy.units. A thermodynamic temperature (K_CMB) is never a kelvin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .columns import Column
from .unit_names import factor_between, own_units, parse_unit, unit_named

if TYPE_CHECKING:
    from astropy.units import Quantity, UnitBase

__all__ = ["K_CMB", "K_RJ", "cmb_equivalencies", "factor_between", "parse_unit", "units_of"]


def __getattr__(name: str) -> Any:
    if name in ("K_CMB", "K_RJ"):
        return own_units()[name]
    raise AttributeError(name)


if TYPE_CHECKING:
    K_CMB: UnitBase
    K_RJ: UnitBase


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
        unit = (parse_unit(wanted) or u.dimensionless_unscaled) if isinstance(wanted, str) else u.Unit(wanted)
    except (ValueError, TypeError) as error:
        raise column.place.error(f"unit={wanted!r} is no unit that astropy knows") from error
    if not isinstance(unit, u.UnitBase):
        raise column.place.error(f"unit={unit} is no single unit on a linear scale")
    return unit


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
    cmb, rj = unit_named("K_CMB"), unit_named("K_RJ")
    return [
        (u.Jy / u.sr, cmb, to_cmb, from_cmb),
        (u.Jy / u.sr, rj, to_rj, from_rj),
        (rj, cmb, lambda t: to_cmb(from_rj(t)), lambda t: to_rj(from_cmb(t))),
    ]
