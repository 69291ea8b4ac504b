"""The contract that every host keeps, as a class of tests."""

from __future__ import annotations

__all__ = ["HostContract"]


class HostContract:
    """Tests for a host."""
