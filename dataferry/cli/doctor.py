"""``dataferry doctor``: what dataferry finds on this machine. Nothing is written and no host is asked."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .output import MACHINE, REGISTRY, echo, print_json, size_text, style

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..hosts.base import HostStatus


_LIBRARIES = ("dataferry", "astropy", "numpy", "pycurl", "click", "tomlkit")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_VARIABLES = (
    *("DATAFERRY_DATA", "DATAFERRY_OFFLINE", "DATAFERRY_CACHE", "ASTROPY_CACHE_DIR", "ASTROPY_CONFIG_DIR"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
)
_EXTRA = re.compile(r"""\s*([\w.-]+).*;.*\bextra\s*==\s*["']([\w-]+)["']""").match
_LOGIN = re.compile(r"^((?:https?|socks\w*)://)?.*@", re.IGNORECASE)
#: Extras for those who develop dataferry.
_DEVELOPMENT = {"all", "bench", "docs", "test"}
_CODES = {"configuration": REGISTRY, "package": REGISTRY, "cache": MACHINE}


@click.command("doctor", cls=options.Command)
@click.argument("package", required=False, shell_complete=options.complete_package)
@options.from_registry
@options.as_json
def command(package: str | None, registry: str | None, as_json: bool) -> None:
    """Show what dataferry finds on this machine.

    Lists caches, offline state, proxies, kinds of hosts and missing libraries, the places of tokens (never the tokens),
    configuration files, the site and the extras. With PACKAGE it also lists the package's registry, hosts and folders.
    It contacts no host. The exit code is 4 if the configuration is invalid, and 5 if no cache can be written.
    """
    from ..config.settings import Settings

    found = _find_all(package, registry)
    if as_json:
        print_json(found)
    else:
        _print(found, {status.provider: status.variable for status in _providers(Settings(anonymous=True))})
    click.get_current_context().exit(next((_CODES[problem["about"]] for problem in found["problems"]), 0))


def missing_libraries() -> dict[str, str]:
    """Scheme -> what has to be installed for it, with the command; only of hosts that lack something."""
    from ..hosts import host_kind, host_names

    found = {}
    for scheme in host_names():
        try:
            reason = host_kind(scheme).missing(scheme)
        except ImportError as error:  # of a third party
            reason = f"it cannot be loaded: {error}"
        if reason:
            found[scheme] = reason
    return found


def by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """What `missing_libraries` gives, as reason -> schemes."""
    return {reason: [s for s, other in missing.items() if other == reason] for reason in missing.values()}


# -- what is found -----------------------------------------------------------------------------------------------------


def _find_all(package: str | None, registry: str | None) -> dict[str, Any]:
    """Everything, in plain types."""
    from ..config.settings import Settings, config_files, load_settings
    from ..config.sites import current_sites
    from ..errors import DataferryError, SettingsError
    from ..hosts import host_names
    from ..lookup.options import offline_reason

    problems: list[dict[str, str]] = []
    settings, offline, declared = Settings(), "", None
    try:
        settings, offline = load_settings(), offline_reason()
    except SettingsError as error:
        problems.append({"about": "configuration", "text": str(error)})
    caches = _caches(settings)
    if not any(cache["writable"] for cache in caches):
        text = "no cache can be written: files stay for one process only; set ASTROPY_CACHE_DIR to a folder with space"
        problems.append({"about": "cache", "text": text})
    try:
        declared = None if package is None else _package(package, registry, settings)
    except DataferryError as error:
        problems.append({"about": "package", "text": str(error)})
    proxies = [form for name in _PROXIES for form in (name, name.upper()) if os.environ.get(form)]
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
        "extras": _extras(),
        "caches": caches,
        "offline": offline,
        "proxies": {name: _without_login(os.environ[name]) for name in proxies},
        "hosts": host_names(),
        "lacking": missing_libraries(),
        "tokens": {status.provider: status.origin or "" for status in _providers(settings)},
        "config_files": [{"path": path, "read": Path(path) in settings.files} for path in config_files()],
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "sites": sorted(current_sites(settings.sites, settings.site)),
        "package": declared,
        "problems": problems,
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # a clone that is not installed, a frozen program
        return "?"


def _extras() -> dict[str, list[str]]:
    """Extra -> the libraries of it that are not installed."""
    found: dict[str, list[str]] = {}
    with suppress(metadata.PackageNotFoundError):
        for match in map(_EXTRA, metadata.requires("dataferry") or []):
            if match is not None and match[2] not in _DEVELOPMENT:
                found.setdefault(match[2], []).extend([match[1]] if _version(match[1]) == "?" else [])
    return dict(sorted(found.items()))


def _providers(settings: Settings) -> list[HostStatus]:
    """Where the user's credentials for each provider are."""
    from ..hosts import host_kind, host_names, make_host

    found: dict[str, HostStatus] = {}
    for scheme in host_names():
        try:
            example = host_kind(scheme).example
        except ImportError:
            continue
        if example:
            status = make_host(example).status(settings)
            found.setdefault(status.provider, status)
    return list(found.values())


def _caches(settings: Settings) -> list[dict[str, Any]]:
    from ..cache import layout

    found = []
    roles = [("astropy's", layout.astropy_cache()), ("spare", layout.own_home())]
    for role, path in roles if settings.cache is None else [("chosen", settings.cache.path)]:
        if path:
            nearest = next(p for p in [Path(path), *Path(path).parents] if p.exists())
            writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
            found.append({"role": role, "path": path, "writable": writable, "free": shutil.disk_usage(nearest).free})
    return found


def _without_login(proxy: str) -> str:
    """A proxy without user and password, in which any character may stand where somebody forgot to quote it."""
    return _LOGIN.sub(r"\1", proxy)


def _package(package: str, registry_path: str | None, settings: Settings) -> dict[str, Any]:
    from ..config.folders import folder_problem
    from ..errors import DataferryError
    from ..hosts import make_host
    from ..lookup.candidates import Candidates
    from ..lookup.configured_hosts import host_specs
    from ..registry.names import redact_url

    data = options.open_data(package, registry_path)
    registry, entries = data.registry, list(data.registry.entries())
    candidates = Candidates(data.package, registry, settings)
    tokens = {}
    for spec in host_specs(data.package, registry, settings):
        with suppress(DataferryError):  # its kind is not installed
            tokens[redact_url(spec)] = make_host(spec).status(settings).origin
    return {
        "name": data.package,
        "registry": registry.origin,
        "files": len(entries),
        "bytes": sum(entry.size or 0 for entry in entries),
        "dataurl": redact_url(registry.dataurl),
        "mirrors": [redact_url(mirror) for mirror in (*settings.package(data.package).mirrors, *registry.mirrors)],
        "tokens": {spec: origin for spec, origin in tokens.items() if origin is not None},
        "env": registry.env,
        "cache": None if candidates.cache is None else candidates.cache.path,
        "folders": [
            {
                "path": folder.path,
                "origin": folder.origin,
                "problem": folder.problem or folder_problem(folder.path, settings.folder_timeout),
            }
            for folder in candidates.folders
        ],
    }


# -- how it is printed -------------------------------------------------------------------------------------------------


def _print(found: dict[str, Any], variables: Mapping[str, str]) -> None:
    versions, lacking = found["versions"], found["lacking"]
    extras = {name: f"lacks {', '.join(absent)}" if absent else "installed" for name, absent in found["extras"].items()}
    _section(
        f"dataferry {versions.pop('dataferry')}",
        ("with", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("extras", "; ".join(f"[{name}] {state}" for name, state in extras.items())),
    )
    rows = []
    for cache in found["caches"]:
        state = "writable" if cache["writable"] else style("cannot be written", fg="yellow")
        rows.append((cache["role"], f"{cache['path']} ({state}, {size_text(cache['free'])} free)"))
    _section("Caches", *rows)
    proxies = [f"{name}={value}" for name, value in found["proxies"].items()]
    _section("Network", ("offline", found["offline"] or "no"), *(("proxy", proxy) for proxy in proxies or ["none"]))
    _section(
        "Hosts",
        ("usable", ", ".join(scheme for scheme in found["hosts"] if scheme not in lacking)),
        *(("lacking", f"{', '.join(s)}: {style(reason, fg='yellow')}") for reason, s in by_reason(lacking).items()),
        *(
            ("token", f"{provider}: {origin or f'none found; set {variables[provider]}'}")
            for provider, origin in found["tokens"].items()
        ),
    )
    _section(
        "Configuration",
        *(("file", f"{f['path']} ({'read' if f['read'] else 'not there'})") for f in found["config_files"]),
        *(("variable", f"{name}={value}") for name, value in found["environment"].items()),
        ("site", ", ".join(found["sites"]) or "none recognised"),
    )
    if found["package"]:
        _print_package(found["package"])
    for problem in found["problems"]:
        echo(f"\n{style('problem:', fg='red', bold=True)} {problem['text']}")


def _print_package(package: Mapping[str, Any]) -> None:
    rows = [("registry", package["registry"]), ("files", f"{package['files']}, {size_text(package['bytes'])}")]
    rows += [("dataurl", package["dataurl"])] if package["dataurl"] else []
    rows += [("variable", package["env"])] if package["env"] else []
    rows += [("cache", package["cache"])] if package["cache"] else []
    for mirror in package["mirrors"]:
        origin = package["tokens"].get(mirror)
        rows.append(("mirror", mirror + ("" if origin is None else f" (to publish: {origin or 'no token found'})")))
    for folder in package["folders"]:
        state = style(folder["problem"], fg="yellow") if folder["problem"] else "there"
        rows.append(("folder", f"{folder['path']} ({state}; {folder['origin']})"))
    _section(f"Package {package['name']}", *rows)


def _section(title: str, *rows: tuple[str, str]) -> None:
    echo(style(title, bold=True))
    for label, text in rows:
        echo(f"  {label:<9} {text}")
