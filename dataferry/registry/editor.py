"""Write entries into a package's registry: the rest of the file stays as its author wrote it.

Blocks of entries are edited as text, and what that gave is compared with what was meant before it is written: tomlkit
moves the comments above the next table, and takes minutes for some thousand tables.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BadName, CacheError, RegistryError, UnknownFile, WrongBytes
from ..files import put_atomically
from .checksum_lists import Entry, list_with
from .names import check_name, check_public, check_url, close_names
from .registry import Registry

__all__ = ["Change", "RegistryEditor"]

_OPENING = "# Data files of this package, read by dataferry. `dataferry add` writes the [files].\nstrict = true\n"
#: A registry with more files gets the text form, which is read 100 times as fast.
MOST_IN_TOML = 2000
#: The name of the text form that is made then.
LIST_NAME = "files.txt"


class Change(NamedTuple):
    """What `RegistryEditor.put` does with one entry."""

    #: ``"added"``, ``"updated"`` (a size or a locator), ``"replaced"`` (other bytes) or ``"unchanged"``.
    action: str
    #: The entry as it will be there.
    entry: Entry


class RegistryEditor:
    """Adds, updates and removes entries; nothing is written before `save`.

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
        self._removed: set[str] = set()
        self._toml = _TextFile(self.path, _OPENING if self.created else None)
        self._list: _TextFile | None = None
        self._entries: dict[str, Entry] = {}
        if not self.created:
            registry = Registry(self.path, new_list=True)
            if registry.list_path is not None:
                # one that is declared and not there yet is made by save()
                self._list = _TextFile(registry.list_path, None if os.path.lexists(registry.list_path) else "")
            self._entries = {entry.name: entry for entry in registry.entries()}
            self._in_toml = {entry.name for entry in registry.tabled()}
        else:
            self._in_toml = set()

    def set_dataurl(self, url: str) -> bool:
        """Declare the primary base URL; whether that is a change. Raises `BadName` if names cannot be joined to it."""
        check_public(check_url(url))
        self._dataurl = None if self._toml.table.get("dataurl") == url else url
        return self._dataurl is not None

    def add_mirror(self, spec: str, *, before: Iterable[str] = ()) -> bool:
        """Declare a further host, in front of some others; whether that is a change."""
        check_public(spec)
        there = self._toml.table.get("mirrors", [])
        mirrors = list(self._mirrors if self._mirrors is not None else [there] if isinstance(there, str) else there)
        if spec in {*mirrors, self._dataurl, self._toml.table.get("dataurl")}:
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
            if _ids(entry) and self._list is not None and entry.name not in self._in_toml:
                raise RegistryError(f"{self._list.path}: a text registry holds no locators ({entry.name})")
        if conflicts:
            lines = "\n".join(conflicts)
            raise WrongBytes(
                f"{self.path}: registered with other bytes:\n{lines}\nA published name keeps its bytes: choose a new "
                "name, or use --replace for files that nobody has downloaded yet"
            )
        self._changes |= {name: change for name, change in changes.items() if change.action != "unchanged"}
        self._entries |= {name: change.entry for name, change in changes.items()}
        self._removed -= changes.keys()
        return list(changes.values())

    def remove(self, names: Iterable[str]) -> list[Entry]:
        """Take entries out; hosts and caches keep the files. Raises `UnknownFile` for a name that is not registered."""
        found = []
        for name in names:
            if name not in self._entries:
                raise UnknownFile(name, str(self.path), close_names(name, self._entries))
            found.append(self._entries[name])
        for entry in found:
            self._entries.pop(entry.name, None)
            self._changes.pop(entry.name, None)
            self._removed.add(entry.name)
        return found

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
        written: list[Path] = []
        moved = self._moves_to_list(order)
        here = self._in_toml - moved
        if self._list is not None:
            listed = [self._entries[n] for n in [*moved, *order] if n not in here and (n in moved or n in changes)]
            gone = self._removed - here
            if listed or gone:
                written += self._list.write(list_with(self._list.text, listed, gone))
        tabled = [changes[n].entry for n in order if self._list is None or n in here]
        gone = (self._removed & self._in_toml) | moved
        unnamed = self._list is not None and "registry" not in self._toml.table
        if tabled or gone or unnamed or self._dataurl is not None or self._mirrors is not None:
            written += self._toml.write(self._text_with(tabled, gone, unnamed))
        self._in_toml = here - self._removed | {entry.name for entry in tabled}
        self._changes, self._dataurl, self._mirrors, self.created = {}, None, None, False
        self._removed = set()
        return written

    def _moves_to_list(self, order: Sequence[str]) -> set[str]:
        """The entries that leave the TOML form, because there are too many for it."""
        if self._list is not None or len(self._entries) <= MOST_IN_TOML or not order:
            return set()
        path = self.path.parent / LIST_NAME
        if os.path.lexists(path) or any(_ids(self._entries[name]) for name in order):
            return set()
        self._list = _TextFile(path, "")
        return {name for name in self._in_toml - self._removed if not _ids(self._entries[name])}

    def _text_with(self, entries: list[Entry], gone: set[str], names_list: bool) -> str:
        """The new text; what it means is compared with what was meant."""
        expected = dict(self._toml.table)
        top: dict[str, Any] = {"registry": LIST_NAME} if names_list else {}
        if self._mirrors is not None:
            top["mirrors"] = list(self._mirrors)
        if self._dataurl is not None:
            top["dataurl"] = self._dataurl
        files = {name: value for name, value in expected.get("files", {}).items() if name not in gone}
        files |= {entry.name: _values(entry) for entry in entries}
        try:
            text = _edited(self._toml.text, top, entries, gone)
            found = tomllib.loads(text)
        except ValueError:  # of both TOML libraries
            found = {}
        if {**found, "files": found.get("files", {})} != {**expected, **top, "files": files}:
            raise RegistryError(
                f'{self.path}: its layout cannot be edited safely; write each file as a table [files."<name>"]'
            )
        return text


def _change(old: Entry | None, new: Entry, other: bool) -> Change:
    if old is None or other:  # a locator finds the old bytes
        return Change("replaced" if old else "added", new)
    merged = Entry(new.name, new.sha256, old.size if new.size is None else new.size, {**old.locators, **new.locators})
    return Change("unchanged" if merged == old else "updated", merged)


def _ids(entry: Entry) -> set[str]:
    """The locators of an entry that have no column in a text registry."""
    return entry.locators.keys() - {"url"}


def _values(entry: Entry) -> dict[str, Any]:
    size = {} if entry.size is None else {"size": entry.size}
    several = {"url": list(entry.urls)} if len(entry.urls) > 1 else {}
    return {**size, "sha256": entry.sha256, **entry.locators, **several}


# -- the text of dataferry.toml ---------------------------------------------------------------------

_HEADER = re.compile(r"\s*\[\s*files\s*\.").match
#: ``size = 10  # checked``: up to the value, the key in it, the value, the rest.
_PAIR = re.compile(
    r"""(\s*("[^"\\]*"|'[^']*'|[A-Za-z0-9_-]+)\s*=\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[-+0-9_]+|\[.*\])(\s*(?:#.*)?)"""
).fullmatch
_BARE = re.compile(r"[A-Za-z0-9_-]+").fullmatch


class _Blocks:
    """The lines of a ``dataferry.toml`` whose entries are tables ``[files."<name>"]``."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        if self._lines[-1] == "":
            self._lines.pop()

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def names(self) -> set[str]:
        return set(self._blocks())

    def _blocks(self) -> dict[str, tuple[int, int]]:
        """Name -> first line of its table, and the line behind its last one with what belongs to it."""
        heads = [number for number, line in enumerate(self._lines) if line.lstrip().startswith("[")]
        found = {}
        for start, stop in zip(heads, [*heads[1:], len(self._lines)], strict=False):
            if _HEADER(self._lines[start]):
                [name] = tomllib.loads(self._lines[start])["files"]
                found[name] = start, self._end_of(start, stop)
        return found

    def _end_of(self, start: int, stop: int) -> int:
        lines = self._lines
        end = stop
        while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        # a comment right below an entry belongs to it, and one behind an empty line to what follows
        while end < stop and lines[end].lstrip().startswith("#"):
            end += 1
        return end

    def remove(self, name: str) -> None:
        start, end = self._blocks()[name]
        if end < len(self._lines) and not self._lines[end].strip():
            end += 1
        del self._lines[start:end]

    def fill(self, entry: Entry) -> None:
        """Give a table other values, each in its own line, which keeps its comment."""
        start, end = self._blocks()[entry.name]
        wanted = {key: _toml(value) for key, value in _values(entry).items()}
        kept = [self._lines[start]]
        for line in self._lines[start + 1 : end]:
            match = _PAIR(line)
            if match is None:
                kept.append(line)
            elif (value := wanted.pop(match[2].strip("\"'"), None)) is not None:  # another locator finds the old bytes
                same = tomllib.loads(f"k = {match[3]}") == tomllib.loads(f"k = {value}")
                kept.append(line if same else f"{match[1]}{value}{match[4]}")
        kept += [f"{_key(key)} = {value}" for key, value in wanted.items()]
        self._lines[start:end] = kept

    def add(self, entries: list[Entry]) -> None:
        """Add tables behind the last one, or at the end of the file."""
        end = max((end for _, end in self._blocks().values()), default=len(self._lines))
        while end and not self._lines[end - 1].strip():
            end -= 1
        new: list[str] = []
        for entry in entries:
            new += ["", f"[files.{_toml(entry.name)}]"]
            new += [f"{_key(key)} = {_toml(value)}" for key, value in _values(entry).items()]
        self._lines[end:end] = new if end else new[1:]

    def set_top(self, key: str, value: Any) -> None:
        """Set a key above all tables; a new one comes below the comment that opens the file, mirrors below dataurl."""
        stop = next((n for n, line in enumerate(self._lines) if line.lstrip().startswith("[")), len(self._lines))
        top = self._lines[:stop]
        if key in tomllib.loads("\n".join(top)):
            top = _by_tomlkit("\n".join([*top, ""]), {key: value}, [], set()).split("\n")[:-1]
        else:
            dataurl = next((n for n, line in enumerate(top) if re.match(r"""\s*["']?dataurl["']?\s*=""", line)), None)
            at = next((n for n, line in enumerate(top) if line.strip() and not line.lstrip().startswith("#")), len(top))
            if key == "mirrors" and dataurl is not None:
                at = dataurl + 1
            top[at:at] = [f"{key} = {_toml(value)}", *([""] if at == len(top) and self._lines else [])]
        self._lines[:stop] = top


def _edited(text: str, top: Mapping[str, Any], entries: Sequence[Entry], gone: set[str]) -> str:
    """The text with keys of the top and entries set, and entries taken out."""
    end = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    blocks = _Blocks(text)
    files = tomllib.loads(text).get("files")
    if (files is not None and files.keys() != blocks.names()) or files == {}:
        text = _by_tomlkit(text, top, entries, gone)
    else:
        there = blocks.names()
        for name in gone & there:
            blocks.remove(name)
        for entry in entries:
            if entry.name in there:
                blocks.fill(entry)
        blocks.add([entry for entry in entries if entry.name not in there])
        for key, value in top.items():
            blocks.set_top(key, value)
        text = blocks.text
    return text.replace("\n", end)


def _by_tomlkit(text: str, top: Mapping[str, Any], entries: Sequence[Entry], gone: set[str]) -> str:
    """The same for entries in another style: each is an inline table, ``"<name>" = {size = 1, sha256 = "..."}``."""
    import tomlkit

    document: Any = tomlkit.parse(text)
    for key, value in top.items():
        there = document.get(key)
        if isinstance(there, list) and isinstance(value, list):
            for place, item in enumerate(value):
                if place == len(there) or there[place] != item:
                    there.insert(place, item)
        else:
            document[key] = value
    for name in gone & set(document.get("files", ())):
        del document["files"][name]
    for entry in entries:
        table = tomlkit.inline_table()
        table.update(_values(entry))
        document.setdefault("files", tomlkit.table())[entry.name] = table
    return tomlkit.dumps(document)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # a string of JSON is one of TOML, but for the one control character that JSON leaves as it is
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if _BARE(key) else _toml(key)


class _TextFile:
    """A file that is read once and written back whole, if nobody else wrote it in between."""

    def __init__(self, path: Path, text: str | None) -> None:
        self.path = path
        self._mark: tuple[int, ...] | None = None
        self._clean()
        if text is not None:
            self.text = text
            return
        try:
            self._mark = _mark(path)
            self.text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode()
        except OSError as error:
            raise RegistryError(f"{path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise RegistryError(f"{path}: byte {error.start} is not UTF-8") from None

    def _clean(self) -> None:
        """Remove what an edit left here that was killed: nothing of ours stays in a package."""
        from ..files import remove_private

        remove_private(os.path.dirname(os.path.realpath(self.path)), older_than=60)  # one is written in far less

    @property
    def table(self) -> dict[str, Any]:
        """The text as tables; it has been read as a registry before."""
        return tomllib.loads(self.text)

    def write(self, text: str) -> list[Path]:
        """Put another text in its place by one rename."""
        target = os.path.realpath(self.path)  # a link stays a link
        try:
            if self._mark != (_mark(self.path) if os.path.lexists(self.path) else None):
                raise RegistryError(f"{self.path}: someone else changed it; run this again")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            put_atomically(target, text.encode(), sync=True, like=None if self._mark is None else os.stat(target))
        except OSError as error:
            raise CacheError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self.text, self._mark = text, _mark(self.path)
        return [self.path]


def _mark(path: Path) -> tuple[int, ...]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
