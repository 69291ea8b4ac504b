"""What goes wrong inside a host is that host's failure, whoever wrote it and whatever its provider answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DataferryError, TransferError

__all__ = ["guarded"]


@contextmanager
def guarded(place: str) -> Iterator[None]:
    """Call a host.

    Parameters
    ----------
    place : str
        The host, as it may be shown.

    Raises
    ------
    DataferryError
        What the host raises; an exception of another kind becomes a `TransferError` that names the host.
    """
    try:
        yield
    except DataferryError:
        raise
    except Exception as error:
        import logging

        logging.getLogger("dataferry").debug("%s", place, exc_info=error)
        said = f"{type(error).__name__}: {error}"[:300]
        reason = f"its answer has another form than dataferry knows, or the host itself is at fault ({said})"
        raise TransferError(place, reason, kind="protocol", final=True) from error
