"""What a published folder or site says of its own files: a catalog in JSON, and a list for ``sha256sum --check``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from ..errors import BadName, RegistryError
from .checksum_lists import parse_entry
from .entry import Entry, check_entry

#: The name of the catalog at the top of a published folder.
CATALOG = "dataferry-catalog.json"
#: The name of the list that ``sha256sum --check`` reads.
SUMS = "SHA256SUMS"

_FORMAT = "dataferry-catalog/1"


class Listed(NamedTuple):
    """What a catalog says of a file: its bytes, and its sha256 in lower case."""

    size: int
    sha256: str


def catalog_bytes(files: Mapping[str, Listed], title: str = "") -> bytes:
    """The catalog: JSON with ``format``, ``title`` and ``files``, one line a file, sorted."""
    dumped = partial(json.dumps, ensure_ascii=False)
    lines = [f"  {dumped(name)}: {dumped(files[name]._asdict())}" for name in sorted(files)]
    head = f'{{"format": "{_FORMAT}",\n "title": {dumped(title)},\n "files": {{\n'
    return (head + ",\n".join(lines) + "\n }\n}\n").encode()


def read_catalog(data: bytes) -> dict[str, Listed]:
    """The files of a catalog, without entries that make no sense; raises `ValueError` if it is no such catalog."""
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
        return parse_entry(line)
    except ValueError:  # of another hash, or with a name that is not legal here
        return None
