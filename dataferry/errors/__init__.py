"""The errors of dataferry.

All of them are a `DataferryError`, and each also is the builtin that fits, so that code which knows nothing of
dataferry still catches the right thing::

    DataferryError
    ├── BadName          ValueError    a name or a base URL that is not legal
    ├── RegistryError    ValueError    a dataferry.toml or registry file that cannot be read
    ├── SettingsError    ValueError    an environment variable or a config.toml that cannot be used
    ├── UnknownFile      LookupError   a name that the registry does not list
    ├── WrongBytes       OSError       a file whose size or sha256 is not the registered one
    ├── FileUnavailable  OSError       no place has the file; every place tried, each with its reason
    │   └── Offline                    the network was needed and is switched off or away
    │       └── NeedsNetwork           a task that is nothing without it: to publish, to check
    ├── TransferError    OSError       one source did not give the file
    │   └── HostRefused                the interface of a provider answered with an error
    ├── PublishError     OSError       a host did not take a file
    │   ├── AccessDenied               no token, or one with too few rights
    │   └── Conflict                   the host has other bytes under that name
    ├── CacheError       OSError       the cache cannot be read or written
    ├── MapError         ValueError    a FITS map that cannot be read; file, HDU and column
    │   └── UnknownField IndexError    the map has no such field
    ├── MissingExtra     ImportError   a library of an extra is not installed
    ├── FetchErrors      ExceptionGroup  several files could not be had
    └── PublishErrors    ExceptionGroup  several things keep files from being published

Every message says what was tried, why it failed, and the command that helps.
"""

from __future__ import annotations

from .declared import (
    BadName,
    CacheError,
    DataferryError,
    MapError,
    MissingExtra,
    RegistryError,
    SettingsError,
    UnknownField,
    UnknownFile,
    WrongBytes,
)
from .getting import Failure, FileUnavailable, HostRefused, NeedsNetwork, Offline, TransferError
from .publishing import AccessDenied, Conflict, PublishError
from .several import FetchErrors, PublishErrors

__all__ = [
    "AccessDenied",
    "BadName",
    "CacheError",
    "Conflict",
    "DataferryError",
    "Failure",
    "FetchErrors",
    "FileUnavailable",
    "HostRefused",
    "MapError",
    "MissingExtra",
    "NeedsNetwork",
    "Offline",
    "PublishError",
    "PublishErrors",
    "RegistryError",
    "SettingsError",
    "TransferError",
    "UnknownField",
    "UnknownFile",
    "WrongBytes",
]

# people meet and catch them as dataferry.errors.BadName
for _name in __all__:
    globals()[_name].__module__ = __name__
