"""`PackageData`: the data of one package, each file from the nearest place that has it."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from .file_methods import FileMethods
from .lookup.getting import get, get_many
from .lookup.lookup import Lookup
from .lookup.report import Arrival, Step, Where
from .lookup.terms import Terms
from .map_methods import MapMethods
from .registry.names import check_name
from .registry.registry import Registry

if TYPE_CHECKING:
    from .download.progress import Progress

__all__ = ["PackageData"]


class PackageData(FileMethods, MapMethods):
    """The data of one package.

    Parameters
    ----------
    package : str
        The package, whose ``data/dataferry.toml`` declares the files.
    registry : path-like, optional
        A ``dataferry.toml`` elsewhere, for data without an installed package.
    folders : iterable of path-like
        Predefined folders that come before all others; ``~``, ``$VAR`` and ``${VAR}`` are expanded.
    overrides : mapping of str to path-like, optional
        Files to take from a path of yours, as they are: name -> path.
    strict : bool, optional
        Whether a name that is not registered is an error. By default the user's configuration decides, then the
        ``strict`` of ``dataferry.toml``; without either such a name is left to `get_data_filename`.
    show_progress : bool or callable
        Whether transfers show their progress; or who is told, with a `Progress`, many times a second and once at the
        end.

    Notes
    -----
    Making one reads nothing: the registry is read at first use. Threads may share one.
    """

    def __init__(
        self,
        package: str,
        *,
        registry: str | os.PathLike[str] | None = None,
        folders: Iterable[str | os.PathLike[str]] = (),
        overrides: Mapping[str, str | os.PathLike[str]] | None = None,
        strict: bool | None = None,
        show_progress: bool | Callable[[Progress], None] = True,
    ) -> None:
        self.package = package
        self._lookup = Lookup(
            package,
            registry,
            [os.fspath(f) for f in folders],
            {check_name(name): os.fspath(path) for name, path in (overrides or {}).items()},
            strict,
            show_progress,
        )

    def __repr__(self) -> str:
        return f"PackageData({self.package!r})"

    @property
    def registry(self) -> Registry:
        """What the package declares; read at the first use. Raises `RegistryError` if that cannot be read."""
        return self._lookup.registry

    @property
    def arrivals(self) -> Mapping[str, Arrival]:
        """The files that this object fetched from a host: name -> who gave it, bytes moved, seconds."""
        return self._lookup.places().arrivals

    def get(
        self,
        name: str,
        *,
        refresh: bool = False,
        deadline: float | None = None,
        progress: bool | Callable[[Progress], None] | None = None,
    ) -> str:
        """Get a file from the nearest place that has it, verified.

        Parameters
        ----------
        name : str
            The file's name, ``maps/dust_064.fits``.
        refresh : bool
            Ask the hosts for a newer version of a file that is not registered. A registered file stays the same.
        deadline, progress : optional
            As for `fetch`.

        Returns
        -------
        str
            An absolute path with the file's own name and suffix.

        Raises
        ------
        BadName
            If the name is not legal.
        UnknownFile
            If it is not registered, and unregistered names are an error or there is no host to ask.
        FileUnavailable
            If no place has it; the error names every place and its reason.
        Offline
            If only the network could have it, and that is switched off or away.
        RegistryError, SettingsError
            If the registry or the configuration cannot be used.
        CacheError
            If it arrived and can be kept nowhere.
        """
        return self._get(name, Terms.from_now(None, progress, deadline), refresh=refresh)

    def where(self, name: str) -> Where:
        """Explain every step of `get`, without fetching anything.

        Parameters
        ----------
        name : str
            The file's name.

        Returns
        -------
        Where
            The places in order, each with what was found there, and the path that `get` would return. Printing it gives
            a table.

        Raises
        ------
        BadName, UnknownFile, RegistryError, SettingsError
            As `get` does.
        """
        return self._lookup.where(name)

    def names(self, pattern: str = "*") -> list[str]:
        """The names of registered files.

        Parameters
        ----------
        pattern : str
            A glob; ``*`` also matches slashes.

        Returns
        -------
        list of str
            In the order of the registry.

        Raises
        ------
        RegistryError
            If the registry cannot be read.
        """
        names = self.registry.names()
        return names if pattern == "*" else fnmatch.filter(names, pattern)

    def fetch(
        self,
        names: str | Iterable[str] = "*",
        *,
        jobs: int | None = None,
        deadline: float | None = None,
        progress: bool | Callable[[Progress], None] | None = None,
    ) -> list[str]:
        """Get many files, those that are not here in parallel.

        Parameters
        ----------
        names : str or iterable of str
            Names and globs.
        jobs : int, optional
            How many files at once; the engine decides by default.
        deadline : float, optional
            Seconds for all files together. What has not come by then is an error; the bytes that came are kept, and the
            next call goes on from there. A file that is not registered is left to astropy, which takes the rest of the
            time as its timeout for each answer.
        progress : bool or callable, optional
            Bars (True), nothing (False), or who is told a `Progress`; by default what ``show_progress`` says.

        Returns
        -------
        list of str
            Paths, in the order of the names (of the registry, within a glob), each once.

        Raises
        ------
        FetchErrors
            If files could not be had; it holds an error for each, and ``paths`` the files that did arrive.
        UnknownFile
            If a name or glob matches no registered file.
        """
        return self._get_many(names, Terms.from_now(jobs, progress, deadline))

    def verify(self, names: str | Iterable[str] = "*") -> Iterator[tuple[str, Step]]:
        """Hash again what lies on this machine.

        Parameters
        ----------
        names : str or iterable of str
            Names and globs.

        Yields
        ------
        (str, Step)
            For each file and each place that holds something under its name, whether it is the registered file.

        Raises
        ------
        UnknownFile
            If a name or glob matches no registered file.
        """
        places = self._lookup.places()
        for name in self._lookup.expand(names):
            entry = self.registry.find(name)
            for candidate in places.candidates(name, entry):
                verdict = places.judge(candidate, entry, rehash=True)
                if verdict.good or verdict.wrong:
                    yield name, Step(candidate.kind, candidate.path, candidate.origin, verdict.good, verdict.note)

    def _get(self, name: str, terms: Terms, *, refresh: bool) -> str:
        return get(self._lookup, name, terms, refresh=refresh)

    def _get_many(self, names: str | Iterable[str], terms: Terms) -> list[str]:
        return get_many(self._lookup, names, terms)
