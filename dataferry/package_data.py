"""`PackageData`: the data of one package, each file from the nearest place that has it."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeVar, overload

from .config.folders import folder_list
from .errors import BadName, FileUnavailable, RegistryError, UnknownFile
from .files import place_files
from .lookup.options import FetchOptions
from .lookup.resolver import Resolver
from .registry.names import check_name, close_names
from .registry.packages import REGISTRY_NAME, declarations_of
from .registry.registry import Registry

if TYPE_CHECKING:
    from pathlib import PurePath

    from astropy.io.fits import Header
    from astropy.units import Quantity

    from .download.progress import Progress
    from .lookup.report import Arrival, Step, Where


T = TypeVar("T")


class PackageData:
    """The data of one package.

    Parameters
    ----------
    package : str
        The package, whose ``data/dataferry.toml`` declares the files.
    registry : path-like, optional
        A ``dataferry.toml`` elsewhere, for data without an installed package.
    folders : path-like or iterable of path-like
        Predefined folders that come before all others; ``~``, ``$VAR`` and ``${VAR}`` are expanded, and a relative
        one is below the current folder of this moment.
    cache : path-like, optional
        The folder in which downloads are kept, as plain files in ``<cache>/<package>-<digits>/``; by default what
        ``DATAFERRY_CACHE``, the package's ``cache_env`` or ``config.toml`` says, else astropy's cache.
    overrides : mapping of str to path-like, optional
        Files to use from a path of yours, unverified: name -> path. A path that does not exist is an error.
    files : mapping of str to (mapping, str or Entry), optional
        The files, for a package that computes its registry: name -> ``{"size": ..., "sha256": ..., "url": ...}`` or
        ``"sha256:..."``. No ``dataferry.toml`` is read then.
    dataurl, mirrors : str, iterable of str
        The hosts of ``files``, as in ``dataferry.toml``.
    strict : bool, optional
        Whether a name that is not registered is an error. By default the user's configuration decides, then the
        ``strict`` of ``dataferry.toml``; without either such a name goes to `get_data_filename`.
    show_progress : bool, callable or None
        Whether downloads show their progress; None is "only in a terminal". Or a function that is called with a
        `Progress`, many times a second and once at the end.

    Notes
    -----
    Every ``name`` is a string or a relative path, as ``Path("maps") / "dust_064.fits"``; ``names`` are one, or several,
    and globs among them. Every ``deadline`` and ``progress`` is that of `fetch`. A method that takes names raises what
    `get` raises, and `FetchErrors` for several files.

    Creating one reads no file: the registry is read at the first use. Threads can share one. A pickled or copied one is
    created again from its arguments.
    """

    def __init__(
        self,
        package: str,
        *,
        registry: str | os.PathLike[str] | None = None,
        folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        cache: str | os.PathLike[str] | None = None,
        overrides: Mapping[str, str | os.PathLike[str]] | None = None,
        files: Mapping[str, Any] | None = None,
        dataurl: str = "",
        mirrors: str | Iterable[str] = (),
        strict: bool | None = None,
        show_progress: bool | Callable[[Progress], None] | None = True,
    ) -> None:
        self.package = package
        declared = None
        if files is not None:
            if registry is not None:
                raise RegistryError("files= and registry= both declare the files: give one of them")
            declared = {
                "files": dict(files),
                "dataurl": dataurl,
                "mirrors": mirrors if isinstance(mirrors, str) else list(mirrors),
            }
        elif dataurl or mirrors:
            raise RegistryError("dataurl= and mirrors= belong to files=; a dataferry.toml declares its own")
        self._arguments: dict[str, Any] = {
            "registry_path": None if registry is None else os.path.abspath(registry),
            "folders": [_from_here(folder) for folder in folder_list(folders)],
            "cache": _from_here(cache) if cache else None,
            "overrides": {check_name(name): _from_here(path) for name, path in (overrides or {}).items()},
            "declared": declared,
            "strict": strict,
            "show_progress": show_progress,
        }
        # finds the files; for dataferry's own commands
        self._resolver = Resolver(package, **self._arguments)

    def __repr__(self) -> str:
        return f"PackageData({self.package!r})"

    def __getstate__(self) -> tuple[str, dict[str, Any]]:
        return self.package, self._arguments

    def __setstate__(self, state: tuple[str, dict[str, Any]]) -> None:
        self.package, self._arguments = state
        self._resolver = Resolver(self.package, **self._arguments)

    @property
    def registry(self) -> Registry:
        """What the package declares; read at the first use. Raises `RegistryError` if that cannot be read."""
        return self._resolver.registry

    @property
    def path(self) -> str:
        """The folder with the readable paths of downloaded files; a file of it need not have been downloaded yet."""
        return self._resolver.candidates().store().folder

    @property
    def arrivals(self) -> Mapping[str, Arrival]:
        """The files that this object fetched from a host: name -> who gave it, bytes moved, seconds."""
        return self._resolver.arrivals

    def get(
        self,
        name: str | PurePath,
        *,
        refresh: bool = False,
        deadline: float | None = None,
        progress: bool | Callable[[Progress], None] | None = None,
        opener: Callable[[str], BinaryIO] | None = None,
    ) -> str:
        """Get a file from the nearest place that has it, verified.

        Parameters
        ----------
        name : str
            The file's name, ``maps/dust_064.fits``.
        refresh : bool
            Ask the hosts for a newer version of a file that is not registered. A registered file stays the same.
        opener : callable, optional
            ``opener(url)`` opens the URL as a binary file, in a thread, if the file must be downloaded: for a server
            with a login or protocol of its own. The file must be registered, and is verified as any other.

        Returns
        -------
        str
            An absolute path with the file's own name and suffix.

        Raises
        ------
        BadName
            If the name is not allowed.
        UnknownFile
            If it is not registered, and unregistered names are an error or there is no host to try.
        FileUnavailable
            If the file is not available; the error lists every place with its reason.
        Offline
            If only the network has the file, and it is switched off or not reachable.
        RegistryError, SettingsError
            If the registry or the configuration cannot be used.
        CacheError
            If the file cannot be stored.
        """
        options = FetchOptions.from_now(None, progress, deadline)._replace(opener=opener)
        return self._get(_text(name), options, refresh=refresh)

    def where(self, name: str | PurePath) -> Where:
        """Explain every step of `get`, without a download.

        Returns
        -------
        Where
            The places in order, each with what was found there, and the path that `get` would return. Printing it gives
            a table.
        """
        return self._resolver.where(_text(name))

    def names(self, pattern: str = "*") -> list[str]:
        """The names of registered files, in the order of the registry; ``*`` in the glob also matches slashes."""
        names = self.registry.names()
        return names if pattern == "*" else fnmatch.filter(names, pattern)

    def fetch(
        self,
        names: str | PurePath | Iterable[str | PurePath] = "*",
        *,
        jobs: int | None = None,
        deadline: float | None = None,
        progress: bool | Callable[[Progress], None] | None = None,
    ) -> list[str]:
        """Get many files; those that are not on this machine are downloaded in parallel.

        Parameters
        ----------
        names : str or iterable of str
            Names and globs; all files by default.
        jobs : int, optional
            The number of parallel downloads; by default dataferry decides.
        deadline : float, optional
            A limit in seconds for all files together. A file that has not arrived by then is an error; its bytes are
            kept, and the next call continues from there. For a file that is not registered, astropy uses the remaining
            time as the timeout of each response.
        progress : bool or callable, optional
            Bars (True), nothing (False), or a function that takes a `Progress`; by default as ``show_progress``.

        Returns
        -------
        list of str
            Paths, in the order of the names (of the registry, within a glob), each once.

        Raises
        ------
        FetchErrors
            If files are not available: one error for each, and ``paths`` with the files that did arrive. A name or glob
            that matches no registered file is an `UnknownFile` before anything is downloaded.
        """
        return self._get_many(_texts(names), FetchOptions.from_now(jobs, progress, deadline))

    def verify(self, names: str | PurePath | Iterable[str | PurePath] = "*") -> Iterator[tuple[str, Step]]:
        """Hash again what is on this machine.

        Yields
        ------
        (str, Step)
            For each file and each place that has something under its name, whether it is the registered file.
        """
        return self._resolver.verify(_texts(names))

    def open(self, name: str | PurePath, mode: str = "rb", **options: Any) -> IO[Any]:
        """Get a file and open it for reading; ``options`` are those of the builtin `open`.

        Raises
        ------
        ValueError
            If the mode would write: data are never changed in place.
        """
        if set(mode) & set("wax+"):
            raise ValueError(f"data files are opened for reading only, not with mode {mode!r}")
        return open(self.get(name), mode, **options)

    def unpack(
        self,
        name: str | PurePath,
        members: str | Iterable[str] | None = None,
        *,
        max_bytes: int | None = None,
        deadline: float | None = None,
        progress: bool | Callable[[Progress], None] | None = None,
    ) -> str:
        """Get an archive and unpack it.

        Parameters
        ----------
        name : str
            A zip, a tar (plain, gz, bz2, xz or zst), or a single file that is packed by one of these.
        members : str or iterable of str, optional
            Names, folders or globs inside the archive; everything by default.
        max_bytes : int, optional
            The most that it may unpack to; by default 200 times its size, and at least 256 MiB.
        deadline, progress : optional
            They hold for the download.

        Returns
        -------
        str
            An absolute path of a folder with the members. It is in the cache: do not write there. A second call, also
            of another process, returns the same folder at once.

        Raises
        ------
        ArchiveError
            If the archive is damaged, encrypted or no archive, has no such member, or holds what no data set needs:
            absolute names, ``..``, links, special files, or a decompression bomb. Nothing is unpacked then.
        """
        from .cache.archive import Limits, unpack

        wanted = sorted({members} if isinstance(members, str) else set(members)) if members is not None else None
        name = _text(name)
        archive = self.get(name, deadline=deadline, progress=progress)
        candidates = self._resolver.candidates()
        entry = None if name in candidates.overrides else self.registry.find(name)
        folder = candidates.store().unpacked(name, wanted)
        return unpack(archive, folder, members=wanted, sha256=entry.sha256 if entry else "", limits=Limits(max_bytes))

    def folder(self, prefix: str | PurePath, **options: Any) -> str:
        """Get all files below a prefix, for formats that are a folder: zarr, parquet, CASA tables.

        Parameters
        ----------
        prefix : str
            What the names begin with, ``cube.zarr/``.
        **options
            As for `fetch`.

        Returns
        -------
        str
            The absolute path of a folder with every registered file below the prefix under its own name.
        """
        prefix = _text(prefix).rstrip("/") + "/"
        names = [name for name in self.registry.names() if name.startswith(prefix)]
        if not names:
            raise UnknownFile(prefix, self.registry.origin, close_names(prefix, self.registry.names()))
        paths = self.fetch(names, **options)
        roots = {path.removesuffix(name) for name, path in zip(names, paths, strict=True) if path.endswith(name)}
        if len(roots) == 1 and all(path.endswith(name) for name, path in zip(names, paths, strict=True)):
            return os.path.join(roots.pop(), prefix.rstrip("/"))
        # they lie in several places: one folder of links, or of copies where there are no links
        target = self._resolver.candidates().store().unpacked(prefix.rstrip("/"), names)
        place_files(dict(zip(names, paths, strict=True)), target)
        return os.path.join(target, prefix.rstrip("/"))

    def copy(
        self, names: str | PurePath | Iterable[str | PurePath], to: str | os.PathLike[str], **options: Any
    ) -> list[str]:
        """Get files and put them into a folder of yours as plain files.

        Parameters
        ----------
        names, **options
            As for `fetch`.
        to : path-like
            The folder; it is created if it does not exist. An existing file is overwritten only by the registered
            bytes.

        Returns
        -------
        list of str
            The paths in that folder.
        """
        wanted = self._resolver.expand(_texts(names))
        return place_files(
            dict(zip(wanted, self.fetch(wanted, **options), strict=True)), os.path.abspath(to), links=False
        )

    def url(self, name: str | PurePath) -> str:
        """The URL of a file: its own where it has one, else ``dataurl`` and the name, its key in astropy's cache."""
        name = _text(name)
        entry = self._resolver.entry(name)
        return entry.urls[0] if entry is not None and entry.urls else self.registry.base + name

    def is_available(self, name: str | PurePath) -> bool:
        """Whether `get` would find a file on this machine, verified, without a network."""
        return self._resolver.find(_text(name))[0] is not None

    @overload
    def contents(self, name: str | PurePath, encoding: None = None) -> bytes: ...
    @overload
    def contents(self, name: str | PurePath, encoding: str) -> str: ...
    def contents(self, name: str | PurePath, encoding: str | None = None) -> bytes | str:
        """Get a file and read it: its bytes, or its text where ``encoding`` is given."""
        with self.open(name, "rb" if encoding is None else "r", encoding=encoding) as file:
            contents: bytes | str = file.read()
        return contents

    def read_map(
        self, name: str | PurePath, field: Any = 0, *, comm: Any = None, remote: bool = False, **options: Any
    ) -> Quantity:
        """Read a HEALPix map, or a part of one.

        Parameters
        ----------
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
            If the file is no map, or cannot be read as requested.
        """
        from .maps import read_map

        if comm is not None and not remote:
            return read_map(self._get_once(name, comm), field, comm=comm, **options)
        return self._near_or_remote(
            name, remote, lambda path, far: read_map(path, field, comm=comm, remote=far, **options)
        )

    def header(self, name: str | PurePath, hdu: int | str | None = None, *, remote: bool = False) -> Header:
        """Read the header of one HDU, and no data.

        Parameters
        ----------
        hdu : int or str, optional
            Number or EXTNAME; None finds the map, or else the first HDU with data.
        remote : bool
            As with `read_map`: a few kilobytes by ranges, where the file is not on this machine.

        Raises
        ------
        MapError
            If the file is not FITS, or has no such HDU.
        """
        from .maps import header

        return self._near_or_remote(name, remote, lambda path, far: header(path, hdu, remote=far))

    def _near_or_remote(self, name: str | PurePath, remote: bool, read: Callable[[Any, bool], T]) -> T:
        path = self._resolver.find(_text(name))[0] if remote else self.get(name)
        if path is not None:
            return read(path, False)
        from .lookup.options import engine_settings
        from .maps.byte_source import BadCopy, RemoteFile

        tried: list[tuple[str, str]] = []
        sources = self._resolver.sources(_text(name))
        timeout = engine_settings(self.registry.timeout).timeout
        for source in sources:
            try:
                return read(RemoteFile(source, timeout), True)
            except BadCopy as error:
                if len(sources) == 1:
                    raise
                tried.append((source.redacted, str(error)))
        raise FileUnavailable(_text(name), tried, "without remote=True the whole file is fetched and verified")

    def _get_once(self, name: str | PurePath, comm: Any) -> str:
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

    # what a subclass may count, as the pytest plugin does

    def _get(self, name: str, options: FetchOptions, *, refresh: bool) -> str:
        return self._resolver.get(name, options, refresh=refresh)

    def _get_many(self, names: str | Iterable[str], options: FetchOptions) -> list[str]:
        return self._resolver.get_many(names, options)


def _text(name: object) -> str:
    if isinstance(name, str):
        return name
    from pathlib import PurePath  # which a first hit does not load

    return name.as_posix() if isinstance(name, PurePath) else check_name(name)


def _texts(names: str | PurePath | Iterable[str | PurePath]) -> list[str]:
    several = [names] if isinstance(names, str) or not isinstance(names, Iterable) else names
    return [_text(name) for name in several]


def _from_here(path: str | os.PathLike[str]) -> str:
    """A path that means the same when the current folder is another; ``~`` and variables are expanded later."""
    written = os.fspath(path)
    return os.path.abspath(written) if written and not written.startswith(("~", "$", "/")) else written


class RemoteData:
    """Get data files by ``.get(filename)``.

    A package that declares its data in ``data/dataferry.toml`` gets verified files from the nearest place; for any
    other this is the plain wrapper.

    Parameters
    ----------
    package : str
        The package that the data belongs to.
    dataurl : str, optional
        The base URL, for a package without a ``dataferry.toml``.
    folders : path-like or iterable of path-like
        Predefined folders, after the one of the environment variable.
    env : str, optional
        The environment variable that names a folder, for a package without a ``dataferry.toml``.
    timeout : float, optional
        Seconds without an answer after which the server is given up.
    mirror : str, optional
        A second base URL, for a package without a ``dataferry.toml``.
    """

    def __init__(
        self,
        package: str,
        dataurl: str | None = None,
        folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        env: str | None = None,
        timeout: float | None = None,
        mirror: str | None = None,
    ) -> None:
        self.package = package
        self.data_url = dataurl
        self.data_folders = folder_list(folders)
        self.env = env
        self.timeout = timeout
        self.mirror = mirror
        self._data: PackageData | None = None

    def get(self, filename: str) -> str:
        """Get the path of a file, as `PackageData.get` and `get_data_filename` do.

        The absolute path of a file of one's own is returned as it is; if there is no such file, `FileUnavailable` is
        raised.
        """
        filename = os.fspath(filename)
        if os.path.isabs(filename):
            if not os.path.isfile(filename):
                remedy = "give the path of a file that is there, or the name of a file of the package"
                raise FileUnavailable(filename, [("absolute path", "there is no such file")], remedy)
            return filename
        first = [os.environ[self.env]] if self.env and os.environ.get(self.env) else []
        if self.data_url is None:
            if self._data is None:
                self._data = PackageData(self.package, folders=[*first, *self.data_folders])
            return self._data.get(filename)
        if any(map(os.path.isfile, declarations_of(self.package))):
            raise BadName(f"{self.package} has a {REGISTRY_NAME}, which declares the dataurl: leave dataurl= out")
        from .plain import get_data_filename

        return get_data_filename(
            filename,
            package=self.package,
            dataurl=self.data_url,
            timeout=self.timeout,
            mirror=self.mirror,
            folders=[*first, *self.data_folders],
        )
