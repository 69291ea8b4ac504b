"""Maps on many ranks: each reads its own pixels, or one a node reads for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import MapError, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["shared_map", "this_share"]


def this_share(comm: Any, npix: int) -> range:
    """Give a rank its run of neighbouring pixels; the runs differ by one pixel at most.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        All ranks.
    npix : int
        Pixels of the map.

    Returns
    -------
    range
        The pixels of this rank.
    """
    return range(comm.rank * npix // comm.size, (comm.rank + 1) * npix // comm.size)


def shared_map(
    comm: Any, shape: tuple[int, ...], dtype: np.dtype[Any], read: Callable[[NDArray[Any]], None]
) -> tuple[NDArray[Any], Any]:
    """Read a map once a node, into memory that all ranks of the node see.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        All ranks; every one has to call this.
    shape, dtype : tuple of int, numpy.dtype
        Of the map.
    read : callable
        Fills an array; called on one rank of each node.

    Returns
    -------
    values : numpy.ndarray
        Over the node's shared memory.
    window : mpi4py.MPI.Win
        The memory; it stays until all ranks call its ``Free``, or the program ends.

    Raises
    ------
    MapError
        On every rank of the node, if its reader failed.
    MissingExtra
        If mpi4py is not installed.
    """
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise MissingExtra("mpi", "mpi4py") from error
    import math

    import numpy as np

    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    size = math.prod(shape) * dtype.itemsize
    window = MPI.Win.Allocate_shared(size if node.rank == 0 else 0, dtype.itemsize, comm=node)
    memory, _ = window.Shared_query(0)
    values: NDArray[Any] = np.ndarray(shape, dtype, memory)  # type: ignore[arg-type]
    failed: MapError | None = None
    if node.rank == 0:
        try:
            read(values)
        except MapError as error:
            failed = error
    # also the barrier after which all may read
    message = node.bcast(str(failed) if failed else "", root=0)
    if message:
        raise failed or MapError(message)
    return values, window
