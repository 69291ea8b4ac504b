"""Which keys and values the tables of a ``config.toml`` may have."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..registry.names import close_names, shortened
from ..registry.toml_values import TomlValues

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


def refuse_unknown(values: TomlValues, table: Mapping[str, Any], known: Collection[str], where: str = "") -> None:
    """Refuse keys that mean nothing."""
    for key in table.keys() - known:
        close = close_names(key, known)
        raise values.error(f"unknown key {where}{key}" + (f"; did you mean {close[0]!r}?" if close else ""))


def check_hosts(values: TomlValues, tables: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The options of single hosts."""
    for host, options in tables.items():
        where = f"hosts.{host}"
        if not isinstance(options, dict):
            raise values.error(f"{where} is a table, not {type(options).__name__}")
        refuse_unknown(values, options, _HOST, f"{where}.")
        for key, value in options.items():
            is_right, words = _VALUES.get(key, _STRING)
            if not is_right(value):
                printed = f"of type {type(value).__name__}" if key in _SECRET else shortened(value)
                raise values.error(f"{where}.{key} is {words}, not {printed}")
    return tables


def check_sites(values: TomlValues, tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """How further sites are recognised."""
    found = {}
    for site, signs in tables.items():
        where = f"sites.{site}."
        if not isinstance(signs, dict):
            raise values.error(f"sites.{site} is a table with env or hostname, not {shortened(signs)}")
        refuse_unknown(values, signs, _SITE, where)
        env = values.typed(signs, "env", dict, {}, where)
        for variable in env:
            values.typed(env, variable, str, "", f"{where}env.")
        found[site] = {"env": env, "hostname": values.strings(signs, "hostname", where)}
    return found
