"""Where in a file something is wrong: the words that every `MapError` starts with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import MapError

__all__ = ["BadCopy", "Place"]


class BadCopy(MapError):
    """The bytes do not come, or are not those of the file: another host may have them."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file, an HDU of it, a column of that.

    Parameters
    ----------
    file : str
        Path or URL as it may be printed.
    hdu : int or None
        Number of the HDU, 0 is the primary one.
    column : str or None
        Number and name of the column.
    """

    file: str
    hdu: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        parts = [self.file]
        if self.hdu is not None:
            parts.append(f"HDU {self.hdu}")
        if self.column is not None:
            parts.append(f"column {self.column}")
        return ", ".join(parts)

    def in_hdu(self, hdu: int) -> Place:
        """The same file, at one HDU."""
        return replace(self, hdu=hdu, column=None)

    def in_column(self, number: int, name: str) -> Place:
        """The same HDU, at one column; ``number`` counts from 1 as FITS does."""
        return replace(self, column=f"{number} {name!r}" if name else str(number))

    def error(self, reason: str, remedy: str = "", kind: type[MapError] = MapError) -> MapError:
        """Make the error that says what is wrong here, and what would help.

        Parameters
        ----------
        reason : str
            What is wrong.
        remedy : str
            The step or the command that would help.
        kind : type
            What error it is.

        Returns
        -------
        MapError
            To be raised by the caller.
        """
        return kind(f"{self}: {reason}" + (f"; {remedy}" if remedy else ""))
