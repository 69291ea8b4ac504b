"""The files of a run: looked for once, fetched once, and what came of each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..errors import DataferryError, Failure, FetchErrors, FileUnavailable, RegistryError
from ..package_data import PackageData
from ..registry.names import redact_url
from .needs import Need

__all__ = ["BROKEN", "HERE", "MISSING", "WRONG", "Outcome", "Supply"]

HERE, MISSING, WRONG, BROKEN = "here", "missing", "wrong", "broken"


class Outcome(NamedTuple):
    """What came of one file.

    Parameters
    ----------
    package, name : str
        The file.
    state : str
        ``"here"``; ``"missing"``: no place has it; ``"wrong"``: a place has other bytes; ``"broken"``: it is not
        registered, or this machine cannot keep it.
    origin : str
        ``"override"``, ``"folder"``, ``"package"``, ``"cache"`` or ``"host"``: where it was found.
    place : str
        Its path.
    size : int
        Its bytes.
    moved : int
        Bytes that came over the network for it in this run.
    reason : str
        One line for a skip.
    detail : str
        All places with their reasons, for a failure.
    """

    package: str
    name: str
    state: str
    origin: str = ""
    place: str = ""
    size: int = 0
    moved: int = 0
    reason: str = ""
    detail: str = ""


class Supply:
    """Looks for files and fetches what is missing, each file once.

    Parameters
    ----------
    closed : callable
        Says why the network is not to be used for a package's data; empty where it may be.
    say : callable
        Is told in a line what is about to be fetched.
    show_progress : bool
        Whether transfers show their progress.
    """

    def __init__(self, closed: Callable[[str], str], say: Callable[[str], None], show_progress: bool) -> None:
        self.packages: dict[str, PackageData] = {}
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self._closed = closed
        self._say = say
        self._show_progress = show_progress

    def data(self, package: str, registry: str = "") -> PackageData:
        """The data of a package; `registry` where the package cannot be imported in this process."""
        data = self.packages.get(package)
        if data is None:
            data = PackageData(package, show_progress=self._show_progress)
            try:
                _ = data.registry
            except RegistryError:
                if not registry:
                    raise
                data = PackageData(package, registry=registry, show_progress=self._show_progress)
            self.packages[package] = data
        return data

    def provide(self, needs: Iterable[Need]) -> None:
        """Look for files and fetch those that are not here; `outcomes` holds what came of each.

        Parameters
        ----------
        needs : iterable of Need
            The files.
        """
        with warnings.catch_warnings():
            warnings.simplefilter(
                "default"
            )  # what astropy says on its import must not end a suite with filterwarnings=error
            self._provide(needs)

    def _provide(self, needs: Iterable[Need]) -> None:
        missing: dict[str, list[str]] = {}
        for package, name, registry in needs:
            if (package, name) not in self.outcomes:
                try:
                    outcome = self._look(self.data(package, registry), name)
                except DataferryError as error:
                    outcome = Outcome(package, name, BROKEN, reason=_line(error), detail=str(error))
                if outcome is None:
                    missing.setdefault(package, []).append(name)
                else:
                    self.outcomes[package, name] = outcome
        for package, names in missing.items():
            self._bring(self.packages[package], names)

    def _look(self, data: PackageData, name: str) -> Outcome | None:
        where = data.where(name)
        if where.path is not None:
            origin = next((step.kind for step in where.steps if step.found), "cache")
            return Outcome(data.package, name, HERE, origin, where.path, os.path.getsize(where.path))
        closed = self._closed(data.registry.dataurl)
        if not closed:
            return None
        wrong = [step for step in where.steps if Failure(step.place, step.note, step.problem).other_bytes]
        reason = f"{name!r} of {data.package} is not on this machine and is not fetched: {closed}"
        if wrong:
            reason = f"{name!r} of {data.package}: {wrong[0].place}: {wrong[0].note}"
        return Outcome(
            data.package,
            name,
            WRONG if wrong else MISSING,
            reason=f"{reason}{_prefetch(data, name)}",
            detail=str(where),
        )

    def _bring(self, data: PackageData, names: list[str]) -> None:
        entries = [data.registry.find(name) for name in names]
        size = sum((entry.size or 0) for entry in entries if entry is not None)
        known = f", {size / 1e6:.1f} MB" if size else ""
        self._say(f"dataferry: fetching {len(names)} {'file' if len(names) == 1 else 'files'} of {data.package}{known}")
        errors: dict[str, DataferryError] = {}
        common: DataferryError | None = None
        paths: dict[str, str] = {}
        try:
            paths = dict(zip(names, data.fetch(names), strict=True))
        except FetchErrors as group:
            paths = group.paths
            errors = {getattr(error, "name", ""): error for error in group.exceptions}  # type: ignore[misc]
        except DataferryError as error:
            common = error
        for name in names:
            path = paths.get(name)
            if path is not None:
                outcome = _fetched(data, name, path)
            else:
                outcome = _failed(data, name, errors.get(name) or common)
            self.outcomes[data.package, name] = outcome


def _fetched(data: PackageData, name: str, path: str) -> Outcome:
    came, size = data.arrivals.get(name), os.path.getsize(path)
    if came is not None:
        return Outcome(data.package, name, HERE, "host", path, size, came.moved_bytes, reason=came.source)
    known = data.registry.find(name) is not None  # a registered file without an arrival was brought by another process
    source = redact_url(data.registry.dataurl)
    return Outcome(
        data.package, name, HERE, "cache" if known else "host", path, size, 0 if known else size, reason=source
    )


def _failed(data: PackageData, name: str, error: DataferryError | None) -> Outcome:
    reason, state = _line(error), BROKEN
    if isinstance(error, FileUnavailable):
        wrong = [failure for failure in error.failures if failure.other_bytes]
        place, why, _ = (wrong or error.failures or [Failure("", "no place is declared")])[-1]
        state = WRONG if wrong else MISSING
        reason = f"{name!r} of {data.package} could not be had: {place}: {why}{_prefetch(data, name)}"
    return Outcome(data.package, name, state, reason=reason, detail=str(error))


def _line(error: object) -> str:
    return str(error).partition("\n")[0]


def _prefetch(data: PackageData, name: str) -> str:
    import shlex

    return f"; where it can be fetched, run: dataferry get {data.package} {shlex.quote(name)}"
