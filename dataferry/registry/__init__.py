"""The registry: names, entries, and the forms in which they are written."""

from __future__ import annotations

from .entry import Entry
from .registry import Registry

__all__ = ["Entry", "Registry"]
