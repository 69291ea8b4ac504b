"""What the values in a ``config.toml`` must be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..registry.names import close_names

_HOST = {"token", "user", "password", "ca_bundle", "client_cert", "connections", "rate"}
_SITE = {"env", "hostname"}
#: Their values are never printed.
_SECRET = {"token", "user", "password"}


def _is_number(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and 0 < value < math.inf


def _is_certificate(value: object) -> bool:
    pair = isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) for item in value)
    return pair or isinstance(value, str)


_STRING: tuple[Callable[[object], bool], str] = (lambda value: isinstance(value, str), "a string")
#: What the options of a host are, where they are not strings.
_VALUES: dict[str, tuple[Callable[[object], bool], str]] = {
    "connections": (lambda value: _is_number(value, int), "a whole number of 1 or more"),
    "rate": (lambda value: _is_number(value, (int, float)), "a number of bytes a second above 0"),
    "client_cert": (_is_certificate, "a string or [certificate, key]"),
}


class Values:
    """Checks the values of one file, which each error names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def error(self, why: str) -> SettingsError:
        """The error for something that the file says."""
        return SettingsError(f"{self.path}: {why}")

    def keys(self, table: Mapping[str, Any], known: set[str], where: str) -> None:
        """Refuse keys that mean nothing."""
        for key in table.keys() - known:
            close = close_names(key, known)
            raise self.error(f"unknown key {where}{key}" + (f"; did you mean {close[0]!r}?" if close else ""))

    def typed(self, table: Mapping[str, Any], key: str, kind: Any, default: Any, where: str = "") -> Any:
        """The value of a key, if it is of the right type."""
        value = table.get(key, default)
        if value is not default and (not isinstance(value, kind) or (kind is not bool and isinstance(value, bool))):
            words = {bool: "true or false", str: "a string", dict: "a table"}
            raise self.error(f"{where}{key} is {words.get(kind, 'a number')}, not {value!r}")
        return value

    def strings(self, value: object, key: str) -> list[str]:
        """A string, or a list of them."""
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(f"{key} is a string or a list of strings, not {value!r}")
        return value

    def hosts(self, tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The options of single hosts."""
        for host, options in tables.items():
            where = f"hosts.{host}"
            if not isinstance(options, dict):
                raise self.error(f"{where} is a table, not {type(options).__name__}")
            self.keys(options, _HOST, f"{where}.")
            for key, value in options.items():
                is_right, words = _VALUES.get(key, _STRING)
                if not is_right(value):
                    printed = f"of type {type(value).__name__}" if key in _SECRET else repr(value)
                    raise self.error(f"{where}.{key} is {words}, not {printed}")
        return dict(tables)

    def sites(self, tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """How further sites are recognised."""
        found = {}
        for site, signs in tables.items():
            where = f"sites.{site}"
            if not isinstance(signs, dict):
                raise self.error(f"{where} is a table with env or hostname, not {signs!r}")
            self.keys(signs, _SITE, f"{where}.")
            env = self.typed(signs, "env", dict, {}, f"{where}.")
            for variable, value in env.items():
                if not isinstance(value, str):
                    raise self.error(f"{where}.env.{variable} is a string, not {value!r}")
            found[site] = {"env": env, "hostname": self.strings(signs.get("hostname", []), f"{where}.hostname")}
        return found
