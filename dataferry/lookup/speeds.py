"""How fast hosts were lately, for users who want the fastest first: ``order = "speed"`` in ``config.toml``."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache import layout as cache_home

if TYPE_CHECKING:
    from ..download.source import Source

__all__ = ["fastest_first", "note_speeds"]

#: What moved less says more of the round trip than of the host.
_LEAST_BYTES = 1 << 18
_FORGET_AFTER = 7 * 24 * 3600.0
_NEWEST_COUNTS = 0.5


def fastest_first(sources: Sequence[Source]) -> list[Source]:
    """Sources in the order of their hosts' speed.

    Parameters
    ----------
    sources : sequence of Source
        In their declared order.

    Returns
    -------
    list of Source
        Hosts that nobody measured lately first, so that each gets its turn, then the fastest.
    """
    known = _read()
    return sorted(sources, key=lambda source: -known[source.host][0] if source.host in known else float("-inf"))


def note_speeds(moved: Mapping[str, tuple[int, float]]) -> None:
    """Keep how fast hosts were.

    Parameters
    ----------
    moved : mapping of str to (int, float)
        Host -> bytes that came from it, and the seconds that this took.
    """
    rates = {host: count / seconds for host, (count, seconds) in moved.items() if count >= _LEAST_BYTES and seconds > 0}
    file = _file()
    if not rates or file is None:
        return
    known, now = _read(), time.time()
    for host, rate in rates.items():
        before = known[host][0] if host in known else rate
        known[host] = before + _NEWEST_COUNTS * (rate - before), now
    private = file.with_name(f"{file.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with contextlib.suppress(OSError):  # without it the declared order holds
        private.write_text(json.dumps(known), encoding="utf-8")
        os.replace(private, file)


def _file() -> Path | None:
    home = cache_home.writable_home()
    return None if home is None else Path(home, "speeds.json")


def _read() -> dict[str, tuple[float, float]]:
    file, oldest = _file(), time.time() - _FORGET_AFTER
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        told = json.loads(file.read_text(encoding="utf-8")) if file is not None else {}
        return {host: (float(rate), float(at)) for host, (rate, at) in told.items() if at > oldest}
    return {}
