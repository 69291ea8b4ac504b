"""Several errors at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from .declared import DataferryError
from .publishing import PublishError

__all__ = ["FetchErrors", "PublishErrors"]


class FetchErrors(DataferryError, ExceptionGroup[DataferryError]):
    """Several files could not be had; ``exceptions`` holds one error a file, ``paths`` what did arrive.

    Parameters
    ----------
    message : str
        How many of how many.
    errors : sequence of DataferryError
        One for each file that failed.
    """

    paths: dict[str, str]

    def __new__(cls, message: str, errors: Sequence[DataferryError]) -> Self:
        """Make the group; an exception group takes its arguments here."""
        return super().__new__(cls, message, errors)

    def __init__(self, message: str, errors: Sequence[DataferryError]) -> None:
        super().__init__(message, errors)
        self.paths = {}

    def derive(self, excs: Sequence[DataferryError]) -> FetchErrors:  # type: ignore[override]
        """Make the group of a part of the errors, for ``except*``."""
        return FetchErrors(self.message, excs)

    def __str__(self) -> str:
        return "\n".join([str(self.message), *(str(e) for e in self.exceptions)])


class PublishErrors(DataferryError, ExceptionGroup[DataferryError]):
    """Several things keep files from being published; ``exceptions`` holds one error for each.

    Parameters
    ----------
    message : str
        What was not done.
    errors : sequence of DataferryError
        Each thing that is wrong.
    """

    def __new__(cls, message: str, errors: Sequence[DataferryError]) -> Self:
        """Make the group; an exception group takes its arguments here."""
        return super().__new__(cls, message, errors)

    def derive(self, excs: Sequence[DataferryError]) -> PublishErrors:  # type: ignore[override]
        """Make the group of a part of the errors, for ``except*``."""
        return PublishErrors(self.message, excs)

    def __str__(self) -> str:
        from itertools import groupby

        lines = [str(self.message)]
        for remedy, group in groupby(self.exceptions, _remedy):
            alike = [str(error).removesuffix(f"\n{remedy}") for error in group]
            lines += alike[:_MOST_ALIKE] if remedy else alike
            if remedy:  # what helps with all of them is said once
                lines += [f"... and {len(alike) - _MOST_ALIKE} more"] if len(alike) > _MOST_ALIKE else []
                lines.append(remedy)
        return "\n".join(lines)


#: So many errors of one kind are told one by one.
_MOST_ALIKE = 20


def _remedy(error: object) -> str:
    return error.remedy if isinstance(error, PublishError) else ""
