"""Write entries into a package's registry: the rest of the file stays as its author wrote it.

The text is divided into the tables of files, and tomlkit edits one at a time: of a whole file it moves the comments
above the next table, and takes minutes for some thousand tables. The result is compared with what was meant before it
is written.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

from ..errors import BadName, CacheError, RegistryError, UnknownFile, WrongBytes
from ..files import put_atomically, read_regular, remove_private
from .checksum_lists import list_with
from .entry import Entry
from .names import check_name, check_public, check_url, close_names
from .registry import Registry

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
    Raises `RegistryError` if what is there cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.created = not os.path.lexists(self.path)
        #: What was there before.
        self.registry = Registry.from_files("", {}) if self.created else Registry(self.path, new_list=True)
        listed = self.registry.list_path
        self._list = None if listed is None else _TextFile(listed)
        self._written = {entry.name: entry for entry in self.registry.entries()}
        self._tabled = set(filter(self.registry.keeps_locators, self._written))
        self._toml = _TextFile(self.path, _OPENING)
        self._top: dict[str, Any] = {}
        self._entries = dict(self._written)

    def set_dataurl(self, url: str) -> bool:
        """Declare the primary base URL; whether that is a change. Raises `BadName` if names cannot be joined to it."""
        check_public(check_url(url))
        if tomllib.loads(self._toml.text).get("dataurl") == url:
            return False
        self._top["dataurl"] = url
        return True

    def add_mirror(self, spec: str, *, before: Iterable[str] = ()) -> bool:
        """Declare a further host, in front of some others; whether that is a change."""
        check_public(spec)
        declared = {**tomllib.loads(self._toml.text), **self._top}
        there = declared.get("mirrors", [])
        mirrors = [there] if isinstance(there, str) else list(there)
        if spec in {*mirrors, declared.get("dataurl")}:
            return False
        mirrors.insert(min((mirrors.index(other) for other in before if other in mirrors), default=len(mirrors)), spec)
        self._top["mirrors"] = mirrors
        return True

    def put(self, entries: Iterable[Entry], *, replace: bool = False) -> list[Change]:
        """Add or update entries; a size or locator that is not given leaves the one that is registered.

        Raises `BadName` for a name that is not legal or given twice with different bytes, `WrongBytes` for one that is
        registered with other bytes unless `replace` (then nothing is put), and `RegistryError` for locators in a text
        registry.
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
            if _ids(entry) and self._list is not None and entry.name not in self._tabled:
                raise RegistryError(f"{self._list.path}: a text registry has no locators ({entry.name})")
        if conflicts:
            lines = "\n".join(conflicts)
            raise WrongBytes(
                f"{self.path}: registered with other bytes:\n{lines}\nA published name keeps its bytes: choose a new "
                "name, or use --replace for files that nobody has downloaded yet"
            )
        self._entries |= {name: change.entry for name, change in changes.items()}
        return list(changes.values())

    def remove(self, names: Iterable[str]) -> list[Entry]:
        """Take entries out; hosts and caches keep the files. Raises `UnknownFile` for a name that is not registered."""
        wanted = list(names)
        for name in wanted:
            if name not in self._entries:
                raise UnknownFile(name, str(self.path), close_names(name, self._entries))
        return [self._entries.pop(name) for name in wanted]

    def save(self) -> list[Path]:
        """Write what was put, each file by one rename; the files that changed.

        Raises `RegistryError` if someone else changed a file since it was read or its layout cannot be edited safely,
        and `CacheError` if a file cannot be written.
        """
        changed = sorted(name for name, entry in self._entries.items() if self._written.get(name) != entry)
        removed = self._written.keys() - self._entries
        moved = self._moves_to_list(changed)
        gone = (removed & self._tabled) | moved
        written: list[Path] = []
        tabled, listed = changed, list[str]()
        if self._list is not None:
            tabled = [name for name in changed if name in self._tabled - moved]
            listed = [*moved, *(name for name in changed if name not in self._tabled)]
            if listed or removed - self._tabled:
                entries = [self._entries[name] for name in listed]
                written += self._list.write(list_with(self._list.text, entries, removed - self._tabled))
        if tabled or gone or self._top:
            written += self._toml.write(self._text_with([self._entries[name] for name in tabled], gone))
        self._written, self._tabled = dict(self._entries), (self._tabled - gone) | set(tabled)
        self._top, self.created = {}, False
        return written

    def _moves_to_list(self, changed: Sequence[str]) -> set[str]:
        """The entries that leave the TOML form, because there are too many for it."""
        if self._list is not None or len(self._entries) <= MOST_IN_TOML or not changed:
            return set()
        path = self.path.parent / LIST_NAME
        if os.path.lexists(path) or any(_ids(self._entries[name]) for name in changed):
            return set()
        self._list = _TextFile(path)
        self._top["registry"] = LIST_NAME
        return {name for name in self._tabled & self._entries.keys() if not _ids(self._entries[name])}

    def _text_with(self, entries: list[Entry], gone: set[str]) -> str:
        """The new text; what it means is compared with what was meant."""
        table = tomllib.loads(self._toml.text)
        files = {name: value for name, value in table.get("files", {}).items() if name not in gone}
        files |= {entry.name: _values(entry) for entry in entries}
        try:
            text = _edited(self._toml.text, self._top, entries, gone)
            found = tomllib.loads(text)
        except ValueError:  # of both TOML libraries
            found = {}
        if {**found, "files": found.get("files", {})} != {**table, **self._top, "files": files}:
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


def _edited(text: str, top: Mapping[str, Any], entries: Sequence[Entry], gone: set[str]) -> str:
    """The text with keys of the top and entries set, and entries taken out."""
    end = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    lines = text.removesuffix("\n").split("\n") if text else []
    files = tomllib.loads(text).get("files")
    names = {name for name, _ in _divide(lines) if name}
    if files == {} or (files is not None and files.keys() != names):
        return _by_tomlkit(text, top, entries, gone).replace("\n", end)
    for key, value in top.items():
        _set_top(lines, key, value)
    changed = {entry.name: entry for entry in entries if entry.name in names}
    pieces: list[tuple[str, list[str]]] = []
    for name, piece in _divide(lines):
        if pieces and pieces[-1][0] in gone and piece and not piece[0].strip():
            piece.pop(0)  # the empty line behind a table that goes
        pieces.append((name, _filled(piece, changed[name]) if name in changed else piece))
    pieces = [(name, piece) for name, piece in pieces if name not in gone]
    last = max((number for number, (name, _) in enumerate(pieces) if name), default=len(pieces) - 1)
    before = [line for _, piece in pieces[: last + 1] for line in piece]
    while before and not before[-1].strip():
        before.pop()
    new = [line for entry in entries if entry.name not in names for line in ["", *_table(entry)]]
    after = [line for _, piece in pieces[last + 1 :] for line in piece]
    return "".join(f"{line}{end}" for line in [*before, *(new if before else new[1:]), *after])


def _divide(lines: list[str]) -> list[tuple[str, list[str]]]:
    """The lines in pieces: the table of each file with its name, and what is around them without one."""
    heads = [number for number, line in enumerate(lines) if line.lstrip().startswith("[")]
    pieces, at = [], 0
    for start, stop in pairwise([*heads, len(lines)]):
        if not _HEADER(lines[start]):
            continue
        end = stop
        while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        # a comment right below an entry belongs to it, and one behind an empty line to what follows
        while end < stop and lines[end].lstrip().startswith("#"):
            end += 1
        [name] = tomllib.loads(lines[start])["files"]
        pieces += [("", lines[at:start]), (name, lines[start:end])]
        at = end
    return [*pieces, ("", lines[at:])]


def _table(entry: Entry) -> list[str]:
    head = f"[files.{tomlkit.item(entry.name).as_string()}]"
    return [head, *(_pair(key, value) for key, value in _values(entry).items())]


def _pair(key: str, value: Any) -> str:
    return f"{tomlkit.key(key).as_string()} = {tomlkit.item(value).as_string()}"


def _filled(table: list[str], entry: Entry) -> list[str]:
    """The lines of a table with other values; their order and comments stay."""
    document: Any = tomlkit.parse("\n".join([*table, ""]))
    there, wanted = document["files"][entry.name], _values(entry)
    for key in there.keys() - wanted:  # another locator finds the old bytes
        del there[key]
    for key, value in wanted.items():
        if there.get(key) != value:
            there[key] = value
    return tomlkit.dumps(document).split("\n")[:-1]


def _set_top(lines: list[str], key: str, value: Any) -> None:
    """Set a key above all tables; a new one comes below the comment that opens the file, mirrors below dataurl."""
    stop = next((n for n, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    top = lines[:stop]
    if key in tomllib.loads("\n".join(top)):
        top = _by_tomlkit("\n".join([*top, ""]), {key: value}, [], set()).split("\n")[:-1]
    else:
        dataurl = next((n for n, line in enumerate(top) if re.match(r"""\s*["']?dataurl["']?\s*=""", line)), None)
        at = next((n for n, line in enumerate(top) if line.strip() and not line.lstrip().startswith("#")), len(top))
        if key == "mirrors" and dataurl is not None:
            at = dataurl + 1
        top[at:at] = [_pair(key, value), *([""] if at == len(top) and lines else [])]
    lines[:stop] = top


def _by_tomlkit(text: str, top: Mapping[str, Any], entries: Sequence[Entry], gone: set[str]) -> str:
    """The same for entries in another style: each is an inline table, ``"<name>" = {size = 1, sha256 = "..."}``."""
    document: Any = tomlkit.parse(text)
    for key, value in top.items():
        there = document.get(key)
        if isinstance(there, list) and isinstance(value, list):
            for index, item in enumerate(value):
                if index == len(there) or there[index] != item:
                    there.insert(index, item)
        else:
            document[key] = value
    for name in gone & set(document.get("files", ())):
        del document["files"][name]
    for entry in entries:
        table = tomlkit.inline_table()
        table.update(_values(entry))
        document.setdefault("files", tomlkit.table())[entry.name] = table
    return tomlkit.dumps(document)


class _TextFile:
    """A file that is written back whole, if nobody else changed it since this was made."""

    def __init__(self, path: Path, new: str = "") -> None:
        self.path = path
        self._before = _read(path)
        #: The text, which has been read as a registry before.
        self.text = new if self._before is None else self._before.removeprefix(b"\xef\xbb\xbf").decode()
        # what an edit left here that was killed: nothing of ours stays in a package; one is written in far less
        remove_private(os.path.dirname(os.path.realpath(path)), older_than=60)

    def write(self, text: str) -> list[Path]:
        """Put another text in its place by one rename."""
        if self._before != _read(self.path):
            raise RegistryError(f"{self.path}: someone else changed it; run this again")
        target, data = os.path.realpath(self.path), text.encode()  # a link stays a link
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            put_atomically(target, data, sync=True, like=None if self._before is None else os.stat(target))
        except OSError as error:
            raise CacheError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._before, self.text = data, text
        return [self.path]


def _read(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RegistryError(f"{path}: {error.strerror or error}") from error
