"""The methods of `PackageData` that read a file of any kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any, overload

__all__ = ["FileMethods"]


class FileMethods(ABC):
    """What a class that can `get` needs to read files by name."""

    @abstractmethod
    def get(self, name: str) -> str:
        """The verified local path of a file."""

    def open(self, name: str, mode: str = "rb", **options: Any) -> IO[Any]:
        """Get a file and open it for reading.

        Parameters
        ----------
        name : str
            The file's name.
        mode : str
            ``"rb"`` or ``"r"``.
        **options
            Passed to the builtin `open`.

        Returns
        -------
        file object
            The open file.

        Raises
        ------
        ValueError
            If the mode would write: data is never changed in place.
        DataferryError
            As `get` does.
        """
        if set(mode) & set("wax+"):
            raise ValueError(f"data files are opened for reading only, not with mode {mode!r}")
        return open(self.get(name), mode, **options)

    @overload
    def contents(self, name: str, encoding: None = None) -> bytes: ...
    @overload
    def contents(self, name: str, encoding: str) -> str: ...
    def contents(self, name: str, encoding: str | None = None) -> bytes | str:
        """Get a file and read it.

        Parameters
        ----------
        name : str
            The file's name.
        encoding : str, optional
            The text's encoding; without it the bytes are returned.

        Returns
        -------
        bytes or str
            What is in the file.

        Raises
        ------
        DataferryError
            As `get` does.
        """
        path = Path(self.get(name))
        return path.read_bytes() if encoding is None else path.read_text(encoding=encoding)
