"""HEALPix maps from FITS and HDF5 files: whole, in part, over the network; and pictures of them.

Nothing of numpy or astropy is loaded before one of these names is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .read import read_map as read_map
    from .read import read_partial as read_partial
    from .units import K_CMB as K_CMB
    from .units import K_RJ as K_RJ
    from .units import cmb_equivalencies as cmb_equivalencies
    from .values import UNSEEN as UNSEEN

_ROOMS = {
    "K_CMB": "units",
    "K_RJ": "units",
    "UNSEEN": "values",
    "cmb_equivalencies": "units",
    "read_map": "read",
    "read_partial": "read",
}

__all__ = sorted(_ROOMS)


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_ROOMS[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]
