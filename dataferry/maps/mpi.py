"""Maps on many ranks: each reads its own pixels, or one a node reads for all of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

import numpy as np
from astropy.units import Quantity
from numpy.typing import NDArray

from ..errors import MapError, MissingExtra
from .layout import MapLayout
from .request import MapRequest

T = TypeVar("T")


def share_of_rank(comm: Any, npix: int) -> range:
    """A rank's run of neighbouring pixels; the runs differ by one pixel at most."""
    return range(comm.rank * npix // comm.size, (comm.rank + 1) * npix // comm.size)


def read_shared(
    comm: Any,
    opening: AbstractContextManager[MapLayout],
    request_for: Callable[[MapLayout], MapRequest],
    *,
    whole: bool,
) -> Quantity:
    """Read a map once a node, into memory that all ranks of the node see; every rank has to call this.

    ``whole``: the whole map is asked for, in an array of its own. ``info.meta["window"]`` is the memory, which stays
    until all ranks call its ``Free``, or the program ends. What fails on one rank is raised on every rank.
    """
    with ExitStack() as stack:

        def prepare() -> MapRequest:
            layout = stack.enter_context(opening)
            if not whole:
                raise layout.context.error(
                    "shared=True reads the whole map into memory of its own", "leave out pixels and out"
                )
            return request_for(layout)

        request = _together(comm, prepare)
        form = request.shape(request.npix), request.dtype.str
        first = comm.bcast(form, root=0)
        if any(comm.allgather(form != first)):
            raise request.layout.context.error("the ranks ask for maps of different shapes or types")
        values, window = _on_each_node(comm, request)
        request.meta["window"] = window
        return request.quantity(values)


def _on_each_node(comm: Any, request: MapRequest) -> tuple[NDArray[Any], Any]:
    import math

    MPI = _mpi()  # noqa: N806
    shape, dtype = request.shape(request.npix), request.dtype
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        size = math.prod(shape) * dtype.itemsize if node.rank == 0 else 0
        window = _together(comm, lambda: MPI.Win.Allocate_shared(size, dtype.itemsize, comm=node))
        values: NDArray[Any] = np.ndarray(shape, dtype, window.Shared_query(0)[0])

        def read() -> None:
            if node.rank == 0:
                request.read(values)

        try:
            # this is also the barrier after which all may read
            _together(comm, read)
        except BaseException:
            window.Free()
            raise
    finally:
        # the window keeps what it needs of it; a program has only so many
        node.Free()
    return values, window


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
