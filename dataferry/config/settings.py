"""The environment, and the user's and the administrator's ``config.toml``.

Files are read in the XDG places: ``$XDG_CONFIG_HOME/dataferry/config.toml`` (by default ``~/.config``), then the
administrator's in each folder of ``$XDG_CONFIG_DIRS`` (by default ``/etc/xdg``). The user's values come first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SettingsError
from ..registry.names import close_names
from ..registry.toml_values import TomlValues, read_toml
from .folders import Folder, cache_folder, make_folder

if TYPE_CHECKING:
    from pathlib import Path

#: Folders for the data of any package, each with ``<package>/<name>``.
DATA_VARIABLE = "DATAFERRY_DATA"
OFFLINE_VARIABLE = "DATAFERRY_OFFLINE"
#: Where downloads are kept; an empty one means astropy's cache.
CACHE_VARIABLE = "DATAFERRY_CACHE"

_YES, _NO = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
_KEYS = {"cache", "offline", "verify", "site", "folder_timeout", "fsspec_protocols"}
_KEYS |= {"folders", "packages", "sites", "hosts"}
_PACKAGE_KEYS = {"folders", "mirrors", "strict", "files"}
#: Options that identify the user to a server.
_SECRET = {"token", "user", "password", "client_cert"}


# named tuples, since dataclasses would cost every `import dataferry` the import of `inspect`


class PackageSettings(NamedTuple):
    """The configuration of one package."""

    folders: Sequence[Folder] = ()
    #: Hosts to ask before the author's own, because they are nearer.
    mirrors: Sequence[str] = ()
    #: Whether an unregistered name is an error; None leaves it to the author.
    strict: bool | None = None
    #: Name -> local path to use instead, and the file that says so.
    overrides: Mapping[str, tuple[str, str]] = {}


class Settings(NamedTuple):
    """All settings of this process.

    Parameters
    ----------
    offline : str
        Why the network is not to be used; empty where it may be.
    verify : str
        ``"once"``, or ``"always"`` to hash files over 1 GiB in folders as well.
    site : str
        The site that the configuration says this is; empty to recognise it.
    folder_timeout : float
        Seconds in which a folder must answer.
    folders : sequence of Folder
        Folders for any package.
    packages : mapping of str to PackageSettings
        Settings of single packages.
    sites : mapping
        Further sites, in the form of ``data/sites.toml``.
    hosts : mapping of str to mapping
        Host name -> ``token``, ``user``, ``password``, ``ca_bundle``, ``client_cert``, ``connections``, ``rate``.
    fsspec_protocols : sequence of str
        Protocols of fsspec that packages may name although they can run code or write files.
    cache : Folder, optional
        Where downloads are kept; None for astropy's cache.
    files : sequence of Path
        The configuration files that were read.
    agent : str
        What else dataferry calls itself towards hosts behind its own name: astropy's user agent.
    anonymous : bool
        Whether hosts are asked without any token, login or ``.netrc``.
    named_hosts : sequence of str
        Declarations that the user typed, and that no package chose: their servers may get the user's credentials.
    timeout : float
        Seconds without progress after which a host is given up: the package's, where one is known.
    """

    offline: str = ""
    verify: str = "once"
    site: str = ""
    folder_timeout: float = 3.0
    folders: Sequence[Folder] = ()
    packages: Mapping[str, PackageSettings] = {}
    sites: Mapping[str, Mapping[str, Any]] = {}
    hosts: Mapping[str, Mapping[str, Any]] = {}
    fsspec_protocols: Sequence[str] = ()
    cache: Folder | None = None
    files: Sequence[Path] = ()
    agent: str = ""
    anonymous: bool = False
    named_hosts: Sequence[str] = ()
    timeout: float = 30.0

    def __repr__(self) -> str:  # the hosts hold secrets
        return f"Settings(files={list(map(str, self.files))})"

    def package(self, name: str) -> PackageSettings:
        """The settings of one package; empty ones where there are none."""
        found = self.packages.get(name)
        if found is None and self.packages:
            self._refuse_misspelt(name)
        return found or PackageSettings()

    def _refuse_misspelt(self, name: str) -> None:
        from importlib.util import find_spec

        for other in close_names(name, self.packages):
            top = other.partition(".")[0]
            # "pysm" beside "pysm3" is a package of another environment, and no mistake
            alike = not (name.startswith(other) or other.startswith(name)) and len(name) > 3
            if alike and find_spec(top) is None:
                files = " and ".join(map(str, self.files))
                raise SettingsError(f"{files}: there is no package {other!r} for [packages.{other}]; is it {name!r}?")

    def as_anonymous(self) -> Settings:
        """The same settings without anything that says who the user is; proxies and trusted roots stay."""
        hosts = {host: {k: v for k, v in options.items() if k not in _SECRET} for host, options in self.hosts.items()}
        return self._replace(hosts=hosts, anonymous=True)

    @property
    def user_agent(self) -> str:
        """What dataferry calls itself towards hosts."""
        return f"dataferry/{_version()} {self.agent}".rstrip()


@lru_cache(maxsize=1)
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("dataferry")
    except PackageNotFoundError:  # a copied or a frozen package
        return "0"


def config_files() -> list[str]:
    """Where configuration files may lie, the user's first: absolute paths, whether or not there is a file."""
    homes = [os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")]
    homes += (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    return [os.path.join(home, "dataferry", "config.toml") for home in homes if os.path.isabs(home)]


_read: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}


def _table(path: str) -> dict[str, Any] | None:
    """One configuration file, parsed again only after it changed."""
    try:
        status = os.stat(path)
        mark = (status.st_mtime_ns, status.st_size)
        if path not in _read or _read[path][0] != mark:
            _read[path] = mark, read_toml(path, SettingsError)[1]
        return _read[path][1]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error


def load_settings() -> Settings:
    """Read the environment and the configuration files; raises `SettingsError`, which names the variable or file."""
    settings = Settings()
    for path in reversed(config_files()):  # the user's last, so that it wins
        table = _table(path)
        if table is not None:
            settings = _merged(TomlValues(path, SettingsError), settings, table)
    switch = os.environ.get(OFFLINE_VARIABLE)
    if switch is not None:
        if switch.lower() not in _YES | _NO:
            raise SettingsError(f"{OFFLINE_VARIABLE} is 1 or 0, not {switch!r}")
        settings = settings._replace(offline=f"{OFFLINE_VARIABLE}={switch}" if switch.lower() in _YES else "")
    if CACHE_VARIABLE in os.environ:
        settings = settings._replace(cache=cache_folder(os.environ[CACHE_VARIABLE], CACHE_VARIABLE))
    return settings


def _merged(values: TomlValues, before: Settings, table: dict[str, Any]) -> Settings:
    """The settings of one file in front of those that are there."""
    from pathlib import Path

    from .validation import check_hosts, check_sites, refuse_unknown

    refuse_unknown(values, table, _KEYS)
    verify = values.typed(table, "verify", str, before.verify)
    if verify not in {"once", "always"}:
        raise values.error(f'verify is "once" or "always", not {verify!r}')
    offline, cache = before.offline, before.cache
    if "offline" in table:
        offline = f"offline = true in {values.origin}" if values.typed(table, "offline", bool, False) else ""
    if "cache" in table:
        cache = cache_folder(values.typed(table, "cache", str, ""), values.origin)
    hosts = check_hosts(values, values.typed(table, "hosts", dict, {}))
    packages = dict(before.packages)
    for package, own in values.typed(table, "packages", dict, {}).items():
        if not isinstance(own, dict):
            raise values.error(f"packages.{package} is a table")
        packages[package] = _merged_package(values, packages.get(package, PackageSettings()), own, package)
    return before._replace(
        offline=offline,
        verify=verify,
        cache=cache,
        site=values.typed(table, "site", str, before.site),
        folder_timeout=values.typed(table, "folder_timeout", (int, float), before.folder_timeout),
        fsspec_protocols=[*before.fsspec_protocols, *values.strings(table, "fsspec_protocols")],
        folders=[*_folders(values, table, shared=True), *before.folders],
        sites={**before.sites, **check_sites(values, values.typed(table, "sites", dict, {}))},
        hosts={**before.hosts, **{host: {**before.hosts.get(host, {}), **hosts[host]} for host in hosts}},
        packages=packages,
        files=[Path(values.origin), *before.files],
    )


def _merged_package(
    values: TomlValues, before: PackageSettings, table: dict[str, Any], package: str
) -> PackageSettings:
    from .validation import refuse_unknown

    where = f"packages.{package}."
    refuse_unknown(values, table, _PACKAGE_KEYS, where)
    overrides = dict(before.overrides)
    for name, entry in values.typed(table, "files", dict, {}, where).items():
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise values.error(f"{where}files.{name!r} is a table with the path to use instead")
        overrides[name] = entry["path"], values.origin
    return PackageSettings(
        folders=[*_folders(values, table, where), *before.folders],
        mirrors=[*values.strings(table, "mirrors", where), *before.mirrors],
        strict=values.typed(table, "strict", bool, before.strict, where),
        overrides=overrides,
    )


def _folders(values: TomlValues, table: dict[str, Any], where: str = "", *, shared: bool = False) -> list[Folder]:
    written = table.get("folders", {})
    by_site = written if isinstance(written, dict) else {"any": written}
    return [
        make_folder(folder, f"{values.origin}, {site}", shared, site)
        for site in by_site
        for folder in values.strings({"folders": by_site[site]}, "folders", where)
    ]
