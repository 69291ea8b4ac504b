"""Lists of files with their hashes: the text form of a registry, and what other tools write.

One parser reads them all: ``sha256  size  name  url`` and ``hash  name`` a line, ``SHA256 (name) = hash`` of BSD, and
``name algorithm:hash url`` of pooch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

from ..errors import RegistryError
from ..files import read_regular
from .entry import Entry, is_url
from .names import check_name, shortened

#: Hexadecimal digits of each hash; the weak ones show damage, and not an attack.
DIGITS = {"sha256": 64, "sha512": 128, "sha1": 40, "md5": 32}
_BY_DIGITS = {digits: algorithm for algorithm, digits in DIGITS.items()}

_is_hex = re.compile(r"[0-9a-fA-F]+").fullmatch
_ROW = re.compile(rb"([0-9a-f]{64})  ([0-9]{1,18})  (.+)").fullmatch
_LONGEST_LINE = 1 << 16
#: How BSD and macOS print a checksum.
_TAGGED = re.compile(r"(\w+) ?\((.+)\) ?= ?([0-9a-fA-F]+)").fullmatch
# So many names take as long to search for as all lines take to parse.
_SEARCHES = 50


class Row(NamedTuple):
    """One line of a list: a file with some hash, which need not be its sha256."""

    name: str
    algorithm: str
    digest: str
    size: int | None = None
    urls: tuple[str, ...] = ()
    #: Where it stands, ``LIST: line 3``.
    origin: str = ""

    @property
    def entry(self) -> Entry:
        """The entry of a row with a sha256."""
        if self.algorithm != "sha256":
            prefix = f"{self.origin}: " if self.origin else ""
            raise RegistryError(f"{prefix}it has the {self.algorithm} of the file, and dataferry needs its sha256")
        return Entry(self.name, self.digest, self.size, {"url": " ".join(self.urls)} if self.urls else {})


# -- lines ------------------------------------------------------------------------------------------


def parse_line(line: str) -> Row | None:
    """Parse one line of any list; None for an empty line or a comment, `ValueError` for one of another form."""
    line = line.rstrip("\r\n")
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    if len(line) > _LONGEST_LINE:  # shlex is quadratic
        raise ValueError(f"a line of {len(line)} characters")
    if tagged := _TAGGED(line.strip()):
        return _row(tagged[2], f"{tagged[1].replace('-', '')}:{tagged[3]}")
    first, _, rest = line.partition(" ")
    if len(first) in _BY_DIGITS and _is_hex(first):
        rest = rest.lstrip(" *")
        size, gap, name = rest.partition("  ")
        if not (gap and size.isascii() and size.isdecimal()):
            size, name = "", rest
        if len(size) > 18:
            raise ValueError(f"a size of {len(size)} digits")
        columns = name.split("  ")
        while len(columns) > 1 and is_url(columns[-1]):
            columns.pop()
        name, urls = "  ".join(columns), name.split("  ")[len(columns) :]
        return _row(name, first, int(size) if size else None, urls)
    fields = _pooch_fields(line)
    if len(fields) in {2, 3} and (":" in fields[1] or _is_hex(fields[1])):
        return _row(fields[0], fields[1], None, fields[2:])
    raise ValueError("neither 'sha256  size  name' nor a line of SHA256SUMS or of a pooch registry")


def _pooch_fields(line: str) -> list[str]:
    """The columns as pooch divides them: a name with spaces is quoted."""
    if '"' not in line and "'" not in line and "\\" not in line:
        return line.split()
    import shlex

    return shlex.split(line)


def _row(name: str, known_hash: str, size: int | None = None, urls: Sequence[str] = ()) -> Row:
    while name.startswith("./"):  # find prints them
        name = name[2:]
    algorithm, colon, digest = known_hash.rpartition(":")
    algorithm = algorithm.lower() if colon else _BY_DIGITS.get(len(digest), "")
    if algorithm not in DIGITS:
        known = f"a hash of {len(digest)} digits" if not algorithm else shortened(algorithm)
        raise ValueError(f"{known} is none of {', '.join(DIGITS)}")
    if len(digest) != DIGITS[algorithm] or not _is_hex(digest):
        raise ValueError(
            f"{algorithm} of {shortened(name)} is {DIGITS[algorithm]} hexadecimal digits, not {shortened(digest)}"
        )
    for url in urls:
        if not is_url(url):
            raise ValueError(f"{shortened(url)} is not a URL")
    return Row(check_name(name), algorithm, digest.lower(), size, tuple(urls))


def parse_entry(line: str) -> Entry | None:
    """As `parse_line`, for lists of sha256 alone."""
    row = parse_line(line)
    return None if row is None else row.entry


def list_line(entry: Entry) -> str:
    """The line of an entry in the text form; raises `RegistryError` if it would be read as another."""
    size = [] if entry.size is None else [str(entry.size)]
    line = "  ".join([entry.sha256, *size, entry.name, *entry.urls])
    if parse_entry(line) != entry._replace(locators={"url": " ".join(entry.urls)} if entry.urls else {}):
        raise RegistryError(
            f"{entry.name!r} cannot be in a text registry: it looks like a size and a name, or like a URL"
        )
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
        entry = parse_entry(line) if new or gone else None
        if entry is None or entry.name not in gone:
            kept.append(line if entry is None else new.pop(entry.name, line))
    return "".join(line + end for line in [*kept, *new.values()])


def read_rows(text: str, origin: str) -> list[Row]:
    """The rows of a list of checksums of any tool, in its order. Raises `RegistryError` with the ``origin``."""
    found: dict[str, Row] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        try:
            row = parse_line(line)
        except ValueError as error:  # BadName and RegistryError are such
            raise RegistryError(f"{origin}: line {number}: {error}") from None
        if row is None:
            continue
        before = found.setdefault(row.name, row._replace(origin=f"{origin}: line {number}"))
        if before._replace(origin="") != row:
            raise RegistryError(f"{origin}: line {number}: {row.name!r} is here twice, with different bytes or URLs")
    if not found:
        raise RegistryError(f"{origin}: there is no entry in it")
    return list(found.values())


def read_list(text: str, origin: str) -> list[Entry]:
    """The entries of a list of sha256, in its order; raises `RegistryError` as `read_rows`, and for another hash."""
    return [row.entry for row in read_rows(text, origin)]


class ListedFiles:
    """The text form of a registry, read once and searched as bytes; parsed whole only where all names are wanted."""

    def __init__(self, path: str, new: bool = False) -> None:
        self.path = path
        self._new = new  # it need not exist yet
        self._searches = 0

    @cached_property
    def _bytes(self) -> bytes:
        """All lines, each with its end."""
        try:
            data = read_regular(self.path)
        except OSError as error:
            if not (self._new and isinstance(error, FileNotFoundError)):
                raise RegistryError(f"{self.path}: {error.strerror or error}") from error
            data = b""
        return data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n") + b"\n"

    def find(self, name: str) -> Entry | None:
        """What the list says of a file; None where it does not have it. Raises `RegistryError` for a bad line."""
        self._searches += 1
        parsed = self._searches > _SEARCHES or "entries" in vars(self)
        entry = None if parsed else self._search(name)
        return entry or self.entries.get(name)

    def _search(self, name: str) -> Entry | None:
        """The entry of the only line with this name; None where all lines have to be read.

        A line of another form, such as pooch's, begins with the name. A longer name can end with this one.
        """
        columns = [f"  {name}{end}".encode() for end in ("\n", "  ")]
        if sum(map(self._bytes.count, columns)) != 1:
            return None
        at = max(map(self._bytes.find, columns))
        line = self._bytes[self._bytes.rfind(b"\n", 0, at) + 1 : self._bytes.index(b"\n", at + 1)]
        with suppress(ValueError):
            entry = _parse_bytes(line)
            return entry if entry is not None and entry.name == name else None
        return None

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All entries by name. Raises `RegistryError` for a bad line or a name that is there twice."""
        found: dict[str, Entry] = {}
        for number, line in enumerate(self._bytes.split(b"\n"), 1):
            try:
                entry = _parse_bytes(line)
            except ValueError as error:
                raise RegistryError(f"{self.path}: line {number}: {error}") from None
            if entry is None:
                continue
            if entry.name in found:
                raise RegistryError(f"{self.path}: line {number}: {entry.name!r} is registered twice")
            found[entry.name] = entry
        return found


def _parse_bytes(line: bytes) -> Entry | None:
    row = _ROW(line)
    if row is not None and b":" not in row[3]:  # with one it may have a URL
        return Entry(check_name(row[3].decode()), row[1].decode(), int(row[2]))
    return parse_entry(line.decode())
