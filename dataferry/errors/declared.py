"""What is declared, named or installed wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "BadName",
    "CacheError",
    "DataferryError",
    "MapError",
    "MissingExtra",
    "RegistryError",
    "SettingsError",
    "UnknownField",
    "UnknownFile",
    "WrongBytes",
]


class DataferryError(Exception):
    """Whatever dataferry raises."""


class BadName(DataferryError, ValueError):
    """A name or a base URL that is not legal."""


class RegistryError(DataferryError, ValueError):
    """A registry that cannot be read; the message starts with the file and, where known, the line."""


class SettingsError(DataferryError, ValueError):
    """An environment variable or a ``config.toml`` that cannot be used."""


class UnknownFile(DataferryError, LookupError):
    """A name that the registry does not list.

    Parameters
    ----------
    name : str
        The name that was asked for.
    registry : str
        The registry that was searched.
    close : sequence of str
        Registered names that look like it.
    """

    def __init__(self, name: str, registry: str, close: Sequence[str] = ()) -> None:
        self.name = name
        self.close = tuple(close)
        self._parts = (name, registry, self.close)
        hint = f"; did you mean {' or '.join(repr(c) for c in self.close)}?" if self.close else ""
        super().__init__(f"{name!r} is not registered in {registry}{hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._parts


class WrongBytes(DataferryError, OSError):
    """A file whose size or sha256 is not the registered one."""


class CacheError(DataferryError, OSError):
    """The cache cannot be read or written."""


class MapError(DataferryError, ValueError):
    """A FITS map that cannot be read; the message names file, HDU and column."""


class UnknownField(MapError, IndexError):
    """A map has no such field; the message names those that it has."""


class MissingExtra(DataferryError, ImportError):
    """A library of an extra is not installed.

    Parameters
    ----------
    extra : str
        The extra of dataferry that brings the library.
    library : str
        The library that is missing.
    package : str
        What has to be installed with it, where the extra does not bring it.
    """

    def __init__(self, extra: str, library: str, package: str = "") -> None:
        self.extra = extra
        self.library = library
        self.package = package
        more = f" {package}" if package else ""
        super().__init__(
            f"this needs {library}, which is not installed: pip install 'dataferry[{extra}]'{more}",
            name=library,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.extra, self.library, self.package)
