"""Write entries into a package's registry: the rest of the file stays as its author wrote it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BadName, RegistryError, WrongBytes
from .names import check_name, check_url
from .registry import Entry, Registry
from .registry_file import TextFile
from .registry_text import listed_with, toml_with

__all__ = ["Change", "RegistryEditor"]

_OPENING = "# Data files of this package, read by dataferry. `dataferry add` writes the [files].\n"


class Change(NamedTuple):
    """What `RegistryEditor.put` does with one entry.

    Parameters
    ----------
    action : str
        ``"added"``, ``"updated"`` (a size or a locator), ``"replaced"`` (other bytes) or ``"unchanged"``.
    entry : Entry
        The entry as it will stand there.
    """

    action: str
    entry: Entry


class RegistryEditor:
    """Adds and updates entries; nothing is written before `save`.

    Entries go to the text file that ``registry`` in ``dataferry.toml`` names, if it names one, else to ``[files]``.

    Parameters
    ----------
    path : path-like
        The ``dataferry.toml``; it is made by `save` if it is not there.

    Raises
    ------
    RegistryError
        If what is there cannot be read.

    Attributes
    ----------
    created : bool
        Whether there was no such file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.created = not os.path.lexists(self.path)
        self._dataurl: str | None = None
        self._mirrors: tuple[str, ...] | None = None
        self._changes: dict[str, Change] = {}
        self._entries: dict[str, Entry] = {}
        self._toml = TextFile(self.path, _OPENING if self.created else None)
        self._list: TextFile | None = None
        if not self.created:
            registry = Registry(self.path)
            if registry.list_path is not None:
                # one that is declared and not there yet is made by save()
                self._list = TextFile(registry.list_path, None if os.path.lexists(registry.list_path) else "")
            names = registry.names() if self._list is None or self._list.text else self._in_toml()
            self._entries = {name: entry for name in names if (entry := registry.find(name))}

    def _in_toml(self) -> dict[str, Any]:
        files: dict[str, Any] = tomllib.loads(self._toml.text).get("files", {})
        return files

    def set_dataurl(self, url: str) -> bool:
        """Declare the primary base URL.

        Parameters
        ----------
        url : str
            ``https://host/path/``.

        Returns
        -------
        bool
            Whether that is a change.

        Raises
        ------
        BadName
            If names cannot be joined to it.
        """
        check_url(url)
        self._dataurl = None if tomllib.loads(self._toml.text).get("dataurl") == url else url
        return self._dataurl is not None

    def add_mirror(self, spec: str, *, before: Iterable[str] = ()) -> bool:
        """Declare a further host.

        Parameters
        ----------
        spec : str
            A base URL or ``scheme:rest``.
        before : iterable of str
            Mirrors that shall come after it, if they are there.

        Returns
        -------
        bool
            Whether that is a change.
        """
        said = tomllib.loads(self._toml.text).get("mirrors", [])
        mirrors = list(self._mirrors if self._mirrors is not None else [said] if isinstance(said, str) else said)
        if spec in mirrors:
            return False
        mirrors.insert(min((mirrors.index(other) for other in before if other in mirrors), default=len(mirrors)), spec)
        self._mirrors = tuple(mirrors)
        return True

    def put(self, entries: Iterable[Entry], *, replace: bool = False) -> list[Change]:
        """Add or update entries.

        Parameters
        ----------
        entries : iterable of Entry
            What is known of the files. A size or locator that is not given leaves the one that is registered.
        replace : bool
            Whether a name may get other bytes. A published name never may: who has the old file would keep it.

        Returns
        -------
        list of Change
            One for each entry, in order.

        Raises
        ------
        BadName
            If a name is not legal, or given twice with different bytes.
        WrongBytes
            If a name is registered with other bytes and `replace` is False; nothing is put then.
        RegistryError
            If an entry with locators would have to go to a text registry.
        """
        changes: dict[str, Change] = {}
        conflicts: list[str] = []
        for entry in entries:
            before = changes.get(check_name(entry.name))
            if before is not None and before.entry.sha256 != entry.sha256:
                raise BadName(f"{entry.name!r} is given twice, with different bytes")
            old = self._entries.get(entry.name)
            other = old is not None and (
                old.sha256 != entry.sha256 or (None not in {old.size, entry.size} and old.size != entry.size)
            )
            if old is not None and other and not replace:
                conflicts.append(f"  {entry.name}: sha256 {old.sha256[:12]}... there, {entry.sha256[:12]}... now")
            changes[entry.name] = _change(old, entry, other)
            if entry.locators and self._list is not None and entry.name not in self._in_toml():
                raise RegistryError(f"{self._list.path}: a text registry holds no locators ({entry.name})")
        if conflicts:
            said = "\n".join(conflicts)
            raise WrongBytes(
                f"{self.path}: registered with other bytes:\n{said}\nA published name keeps its bytes: choose a new "
                "name, or use --replace for files that nobody has got yet"
            )
        self._changes |= {name: change for name, change in changes.items() if change.action != "unchanged"}
        self._entries |= {name: change.entry for name, change in changes.items()}
        return list(changes.values())

    def save(self) -> list[Path]:
        """Write what was put, each file by one rename.

        Returns
        -------
        list of Path
            The files that changed.

        Raises
        ------
        RegistryError
            If a file was changed by someone else since it was read, or is laid out so that it cannot be edited safely.
        CacheError
            If a file cannot be written.
        """
        changes = self._changes
        order = [n for n, c in changes.items() if c.action != "added"] + sorted(
            n for n, c in changes.items() if c.action == "added"
        )
        here = self._in_toml()
        listed = [changes[n].entry for n in order if self._list is not None and n not in here]
        tabled = [changes[n].entry for n in order if self._list is None or n in here]
        written: list[Path] = []
        if self._list is not None and listed:
            written += self._list.write(listed_with(self._list.text, listed))
        if tabled or self._dataurl is not None or self._mirrors is not None:
            text = toml_with(self._toml.text, tabled, self._dataurl, self._mirrors)
            self._check(text, tabled)
            written += self._toml.write(text)
        self._changes, self._dataurl, self._mirrors, self.created = {}, None, None, False
        return written

    def _check(self, text: str, entries: list[Entry]) -> None:
        expected = tomllib.loads(self._toml.text)
        if self._dataurl is not None:
            expected["dataurl"] = self._dataurl
        if self._mirrors is not None:
            expected["mirrors"] = list(self._mirrors)
        for entry in entries:
            size = {} if entry.size is None else {"size": entry.size}
            expected.setdefault("files", {})[entry.name] = {**size, "sha256": entry.sha256, **entry.locators}
        try:
            same = tomllib.loads(text) == expected
        except tomllib.TOMLDecodeError:
            same = False
        if not same:
            raise RegistryError(
                f'{self.path}: its layout cannot be edited safely; write each file as a table [files."<name>"]'
            )


def _change(old: Entry | None, new: Entry, other: bool) -> Change:
    if old is None or other:  # a locator finds the old bytes
        return Change("replaced" if old else "added", new)
    merged = Entry(new.name, new.sha256, old.size if new.size is None else new.size, {**old.locators, **new.locators})
    return Change("unchanged" if merged == old else "updated", merged)
