"""A long registry in the layout of `dataferry add`, read by a pattern: tomllib would take 1.6 s for 100,000 files."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from .entry import Entry, check_entry
from .toml_values import parse_toml

#: A file as `dataferry add` writes it.
_match_block = re.compile(
    r'\[files\."([^"\\\x00-\x1f\x7f]+)"\]\nsize = (0|[1-9][0-9]{0,17})\nsha256 = "([0-9a-f]{64})"\n'
    r'((?:[A-Za-z0-9_-]+ = (?:"[^"\\\x00-\x1f\x7f]*"|0|[1-9][0-9]{0,17})\n)*)\n*'
).match
_find_locators = re.compile(r'([A-Za-z0-9_-]+) = (?:"([^"]*)"|([0-9]+))\n').findall


def read_blocks(text: str) -> dict[str, Any] | None:
    """The tables of a long registry, read as tomllib reads them; None where its layout is not that of `add`."""
    start = at = text.find('\n[files."') + 1
    files: dict[str, Entry] = {}
    while block := _match_block(text, at):
        name, size, sha256, locators = block.groups()
        found: dict[str, str | int] = {
            key: int(digits) if digits else word for key, word, digits in _find_locators(locators)
        }
        if name in files or len(found) != locators.count("\n") or found.keys() & {"size", "sha256"}:
            return None  # twice the same: tomllib names the line
        try:
            files[name] = check_entry(name, sha256, int(size), found)
        except ValueError:
            return None  # the slow way names the line
        at = block.end()
    rest = text[at:]
    if not files or (rest and not rest.startswith("[")):
        return None
    try:
        # each part is whole TOML by itself, so no string or array goes over where they meet
        before, after = parse_toml(text[:start]), parse_toml(rest)
    except tomllib.TOMLDecodeError:
        return None
    if "files" in before or "files" in after or before.keys() & after.keys():
        return None
    return {**before, "files": files, **after}
