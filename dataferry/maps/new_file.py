"""A file of one table, in its place only once it is whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MapError
from .fits_sum import add_words, with_checksum
from .place import Place

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from numpy.typing import NDArray

__all__ = ["there_already", "write_file"]

_STEP = 1 << 18
_BLOCK = 2880


def there_already(place: Place) -> MapError:
    """Make the error for a name that is taken."""
    return place.error("is there already", "overwrite=True replaces it")


def write_file(
    target: Path, place: Place, cards: dict[str, Any], columns: list[NDArray[Any]], *, overwrite: bool
) -> None:
    """Write a table beside its place, and move it there.

    Parameters
    ----------
    target : pathlib.Path
        Its place; of a symbolic link, where that leads to.
    place : Place
        What errors call it.
    cards : dict
        The header: keyword to value, or to (value, comment).
    columns : list of numpy.ndarray
        One-dimensional, of one length.
    overwrite : bool
        Whether another file may be replaced.

    Raises
    ------
    MapError
        If there is another file, or it cannot be written.
    """
    import tempfile

    header = _header(cards, place)
    real = Path(os.path.realpath(target))
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=real.parent, prefix=f".{real.name}.", delete=False) as stream:
            temporary = stream.name
            _table(stream, header, columns)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        _name(temporary, real, overwrite=overwrite)
        temporary = None
    except FileExistsError as error:
        raise there_already(place) from error
    except OSError as error:
        raise place.error(f"cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _header(cards: dict[str, Any], place: Place) -> Header:
    from astropy.io.fits import Header

    header = Header()
    for key, value in cards.items():
        try:
            header[key] = value
        except (ValueError, TypeError) as error:
            raise place.error(f"the header cannot be written: {key}: {error}") from error
    return header


def _name(temporary: str, real: Path, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, real)
        return
    from ..files import rename_noreplace

    # of several who write the same file at once, one has it
    rename_noreplace(temporary, os.fspath(real))


def _table(stream: Any, header: Header, columns: list[NDArray[Any]]) -> None:
    from astropy.io.fits import Header

    primary = Header()
    primary["SIMPLE"], primary["BITPIX"], primary["NAXIS"], primary["EXTEND"] = True, 8, 0, True
    first = with_checksum(primary, 0)
    stream.write(first + bytes(len(with_checksum(header, 0))))
    total = _rows(stream, columns, header["NAXIS2"])
    stream.seek(len(first))
    stream.write(with_checksum(header, total))


def _rows(stream: Any, columns: list[NDArray[Any]], rows: int) -> int:
    """Write the table block by block and give the sum of its words."""
    import numpy as np

    per_row = columns[0].size // rows
    dtype = np.dtype([(f"c{k}", c.dtype.newbyteorder(">"), (per_row,)) for k, c in enumerate(columns)])
    step = max(1, _STEP // dtype.itemsize) * 4
    total = written = 0
    for at in range(0, rows, step):
        n = min(step, rows - at)
        block = np.empty(n, dtype)
        for k, column in enumerate(columns):
            block[f"c{k}"] = column[at * per_row : (at + n) * per_row].reshape(n, per_row)
        raw = block.tobytes()
        # all blocks but the last are a whole number of words long
        total = add_words(total, raw)
        stream.write(raw)
        written += len(raw)
    stream.write(bytes(-written % _BLOCK))
    return total


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
