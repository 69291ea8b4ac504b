"""What `dataferry doctor` finds; nothing is written and no host is asked."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from ..config.settings import Settings, config_files, load_settings
from ..errors import DataferryError, SettingsError
from ..registry.names import redact_url

__all__ = ["find_all"]

_LIBRARIES = ("astropy", "numpy", "urllib3", "click", "tomlkit")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_VARIABLES = (
    "DATAFERRY_DATA",
    "DATAFERRY_OFFLINE",
    "ASTROPY_CACHE_DIR",
    "ASTROPY_CONFIG_DIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
)
_EXTRA = re.compile(r"""\s*([\w.-]+).*;.*\bextra\s*==\s*["']([\w-]+)["']""").match
_SCHEME = re.compile(r"(?:https?|socks\w*)://", re.IGNORECASE).match
#: Extras for those who develop dataferry.
_OWN = {"all", "bench", "docs", "test"}


def find_all(package: str | None, registry: str | None) -> dict[str, Any]:
    """Everything that `dataferry doctor` shows.

    Parameters
    ----------
    package : str or None
        A package to look at.
    registry : str or None
        Its ``dataferry.toml``, where it is not the installed one.

    Returns
    -------
    dict
        In plain types, as ``--json`` prints it.
    """
    from ..config.sites import current_sites
    from ..hosts import host_names
    from ..lookup import remote
    from .host_states import lacking, providers

    problems: list[dict[str, str]] = []
    try:
        settings = load_settings()
        offline = remote.offline_reason()
    except SettingsError as error:
        problems.append({"about": "configuration", "text": str(error)})
        settings, offline = Settings(), ""
    caches = _caches()
    if not any(cache["writable"] for cache in caches):
        text = (
            "no cache can be written: files are kept for one process only; set ASTROPY_CACHE_DIR to a folder with room"
        )
        problems.append({"about": "cache", "text": text})
    found = {
        "versions": _versions(),
        "extras": _extras(),
        "caches": caches,
        "offline": offline,
        "proxies": {name: _shown(os.environ[name]) for name in _both_cases(_PROXIES) if os.environ.get(name)},
        "hosts": host_names(),
        "lacking": lacking(),
        "tokens": {status.provider: status.origin or "" for status in providers(settings)},
        "config_files": [{"path": str(path), "read": path in settings.files} for path in config_files()],
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "sites": sorted(current_sites(settings.sites, settings.site)),
        "package": None,
        "problems": problems,
    }
    if package is not None:
        try:
            found["package"] = _package(package, registry, settings)
        except DataferryError as error:
            problems.append({"about": "package", "text": str(error)})
    return found


def _versions() -> dict[str, str]:
    versions = {"dataferry": metadata.version("dataferry"), "python": platform.python_version()}
    return versions | {name: metadata.version(name) for name in _LIBRARIES}


def _extras() -> dict[str, list[str]]:
    """Extra -> the libraries of it that are not installed."""
    lacking: dict[str, list[str]] = {}
    for line in metadata.requires("dataferry") or []:
        match = _EXTRA(line)
        if match is None or match[2] in _OWN:
            continue
        missing = lacking.setdefault(match[2], [])
        try:
            metadata.version(match[1])
        except metadata.PackageNotFoundError:
            missing.append(match[1])
    return dict(sorted(lacking.items()))


def _caches() -> list[dict[str, Any]]:
    from ..cache import layout as cache_home

    place, own = cache_home.location(), cache_home.own_home()
    caches = [("astropy's", None if place is None else str(place)), ("spare", own)]
    return [
        {"role": role, "path": path, "writable": _writable(path), "free": _free(path)} for role, path in caches if path
    ]


def _nearest(path: str) -> Path:
    """The path, or the lowest folder above it that is there."""
    return next((p for p in [Path(path), *Path(path).parents] if p.exists()), Path("/"))


def _writable(path: str) -> bool:
    nearest = _nearest(path)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _free(path: str) -> int | None:
    try:
        return shutil.disk_usage(_nearest(path)).free
    except OSError:
        return None


def _both_cases(names: tuple[str, ...]) -> list[str]:
    return [form for name in names for form in (name, name.upper())]


def _shown(value: str) -> str:
    """A proxy without user and password, in which any character may stand where somebody forgot to quote it."""
    if "@" not in value:
        return value
    scheme = _SCHEME(value)
    return f"{scheme[0] if scheme else ''}{value.rpartition('@')[2]}"


def _package(package: str, registry_path: str | None, settings: Settings) -> dict[str, Any]:
    from ..config.folders import folder_problem
    from ..lookup.candidates import Places
    from ..lookup.declared import host_specs
    from ..registry.packages import find_registry
    from ..registry.registry import Registry
    from .host_states import login

    registry = Registry(registry_path or find_registry(package))
    places = Places(package, registry, settings, [], {})
    entries = list(registry.entries())
    folders = [
        {
            "path": folder.path,
            "origin": folder.origin,
            "problem": folder.problem or folder_problem(folder.path, settings.folder_timeout),
        }
        for folder in places.folders
    ]
    return {
        "name": package,
        "registry": str(registry.path),
        "files": len(entries),
        "bytes": sum(entry.size or 0 for entry in entries),
        "dataurl": redact_url(registry.dataurl),
        "mirrors": [redact_url(mirror) for mirror in (*settings.package(package).mirrors, *registry.mirrors)],
        "tokens": {redact_url(s): where for s in host_specs(places) if (where := login(s, settings)) is not None},
        "env": registry.env,
        "folders": folders,
    }
