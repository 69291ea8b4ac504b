"""What the registry knows before and while files are published."""

from __future__ import annotations

import os
from pathlib import Path

from ..registry.registry import Registry

__all__ = ["Known", "read_known"]


class Known(Registry):
    """A registry whose text file need not be there yet: it is made with the first entry."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._apart = super().list_path
        if self._apart is not None and not os.path.lexists(self._apart):
            self._list = None

    @property
    def list_path(self) -> Path | None:
        """The text file with the entries, where ``registry`` names one."""
        return self._apart

    def holds_locators(self, name: str) -> bool:
        """Whether the entry of a file can hold the ids that single hosts need."""
        return self._apart is None or self.in_table(name)


def read_known(path: Path) -> Known | None:
    """The registry as it is now; None if there is none."""
    return Known(path) if os.path.lexists(path) else None
