"""The part of `PackageData` that needs astropy or the network: its cache, the hosts, and what to say when both fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from . import astropy_cache, keeping
from .errors import DataferryError, FileUnavailable, Offline, UnknownFile
from .explain import Arrival, Step
from .names import close_names, shown_url
from .places import Places
from .registry import Entry
from .settings import Settings, load_settings

if TYPE_CHECKING:
    import logging

    from .fetch import Wanted
    from .hosts.base import Source

__all__ = ["bring", "cached", "host_steps", "sources"]


def cached(places: Places, name: str, entry: Entry | None) -> tuple[str | None, str]:
    """Look for a file in astropy's cache.

    Parameters
    ----------
    places : Places
        The places of the package.
    name : str
        The file's name.
    entry : Entry or None
        What it must be; None accepts any.

    Returns
    -------
    (str or None, str)
        The readable path, or None, and what was found.
    """
    url = places.registry.dataurl + name
    if entry is not None:
        return keeping.cached(places, entry, url)
    contents = astropy_cache.find_entry(url)
    if contents is None:
        return None, "not there"
    return keeping.readable(places, name, contents), "not registered, so not verified"


def offline_reason() -> str:
    """Why the network is not to be used; empty where it may be."""
    return load_settings().offline or ("" if astropy_cache.internet_allowed() else "astropy's allow_internet is False")


def engine_settings() -> Settings:
    """The settings for a transfer, with what astropy's configuration adds to the user agent."""
    settings = load_settings()
    settings.agent = astropy_cache.astropy_user_agent()
    return settings


def stall_timeout(places: Places) -> float:
    """Seconds without progress after which a host is given up: the package's, or astropy's where that is patient."""
    return places.registry.timeout or max(30.0, astropy_cache.astropy_timeout())


def _hosts(places: Places, name: str, entry: Entry | None) -> Iterator[tuple[str, Sequence[Source] | str]]:
    """Every declared host with the file's sources there, or the reason why it has none."""
    from .hosts import make_host

    primary = [places.registry.dataurl] if places.registry.dataurl else []
    # the user's mirrors are nearer than the author's hosts
    for spec in [*places.settings.package(places.package).mirrors, *primary, *places.registry.mirrors]:
        try:
            yield spec, make_host(spec).sources(name, entry) or "it has no such file"
        except DataferryError as error:
            yield spec, str(error)


def sources(places: Places, name: str, entry: Entry | None) -> list[Source]:
    """Where hosts would have a file.

    Parameters
    ----------
    places : Places
        The places of the package.
    name : str
        The file's name.
    entry : Entry or None
        What the registry knows of it.

    Returns
    -------
    list of Source
        At least one, best first.

    Raises
    ------
    Offline
        If the network is not to be used.
    FileUnavailable
        If no host has it.
    """
    hosts = list(_hosts(places, name, entry))
    offline = offline_reason()
    if offline:
        tried = [(f"host {shown_url(spec)}", f"not asked: {offline}") for spec, _ in hosts]
        raise Offline(name, tried, _prefetch(places, name))
    found = [source for _, several in hosts if not isinstance(several, str) for source in several]
    if not found:
        tried = [(f"host {shown_url(spec)}", str(reason)) for spec, reason in hosts]
        raise FileUnavailable(name, tried, f"{places.registry.path} declares no host that can be asked")
    return found


def host_steps(places: Places, name: str, entry: Entry | None, *, needed: bool) -> list[Step]:
    """The hosts as steps of `PackageData.where`.

    Parameters
    ----------
    places : Places
        The places of the package.
    name : str
        The file's name.
    entry : Entry or None
        What the registry knows of it.
    needed : bool
        Whether the file is not on this machine.

    Returns
    -------
    list of Step
        One for each declared host.
    """
    offline = offline_reason() if needed else ""
    steps = []
    for spec, several in _hosts(places, name, entry):
        origin = "dataurl" if spec == places.registry.dataurl else "mirror"
        if isinstance(several, str):
            steps.append(Step("host", shown_url(spec), origin, False, several))
        else:
            note = (f"not asked: {offline}" if offline else "would be asked") if needed else "not needed"
            steps += [Step("host", source.shown, origin, False, note) for source in several]
    return steps


def bring(
    places: Places, missing: Mapping[str, list[tuple[str, str]]], *, jobs: int | None, show_progress: bool
) -> dict[str, str | DataferryError]:
    """Fetch files that are not on this machine.

    Parameters
    ----------
    places : Places
        The places of the package.
    missing : mapping of str to list of (str, str)
        Names, each with the places tried so far and their reasons.
    jobs : int or None
        How many files at once.
    show_progress : bool
        Whether to show progress.

    Returns
    -------
    dict of str to (str or DataferryError)
        For each name the path, or the error that says why there is none.
    """
    results: dict[str, str | DataferryError] = {}
    wanted: list[Wanted] = []
    offline = offline_reason()
    for name, tried in missing.items():
        entry = places.registry.find(name)
        if not places.registry.dataurl:
            results[name] = _nowhere(places, name, entry, tried)
        elif offline:
            hosts = [(f"host {shown_url(spec)}", f"not asked: {offline}") for spec, _ in _hosts(places, name, entry)]
            results[name] = Offline(name, [*tried, *hosts], (_prefetch if entry else _not_registered)(places, name))
        elif entry is None:
            results[name] = _plainly(places, name, tried, show_progress)
        else:
            known: list[Source] = []
            for spec, found in _hosts(places, name, entry):
                if isinstance(found, str):
                    tried.append((f"host {shown_url(spec)}", found))
                else:
                    known += found
            wanted.append(_as_wanted(places, entry, known))
    if wanted:
        results |= _transfer(places, wanted, missing, jobs, show_progress)
    return {name: results[name] for name in missing}


def _as_wanted(places: Places, entry: Entry, sources: list[Source]) -> Wanted:
    from .fetch import Wanted

    return Wanted(entry.name, places.registry.dataurl + entry.name, entry.size, entry.sha256, tuple(sources))


def _transfer(
    places: Places,
    wanted: list[Wanted],
    tried: Mapping[str, list[tuple[str, str]]],
    jobs: int | None,
    show_progress: bool,
) -> dict[str, str | DataferryError]:
    from pathlib import Path

    from .fetch import fetch

    def entry_of(item: Wanted) -> Entry:
        return Entry(item.name, item.sha256 or "", item.size)

    def find(item: Wanted) -> Path | None:
        path, _ = keeping.cached(places, entry_of(item), item.key)
        return None if path is None else Path(path)

    def store(item: Wanted, file: Path) -> Path:
        return Path(keeping.keep(places, entry_of(item), item.key, str(file)))

    results: dict[str, str | DataferryError] = {}
    arrived = fetch(
        wanted,
        find=find,
        store=store,
        workdir=Path(keeping.incoming()),
        settings=engine_settings(),
        jobs=jobs,
        stall_timeout=stall_timeout(places),
        progress=show_progress,
    )
    for item, result in zip(wanted, arrived, strict=True):
        if isinstance(result, FileUnavailable):
            remedy = result.remedy or (_prefetch if isinstance(result, Offline) else _look_closer)(places, item.name)
            results[item.name] = type(result)(item.name, [*tried[item.name], *result.tried], remedy)
        else:
            results[item.name] = str(result.path)
            if result.source is not None:
                came = Arrival(result.source.shown, result.moved_bytes, result.seconds)
                places.arrivals[item.name] = came
                message = "%s: %d bytes in %.1f s from %s"
                _log().info(message, item.name, came.moved_bytes, came.seconds, came.source)
    return results


def _log() -> logging.Logger:
    import logging

    return logging.getLogger("dataferry")


def _plainly(places: Places, name: str, tried: list[tuple[str, str]], show_progress: bool) -> str | DataferryError:
    """Leave a name that is not registered to the plain wrapper."""
    from .plain import get_data_filename

    registry = places.registry
    mirror = next((m for m in registry.mirrors if m.startswith(("http://", "https://"))), None)
    try:
        contents = get_data_filename(
            name,
            package=places.package,
            dataurl=registry.dataurl,
            timeout=registry.timeout,
            mirror=mirror,
            show_progress=show_progress,
        )
    except FileUnavailable as error:
        new = [(place, reason) for place, reason in error.tried if not place.startswith("package ")]
        return type(error)(name, [*tried, *new], _not_registered(places, name))
    except DataferryError as error:
        return error
    return keeping.readable(places, name, contents)


def _nowhere(places: Places, name: str, entry: Entry | None, tried: list[tuple[str, str]]) -> DataferryError:
    registry = places.registry
    if entry is None:
        return UnknownFile(name, str(registry.path), close_names(name, registry.names()))
    return FileUnavailable(name, tried, f"{registry.path} declares no dataurl, so there is no host to ask")


def _not_registered(places: Places, name: str) -> str:
    close = close_names(name, places.registry.names())
    hint = f"; registered are {' and '.join(map(repr, close))}" if close else ""
    return f"{name!r} is not registered in {places.registry.path}{hint}"


def _prefetch(places: Places, name: str) -> str:
    return f"where there is a network, run: {_command('get', places, name)}"


def _look_closer(places: Places, name: str) -> str:
    return f"each step is shown by: {_command('where', places, name)}"


def _command(verb: str, places: Places, name: str) -> str:
    import shlex

    apart = [] if places.installed else ["--registry", str(places.registry.path)]
    return shlex.join(["dataferry", verb, places.package, name, *apart])
