"""The places on this machine that may have a file, nearest first, and the judgement of what lies there."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from ..cache import layout as cache_home
from ..cache.stamps import Stamps, stamp_files
from ..config.folders import Folder, folder_problem, make_folder, order_by_site
from ..config.settings import DATA_VARIABLE, Settings
from ..config.sites import current_sites
from ..errors import RegistryError
from ..files import hash_file
from ..registry.packages import package_folders
from ..registry.registry import Entry, Registry
from .report import Arrival

__all__ = ["Candidate", "Places", "Verdict"]

#: Larger files in folders are taken by their size alone, unless ``verify = "always"``.
HASHED_IN_FOLDERS = 1 << 30


class Candidate(NamedTuple):
    """One path at which a file may lie.

    Parameters
    ----------
    kind : str
        ``"override"``, ``"folder"``, ``"package"``, ``"cache"`` for a verified entry, ``"entry"`` for astropy's own.
    path : str
        The path.
    origin : str
        Who says so.
    problem : str
        Why it cannot be used at all; empty where it can.
    root : str
        The folder that must answer first.
    """

    kind: str
    path: str
    origin: str
    problem: str = ""
    root: str = ""


class Verdict(NamedTuple):
    """What was found at a path.

    Parameters
    ----------
    good : bool
        Whether it is the file.
    note : str
        What was checked, or why it is not the file.
    wrong : bool
        Whether something else lies there.
    kind : str
        Why it is not the file, in a word for programs, see `~dataferry.errors.Failure`.
    """

    good: bool
    note: str
    wrong: bool = False
    kind: str = ""


class Places:
    """The places of one package.

    Parameters
    ----------
    package : str
        The package.
    registry : Registry
        What it declares.
    settings : Settings
        What the user and the administrator say.
    folders : list of str
        Folders that the caller names; they come first.
    overrides : dict of str to str
        Name -> path that the caller wants used.
    """

    def __init__(
        self,
        package: str,
        registry: Registry,
        settings: Settings,
        folders: list[str],
        overrides: dict[str, str],
    ) -> None:
        self.package, self.registry, self.settings = package, registry, settings
        said = settings.package(package)
        self.overrides = {name: (path, origin) for name, (path, origin) in said.overrides.items()}
        self.overrides |= {name: (path, "the call") for name, path in overrides.items()}
        self.arrivals: dict[str, Arrival] = {}
        self.folders = self._folders([make_folder(f, "the call") for f in folders])

    def _folders(self, first: list[Folder]) -> list[Folder]:
        found = list(first)
        for variable, shared in ((self.registry.env, False), (DATA_VARIABLE, True)):
            value = os.environ.get(variable, "") if variable else ""
            found += [make_folder(item, variable, shared) for item in value.split(os.pathsep) if item]
        said = self.settings.package(self.package).folders
        own = [(site, make_folder(f, f"{origin}, {site}")) for site, f, origin in said]
        everybodys = [(site, make_folder(f, f"{origin}, {site}", True)) for site, f, origin in self.settings.folders]
        declared = [
            (site, make_folder(f, f"{self.registry.path.name}, {site}"))
            for site, several in self.registry.folders.items()
            for f in several
        ]
        named = any(site != "any" for site, _ in [*own, *everybodys, *declared])
        here = current_sites(self.settings.sites, self.settings.site) if named else frozenset()
        for labelled in (own, everybodys, declared):
            found += order_by_site(labelled, here)
        return found

    def candidates(self, name: str, entry: Entry | None) -> Iterator[Candidate]:
        """The paths at which a file may lie, nearest first, without any look at the disk.

        Parameters
        ----------
        name : str
            A legal name.
        entry : Entry or None
            What the registry knows of it.

        Yields
        ------
        Candidate
            Overrides, folders, the package, verified entries of the cache.
        """
        if name in self.overrides:
            path, origin = self.overrides[name]
            folder = make_folder(path, origin)
            yield Candidate("override", folder.path, origin, folder.problem)
        for folder in self.folders:
            inside = [f"{self.package}/{name}"] if folder.shared else []
            if (
                entry is not None or not folder.shared
            ):  # a bare name could mean any package's, so its bytes must prove it
                inside.append(name)
            for path in inside:
                yield Candidate(
                    "folder",
                    f"{folder.path}/{path}",
                    folder.origin,
                    folder.problem,
                    folder.path,
                )
        for data in self.data_folders:
            yield Candidate("package", f"{data}/{name}", self.package)
        if entry is not None:
            for home in cache_home.cache_folders():
                yield Candidate("cache", f"{home}/{self.view(name)}", home)

    @cached_property
    def data_folders(self) -> list[str]:
        """The package's ``data`` folders: beside its registry, and in each part of a namespace package."""
        places = [str(self.registry.path.parent)]
        with contextlib.suppress(RegistryError):  # a registry file may lie apart from any installed package
            places += [str(folder / "data") for folder in package_folders(self.package)]
        return list(dict.fromkeys(places))

    @property
    def installed(self) -> bool:
        """Whether the registry is the one of an installed package."""
        with contextlib.suppress(RegistryError):
            return self.registry.path.parent in [folder / "data" for folder in package_folders(self.package)]
        return False

    def view(self, name: str) -> str:
        """The readable path of a file below dataferry's part of the cache."""
        return cache_home.view_name(self.package, self.registry.base, name)

    def judge(self, candidate: Candidate, entry: Entry | None, *, rehash: bool = False) -> Verdict:
        """Look whether a candidate is the file.

        Parameters
        ----------
        candidate : Candidate
            Where to look.
        entry : Entry or None
            What it must be; None accepts any file.
        rehash : bool
            Hash it even if a stamp says that it was hashed.

        Returns
        -------
        Verdict
            Whether it is the file, with the reason.
        """
        if candidate.problem:
            return Verdict(False, candidate.problem, kind="error")
        problem = folder_problem(candidate.root, self.settings.folder_timeout) if candidate.root else ""
        if problem:
            return Verdict(False, problem, kind="error")
        try:
            found = os.stat(candidate.path)
        except (FileNotFoundError, NotADirectoryError):
            dangling = candidate.kind != "cache" and os.path.islink(candidate.path)
            return Verdict(
                False,
                "a link to a file that is not there" if dangling else "not there",
                dangling,
                "absent",
            )
        except OSError as error:
            return Verdict(False, (error.strerror or str(error)).lower(), True, "error")
        except ValueError as error:
            return Verdict(False, str(error), kind="error")
        if not stat.S_ISREG(found.st_mode):
            return Verdict(
                False,
                "a folder, not a file" if stat.S_ISDIR(found.st_mode) else "not a regular file",
                True,
                "error",
            )
        if not os.access(candidate.path, os.R_OK):
            return Verdict(False, "permission denied", True, "denied")
        if candidate.kind == "override":
            return Verdict(True, "taken as it is")
        if entry is None:
            return Verdict(True, "not registered, so not verified")
        return self._compare(candidate, entry, found, rehash)

    def _compare(self, candidate: Candidate, entry: Entry, found: os.stat_result, rehash: bool) -> Verdict:
        if entry.size is not None and found.st_size != entry.size:
            return Verdict(False, f"{found.st_size} bytes instead of {entry.size}", True, "size")
        big = candidate.kind == "folder" and found.st_size > HASHED_IN_FOLDERS and self.settings.verify != "always"
        if big and not rehash:
            return Verdict(
                True,
                'size is right; over 1 GiB in a folder is hashed only with verify = "always"',
            )
        stores, path = self._stamps(candidate), candidate.path
        if candidate.kind == "cache":
            path = cache_home.stamp_key(candidate.origin, path)
        if not rehash:
            for store in stores:
                stamp = store.read(path)
                if stamp is not None and stamp.holds(found) and stamp.sha256 == entry.sha256:
                    return Verdict(True, "verified earlier")
        try:
            stamp = hash_file(candidate.path)
        except OSError as error:
            return Verdict(False, (error.strerror or str(error)).lower(), True, "error")
        if stamp.sha256 != entry.sha256:
            for store in stores:
                store.forget([path])
            return Verdict(
                False,
                f"sha256 is {stamp.sha256[:12]}... instead of {entry.sha256[:12]}...",
                True,
                "sha256",
            )
        any(stamp_files(store, {path: (candidate.path, stamp)}) for store in stores)
        return Verdict(True, "verified now")

    def _stamps(self, candidate: Candidate) -> list[Stamps]:
        if candidate.kind == "entry":
            return []  # its readable path gets the stamp
        own = cache_home.own_home()
        homes = [candidate.origin] if candidate.kind == "cache" else []
        return [cache_home.stamps_of(h) for h in dict.fromkeys([*homes, *([own] if own else [])])]
