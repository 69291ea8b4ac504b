"""The source of one installed package: edits that fail loudly, and the size of the patch that they make."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tree:
    """A package in a ``site-packages`` of its own; each edit must find its place exactly once."""

    site: Path
    package: str
    originals: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.site / self.package

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        """Put a new file in place: the old one can be a hard link into the installer's cache."""
        path = self.folder / name
        self.originals.setdefault(name, self.read(name) if path.exists() else "")
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(text, encoding="utf-8")
        os.replace(new, path)

    def replace(self, name: str, old: str, new: str, times: int = 1) -> None:
        text = self.read(name)
        if text.count(old) != times:
            raise SystemExit(f"{self.package}/{name}: {old!r} is there {text.count(old)} times and not {times}")
        self.write(name, text.replace(old, new))

    def replace_lines(self, name: str, first: str, last: str, new: str) -> None:
        """Replace the lines from the one that starts with `first` up to the next that starts with `last`, with it."""
        lines = self.read(name).splitlines(keepends=True)
        starts = [number for number, line in enumerate(lines) if line.startswith(first)]
        if len(starts) != 1:
            raise SystemExit(f"{self.package}/{name}: {len(starts)} lines start with {first!r}")
        ends = [number for number in range(starts[0], len(lines)) if lines[number].startswith(last)]
        if not ends:
            raise SystemExit(f"{self.package}/{name}: no line after {first!r} starts with {last!r}")
        lines[starts[0] : ends[0] + 1] = [new]
        self.write(name, "".join(lines))

    def make(self, code: str) -> dict[str, bytes]:
        """The files that a program writes into its current folder, run with the libraries of this environment."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([self.site.parents[2] / "bin" / "python", "-c", code], cwd=folder, check=True)
            found = [path for path in Path(folder).rglob("*") if path.is_file()]
            return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    def register(self, name: str, pattern: str, made: dict[str, bytes]) -> dict[str, bytes]:
        """Give a registry in the source the hashes of stand-ins; `pattern` finds a name and its sha256.

        A file that is not among `made` gets some bytes of its own.
        """
        contents = dict(made)

        def stand_in(match: re.Match[str]) -> str:
            file, sha256 = match["name"], match["sha256"]
            content = contents.setdefault(file, f"stand-in for {file}\n".encode() * 100)
            return match[0].replace(sha256, hashlib.sha256(content).hexdigest())

        self.write(name, re.sub(pattern, stand_in, self.read(name), flags=re.MULTILINE))
        return contents

    def urls(self, name: str) -> dict[str, str]:
        """Names and URLs in a registry in the source."""
        return dict(re.findall(r'"([^"]+)": "(https?://[^"]+)"', self.read(name)))

    def keep_as_released(self) -> None:
        """What the files are now is the release that the patch starts from."""
        self.originals.clear()

    def patch(self) -> list[str]:
        """The unified diff since `keep_as_released`."""
        lines: list[str] = []
        for name, original in sorted(self.originals.items()):
            path = self.folder / name
            now = path.read_text(encoding="utf-8") if path.exists() else ""
            lines += difflib.unified_diff(
                original.splitlines(), now.splitlines(), f"a/{name}", f"b/{name}", lineterm="", n=1
            )
        return lines

    def size(self) -> tuple[int, int]:
        """How many lines the patch adds and removes."""
        added = sum(line.startswith("+") and not line.startswith("+++") for line in self.patch())
        removed = sum(line.startswith("-") and not line.startswith("---") for line in self.patch())
        return added, removed
