"""The registry: names, entries, and the forms in which they are written."""

from __future__ import annotations

from .registry import Entry, Registry

__all__ = ["Entry", "Registry"]
