"""The local paths that may be a file, nearest first: each is accepted, or rejected with a reason."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ..cache import layout
from ..cache.verify import Verdict, examine
from ..config.folders import Folder, cache_folder, folder_problem, make_folder, order_by_site
from ..config.settings import DATA_VARIABLE, Settings
from ..config.sites import current_sites
from ..errors import Reason, RegistryError
from ..registry.entry import Entry
from ..registry.packages import declarations_of, package_folders, path_in, scattered_data
from ..registry.registry import Registry

if TYPE_CHECKING:
    from ..cache.store import Store

#: Larger files in folders are accepted by their size alone, unless ``verify = "always"``.
_HASHED_IN_FOLDERS = 1 << 30


class Candidate(NamedTuple):
    """One path that may be the file."""

    #: ``"override"``, ``"folder"``, ``"package"`` or ``"cache"``.
    kind: str
    path: str
    #: What names it: a variable, a file, an argument.
    origin: str
    #: Why it cannot be used at all; empty where it can.
    problem: str = ""
    #: The folder that must answer first.
    root: str = ""


class Candidates:
    """The places of one package on this machine, as the environment and the configuration have them now."""

    def __init__(
        self,
        package: str,
        registry: Registry,
        settings: Settings,
        folders: Sequence[str] = (),
        overrides: Mapping[str, str] | None = None,
        cache: str | None = None,
    ) -> None:
        self.package, self.registry, self.settings = package, registry, settings
        self.overrides = dict(settings.package(package).overrides)
        self.overrides |= {name: (path, "the call") for name, path in (overrides or {}).items()}
        self.folders = self._folders([make_folder(f, "the call") for f in folders])
        self.cache = cache_folder(cache, "the call") if cache else layout.chosen_cache(registry.cache_env)
        home = layout.own_home()
        self._stamps = [layout.stamps_of(home)] if home else []

    def _folders(self, first: list[Folder]) -> list[Folder]:
        found = list(first)
        for variable, shared in ((self.registry.env, False), (DATA_VARIABLE, True)):
            value = os.environ.get(variable, "") if variable else ""
            found += [make_folder(item, variable, shared) for item in value.split(os.pathsep) if item]
        own, everybodys = self.settings.package(self.package).folders, self.settings.folders
        origin = os.path.basename(self.registry.origin)
        declared = [
            make_folder(folder, f"{origin}, {site}", site=site)
            for site, several in self.registry.folders.items()
            for folder in several
        ]
        is_labelled = any(folder.site != "any" for folder in (*own, *everybodys, *declared))
        here = current_sites(self.settings.sites, self.settings.site) if is_labelled else frozenset()
        for folders in (own, everybodys, declared):
            found += order_by_site(folders, here)
        return found

    def of(self, name: str, entry: Entry | None) -> Iterator[Candidate]:
        """The paths before the cache, nearest first, without a look at the disk."""
        if name in self.overrides:
            path, origin = self.overrides[name]
            folder = make_folder(path, origin)
            yield Candidate("override", folder.path, origin, folder.problem)
        for folder in self.folders:
            inside = [f"{self.package}/{name}"] if folder.shared else []
            # a bare name could mean any package's, so its bytes must prove it
            if entry is not None or not folder.shared:
                inside.append(name)
            for path in inside:
                yield Candidate("folder", f"{folder.path}/{path}", folder.origin, folder.problem, folder.path)
        for data in self._data_folders:
            yield Candidate("package", f"{data}/{name}", self.package)
        if path := path_in(self._scattered_data, name):
            yield Candidate("package", path, self.package)

    @cached_property
    def _data_folders(self) -> list[str]:
        """The package's ``data`` folders: beside its registry, and in each part of a namespace package."""
        folders = [self.registry.data_folder] if self.registry.data_folder else []
        with contextlib.suppress(RegistryError):  # a registry file may lie apart from any installed package
            folders += [os.path.join(folder, "data") for folder in package_folders(self.package)]
        found: dict[str, str] = {}
        for folder in folders:  # sys.path may spell one in another way, as /opt//lib or ../lib
            found.setdefault(os.path.abspath(folder), folder)
        return list(found.values())

    @cached_property
    def _scattered_data(self) -> Any:
        with contextlib.suppress(RegistryError):
            return scattered_data(self.package)
        return None

    @property
    def installed(self) -> bool:
        """Whether the registry is the one of an installed package."""
        with contextlib.suppress(RegistryError):
            return self.registry.origin in map(os.path.abspath, declarations_of(self.package))
        return False

    def store(self) -> Store:
        """The caches, as astropy's rules have them now."""
        from ..cache.store import Store

        return Store(self.package, self.registry.base, cache=self.cache)

    def examine(
        self, candidate: Candidate, entry: Entry | None, *, rehash: bool = False, by_size: bool = False
    ) -> Verdict:
        """Look whether a candidate is the file; any file is, where ``entry`` is None."""
        problem = candidate.problem
        if not problem and candidate.root:
            problem = folder_problem(candidate.root, self.settings.folder_timeout)
        if problem:
            return Verdict(False, problem, reason=Reason.ERROR)
        if candidate.kind == "override":
            verdict = examine(candidate.path, None, (), "")
            return verdict._replace(note="taken as it is") if verdict.accepted else verdict
        large_by_size = candidate.kind == "folder" and self.settings.verify != "always"
        return examine(
            candidate.path,
            entry,
            self._stamps,
            candidate.path,
            hash_up_to=-1 if by_size else _HASHED_IN_FOLDERS if large_by_size else None,
            rehash=rehash,
        )
