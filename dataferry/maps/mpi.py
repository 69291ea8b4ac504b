"""Maps that one rank of each node reads, into memory that all ranks of the node share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from astropy.units import Quantity
from numpy.typing import NDArray

from ..errors import MapError, MissingExtra
from .request import MapRequest

T = TypeVar("T")


def read_shared(comm: Any, prepare: Callable[[], MapRequest], read: Callable[[MapRequest], Quantity]) -> Quantity:
    """Read a map once a node; every rank has to call this, and what fails on one is raised on every rank.

    ``info.meta["window"]`` is the memory, which stays until all ranks call its ``Free``, or the program ends.
    """
    request = _together(comm, prepare)
    shape, dtype = request.shape(request.npix), request.dtype
    first = comm.bcast((shape, dtype.str), root=0)
    if any(comm.allgather((shape, dtype.str) != first)):
        raise request.context.error("the ranks ask for maps of different shapes or types")
    MPI = _mpi()  # noqa: N806
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        size = math.prod(shape) * dtype.itemsize if node.rank == 0 else 0
        window = _together(comm, lambda: MPI.Win.Allocate_shared(size, dtype.itemsize, comm=node))
        values: NDArray[Any] = np.ndarray(shape, dtype, window.Shared_query(0)[0])
        request.out = values
        try:
            # this is also the barrier after which all may read
            _together(comm, lambda: read(request) if node.rank == 0 else None)
        except BaseException:
            window.Free()
            raise
    finally:
        # the window keeps what it needs of it; a program has only so many
        node.Free()
    request.meta["window"] = window
    return request.quantity(values)


def _together(comm: Any, step: Callable[[], T]) -> T:
    """Do a step on every rank; if it fails on one it fails on all, so that none waits for the others."""
    result: Any = None
    failed: Exception | None = None
    try:
        result = step()
    except Exception as error:  # noqa: BLE001  the other ranks wait for an answer, whatever it is
        failed = error
    first = comm.allreduce(comm.rank if failed else comm.size, op=_mpi().MIN)
    if first < comm.size:
        theirs = comm.bcast(_sendable(failed) if failed else None, root=first)
        raise failed or theirs
    return result  # type: ignore[no-any-return]


def _sendable(error: Exception) -> Exception:
    """The error as it can be sent: of the same kind, if that can be pickled."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  made in this line
    except Exception:  # noqa: BLE001  pickle raises anything
        return MapError(f"{type(error).__name__}: {error}")
    return error


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise MissingExtra("mpi", "mpi4py") from error
    return MPI
