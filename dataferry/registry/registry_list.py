"""The text form of the registry: ``sha256  size  name`` a line, and the lists of other tools that can be read in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import RegistryError
from .names import check_name

__all__ = ["Entry", "ListedFiles", "is_sha256", "parse_line"]

is_sha256 = re.compile(r"[0-9a-fA-F]{64}").fullmatch


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


def parse_line(line: str) -> Entry | None:
    """Parse one line of a text registry.

    Parameters
    ----------
    line : str
        ``sha256  size  name``, or ``sha256  name`` of a ``SHA256SUMS`` file, or ``name sha256:hash`` of a pooch
        registry.

    Returns
    -------
    Entry or None
        None for an empty line and for a comment.

    Raises
    ------
    ValueError
        If the line is none of these.
    """
    line = line.rstrip("\r\n")
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    first, _, rest = line.partition(" ")
    if is_sha256(first):
        rest = rest.lstrip(" *")
        size, gap, name = rest.partition("  ")
        if gap and size.isdecimal():
            return Entry(check_name(name), first.lower(), int(size))
        return Entry(check_name(rest), first.lower())
    fields = line.rsplit(" ", 1) if line.count(" ") == 1 else re.split(r"\s+", line.strip())
    if len(fields) in {2, 3} and is_sha256(fields[1].removeprefix("sha256:")):
        return Entry(check_name(fields[0]), fields[1].removeprefix("sha256:").lower())
    raise ValueError("neither 'sha256  size  name' nor a line of SHA256SUMS or of a pooch registry with sha256")


class ListedFiles:
    """A text registry, read once and searched as bytes; parsed whole only where all names are wanted.

    Parameters
    ----------
    path : Path
        The text file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes: bytes | None = None
        self._all: dict[str, Entry] | None = None

    def _load(self) -> bytes:
        if self._bytes is None:
            try:
                self._bytes = b"\n" + self.path.read_bytes().replace(b"\r\n", b"\n") + b"\n"
            except OSError as error:
                raise RegistryError(f"{self.path}: {error.strerror or error}") from error
        return self._bytes

    def find(self, name: str) -> Entry | None:
        """What the list says of a file; None where it does not hold it. Raises `RegistryError` for a bad line."""
        if self._all is not None:
            return self._all.get(name)
        data, ending, found, at = self._load(), f" {name}\n".encode(), None, -1
        while (at := data.find(ending, at + 1)) >= 0:
            start = data.rfind(b"\n", 0, at) + 1
            entry = self._parse(data[start : at + len(ending)], data.count(b"\n", 0, start))
            if entry is not None and entry.name == name:
                if found is not None:
                    number = data.count(b"\n", 0, start)
                    raise RegistryError(f"{self.path}: line {number}: {name!r} is registered twice")
                found = entry
        # a line of another form, such as pooch's, begins with the name
        return found if found is not None else self.read().get(name)

    def read(self) -> dict[str, Entry]:
        """All entries by name. Raises `RegistryError` for a bad line or a name that stands there twice."""
        if self._all is None:
            entries: dict[str, Entry] = {}
            for number, line in enumerate(self._load().split(b"\n")):
                entry = self._parse(line, number)
                if entry is None:
                    continue
                if entry.name in entries:
                    raise RegistryError(f"{self.path}: line {number}: {entry.name!r} is registered twice")
                entries[entry.name] = entry
            self._all = entries
        return self._all

    def _parse(self, line: bytes, number: int) -> Entry | None:
        try:
            return parse_line(line.decode())
        except ValueError as error:
            raise RegistryError(f"{self.path}: line {number}: {error}") from None
