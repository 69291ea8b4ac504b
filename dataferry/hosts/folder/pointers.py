"""What git-lfs keeps in git instead of a file, and how it is told which files are its own."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ...registry.checksum_lists import Listed

__all__ = ["TRACK", "by_name", "by_suffix", "pointer", "read_pointer"]

#: What a line of ``.gitattributes`` says of a pattern that git-lfs tracks.
TRACK = "filter=lfs diff=lfs merge=lfs -text"

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)


def pointer(listed: Listed) -> bytes:
    """The pointer of a file; an empty file is its own."""
    if not listed.size:
        return b""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{listed.sha256}\nsize {listed.size}\n".encode()


def read_pointer(data: bytes) -> Listed | None:
    """What a pointer points to; None if it is none."""
    match = _POINTER.fullmatch(data) if len(data) < 1024 else None
    return Listed(int(match[2]), match[1].decode()) if match else None


def by_suffix(name: str) -> str:
    """The pattern for all files with the suffix of a name; empty where it has none that a pattern can hold."""
    suffix = PurePosixPath(name).suffix
    return f"*{suffix}" if re.fullmatch(r"\.[A-Za-z0-9_+=@-]+", suffix) else ""


def by_name(name: str) -> str:
    """The pattern for one file."""
    escaped = re.sub(r"([*?\[\\])", r"\\\1", name)
    return "/" + re.sub(r"\s", "[[:space:]]", escaped).replace('"', '["]')
