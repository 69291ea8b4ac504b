"""TOML files, the registry and the user's configuration, and checks of their values; each error names the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import BadName, DataferryError
from ..files import read_regular
from .names import shortened

_TYPES: dict[Any, str] = {bool: "true or false", str: "a string", dict: "a table"}

#: Parts of a dotted key, ``a.b.c``. tomllib takes minutes and gigabytes for one of 30,000 parts.
_MOST_PARTS = 100
_STRING = r'"(?:[^"\\]|\\.)*"|\'[^\']*\''


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a text; ValueError or RecursionError if it is not valid, or takes tomllib too long."""
    import tomllib

    for line in text.split("\n"):
        if line.count(".") > _MOST_PARTS:
            parts = 0
            for part in re.sub(_STRING, "s", line).split("."):
                parts = parts + 1 if re.fullmatch(r"[ \t]*[\w-]+[ \t]*", part) else 0
                if parts > _MOST_PARTS:
                    raise ValueError(f"a key of more than {_MOST_PARTS} parts: {shortened(line)}")
    return tomllib.loads(text)


def read_toml(
    path: str, kind: type[DataferryError], parse: Callable[[str], dict[str, Any]] = parse_toml
) -> tuple[str, dict[str, Any]]:
    """The text and the tables of a file; raises an error of this kind, with the line where it is known."""
    try:
        text = read_regular(path).removeprefix(b"\xef\xbb\xbf").decode()
        return text, parse(text)
    except OSError as error:
        raise kind(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise kind(f"{path}: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise kind(f"{path}: not valid TOML: its tables or arrays are nested too deeply") from None
    except ValueError as error:  # of tomllib, or of an integer of more digits than Python converts
        raise kind(f"{path}: not valid TOML: {error}") from None


class TomlValues:
    """The file whose values are checked: its name, the error for a wrong one, and its text, to find the line in."""

    def __init__(self, origin: str, kind: type[DataferryError], text: str = "") -> None:
        self.origin, self._kind, self._text = origin, kind, text

    def error(self, why: str, key: str = "") -> DataferryError:
        """The error for something that the file says, with the line of a key where that is found."""
        # tomllib reports no line for values
        last = re.escape(key.rpartition(".")[2])
        found = re.search(rf'^[ \t]*(?:\[[^\n]*)?"?{last}"?[ \t]*(?:=|\])', self._text, re.MULTILINE) if key else None
        line = f"line {self._text.count(chr(10), 0, found.start()) + 1}: " if found else ""
        return self._kind(f"{self.origin}: {line}{why}")

    def typed(self, table: Mapping[str, Any], key: str, kind: Any, default: Any, where: str = "") -> Any:
        """The value of a key, if it is of the right type."""
        value = table.get(key, default)
        if value is not default and (not isinstance(value, kind) or (kind is not bool and isinstance(value, bool))):
            raise self.error(f"{where}{key} is {_TYPES.get(kind, 'a number')}, not {shortened(value)}", key)
        return value

    def strings(self, table: Mapping[str, Any], key: str, where: str = "") -> list[str]:
        """A string, or a list of them; none where the key is missing."""
        value = table.get(key, [])
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(f"{where}{key} is a string or a list of strings, not {shortened(value)}", key)
        return value

    def check(self, check: Callable[[str], object], value: str, key: str) -> None:
        """Refuse a value for which a check raises `BadName`."""
        try:
            check(value)
        except BadName as error:
            raise self.error(str(error), key) from None
