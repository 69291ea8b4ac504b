"""A text file that is read once and replaced whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..errors import CacheError, RegistryError

__all__ = ["TextFile"]


class TextFile:
    """A file that is read once and written back whole, if nobody else wrote it in between.

    Parameters
    ----------
    path : Path
        The file.
    text : str or None
        What it begins with where it is not there yet; None to read it.

    Raises
    ------
    RegistryError
        If it cannot be read.
    """

    def __init__(self, path: Path, text: str | None) -> None:
        self.path = path
        self._mark: tuple[int, ...] | None = None
        if text is not None:
            self.text = text
            return
        try:
            self._mark = _mark(path)
            self.text = path.read_bytes().decode()
        except OSError as error:
            raise RegistryError(f"{path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise RegistryError(f"{path}: byte {error.start} is not UTF-8") from None

    def write(self, text: str) -> list[Path]:
        """Put another text in its place by one rename.

        Parameters
        ----------
        text : str
            The new text.

        Returns
        -------
        list of Path
            The file.

        Raises
        ------
        RegistryError
            If someone else changed it since it was read.
        CacheError
            If it cannot be written.
        """
        target = os.path.realpath(self.path)  # a link stays a link
        private = f"{target}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            if self._mark is not None:
                old = os.stat(target)
                with contextlib.suppress(OSError):
                    os.chown(private, -1, old.st_gid)
                os.chmod(private, old.st_mode & 0o7777)
            if self._mark != (_mark(self.path) if os.path.lexists(self.path) else None):
                raise RegistryError(f"{self.path}: someone else changed it meanwhile; run this again")
            os.replace(private, target)
        except OSError as error:
            raise CacheError(f"{self.path} cannot be written: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(private)
        self.text, self._mark = text, _mark(self.path)
        return [self.path]


def _mark(path: Path) -> tuple[int, ...]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
