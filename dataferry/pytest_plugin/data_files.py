"""The data files of a run: looked for once, fetched once, and what became of each."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Callable, Collection
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from ..config.settings import load_settings
from ..errors import DataferryError, Failure, FetchErrors, FileUnavailable, RegistryError
from ..package_data import PackageData
from ..registry.names import redact_url
from .needs import Need

#: Here; no place has it; a place has other bytes; it is not registered, or this machine cannot store it.
HERE, MISSING, WRONG, BROKEN = "here", "missing", "wrong", "broken"

#: Hosts that pytest-remotedata allows with ``--remote-data=astropy`` and ``--remote-data=github``.
_TIERS = {
    "github": {"www.github.io"},
    "astropy": {"data.astropy.org", "astropy.stsci.edu", "www.astropy.org", "www.github.io"},
}


class Outcome(NamedTuple):
    """What became of one file: `reason` is one line for a skip, `detail` names all places, for a failure."""

    package: str
    name: str
    state: str
    origin: str = ""  # "override", "folder", "package", "cache" or "host"
    path: str = ""
    size: int = 0
    moved: int = 0  # bytes that came over the network in this run
    reason: str = ""
    detail: str = ""


class DataFiles:
    """Looks for files and fetches what is missing, each file once; `announce` prints a line before a download."""

    def __init__(self, config: pytest.Config, announce: Callable[[str], None], show_progress: bool) -> None:
        self.packages: dict[str, PackageData] = {}
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self._config = config
        self._announce = announce
        self._show_progress = show_progress

    def data(self, package: str, registry: str = "") -> PackageData:
        """The data of a package; `registry` where the package cannot be imported in this process."""
        if package not in self.packages:
            data = PackageData(package, show_progress=self._show_progress)
            try:
                _ = data.registry
            except RegistryError:
                if not registry:
                    raise
                data = PackageData(package, registry=registry, show_progress=self._show_progress)
            self.packages[package] = data
        return self.packages[package]

    def provide(self, needs: Collection[Need]) -> list[Outcome]:
        """Look for files and fetch those that are not here."""
        with warnings.catch_warnings():
            # what astropy warns of on its import must not end a suite with filterwarnings=error
            warnings.simplefilter("default")
            missing: dict[str, list[str]] = {}
            for package, name, registry in needs:
                known = self.outcomes.get((package, name))
                if known is not None and (not known.path or os.path.exists(known.path)):  # a test may clear the cache
                    continue
                try:
                    outcome = self._look(self.data(package, registry), name)
                except DataferryError as error:
                    outcome = Outcome(package, name, BROKEN, reason=_first_line(error), detail=str(error))
                if outcome is None:
                    missing.setdefault(package, []).append(name)
                else:
                    self.outcomes[package, name] = outcome
            for package, names in missing.items():
                self._fetch(self.packages[package], names)
        return [self.outcomes[need[:2]] for need in needs]

    def _look(self, data: PackageData, name: str) -> Outcome | None:
        where = data.where(name)
        if where.path is not None:
            origin = next((step.kind for step in where.steps if step.found), "cache")
            return Outcome(data.package, name, HERE, origin, where.path, os.path.getsize(where.path))
        offline = self._offline_reason(data.registry.dataurl)
        if not offline:
            return None
        wrong = [step for step in where.steps if Failure(step.place, step.note, step.problem).other_bytes]
        reason = f"{name!r} of {data.package} is not on this machine and is not fetched: {offline}"
        if wrong:
            reason = f"{name!r} of {data.package}: {wrong[0].place}: {wrong[0].note}"
        reason += _prefetch(data, name)
        return Outcome(data.package, name, WRONG if wrong else MISSING, reason=reason, detail=str(where))

    def _offline_reason(self, dataurl: str) -> str:
        """Why the network is not used; empty where it is."""
        if self._config.option.dataferry == "offline":
            return "--dataferry=offline"
        if offline := load_settings().offline:
            return offline
        allowed = self._config.getoption("remote_data", None)  # None without pytest-remotedata
        if allowed in {None, "any"} or urlsplit(dataurl).hostname in _TIERS.get(str(allowed), ()):
            return ""
        return f"--remote-data={allowed}"

    def _fetch(self, data: PackageData, names: list[str]) -> None:
        entries = [data.registry.find(name) for name in names]
        size = sum((entry.size or 0) for entry in entries if entry is not None)
        count = f"{len(names)} {'file' if len(names) == 1 else 'files'}"
        self._announce(f"dataferry: fetching {count} of {data.package}{f', {size / 1e6:.1f} MB' if size else ''}")
        errors: dict[str, DataferryError] = {}
        paths: dict[str, str] = {}
        try:
            paths = dict(zip(names, data.fetch(names), strict=True))
        except FetchErrors as group:
            paths = group.paths
            errors = {getattr(error, "name", ""): error for error in group.exceptions}  # type: ignore[misc]
        except DataferryError as error:
            errors = dict.fromkeys(names, error)
        for name in names:
            there = name in paths
            outcome = _fetched(data, name, paths[name]) if there else _failed(data, name, errors.get(name))
            self.outcomes[data.package, name] = outcome


def _fetched(data: PackageData, name: str, path: str) -> Outcome:
    arrival, size = data.arrivals.get(name), os.path.getsize(path)
    if arrival is not None:
        return Outcome(data.package, name, HERE, "host", path, size, arrival.moved_bytes, reason=arrival.source)
    # another process fetched a registered file without an arrival
    registered = data.registry.find(name) is not None
    origin, moved = ("cache", 0) if registered else ("host", size)
    return Outcome(data.package, name, HERE, origin, path, size, moved, reason=redact_url(data.registry.dataurl))


def _failed(data: PackageData, name: str, error: DataferryError | None) -> Outcome:
    reason, state = _first_line(error), BROKEN
    if isinstance(error, FileUnavailable):
        wrong = [failure for failure in error.failures if failure.other_bytes]
        last = (wrong or error.failures or [Failure("", "no place is declared")])[-1]
        state = WRONG if wrong else MISSING
        reason = f"{name!r} of {data.package} is not available: {last.place}: {last.reason}{_prefetch(data, name)}"
    return Outcome(data.package, name, state, reason=reason, detail=str(error))


def _first_line(error: object) -> str:
    return str(error).partition("\n")[0]


def _prefetch(data: PackageData, name: str) -> str:
    return f"; where it can be fetched, run: dataferry get {data.package} {shlex.quote(name)}"
