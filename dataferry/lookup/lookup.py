"""The way to a file: what is known already, the places on this machine, then the hosts."""

from __future__ import annotations

import fnmatch
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ..config.settings import DATA_VARIABLE, load_settings
from ..errors import DataferryError, Failure, UnknownFile
from ..registry.names import check_name, close_names, redact_url
from ..registry.packages import find_registry
from ..registry.registry import Entry, Registry
from .candidates import Candidate, Places, Verdict
from .report import Step, Where
from .terms import Terms

if TYPE_CHECKING:
    from ..download.progress import Progress
    from ..download.source import Source

__all__ = ["Lookup"]

#: Variables that move the places; a change of one is seen by the next call.
_VARIABLES = (DATA_VARIABLE, "ASTROPY_CACHE_DIR", "XDG_CACHE_HOME")


class Lookup:
    """The way to the files of one package.

    Parameters
    ----------
    package : str
        The package.
    registry_path : path-like or None
        Its registry; None to find it in the package.
    folders : list of str
        Folders that the caller names.
    overrides : dict of str to str
        Name -> path that the caller wants used.
    strict : bool or None
        Whether an unregistered name is an error; None asks the configuration, then the registry.
    show_progress : bool or callable
        Whether transfers show their progress, or who is told.
    """

    def __init__(
        self,
        package: str,
        registry_path: str | os.PathLike[str] | None,
        folders: list[str],
        overrides: dict[str, str],
        strict: bool | None,
        show_progress: bool | Callable[[Progress], None],
    ) -> None:
        self.package = package
        self.show_progress = show_progress
        self._registry_path = registry_path
        self._folders = folders
        self._overrides = overrides
        self._strict = strict
        self._registry: Registry | None = None
        self._places: Places | None = None
        self._variables: tuple[str, ...] = _VARIABLES
        self._environment: tuple[str | None, ...] = ()
        self._known: dict[str, tuple[str, int, int, int]] = {}
        self._lock = threading.RLock()

    @property
    def registry(self) -> Registry:
        """What the package declares, read at the first use."""
        if self._registry is None:
            with self._lock:
                if self._registry is None:
                    registry = Registry(self._registry_path or find_registry(self.package))
                    self._variables = (*_VARIABLES, *([registry.env] if registry.env else []))
                    self._registry = registry
        return self._registry

    def known(self, name: str) -> str | None:
        """The path that this process found before, if the file is still the same one."""
        known = self._known.get(name)
        if known is None or self._environment != tuple(map(os.environ.get, self._variables)):
            return None
        try:
            stat = os.stat(known[0])
        except OSError:
            return None  # it was purged
        return known[0] if (stat.st_size, stat.st_mtime_ns, stat.st_ino) == known[1:] else None

    def expand(self, names: str | Iterable[str]) -> list[str]:
        """The names that names and globs mean, each once. Raises `UnknownFile` for a glob that matches nothing."""
        wanted: dict[str, None] = {}
        for name in [names] if isinstance(names, str) else names:
            # a registered name may hold such a character itself
            if any(c in name for c in "*?[") and name not in (registered := self.registry.names()):
                found = fnmatch.filter(registered, name)
                if not found:
                    raise UnknownFile(name, str(self.registry.path))
            else:
                self.entry(name)
                found = [name]
            wanted.update(dict.fromkeys(found))
        return list(wanted)

    def entry(self, name: str) -> Entry | None:
        """What the registry knows of a name. Raises `UnknownFile` where unregistered names are an error."""
        entry = self.registry.find(check_name(name))
        if entry is None and name not in self._overrides:
            said = load_settings().package(self.package).strict if self._strict is None else self._strict
            if self.registry.strict if said is None else said:
                names = self.registry.names()
                raise UnknownFile(name, str(self.registry.path), close_names(name, names))
        return entry

    def places(self) -> Places:
        """The places as the environment has them now."""
        registry = self.registry
        environment = tuple(map(os.environ.get, self._variables))
        with self._lock:
            if self._places is None or environment != self._environment:
                self._places = Places(self.package, registry, load_settings(), self._folders, self._overrides)
                self._known.clear()
                self._environment = environment
            return self._places

    def look(self, name: str) -> tuple[str | None, list[Failure]]:
        """Look on this machine, nearest first: the path or None, and what was tried."""
        entry, places = self.entry(name), self.places()
        tried: list[Failure] = []
        for candidate in places.candidates(name, entry):
            verdict = places.judge(candidate, entry)
            if verdict.good:
                return self._remember(name, candidate.path), tried
            if verdict.wrong or candidate.kind == "override":
                self._warn(name, candidate, verdict.note)
            if candidate.kind != "cache" or verdict.wrong:  # the last line tells of all places of astropy's cache
                tried.append(Failure(f"{candidate.kind} {candidate.path}", verdict.note, verdict.kind))
        if not self.registry.base:
            return None, tried
        from . import remote

        path, verdict = remote.cached(places, name, entry)
        tried.append(Failure("astropy's cache", verdict.note, verdict.kind))
        return (None if path is None else self._remember(name, path)), tried

    def bring(self, missing: Mapping[str, list[Failure]], terms: Terms) -> dict[str, str | DataferryError]:
        """Fetch what is not on this machine; for each name its path or its error."""
        from .bringing import bring

        brought = bring(self.places(), missing, self._told(terms))
        for name, result in brought.items():
            if isinstance(result, str):
                self._remember(name, result)
        return brought

    def refresh(self, name: str, terms: Terms) -> str:
        """The newest version of a file that is not registered."""
        from .refreshing import refresh

        return self._remember(name, refresh(self.places(), name, self._told(terms)))

    def where(self, name: str) -> Where:
        """Every step of the way to a file, without fetching it."""
        from . import remote

        entry, places = self.entry(name), self.places()
        steps: list[Step] = []
        path: str | None = None
        for candidate in places.candidates(name, entry):
            verdict = None if path else places.judge(candidate, entry)
            note = verdict.note if verdict else "not needed"
            good = verdict is not None and verdict.good
            if candidate.kind == "cache" and not (good or (verdict and verdict.wrong)):
                continue  # one line tells of all the places in which astropy's rules may put its cache
            origin = "astropy's cache" if candidate.kind == "cache" else candidate.origin
            steps.append(Step(candidate.kind, candidate.path, origin, good, note, verdict.kind if verdict else ""))
            path = candidate.path if good else path
        if self.registry.base:
            found, said = (None, Verdict(False, "not needed")) if path else remote.cached(places, name, entry)
            if not any(step.kind == "cache" and step.found for step in steps):
                key = redact_url(self.registry.base + name)
                steps.append(Step("cache", found or key, "astropy's cache", bool(found), said.note, said.kind))
            path = path or found
        steps += remote.host_steps(places, name, entry, needed=path is None)
        return Where(name, entry, path, steps)

    def sources(self, name: str) -> list[Source]:
        """Where hosts would have a file, best first. Raises `Offline` where the network is not to be used."""
        from . import remote

        return remote.sources(self.places(), name, self.entry(name))

    def _told(self, terms: Terms) -> Terms:
        return terms._replace(progress=self.show_progress) if terms.progress is None else terms

    def _remember(self, name: str, path: str) -> str:
        if (logging := sys.modules.get("logging")) is not None:  # whoever reads the log has loaded it
            logging.getLogger("dataferry").info("%s: %s", name, path)
        stat = os.stat(path)
        self._known[name] = path, stat.st_size, stat.st_mtime_ns, stat.st_ino
        return path

    def _warn(self, name: str, candidate: Candidate, note: str) -> None:
        import logging

        logging.getLogger("dataferry").warning(
            "%s: %s %s is passed over: %s", name, candidate.kind, candidate.path, note
        )
