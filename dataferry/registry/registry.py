"""The registry: which files a package has, and how each is recognised.

A package declares them in ``<package>/data/dataferry.toml``. Its ``[files]`` table has them, or, for many thousands,
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
from .checksum_lists import Entry, ListedFiles, check_entry
from .names import check_name, check_url, close_names

__all__ = ["Entry", "Registry", "read_toml"]

_KEYS = {"dataurl", "mirrors", "timeout", "env", "registry", "strict", "folders", "files", "about"}


class Registry:
    """The declaration of a package's data.

    Parameters
    ----------
    path : path-like
        The ``dataferry.toml``.

    Raises
    ------
    RegistryError
        If it cannot be read or is invalid; the message starts with file and line.

    Attributes
    ----------
    dataurl : str
        The primary base URL; empty if only mirrors or bundled files are declared.
    mirrors : tuple of str
        Further hosts, in order.
    timeout : float or None
        Give up on a host after this many seconds without progress.
    env : str
        The environment variable that names a folder of this package's data; empty for none.
    strict : bool
        Whether a name that is not registered is an error.
    folders : dict of str to tuple of str
        Site -> folders as declared; ``any`` for every site.
    about : dict
        The ``[about]`` table, for publishing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))
        self._text, table = read_toml(self.path)
        for key in table.keys() - _KEYS:
            close = close_names(key, _KEYS)
            raise self._error(key, f"unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
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
        self._text = ""

    def _listed_path(self, listed: str) -> Path:
        try:
            return self.path.parent / check_name(listed)
        except BadName as error:
            raise self._error("registry", str(error)) from None

    def find(self, name: str) -> Entry | None:
        """Find the entry of a file.

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
        return list(self._entries) if self._list is None else [entry.name for entry in self.entries()]

    def tabled(self) -> list[Entry]:
        """The entries of ``[files]``."""
        return list(self._entries.values())

    def in_table(self, name: str) -> bool:
        """Whether a file is in ``[files]``, where an entry may have locators."""
        return name in self._entries

    @cached_property
    def base(self) -> str:
        """The part of a cache key before the name: ``dataurl``, or a URL made from the first mirror."""
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
        # tomllib reports no line for values, so it is found in the text
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
            if isinstance(value, Entry):
                return value
            if not isinstance(value, dict):
                raise RegistryError(f"the entry of {name!r} is a table with size and sha256, not {value!r}")
            locators = {key: item for key, item in value.items() if key not in {"sha256", "size"}}
            return check_entry(name, value.get("sha256"), value.get("size"), locators)
        except (BadName, RegistryError) as error:
            at = self._text.find(f'"{name}"')
            line = f"line {self._text.count(chr(10), 0, at) + 1}: " if at >= 0 else ""
            raise RegistryError(f"{self.path}: {line}{error}") from None


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text and the tables of a registry; raises `RegistryError`, with the line where it is known."""
    import tomllib

    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode()
        return text, _tables(text)
    except OSError as error:
        raise RegistryError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RegistryError(f"{path}: byte {error.start} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise RegistryError(f"{path}: its tables or arrays are nested too deeply") from None
    except ValueError as error:  # an integer of more digits than Python converts
        raise RegistryError(f"{path}: {error}") from None


#: A file as `dataferry add` writes it. tomllib takes 15 us for one, this 1.3 us, which is 1.5 s for 100,000 files.
_BLOCK = re.compile(
    r'\[files\."(?P<name>[^"\\\x00-\x1f\x7f]+)"\]\n'
    r'size = (?P<size>0|[1-9][0-9]{0,17})\nsha256 = "(?P<sha256>[0-9a-f]{64})"\n'
    r'(?P<locators>(?:[A-Za-z0-9_-]+ = (?:"[^"\\\x00-\x1f\x7f]*"|0|[1-9][0-9]{0,17})\n)*)(?:\n+|\Z)'
).match
_LOCATOR = re.compile(r'([A-Za-z0-9_-]+) = (?:"([^"]*)"|([0-9]+))\n').findall
#: Below this many characters tomllib is quick enough.
_LONG = 100_000


def _tables(text: str) -> dict[str, Any]:
    import tomllib

    if len(text) > _LONG and (tables := _read_blocks(text)) is not None:
        return tables
    return tomllib.loads(text)


def _read_blocks(text: str) -> dict[str, Any] | None:
    """The tables of a long registry, read as tomllib reads them; None where its layout is not that of `add`."""
    import tomllib

    start = at = text.find('\n[files."') + 1
    files: dict[str, Entry] = {}
    while block := _BLOCK(text, at):
        name, size, sha256, locators = block.groups()
        found: dict[str, str | int] = {key: int(digits) if digits else word for key, word, digits in _LOCATOR(locators)}
        if name in files or len(found) != locators.count("\n") or found.keys() & {"size", "sha256"}:
            return None  # twice the same: tomllib names the line
        files[name] = Entry(name, sha256, int(size), found)
        at = block.end()
    rest = text[at:]
    if not files or (rest and not rest.startswith("[")):
        return None
    try:
        # each part is whole TOML by itself, so no string or array goes over where they meet
        before, after = tomllib.loads(text[:start]), tomllib.loads(rest)
    except tomllib.TOMLDecodeError:
        return None
    if "files" in before or "files" in after or before.keys() & after.keys():
        return None
    return {**before, "files": files, **after}
