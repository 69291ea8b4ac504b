"""`RemoteData`: the shape of the class that many packages carry today, over dataferry."""

from __future__ import annotations

import os
from collections.abc import Iterable

from .errors import BadName, FileUnavailable
from .package_data import PackageData
from .plain import get_data_filename
from .registry.packages import REGISTRY_NAME, package_folders

__all__ = ["RemoteData"]


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
    folders : iterable of path-like
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
        folders: Iterable[str | os.PathLike[str]] = (),
        env: str | None = None,
        timeout: float | None = None,
        mirror: str | None = None,
    ) -> None:
        self.package = package
        self.data_url = dataurl
        self.data_folders = [os.fspath(f) for f in folders]
        self.env = env
        self.timeout = timeout
        self.mirror = mirror
        self._data: PackageData | None = None

    def get(self, filename: str) -> str:
        """Get a file.

        Parameters
        ----------
        filename : str
            The file's name, or the absolute path of a file of one's own, which is returned as it is.

        Returns
        -------
        str
            A path.

        Raises
        ------
        FileUnavailable
            If no place has it, or there is no file at the absolute path.
        DataferryError
            As `PackageData.get` and `get_data_filename` do.
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
        if any((f / "data" / REGISTRY_NAME).is_file() for f in package_folders(self.package)):
            raise BadName(f"{self.package} has a {REGISTRY_NAME}, which declares the dataurl: leave dataurl= out")
        return get_data_filename(
            filename,
            package=self.package,
            dataurl=self.data_url,
            timeout=self.timeout,
            mirror=self.mirror,
            folders=[*first, *self.data_folders],
        )
