"""Whether every registered file can still be had from every host, by a stranger.

`check` asks each host for the head of each file and a few samples of it, compares what the host tells of it, and, if
asked to, fetches it whole. It changes nothing.
"""

from __future__ import annotations

from .findings import Finding, State
from .run import check

__all__ = ["Finding", "State", "check"]
