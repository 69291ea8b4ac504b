"""A file that a host did not take."""

from __future__ import annotations

from typing import Any

from .declared import DataferryError

__all__ = ["AccessDenied", "Conflict", "PublishError"]


class PublishError(DataferryError, OSError):
    """A host did not take a file, or could not be asked whether it would.

    Parameters
    ----------
    place : str
        The host, or the file at the host, as it may be shown.
    reason : str
        What happened.
    remedy : str
        What helps.
    """

    def __init__(self, place: str, reason: str, remedy: str = "") -> None:
        self.place = place
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{place}: {reason}" + (f"\n{remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place, self.reason, self.remedy)


class AccessDenied(PublishError):
    """No token was found, or the host refused it; the remedy says which rights it needs and where to make one."""


class Conflict(PublishError):
    """The host has other bytes under that name; a published name keeps its bytes."""
