"""dataferry: the data files of a scientific package, from the nearest place that has them, and always the right bytes.

>>> from dataferry import PackageData, RemoteData
>>> data = PackageData("mypkg")                   # doctest: +SKIP
>>> path = data.get("maps/dust_064.fits")         # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .download.progress import FileProgress, Progress
    from .errors import (
        ArchiveError,
        BadName,
        CacheError,
        DataferryError,
        FetchErrors,
        FileUnavailable,
        MapError,
        MissingExtra,
        Offline,
        RegistryError,
        SettingsError,
        TransferError,
        UnknownFile,
        WrongBytes,
    )
    from .lookup.report import Arrival, Step, Where
    from .package_data import PackageData, RemoteData
    from .plain import get_data_filename
    from .registry.entry import Entry
    from .registry.registry import Registry
    from .retrieval import retrieve

__all__ = [
    "ArchiveError",
    "Arrival",
    "BadName",
    "CacheError",
    "DataferryError",
    "Entry",
    "FetchErrors",
    "FileProgress",
    "FileUnavailable",
    "MapError",
    "MissingExtra",
    "Offline",
    "PackageData",
    "Progress",
    "Registry",
    "RegistryError",
    "RemoteData",
    "SettingsError",
    "Step",
    "TransferError",
    "UnknownFile",
    "Where",
    "WrongBytes",
    "__version__",
    "get_data_filename",
    "retrieve",
]

_MODULES = {
    "Arrival": "lookup.report",
    "Entry": "registry",
    "FileProgress": "download.progress",
    "PackageData": "package_data",
    "Progress": "download.progress",
    "Registry": "registry",
    "RemoteData": "package_data",
    "Step": "lookup.report",
    "Where": "lookup.report",
    "get_data_filename": "plain",
    "retrieve": "retrieval",
}


def __getattr__(name: str) -> Any:
    # modules load when they are used, so that `import dataferry` costs a package nothing
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        return version("dataferry")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
