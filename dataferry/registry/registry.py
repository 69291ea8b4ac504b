"""The registry: which files a package has, and how each is recognised.

A package declares them in ``<package>/data/dataferry.toml``. Its ``[files]`` table has them, or, for many thousands,
the text file that its key ``registry`` names: ``sha256  size  name`` a line. Of that file nothing but the line that was
asked for is parsed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import BadName, RegistryError
from .entry import Entry, check_entry
from .names import check_name, check_url, close_names, shortened
from .packages import package_at, release_of
from .toml_values import TomlValues, parse_toml, read_toml

if TYPE_CHECKING:
    from pathlib import Path

    from .checksum_lists import ListedFiles

_KEYS = {"dataurl", "mirrors", "timeout", "env", "cache_env", "registry", "strict", "folders", "files", "about"}
_MOST_ROWS = 50  # of a table in a notebook
#: How variables with a secret are called: GITHUB_TOKEN, AWS_ACCESS_KEY_ID, PGPASSWORD, https_proxy.
_LOGIN_NAME = r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|APIKEY|PROXY|(^|_)(KEY|PASS|PAT|AUTH)|_PWD)(_|$)"


class Registry(Mapping[str, Entry]):
    """The declaration of a package's data, and a mapping of the names of its files to their entries.

    Parameters
    ----------
    path : path-like
        The ``dataferry.toml``.
    package : str, optional
        The package that it belongs to; by default the one whose ``data`` folder it is in.
    new_list : bool
        Whether the text file that ``registry`` names need not exist yet.

    Raises
    ------
    RegistryError
        If it cannot be read or is invalid; the message starts with file and line.

    Attributes
    ----------
    origin : str
        What declares the files, for messages.
    data_folder : str
        The folder of the ``dataferry.toml``; empty for files that were declared in Python.
    dataurl : str
        The primary base URL; empty if only mirrors or bundled files are declared. ``{version}`` is replaced.
    mirrors : tuple of str
        Further hosts, in order.
    timeout : float or None
        Give up on a host after this many seconds without progress.
    env : str
        The environment variable that names a folder of this package's data; empty for none.
    cache_env : str
        The environment variable that names the folder in which downloads are kept; empty for none.
    strict : bool
        Whether a name that is not registered is an error.
    folders : dict of str to tuple of str
        Site -> folders as declared; ``any`` for every site.
    about : dict
        The ``[about]`` table, for publishing.
    """

    def __init__(self, path: str | os.PathLike[str], package: str = "", *, new_list: bool = False) -> None:
        self._new_list = new_list
        self.origin = os.path.abspath(path)
        self.data_folder = os.path.dirname(self.origin)
        text, table = read_toml(self.origin, RegistryError, _tables)
        self._load(table, package, text)

    @classmethod
    def from_files(cls, package: str, files: Mapping[str, Any], **declared: Any) -> Registry:
        """Make the registry of files that were declared in Python.

        Parameters
        ----------
        package : str
            The package.
        files : mapping of str to (mapping, str or Entry)
            Name -> ``size``, ``sha256``, ``url`` and locators, or ``"sha256:..."``.
        **declared
            ``dataurl``, ``mirrors`` and the other keys of ``dataferry.toml``.

        Returns
        -------
        Registry
            One without a ``path``, and ``strict`` unless ``declared`` says otherwise.

        Raises
        ------
        RegistryError
            If something is not legal; the message names the file.
        """
        made = cls.__new__(cls)
        made._new_list = False
        made.origin, made.data_folder = f"PackageData({package!r}, files=...)", ""
        tables = {name: {"sha256": value} if isinstance(value, str) else value for name, value in files.items()}
        made._load({"strict": True, **declared, "files": tables}, package)
        return made

    def _load(self, table: Mapping[str, Any], package: str, text: str = "") -> None:
        values = TomlValues(self.origin, RegistryError, text)
        for key in table.keys() - _KEYS:
            close = close_names(key, _KEYS)
            raise values.error(f"unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""), key)
        self._package = package
        self.dataurl: str = values.typed(table, "dataurl", str, "")
        if "{version}" in self.dataurl:
            release = release_of(self.package)
            if release == "main":  # a branch, which has no "v" in front
                self.dataurl = self.dataurl.replace("v{version}", release)
            self.dataurl = self.dataurl.replace("{version}", release)
        if self.dataurl:
            values.check(check_url, self.dataurl, "dataurl")
        self.mirrors = tuple(values.strings(table, "mirrors"))
        for mirror in self.mirrors:
            if "{version}" in mirror:
                raise values.error(f"{{version}} is for dataurl alone; write the release into {mirror!r}", "mirrors")
        self.timeout: float | None = values.typed(table, "timeout", (int, float), None)
        if self.timeout is not None and not 0 < self.timeout < 1e6:
            raise values.error(f"timeout is a number of seconds above 0, not {shortened(self.timeout)}", "timeout")
        self.env: str = values.typed(table, "env", str, "")
        self.cache_env: str = values.typed(table, "cache_env", str, "")
        self.strict: bool = values.typed(table, "strict", bool, False)
        folders = values.typed(table, "folders", dict, {})
        self.folders = {site: tuple(values.strings(folders, site, "folders.")) for site in folders}
        in_folders = [
            (variable, site)
            for site, several in self.folders.items()
            for variable in re.findall(r"\$\{?(\w+)", " ".join(several))
        ]
        for variable, key in ((self.env, "env"), (self.cache_env, "cache_env"), *in_folders):
            if variable and re.search(_LOGIN_NAME, variable.upper()):
                raise values.error(f"the variable {variable} may hold a secret, and paths are printed", key)
        self.about: dict[str, Any] = values.typed(table, "about", dict, {})
        files = values.typed(table, "files", dict, {})
        self._entries = {name: self._entry(name, value, text) for name, value in files.items()}
        listed: str = values.typed(table, "registry", str, "")
        self._list: ListedFiles | None = None
        if listed:
            from .checksum_lists import ListedFiles

            if not self.data_folder:
                raise values.error("a text registry is declared in a dataferry.toml", "registry")
            values.check(check_name, listed, "registry")
            self._list = ListedFiles(os.path.join(self.data_folder, listed), self._new_list)

    @property
    def path(self) -> Path | None:
        """The ``dataferry.toml``; None for files that were declared in Python."""
        from pathlib import Path

        return Path(self.origin) if self.data_folder else None

    @property
    def package(self) -> str:
        """The package that the files belong to."""
        return self._package or (package_at(self.path) if self.path is not None else "")

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
            for entry in self._list.entries.values():
                if entry.name in self._entries:
                    raise RegistryError(f"{self._list.path}: {entry.name!r} is registered in {self.origin} as well")
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

    def __getitem__(self, name: str) -> Entry:
        if (entry := self.find(name)) is None:
            raise KeyError(name)
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __repr__(self) -> str:
        return f"Registry({self.origin!r})"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        entries = list(self.entries())
        rows = [("name", "bytes", "sha256")]
        rows += [(entry.name, str(entry.size or ""), f"{entry.sha256[:12]}…") for entry in entries[:_MOST_ROWS]]
        if len(entries) > _MOST_ROWS:
            rows.append((f"and {len(entries) - _MOST_ROWS} more", "", ""))
        return html_table(self.package, f"{len(entries)} files, {self.origin}", rows)

    def keeps_locators(self, name: str) -> bool:
        """Whether the entry of a file can have the ids that single hosts need: a text registry has none."""
        return self._list is None or name in self._entries

    @cached_property
    def base(self) -> str:
        """The part of a cache key before the name: ``dataurl``, or a URL made from the first mirror or the package."""
        if self.dataurl:
            return self.dataurl
        first = self.mirrors[0] if self.mirrors else f"package:{self.package}"
        if first.startswith(("http://", "https://")):
            return first
        from urllib.parse import quote

        # astropy takes only URLs as keys, and a name below .invalid is never anybody's
        scheme, _, rest = first.partition(":")
        return f"https://{scheme.lower()}.invalid/{quote(rest, safe='')}/"

    @property
    def list_path(self) -> Path | None:
        """The text file with the entries, where ``registry`` names one."""
        from pathlib import Path

        return None if self._list is None else Path(self._list.path)

    def _entry(self, name: str, value: object, text: str) -> Entry:
        try:
            check_name(name)
            if isinstance(value, Entry):
                return value if value.name == name else value._replace(name=name)
            if not isinstance(value, Mapping):
                raise RegistryError(f"the entry of {name!r} is a table with size and sha256, not {shortened(value)}")
            locators = dict(value)
            sha256, size = locators.pop("sha256", None), locators.pop("size", None)
            if isinstance(sha256, str) and sha256.startswith("sha256:"):
                sha256 = sha256[7:]
            return check_entry(name, sha256, size, locators)
        except (BadName, RegistryError) as error:
            at = text.find(f'"{name}"')
            line = f"line {text.count(chr(10), 0, at) + 1}: " if at >= 0 else ""
            raise RegistryError(f"{self.origin}: {line}{error}") from None


def html_table(title: str, about: str, rows: Iterable[Sequence[str]]) -> str:
    """A table for notebooks."""
    from html import escape

    cells = ("".join(f'<td style="text-align:left">{escape(text)}</td>' for text in row) for row in rows)
    table = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<b>{escape(title)}</b> ({escape(about)})<table>{table}</table>"


#: Below this many characters tomllib is quick enough.
_LONG = 100_000


def _tables(text: str) -> dict[str, Any]:
    if len(text) > _LONG:
        from .toml_blocks import read_blocks

        if (tables := read_blocks(text)) is not None:
            return tables
    return parse_toml(text)
