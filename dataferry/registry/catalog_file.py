"""``dataferry-catalog.json`` and ``SHA256SUMS``: what a published folder or site says of its own files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from .names import is_name

__all__ = ["CATALOG", "SUMS", "Listed", "catalog_bytes", "read_catalog", "read_sums", "sums_with"]

#: The name of the catalog at the top of a published folder.
CATALOG = "dataferry-catalog.json"
#: The name of the list that ``sha256sum --check`` reads.
SUMS = "SHA256SUMS"

_FORMAT = "dataferry-catalog/1"
_SUM = re.compile(r"(?P<escaped>\\?)(?P<sha256>[0-9a-fA-F]{64}) [ *](?P<name>.+)")


class Listed(NamedTuple):
    """What a catalog says of a file.

    Parameters
    ----------
    size : int
        Its bytes.
    sha256 : str
        Its sha256, in lower case.
    """

    size: int
    sha256: str


def catalog_bytes(files: Mapping[str, Listed], title: str = "") -> bytes:
    """The catalog, one line a file, sorted.

    Parameters
    ----------
    files : mapping of str to Listed
        The files.
    title : str
        What the data are called.

    Returns
    -------
    bytes
        JSON with ``format``, ``title`` and ``files``: name -> ``size``, ``sha256``.
    """

    def dumped(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    lines = [f"  {dumped(name)}: {dumped(files[name]._asdict())}" for name in sorted(files)]
    inside = ",\n".join(lines)
    head = f'{{"format": "{_FORMAT}",\n "title": {dumped(title)},\n "files": {{\n'
    return (head + inside + "\n }\n}\n").encode()


def read_catalog(data: bytes) -> dict[str, Listed]:
    """The files of a catalog.

    Parameters
    ----------
    data : bytes
        The catalog.

    Returns
    -------
    dict of str to Listed
        Entries that make no sense are left out.

    Raises
    ------
    ValueError
        If it is no catalog of a format that is known here.
    """
    told = json.loads(data)
    if not isinstance(told, dict) or told.get("format") != _FORMAT or not isinstance(told.get("files"), dict):
        raise ValueError(f"no {_FORMAT}")
    files = {}
    for name, said in told["files"].items():
        size, sha256 = (said.get("size"), said.get("sha256")) if isinstance(said, dict) else (None, None)
        if not isinstance(size, int) or not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            continue
        if is_name(name):
            files[name] = Listed(size, sha256)
    return files


def read_sums(data: bytes) -> dict[str, str]:
    """Name -> sha256 of the lines of a ``SHA256SUMS`` that name a file as dataferry does.

    Parameters
    ----------
    data : bytes
        What `sha256sum` printed.

    Returns
    -------
    dict of str to str
        Other lines are left out.
    """
    found = {}
    for line in data.decode(errors="replace").split("\n"):
        match = _SUM.fullmatch(line)
        if match and not match["escaped"]:
            name = match["name"].removeprefix("./")
            if is_name(name):
                found[name] = match["sha256"].lower()
    return found


def sums_with(data: bytes, files: Mapping[str, str]) -> bytes:
    """A ``SHA256SUMS`` with further files; the lines that are there stay, but for those of the same names.

    Parameters
    ----------
    data : bytes
        What is there.
    files : mapping of str to str
        Name -> sha256.

    Returns
    -------
    bytes
        The whole list; new lines are sorted and come last.
    """
    there = read_sums(data)
    kept = []
    for line in data.decode(errors="surrogateescape").rstrip("\n").split("\n") if data else ():
        match = _SUM.fullmatch(line)
        sha256 = files.get(match["name"].removeprefix("./")) if match and not match["escaped"] else None
        if match is None or sha256 is None or sha256 == match["sha256"].lower():
            kept.append(line)
    said = {name for name in files if there.get(name) == files[name]}
    kept += [f"{files[name]}  {name}" for name in sorted(set(files) - said)]
    return "".join(f"{line}\n" for line in kept).encode(errors="surrogateescape")
