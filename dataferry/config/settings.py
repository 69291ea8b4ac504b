"""What the environment, the user's and the administrator's ``config.toml`` say.

Files are read in the XDG places: ``$XDG_CONFIG_HOME/dataferry/config.toml`` (by default ``~/.config``), then the
administrator's in each folder of ``$XDG_CONFIG_DIRS`` (by default ``/etc/xdg``). What the user says comes first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from .validation import Values

__all__ = [
    "DATA_VARIABLE",
    "OFFLINE_VARIABLE",
    "PackageSettings",
    "Settings",
    "config_files",
    "load_settings",
]

#: Folders for the data of any package, each holding ``<package>/<name>``.
DATA_VARIABLE = "DATAFERRY_DATA"
OFFLINE_VARIABLE = "DATAFERRY_OFFLINE"

_YES, _NO = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
_TOP = {
    "offline",
    "verify",
    "site",
    "folder_timeout",
    "fsspec_protocols",
    "folders",
    "order",
    "packages",
    "sites",
    "hosts",
}
_PACKAGE = {"folders", "mirrors", "strict", "files"}


@dataclass
class PackageSettings:
    """What the configuration says of one package.

    Parameters
    ----------
    folders : list of (str, str, str)
        Site label, folder as written, file that says it.
    mirrors : list of str
        Hosts to ask before the author's own, because they are nearer.
    strict : bool or None
        Whether an unregistered name is an error; None leaves it to the author.
    overrides : dict of str to (str, str)
        Name -> local path to use instead, and the file that says it.
    """

    folders: list[tuple[str, str, str]] = field(default_factory=list)
    mirrors: list[str] = field(default_factory=list)
    strict: bool | None = None
    overrides: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
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
    order : str
        ``"declared"``, or ``"speed"`` to ask the hosts first that were the fastest lately.
    folders : list of (str, str, str)
        Folders for any package: site label, folder as written, file that says it.
    packages : dict of str to PackageSettings
        What is said of single packages.
    sites : dict
        Further sites, in the form of ``data/sites.toml``.
    hosts : dict of str to dict
        Host name -> ``token``, ``user``, ``password``, ``ca_bundle``, ``client_cert``, ``connections``, ``rate``.
    fsspec_protocols : list of str
        Protocols of fsspec that packages may name although they can run code or write files.
    files : list of Path
        The configuration files that were read.
    agent : str
        What else is said to hosts behind dataferry's own name: astropy's user agent.
    anonymous : bool
        Whether hosts are asked as by a stranger: without any token, login or ``.netrc``.
    """

    offline: str = ""
    verify: str = "once"
    site: str = ""
    folder_timeout: float = 3.0
    order: str = "declared"
    folders: list[tuple[str, str, str]] = field(default_factory=list)
    packages: dict[str, PackageSettings] = field(default_factory=dict)
    sites: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    fsspec_protocols: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    agent: str = ""
    anonymous: bool = False

    def package(self, name: str) -> PackageSettings:
        """What is said of one package; empty settings where nothing is."""
        return self.packages.get(name) or PackageSettings()

    def as_stranger(self) -> Settings:
        """The same settings without anything that says who the user is; proxies and trusted roots stay."""
        secret = {"token", "user", "password", "client_cert"}
        hosts = {host: {k: v for k, v in options.items() if k not in secret} for host, options in self.hosts.items()}
        return replace(self, hosts=hosts, anonymous=True)

    @property
    def user_agent(self) -> str:
        """What dataferry calls itself towards hosts."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("dataferry")
        except PackageNotFoundError:
            number = "0"
        return f"dataferry/{number} {self.agent}".rstrip()


def config_files() -> list[Path]:
    """Where configuration files may lie, the user's first.

    Returns
    -------
    list of Path
        Absolute paths, whether or not there is a file.
    """
    homes = [os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")]
    homes += (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    return [Path(home) / "dataferry" / "config.toml" for home in homes if os.path.isabs(home)]


_read: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}


def _table(path: Path) -> dict[str, Any] | None:
    """One configuration file, parsed again only after it changed."""
    import tomllib

    try:
        stat = path.stat()
        mark = (stat.st_mtime_ns, stat.st_size)
        if path not in _read or _read[path][0] != mark:
            _read[path] = mark, tomllib.loads(path.read_bytes().decode())
        return _read[path][1]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None


def load_settings() -> Settings:
    """Read the environment and the configuration files.

    Returns
    -------
    Settings
        All settings of this process, as they are now.

    Raises
    ------
    SettingsError
        If a variable or a file holds something that cannot be used; the message names it.
    """
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
        settings.site = self.typed(table, "site", str, settings.site)
        settings.folder_timeout = self.typed(table, "folder_timeout", (int, float), settings.folder_timeout)
        settings.order = self.typed(table, "order", str, settings.order)
        if settings.order not in {"declared", "speed"}:
            raise self.error(f'order is "declared" or "speed", not {settings.order!r}')
        settings.fsspec_protocols += self.strings(table.get("fsspec_protocols", []), "fsspec_protocols")
        settings.folders[:0] = self.folders(table, "")
        settings.sites |= self.sites(self.typed(table, "sites", dict, {}))
        for host, options in self.hosts(self.typed(table, "hosts", dict, {})).items():
            settings.hosts[host] = settings.hosts.get(host, {}) | options
        for package, said in self.typed(table, "packages", dict, {}).items():
            if not isinstance(said, dict):
                raise self.error(f"packages.{package} is a table")
            self.package(
                settings.packages.setdefault(package, PackageSettings()),
                said,
                f"packages.{package}.",
            )

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
        said = table.get("folders", {})
        said = said if isinstance(said, dict) else {"any": said}
        return [
            (site, folder, str(self.path)) for site in said for folder in self.strings(said[site], f"{where}folders")
        ]
