"""HEALPix maps from FITS and HDF5 files: whole, in part, over the network; and plots of them.

Neither numpy nor astropy is imported before one of these names is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .image import cutout as cutout
    from .image import header as header
    from .plot import draw as draw
    from .plot import show as show
    from .read import read_map as read_map
    from .read import read_partial as read_partial
    from .summary import info as info
    from .units import K_CMB as K_CMB
    from .units import K_RJ as K_RJ
    from .units import cmb_equivalencies as cmb_equivalencies
    from .values import UNSEEN as UNSEEN
    from .write import write_map as write_map

_MODULES = {
    "K_CMB": "units",
    "K_RJ": "units",
    "UNSEEN": "values",
    "cmb_equivalencies": "units",
    "cutout": "image",
    "draw": "plot",
    "header": "image",
    "info": "summary",
    "read_map": "read",
    "read_partial": "read",
    "show": "plot",
    "write_map": "write",
}

__all__ = [*_MODULES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
