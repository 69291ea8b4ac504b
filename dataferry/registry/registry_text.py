"""The text of a registry with other entries in it, and the lists of other tools as entries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import BadName, RegistryError
from .registry_list import Entry, parse_line

__all__ = ["listed_with", "read_list", "toml_with"]

_OWN_KEYS = {"size", "sha256"}
#: How BSD and macOS print a checksum.
_TAGGED = re.compile(r"(\w+) ?\((.+)\) ?= ?([0-9a-fA-F]+)").fullmatch
_OTHER_HASH = re.compile(r"\b(md5|sha1|sha224|sha384|sha512|blake2b|blake3|xxh\w*|crc32)\b", re.IGNORECASE).search
_SHORT_HASH = re.compile(r"\b(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40})\b").search


def toml_with(
    text: str, entries: Iterable[Entry], dataurl: str | None = None, mirrors: Sequence[str] | None = None
) -> str:
    """The text of a ``dataferry.toml`` with entries added or changed.

    Parameters
    ----------
    text : str
        The text as it is.
    entries : iterable of Entry
        The entries to write; new ones come in this order after those that are there.
    dataurl : str, optional
        The primary base URL to declare.
    mirrors : sequence of str, optional
        The further hosts to declare: those that are there, with new ones among them.

    Returns
    -------
    str
        The new text. Comments, order and all other keys are as they were.
    """
    import tomlkit
    from tomlkit.items import InlineTable, KeyType, SingleKey, Table

    end = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    if text and not text.endswith("\n"):
        text += "\n"
    spaced = text.endswith("\n\n")
    if mirrors is not None:
        text = _with_mirrors(text, mirrors)
    document = tomlkit.parse(text)
    if dataurl is not None:
        if "dataurl" in document:
            document["dataurl"] = dataurl
        else:
            document = tomlkit.parse(_with_first_key(text, f"dataurl = {tomlkit.item(dataurl).as_string()}\n"))
    entries = list(entries)
    files: Any = document.get("files")
    if entries and not files and not isinstance(files, Table):
        if files is not None:
            del document["files"]
        document["files"] = tomlkit.table(is_super_table=True)
        files = document["files"]
    last = next((files[key] for key in reversed(list(files or ()))), None)
    for entry in entries:
        if entry.name in files:
            _fill(files[entry.name], entry)
            continue
        inline = isinstance(last, InlineTable) or isinstance(files, InlineTable)
        table: Any = tomlkit.inline_table() if inline else tomlkit.table()
        _fill(table, entry)
        if not inline:
            tail = _cut_tail(last) if isinstance(last, Table) else []
            if isinstance(last, Table):
                last.add(tomlkit.nl())
            for item in tail or [tomlkit.nl()]:
                table.add(item)
        files[SingleKey(entry.name, t=KeyType.Basic)] = last = table
    new = tomlkit.dumps(document)
    if new.endswith("\n\n") and not spaced:
        new = new.rstrip("\n") + "\n"
    return new.replace("\n", end)


def _with_first_key(text: str, line: str) -> str:
    """Put a key of the top in front of all others and of every table, below the comment that opens the file."""
    lines = text.splitlines(keepends=True)
    at = next((i for i, old in enumerate(lines) if old.strip() and not old.lstrip().startswith("#")), len(lines))
    if at == len(lines) or lines[at].lstrip().startswith("["):
        line += "\n"
    return "".join([*lines[:at], line, *lines[at:]])


def _with_mirrors(text: str, mirrors: Sequence[str]) -> str:
    import tomlkit
    from tomlkit.items import Array

    document = tomlkit.parse(text)
    array: Any = document.get("mirrors")
    if isinstance(array, Array):
        for place, spec in enumerate(mirrors):
            if place == len(array) or array[place] != spec:
                array.insert(place, spec)
        return tomlkit.dumps(document)
    line = f"mirrors = {tomlkit.item(list(mirrors)).as_string()}\n"
    if array is not None:
        document["mirrors"] = tomlkit.item(list(mirrors))
        return tomlkit.dumps(document)
    lines = text.splitlines(keepends=True)
    at = next((i for i, old in enumerate(lines) if re.match(r"""\s*["']?dataurl["']?\s*=""", old)), None)
    return _with_first_key(text, line) if at is None else "".join([*lines[: at + 1], line, *lines[at + 1 :]])


def _fill(table: Any, entry: Entry) -> None:
    from tomlkit.items import Table

    tail = _cut_tail(table) if isinstance(table, Table) else []
    for key in [key for key in table if key not in _OWN_KEYS and key not in entry.locators]:
        del table[key]
    said = {} if entry.size is None else {"size": entry.size}
    for key, value in {**said, "sha256": entry.sha256, **entry.locators}.items():
        if key not in table or table[key] != value:
            table[key] = value
    for item in tail:
        table.add(item)


def _cut_tail(table: Any) -> list[Any]:
    """Take off what stands before the next header: empty lines, and comments below the first of them."""
    from tomlkit.items import Comment, Whitespace

    body = table.value.body
    start = len(body)
    while start and isinstance(body[start - 1][1], Comment | Whitespace):
        start -= 1
    # a comment right below an entry belongs to it
    while start < len(body) and isinstance(body[start][1], Comment):
        start += 1
    tail = [item for _, item in body[start:]]
    del body[start:]
    return tail


def listed_with(text: str, entries: Iterable[Entry]) -> str:
    """The text of a text registry with entries added or changed.

    Parameters
    ----------
    text : str
        The text as it is.
    entries : iterable of Entry
        The entries to write; new ones come in this order at the end.

    Returns
    -------
    str
        The new text; lines of other entries and comments are as they were.

    Raises
    ------
    RegistryError
        If a name would be read as another.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    new = {entry.name: _line(entry) for entry in entries}
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines):
        entry = parse_line(line)
        if entry is not None and entry.name in new:
            lines[number] = new.pop(entry.name)
    return "".join(line + end for line in [*lines, *new.values()])


def _line(entry: Entry) -> str:
    line = "  ".join([entry.sha256, *([] if entry.size is None else [str(entry.size)]), entry.name])
    if parse_line(line) != entry._replace(locators={}):
        raise RegistryError(f"{entry.name!r} cannot stand in a text registry: it reads like a size and a name")
    return line


def read_list(text: str, origin: str) -> list[Entry]:
    """The entries of a list of checksums.

    Parameters
    ----------
    text : str
        A text registry, a ``SHA256SUMS`` file (of GNU or of BSD) or a pooch ``registry.txt``.
    origin : str
        Where it is from, for errors.

    Returns
    -------
    list of Entry
        In the order of the list. ``./`` at the start of a name is dropped.

    Raises
    ------
    RegistryError
        If a line is of another form or has another hash than sha256, or a name stands there twice with two hashes.
    """
    found: dict[str, Entry] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        try:
            entry = _foreign(line)
        except (BadName, ValueError) as error:
            other = _OTHER_HASH(line)
            short = _SHORT_HASH(line)
            kind = other[1] if other else {32: "md5", 40: "sha1"}[len(short[0])] if short else ""
            why = f"it has the {kind} of the file, and dataferry needs its sha256" if kind else error
            raise RegistryError(f"{origin}: line {number}: {why}") from None
        if entry is None:
            continue
        if found.setdefault(entry.name, entry) != entry:
            raise RegistryError(f"{origin}: line {number}: {entry.name!r} stands here twice, with different bytes")
    if not found:
        raise RegistryError(f"{origin}: there is no entry in it")
    return list(found.values())


def _foreign(line: str) -> Entry | None:
    tagged = _TAGGED(line.strip())
    if tagged:
        if tagged[1].upper() != "SHA256":
            raise ValueError(f"{tagged[1]} is not sha256")
        line = f"{tagged[3]}  {tagged[2]}"
    line = re.sub(r"^(?P<hash>[0-9a-fA-F]{64}\s+\*?)(?:\./)+", r"\g<hash>", line.strip())
    return parse_line(re.sub(r"^(?:\./)+", "", line))
