"""The registry: which files a package has, and how each is recognised.

A package declares them in ``<package>/data/dataferry.toml``. Its ``[files]`` table holds them, or, for many thousands,
the text file that its key ``registry`` names: ``sha256  size  name`` a line. Of that file nothing but the line that was
asked for is parsed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import BadName, RegistryError
from .names import check_name, check_url, close_names
from .registry_list import Entry, ListedFiles, is_sha256

__all__ = ["Entry", "Registry"]

_KEYS = {
    "dataurl",
    "mirrors",
    "timeout",
    "env",
    "registry",
    "strict",
    "folders",
    "files",
    "about",
}


class Registry:
    """The declaration of a package's data.

    Parameters
    ----------
    path : path-like
        The ``dataferry.toml``.

    Raises
    ------
    RegistryError
        If it cannot be read or something in it is wrong; the message starts with file and line.

    Attributes
    ----------
    dataurl : str
        The primary base URL; empty where only mirrors or bundled files are declared.
    mirrors : tuple of str
        Further hosts, in order.
    timeout : float or None
        Seconds without progress after which a host is given up.
    env : str
        The environment variable that holds a folder of this package's data; empty for none.
    strict : bool
        Whether a name that is not registered is an error.
    folders : dict of str to tuple of str
        Site -> folders as declared; ``any`` for every site.
    about : dict
        The ``[about]`` table, for publishing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import tomllib

        self.path = Path(path)
        try:
            self._text = self.path.read_bytes().decode()
            table = tomllib.loads(self._text)
        except OSError as error:
            raise RegistryError(f"{self.path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise RegistryError(f"{self.path}: byte {error.start} is not UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise RegistryError(f"{self.path}: not valid TOML: {error}") from None
        for key in table.keys() - _KEYS:
            close = close_names(key, _KEYS)
            raise self._error(
                key,
                f"unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""),
            )
        self.dataurl: str = self._typed(table, "dataurl", str, "")
        if self.dataurl:
            try:
                check_url(self.dataurl)
            except BadName as error:
                raise self._error("dataurl", str(error)) from None
        self.mirrors = self._strings(table.get("mirrors", []), "mirrors")
        self.timeout = self._seconds(table)
        self.env: str = self._typed(table, "env", str, "")
        self.strict: bool = self._typed(table, "strict", bool, False)
        folders = self._typed(table, "folders", dict, {})
        self.folders = {site: self._strings(value, f"folders.{site}") for site, value in folders.items()}
        self.about: dict[str, Any] = self._typed(table, "about", dict, {})
        files = self._typed(table, "files", dict, {})
        self._entries = {name: self._entry(name, value) for name, value in files.items()}
        listed: str = self._typed(table, "registry", str, "")
        self._list = ListedFiles(self._listed_path(listed)) if listed else None
        del self._text

    def _listed_path(self, listed: str) -> Path:
        try:
            return self.path.parent / check_name(listed)
        except BadName as error:
            raise self._error("registry", str(error)) from None

    def find(self, name: str) -> Entry | None:
        """What the registry knows of a file.

        Parameters
        ----------
        name : str
            A legal name.

        Returns
        -------
        Entry or None
            None for a file that is not registered.

        Raises
        ------
        RegistryError
            If the line that registers the file is wrong, or there are two.
        """
        entry = self._entries.get(name)
        return entry if entry is not None or self._list is None else self._list.find(name)

    def entries(self) -> Iterator[Entry]:
        """All entries, in the order of the file.

        Yields
        ------
        Entry
            One for each registered file.

        Raises
        ------
        RegistryError
            If the text registry is wrong.
        """
        yield from self._entries.values()
        if self._list is not None:
            for entry in self._list.read().values():
                if entry.name in self._entries:
                    raise RegistryError(f"{self._list.path}: {entry.name!r} is registered in {self.path} as well")
                yield entry

    def names(self) -> list[str]:
        """The names of all registered files, in the order of the file.

        Returns
        -------
        list of str
            The names.

        Raises
        ------
        RegistryError
            If the text registry is wrong.
        """
        return [entry.name for entry in self.entries()]

    def in_table(self, name: str) -> bool:
        """Whether a file stands in ``[files]``, where an entry may have locators."""
        return name in self._entries

    @cached_property
    def base(self) -> str:
        """What stands before a name in astropy's cache: ``dataurl``, or a URL that stands for the first mirror."""
        if self.dataurl or not self.mirrors:
            return self.dataurl
        first = self.mirrors[0]
        if first.startswith(("http://", "https://")):
            return first
        from urllib.parse import quote

        # astropy takes only URLs as keys, and a name below .invalid is never anybody's
        scheme, _, rest = first.partition(":")
        return f"https://{scheme.lower()}.invalid/{quote(rest, safe='')}/"

    @property
    def list_path(self) -> Path | None:
        """The text file with the entries, where ``registry`` names one."""
        return None if self._list is None else self._list.path

    def _error(self, key: str, why: str) -> RegistryError:
        # the line is looked up in the text, since tomllib gives none for values
        last = re.escape(key.rpartition(".")[2])
        found = re.search(rf'^[ \t]*(?:\[[^\n]*)?"?{last}"?[ \t]*(?:=|\])', self._text, re.MULTILINE)
        line = f"line {self._text.count(chr(10), 0, found.start()) + 1}: " if found else ""
        return RegistryError(f"{self.path}: {line}{why}")

    def _typed(self, table: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
        value = table.get(key, default)
        if not isinstance(value, kind):
            word = {str: "a string", bool: "true or false", dict: "a table"}[kind]
            raise self._error(key, f"{key} is {word}, not {value!r}")
        return value

    def _strings(self, value: object, key: str) -> tuple[str, ...]:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise self._error(key, f"{key} is a string or a list of strings, not {value!r}")

    def _seconds(self, table: Mapping[str, Any]) -> float | None:
        value = table.get("timeout")
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6):
            return value
        raise self._error("timeout", f"timeout is a number of seconds above 0, not {value!r}")

    def _entry(self, name: str, value: object) -> Entry:
        try:
            check_name(name)
        except BadName as error:
            raise self._error_in(name, str(error)) from None
        if not isinstance(value, dict):
            raise self._error_in(
                name,
                f"the entry of {name!r} is a table with size and sha256, not {value!r}",
            )
        sha256, size = value.get("sha256"), value.get("size")
        if not isinstance(sha256, str) or not is_sha256(sha256):
            raise self._error_in(name, f"sha256 of {name!r} is 64 hexadecimal digits, not {sha256!r}")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            raise self._error_in(name, f"size of {name!r} is a number of bytes, not {size!r}")
        locators = {key: item for key, item in value.items() if key not in {"sha256", "size"}}
        for key, item in locators.items():
            if not isinstance(item, str | int) or isinstance(item, bool):
                raise self._error_in(name, f"{key} of {name!r} is a string or an integer, not {item!r}")
        return Entry(name, sha256.lower(), size, locators)

    def _error_in(self, name: str, why: str) -> RegistryError:
        at = self._text.find(f'"{name}"')
        line = f"line {self._text.count(chr(10), 0, at) + 1}: " if at >= 0 else ""
        return RegistryError(f"{self.path}: {line}{why}")
