"""Lists of files with their sha256: the text form of a registry, what other tools write, and a host's catalog.

One parser reads them all: ``sha256  size  name`` and ``sha256  name`` a line, ``SHA256 (name) = sha256`` of BSD, and
``name sha256:hash`` of pooch. A catalog is JSON, for hosts that have no list of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BadName, RegistryError
from .names import check_name

__all__ = [
    "CATALOG",
    "SUMS",
    "Entry",
    "Listed",
    "ListedFiles",
    "catalog_bytes",
    "check_entry",
    "list_line",
    "list_with",
    "parse_line",
    "read_catalog",
    "read_list",
    "read_sums",
    "sums_with",
]

#: The name of the catalog at the top of a published folder.
CATALOG = "dataferry-catalog.json"
#: The name of the list that ``sha256sum --check`` reads.
SUMS = "SHA256SUMS"

_FORMAT = "dataferry-catalog/1"
_SHA256 = r"[0-9a-fA-F]{64}"
_is_sha256 = re.compile(_SHA256).fullmatch
_ROW = re.compile(rb"([0-9a-f]{64})  ([0-9]{1,18})  (.+)").fullmatch
#: How BSD and macOS print a checksum.
_TAGGED = re.compile(r"(\w+) ?\((.+)\) ?= ?([0-9a-fA-F]+)").fullmatch
_OTHER_HASH = re.compile(r"\b(md5|sha1|sha224|sha384|sha512|blake2b|blake3|xxh\w*|crc32)\b", re.IGNORECASE).search
_SHORT_HASH = re.compile(r"\b(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40})\b").search
_LARGEST = (1 << 63) - 1


class Entry(NamedTuple):
    """What the registry knows of one file.

    Parameters
    ----------
    name : str
        The file's name.
    sha256 : str
        64 hexadecimal digits in lower case.
    size : int or None
        Bytes; None where the registry was read from a list without sizes.
    locators : mapping of str to str or int
        What single hosts need to find the file: host name -> id.
    """

    name: str
    sha256: str
    size: int | None = None
    locators: Mapping[str, str | int] = {}


def check_entry(name: object, sha256: object, size: object = None, locators: object = None) -> Entry:
    """An entry of what a file or a host says, if every part of it is legal.

    Raises
    ------
    RegistryError, BadName
        If something is not; the message names the file, and not where that was read.
    """
    name = check_name(name)
    if not isinstance(sha256, str) or not _is_sha256(sha256):
        raise RegistryError(f"sha256 of {name!r} is 64 hexadecimal digits, not {_short(sha256)}")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _LARGEST):
        raise RegistryError(f"size of {name!r} is a number of bytes, not {_short(size)}")
    if locators is None:
        return Entry(name, sha256.lower(), size)
    if not isinstance(locators, Mapping):
        raise RegistryError(f"the locators of {name!r} are a table, not {_short(locators)}")
    for key, value in locators.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise RegistryError(f"{key} of {name!r} is a string or an integer, not {_short(value)}")
    return Entry(name, sha256.lower(), size, dict(locators))


def _short(value: object) -> str:
    if isinstance(value, int) and abs(value) > _LARGEST:  # Python refuses to print thousands of digits
        return "so large a number"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


# -- lines ------------------------------------------------------------------------------------------


def parse_line(line: str) -> Entry | None:
    """Parse one line of any list; None for an empty line or a comment, `ValueError` for one of another form."""
    line = line.rstrip("\r\n")
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    if tagged := _TAGGED(line.strip()):
        if tagged[1].upper() != "SHA256":
            raise ValueError(f"{tagged[1]} is not sha256")
        return check_entry(_without_dot(tagged[2]), tagged[3])
    first, _, rest = line.partition(" ")
    if _is_sha256(first):
        rest = rest.lstrip(" *")
        size, gap, name = rest.partition("  ")
        if gap and size.isascii() and size.isdecimal():
            if len(size) > 18:
                raise ValueError(f"a size of {len(size)} digits")
            return check_entry(_without_dot(name), first, int(size))
        return check_entry(_without_dot(rest), first)
    fields = line.rsplit(" ", 1) if line.count(" ") == 1 else line.split()
    if len(fields) in {2, 3} and _is_sha256(fields[1].removeprefix("sha256:")):
        return check_entry(_without_dot(fields[0]), fields[1].removeprefix("sha256:"))
    raise ValueError("neither 'sha256  size  name' nor a line of SHA256SUMS or of a pooch registry with sha256")


def _without_dot(name: str) -> str:
    while name.startswith("./"):  # find prints them
        name = name[2:]
    return name


def list_line(entry: Entry) -> str:
    """The line of an entry in the text form; raises `RegistryError` if it would be read as another."""
    line = "  ".join([entry.sha256, *([] if entry.size is None else [str(entry.size)]), entry.name])
    if parse_line(line) != entry._replace(locators={}):
        raise RegistryError(f"{entry.name!r} cannot stand in a text registry: it reads like a size and a name")
    return line


def list_with(text: str, entries: Iterable[Entry], removed: Iterable[str] = ()) -> str:
    """A text registry with entries added, changed or removed; all other lines stay as they are."""
    end = "\r\n" if "\r\n" in text else "\n"
    new = {entry.name: list_line(entry) for entry in entries}
    gone = set(removed)
    kept = []
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    for line in lines:
        entry = parse_line(line) if new or gone else None
        if entry is None or entry.name not in gone:
            kept.append(line if entry is None else new.pop(entry.name, line))
    return "".join(line + end for line in [*kept, *new.values()])


def read_list(text: str, origin: str) -> list[Entry]:
    """The entries of a list of checksums of any tool, in its order.

    Raises
    ------
    RegistryError
        If a line is of another form or has another hash than sha256, or a name occurs twice with two hashes;
        the message begins with ``origin``.
    """
    found: dict[str, Entry] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        try:
            entry = parse_line(line)
        except ValueError as error:  # BadName and RegistryError are such
            other = _OTHER_HASH(line[:1000])
            short = _SHORT_HASH(line[:1000])
            kind = other[1] if other else {32: "md5", 40: "sha1"}[len(short[0])] if short else ""
            why = f"it has the {kind} of the file, and dataferry needs its sha256" if kind else error
            raise RegistryError(f"{origin}: line {number}: {why}") from None
        if entry is None:
            continue
        if found.setdefault(entry.name, entry) != entry:
            raise RegistryError(f"{origin}: line {number}: {entry.name!r} is here twice, with different bytes")
    if not found:
        raise RegistryError(f"{origin}: there is no entry in it")
    return list(found.values())


class ListedFiles:
    """The text form of a registry, read once and searched as bytes; parsed whole only where all names are wanted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes: bytes | None = None
        self._all: dict[str, Entry] | None = None

    def _load(self) -> bytes:
        if self._bytes is None:
            try:
                data = self.path.read_bytes().removeprefix(b"\xef\xbb\xbf")
            except OSError as error:
                raise RegistryError(f"{self.path}: {error.strerror or error}") from error
            self._bytes = b"\n" + (data.replace(b"\r\n", b"\n") if b"\r" in data else data) + b"\n"
        return self._bytes

    def find(self, name: str) -> Entry | None:
        """What the list says of a file; None where it does not have it. Raises `RegistryError` for a bad line."""
        if self._all is not None:
            return self._all.get(name)
        data, ending = self._load(), f"  {name}\n".encode()
        found, at = None, -1
        while (at := data.find(ending, at + 1)) >= 0:
            start = data.rfind(b"\n", 0, at) + 1
            line = data[start : at + len(ending) - 1]
            row = _ROW(line)
            if row is not None and row[3] != ending[2:-1]:
                continue  # "sha256  5  x  5.fits" ends with another name
            entry = self._parse(line, lambda: data.count(b"\n", 0, start))  # noqa: B023 - counted for an error only
            if entry is None or entry.name != name:
                continue
            if found is not None:
                raise RegistryError(f"{self.path}: line {data.count(10, 0, start)}: {name!r} is registered twice")
            found = entry
        # a line of another form, such as pooch's, begins with the name, and one of SHA256SUMS has no size
        return found if found is not None else self.read().get(name)

    def read(self) -> dict[str, Entry]:
        """All entries by name. Raises `RegistryError` for a bad line or a name that is there twice."""
        if self._all is None:
            entries: dict[str, Entry] = {}
            for number, line in enumerate(self._load().split(b"\n")):
                entry = self._parse(line, lambda: number)  # noqa: B023
                if entry is None:
                    continue
                if entry.name in entries:
                    raise RegistryError(f"{self.path}: line {number}: {entry.name!r} is registered twice")
                entries[entry.name] = entry
            self._all = entries
        return self._all

    def _parse(self, line: bytes, number: Callable[[], int]) -> Entry | None:
        try:
            row = _ROW(line)
            if row is not None:
                return Entry(check_name(row[3].decode()), row[1].decode(), int(row[2]))
            return parse_line(line.decode())
        except ValueError as error:
            raise RegistryError(f"{self.path}: line {number()}: {error}") from None


# -- what a published folder or site says of its own files ------------------------------------------


class Listed(NamedTuple):
    """What a catalog says of a file: its bytes, and its sha256 in lower case."""

    size: int
    sha256: str


def catalog_bytes(files: Mapping[str, Listed], title: str = "") -> bytes:
    """The catalog: JSON with ``format``, ``title`` and ``files``, one line a file, sorted."""
    import json

    def dumped(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    lines = [f"  {dumped(name)}: {dumped(files[name]._asdict())}" for name in sorted(files)]
    inside = ",\n".join(lines)
    head = f'{{"format": "{_FORMAT}",\n "title": {dumped(title)},\n "files": {{\n'
    return (head + inside + "\n }\n}\n").encode()


def read_catalog(data: bytes) -> dict[str, Listed]:
    """The files of a catalog, without entries that make no sense; raises `ValueError` if it is no such catalog."""
    import json

    try:
        catalog: Any = json.loads(data)
    except RecursionError:
        raise ValueError("too many nested arrays") from None
    if not isinstance(catalog, dict) or catalog.get("format") != _FORMAT or not isinstance(catalog.get("files"), dict):
        raise ValueError(f"no {_FORMAT}")
    files = {}
    for name, values in catalog["files"].items():
        try:
            entry = check_entry(name, values["sha256"], values["size"])
        except (RegistryError, BadName, TypeError, KeyError, IndexError):
            continue
        if entry.size is not None:
            files[name] = Listed(entry.size, entry.sha256)
    return files


def read_sums(data: bytes) -> dict[str, str]:
    """Name -> sha256 of the lines of a ``SHA256SUMS`` that name a file as dataferry does; other lines are left out."""
    return {entry.name: entry.sha256 for line in data.decode(errors="replace").split("\n") if (entry := _sum(line))}


def sums_with(data: bytes, files: Mapping[str, str]) -> bytes:
    """A ``SHA256SUMS`` with further files, name -> sha256; lines of other names stay, and new lines come last."""
    missing = dict(files)
    kept = []
    for line in data.decode(errors="surrogateescape").rstrip("\n").split("\n") if data else ():
        entry = _sum(line)
        if entry is None or files.get(entry.name) in {None, entry.sha256}:
            kept.append(line)
        if entry is not None and files.get(entry.name) == entry.sha256:
            missing.pop(entry.name, None)
    kept += [f"{missing[name]}  {name}" for name in sorted(missing)]
    return "".join(f"{line}\n" for line in kept).encode(errors="surrogateescape")


def _sum(line: str) -> Entry | None:
    try:
        return parse_line(line)
    except ValueError:  # of another hash, or with a name that is not legal here
        return None
