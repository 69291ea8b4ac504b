"""Fetch what is not on this machine: from the declared hosts, then from where hosts say that it is."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..cache import store as keeping
from ..errors import DataferryError, Failure, FileUnavailable, Offline, UnknownFile
from ..registry.names import close_names, redact_url
from ..registry.registry import Entry
from .candidates import Places
from .declared import declared_hosts, look_up
from .remote import engine_settings, look_closer, not_registered, offline_reason, prefetch, stall_timeout
from .report import Arrival
from .terms import Terms

if TYPE_CHECKING:
    import logging

    from ..download.fetch import Wanted
    from ..download.source import Source

__all__ = ["bring"]


def bring(places: Places, missing: Mapping[str, list[Failure]], terms: Terms) -> dict[str, str | DataferryError]:
    """Fetch files that are not on this machine.

    Parameters
    ----------
    places : Places
        The places of the package.
    missing : mapping of str to list of Failure
        Names, each with the places tried so far and their reasons.
    terms : Terms
        How they are fetched.

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
        if not places.registry.base or (entry is None and not places.registry.dataurl):
            results[name] = _nowhere(places, name, entry, tried)
        elif offline:
            hosts = [
                Failure(f"host {redact_url(spec)}", f"not asked: {offline}", "offline")
                for spec, _ in declared_hosts(places, name, entry)
            ]
            results[name] = Offline(name, [*tried, *hosts], (prefetch if entry else not_registered)(places, name))
        elif entry is None:
            results[name] = _plainly(places, name, tried, terms)
        else:
            known: list[Source] = []
            for spec, found in declared_hosts(places, name, entry):
                if isinstance(found, str):
                    tried.append(Failure(f"host {redact_url(spec)}", found))
                else:
                    known += found
            wanted.append(_as_wanted(places, entry, known))
    if wanted:
        results |= _transfer(places, [item for item in wanted if item.sources], missing, terms)
        results |= _ask_hosts(places, wanted, results, missing, terms)
    return {name: results[name] for name in missing}


def _ask_hosts(
    places: Places,
    wanted: list[Wanted],
    results: Mapping[str, str | DataferryError],
    tried: Mapping[str, list[Failure]],
    terms: Terms,
) -> dict[str, str | DataferryError]:
    """What the declarations did not lead to: the hosts are asked where it is."""
    before: dict[str, list[Failure]] = {}
    for item in wanted:
        result = results.get(item.name)
        if result is None:
            before[item.name] = tried[item.name]
        elif isinstance(result, FileUnavailable) and not isinstance(result, Offline):
            before[item.name] = list(result.failures)
    found, reasons = _looked_up(places, list(before), terms) if before else ({}, {})
    for name, failed in reasons.items():
        before[name] = [*before[name], *failed]
    late = [replace(item, sources=tuple(found[item.name])) for item in wanted if found.get(item.name)]
    late_results = _transfer(places, late, before, terms) if late else {}
    for name in before.keys() - late_results.keys():
        earlier = results.get(name)
        remedy = getattr(earlier, "remedy", "") or look_closer(places, name)
        late_results[name] = FileUnavailable(name, before[name], remedy)
    return late_results


def _looked_up(
    places: Places, names: list[str], terms: Terms
) -> tuple[dict[str, list[Source]], dict[str, list[Failure]]]:
    """Ask the hosts, no longer than there is time: what a host's own code waits for, nobody can end."""
    if terms.left is None:
        return look_up(places, names, engine_settings())
    told: list[tuple[dict[str, list[Source]], dict[str, list[Failure]]] | BaseException] = []

    def ask() -> None:
        try:
            told.append(look_up(places, names, engine_settings()))
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            told.append(error)

    asking = threading.Thread(target=ask, name="dataferry-look-up", daemon=True)
    if terms.left:
        asking.start()
        asking.join(terms.left)
    if not told:
        return {}, {name: [terms.passed] for name in names}
    if isinstance(told[0], BaseException):
        raise told[0]
    return told[0]


def _as_wanted(places: Places, entry: Entry, sources: list[Source]) -> Wanted:
    from ..download.fetch import Wanted

    return Wanted(entry.name, places.registry.base + entry.name, entry.size, entry.sha256, tuple(sources))


def _transfer(
    places: Places,
    wanted: list[Wanted],
    tried: Mapping[str, list[Failure]],
    terms: Terms,
) -> dict[str, str | DataferryError]:
    from pathlib import Path

    from ..download.fetch import fetch

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
        jobs=terms.jobs,
        deadline=terms.left,
        stall_timeout=stall_timeout(places),
        progress=terms.told,
    )
    for item, result in zip(wanted, arrived, strict=True):
        if isinstance(result, FileUnavailable):
            remedy = result.remedy or (prefetch if isinstance(result, Offline) else look_closer)(places, item.name)
            # it is said as it was given, and not what was left of it
            said = [f._replace(reason=terms.passed.reason) if f.kind == "deadline" else f for f in result.failures]
            results[item.name] = type(result)(item.name, [*tried[item.name], *said], remedy)
        else:
            results[item.name] = str(result.path)
            if result.source is not None:
                came = Arrival(result.source.redacted, result.moved_bytes, result.seconds)
                places.arrivals[item.name] = came
                message = "%s: %d bytes in %.1f s from %s"
                _log().info(message, item.name, came.moved_bytes, came.seconds, came.source)
    return results


def _log() -> logging.Logger:
    import logging

    return logging.getLogger("dataferry")


def _plainly(places: Places, name: str, tried: list[Failure], terms: Terms) -> str | DataferryError:
    """Leave a name that is not registered to the plain wrapper."""
    from ..plain import get_data_filename

    registry = places.registry
    further = [*places.settings.package(places.package).mirrors, *registry.mirrors]
    mirror = next((m for m in further if m.startswith(("http://", "https://"))), None)
    try:
        contents = get_data_filename(
            name,
            package=places.package,
            dataurl=registry.dataurl,
            timeout=_sooner(registry.timeout, terms.left),
            mirror=mirror,
            show_progress=terms.progress is True,
        )
    except FileUnavailable as error:
        new = [failure for failure in error.failures if not failure.place.startswith("package ")]
        return type(error)(name, [*tried, *new], not_registered(places, name))
    except DataferryError as error:
        return error
    return keeping.readable(places, name, contents)


def _sooner(timeout: float | None, left: float | None) -> float | None:
    """A timeout that does not outlast what is left; astropy knows no deadline."""
    if left is None:
        return timeout
    return max(1.0, left if timeout is None else min(timeout, left))


def _nowhere(places: Places, name: str, entry: Entry | None, tried: list[Failure]) -> DataferryError:
    registry = places.registry
    if entry is None:
        return UnknownFile(name, str(registry.path), close_names(name, registry.names()))
    return FileUnavailable(
        name, tried, f"{registry.path} declares neither a dataurl nor mirrors, so there is no host to ask"
    )
