"""The methods of `PackageData` that read maps: whole from a verified file, or a part of them at a host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.units import Quantity

    from .download.source import Source
    from .lookup.lookup import Lookup

__all__ = ["MapMethods"]

T = TypeVar("T")


class MapMethods(ABC):
    """What a class needs to read maps by name: `get`, and the way to its hosts."""

    _lookup: Lookup

    @abstractmethod
    def get(self, name: str) -> str:
        """The verified local path of a file."""

    def read_map(
        self, name: str, field: Any = 0, *, comm: Any = None, remote: bool = False, **options: Any
    ) -> Quantity:
        """Read a HEALPix map, or a part of one.

        Parameters
        ----------
        name : str
            The file's name.
        field : int, str, sequence of these, or None
            Which columns; None is all.
        comm : mpi4py.MPI.Comm, optional
            Rank 0 gets the file, and each rank reads only its pixels.
        remote : bool
            Read just what is needed by byte ranges at the first host that serves them, unless the file is on this
            machine. What is read in part is not verified: ``info.meta["verified"]`` is False, and
            ``info.meta["moved_bytes"]`` says how much came over the network.
        **options
            As `dataferry.maps.read_map` takes them: ``nside``, ``unit``, ``order``, ``dtype``, ``pixels``, ``fill``,
            ``out``, ``hdu``, ``shared``.

        Returns
        -------
        astropy.units.Quantity
            Shape (npix,) for one field, (fields, npix) for several; native-endian, in RING unless ``order`` says
            otherwise.

        Raises
        ------
        MapError
            If the file is no map, or cannot be had as asked.
        DataferryError
            As `PackageData.get` does.
        """
        from .maps import read_map

        if comm is not None and not remote:
            return read_map(self._get_once(name, comm), field, comm=comm, **options)
        return self._near_or_remote(
            name, remote, lambda path, far: read_map(path, field, comm=comm, remote=far, **options)
        )

    def header(self, name: str, hdu: int | str | None = None, *, remote: bool = False) -> Header:
        """Read the header of one HDU, and no data.

        Parameters
        ----------
        name : str
            The file's name.
        hdu : int or str, optional
            Number or EXTNAME; None finds the map, or else the first HDU with data.
        remote : bool
            As with `read_map`: a few kilobytes by ranges, where the file is not on this machine.

        Returns
        -------
        astropy.io.fits.Header
            The header.

        Raises
        ------
        MapError
            If the file is not FITS, or has no such HDU.
        DataferryError
            As `PackageData.get` does.
        """
        from .maps import header

        return self._near_or_remote(name, remote, lambda path, far: header(path, hdu, remote=far))

    def _near_or_remote(self, name: str, remote: bool, read: Callable[[Any, bool], T]) -> T:
        path = self._lookup.look(name)[0] if remote else self.get(name)
        if path is not None:
            return read(path, False)
        from .errors import FileUnavailable
        from .maps.byte_source import BadCopy

        tried: list[tuple[str, str]] = []
        sources: list[Source] = self._lookup.sources(name)
        for source in sources:
            try:
                return read(source, True)
            except BadCopy as error:
                if source is sources[-1] and len(sources) == 1:
                    raise
                tried.append((source.redacted, str(error)))
        raise FileUnavailable(name, tried, "without remote=True the whole file is fetched and verified")

    def _get_once(self, name: str, comm: Any) -> str:
        """One rank gets the file, so that a thousand do not ask for it; all learn how that went."""
        found: str | Exception = ""
        if comm.Get_rank() == 0:
            try:
                found = self.get(name)
            except Exception as error:  # noqa: BLE001  the other ranks wait for an answer, whatever it is
                found = error
        found = comm.bcast(found, root=0)
        if isinstance(found, Exception):
            raise found
        return found
