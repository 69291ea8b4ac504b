"""The environment, and the user's and the administrator's ``config.toml``.

Files are read in the XDG places: ``$XDG_CONFIG_HOME/dataferry/config.toml`` (by default ``~/.config``), then the
administrator's in each folder of ``$XDG_CONFIG_DIRS`` (by default ``/etc/xdg``). The user's values come first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..registry.names import close_names
from .folders import Folder, cache_folder
from .validation import Values

#: Folders for the data of any package, each with ``<package>/<name>``.
DATA_VARIABLE = "DATAFERRY_DATA"
OFFLINE_VARIABLE = "DATAFERRY_OFFLINE"
#: Where downloads are kept; an empty one means astropy's cache.
CACHE_VARIABLE = "DATAFERRY_CACHE"

_YES, _NO = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
_TOP = {
    "cache",
    "offline",
    "verify",
    "site",
    "folder_timeout",
    "fsspec_protocols",
    "folders",
    "packages",
    "sites",
    "hosts",
}
_PACKAGE = {"folders", "mirrors", "strict", "files"}
#: Options that identify the user to a server.
_SECRET = {"token", "user", "password", "client_cert"}


# classes without dataclasses: these would cost every `import dataferry` the import of `inspect`


class PackageSettings:
    """The configuration of one package."""

    def __init__(self) -> None:
        #: Site label, folder as written, file that says it.
        self.folders: list[tuple[str, str, str]] = []
        #: Hosts to ask before the author's own, because they are nearer.
        self.mirrors: list[str] = []
        #: Whether an unregistered name is an error; None leaves it to the author.
        self.strict: bool | None = None
        #: Name -> local path to use instead, and the file that says it.
        self.overrides: dict[str, tuple[str, str]] = {}


class Settings:
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
    folders : list of (str, str, str)
        Folders for any package: site label, folder as written, file that says it.
    packages : dict of str to PackageSettings
        Settings of single packages.
    sites : dict
        Further sites, in the form of ``data/sites.toml``.
    hosts : dict of str to dict
        Host name -> ``token``, ``user``, ``password``, ``ca_bundle``, ``client_cert``, ``connections``, ``rate``.
    fsspec_protocols : list of str
        Protocols of fsspec that packages may name although they can run code or write files.
    cache : Folder, optional
        Where downloads are kept; None for astropy's cache.
    files : list of Path
        The configuration files that were read.
    agent : str
        What else dataferry calls itself towards hosts behind its own name: astropy's user agent.
    anonymous : bool
        Whether hosts are asked without any token, login or ``.netrc``.
    named_hosts : list of str
        Declarations that the user typed, and that no package chose: their servers may get the user's credentials.
    """

    def __init__(
        self,
        *,
        offline: str = "",
        verify: str = "once",
        site: str = "",
        folder_timeout: float = 3.0,
        folders: list[tuple[str, str, str]] | None = None,
        packages: dict[str, PackageSettings] | None = None,
        sites: dict[str, Mapping[str, Any]] | None = None,
        hosts: dict[str, dict[str, Any]] | None = None,
        fsspec_protocols: list[str] | None = None,
        cache: Folder | None = None,
        files: list[Path] | None = None,
        agent: str = "",
        anonymous: bool = False,
        named_hosts: list[str] | None = None,
    ) -> None:
        self.offline, self.verify, self.site, self.folder_timeout = offline, verify, site, folder_timeout
        self.folders, self.packages, self.sites = folders or [], packages or {}, sites or {}
        self.hosts, self.fsspec_protocols = hosts or {}, fsspec_protocols or []
        self.cache = cache
        self.files, self.agent, self.anonymous = files or [], agent, anonymous
        self.named_hosts = named_hosts or []

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
        return Settings(**{**vars(self), "hosts": hosts, "anonymous": True})

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


def config_files() -> list[Path]:
    """Where configuration files may lie, the user's first: absolute paths, whether or not there is a file."""
    homes = [os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")]
    homes += (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    return [Path(home) / "dataferry" / "config.toml" for home in homes if os.path.isabs(home)]


_read: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}


def _table(path: Path) -> dict[str, Any] | None:
    """One configuration file, parsed again only after it changed."""
    key = str(path)
    try:
        stat = os.stat(key)
        mark = (stat.st_mtime_ns, stat.st_size)
        if key not in _read or _read[key][0] != mark:
            import tomllib

            _read[key] = mark, tomllib.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode())
        return _read[key][1]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None


def load_settings() -> Settings:
    """Read the environment and the configuration files; raises `SettingsError`, which names the variable or file."""
    settings = Settings()
    for path in reversed(config_files()):  # the user's last, so that it wins
        table = _table(path)
        if table is not None:
            _Reader(path).into(settings, table)
            settings.files.insert(0, path)
    switch = os.environ.get(OFFLINE_VARIABLE)
    if switch is not None:
        if switch.lower() not in _YES | _NO:
            raise SettingsError(f"{OFFLINE_VARIABLE} is 1 or 0, not {switch!r}")
        settings.offline = f"{OFFLINE_VARIABLE}={switch}" if switch.lower() in _YES else ""
    if CACHE_VARIABLE in os.environ:
        settings.cache = cache_folder(os.environ[CACHE_VARIABLE], CACHE_VARIABLE)
    return settings


class _Reader(Values):
    """Checks one file's tables and puts them in front of what is there."""

    def into(self, settings: Settings, table: dict[str, Any]) -> None:
        self.keys(table, _TOP, "")
        if self.typed(table, "offline", bool, False):
            settings.offline = f"offline = true in {self.path}"
        elif "offline" in table:
            settings.offline = ""
        settings.verify = self.typed(table, "verify", str, settings.verify)
        if settings.verify not in {"once", "always"}:
            raise self.error(f'verify is "once" or "always", not {settings.verify!r}')
        if "cache" in table:
            settings.cache = cache_folder(self.typed(table, "cache", str, ""), str(self.path))
        settings.site = self.typed(table, "site", str, settings.site)
        settings.folder_timeout = self.typed(table, "folder_timeout", (int, float), settings.folder_timeout)
        settings.fsspec_protocols += self.strings(table.get("fsspec_protocols", []), "fsspec_protocols")
        settings.folders[:0] = self.folders(table, "")
        settings.sites |= self.sites(self.typed(table, "sites", dict, {}))
        for host, options in self.hosts(self.typed(table, "hosts", dict, {})).items():
            settings.hosts[host] = settings.hosts.get(host, {}) | options
        for package, values in self.typed(table, "packages", dict, {}).items():
            if not isinstance(values, dict):
                raise self.error(f"packages.{package} is a table")
            self.package(settings.packages.setdefault(package, PackageSettings()), values, f"packages.{package}.")

    def package(self, into: PackageSettings, table: dict[str, Any], where: str) -> None:
        self.keys(table, _PACKAGE, where)
        into.folders[:0] = self.folders(table, where)
        into.mirrors[:0] = self.strings(table.get("mirrors", []), f"{where}mirrors")
        into.strict = self.typed(table, "strict", bool, into.strict, where)
        for name, entry in self.typed(table, "files", dict, {}, where).items():
            if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
                raise self.error(f"{where}files.{name!r} is a table with the path to use instead")
            into.overrides[name] = entry["path"], str(self.path)

    def folders(self, table: dict[str, Any], where: str) -> list[tuple[str, str, str]]:
        found = table.get("folders", {})
        found = found if isinstance(found, dict) else {"any": found}
        return [
            (site, folder, str(self.path)) for site in found for folder in self.strings(found[site], f"{where}folders")
        ]
