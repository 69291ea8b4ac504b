"""The hosts of a package: which there are, where they have a file, and the one loop that downloads from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..config.settings import Settings
from ..download.source import Arrived, Source, Wanted
from ..errors import DataferryError, Failure, FileUnavailable, Offline, Reason
from ..hosts import make_host
from ..hosts.base import Host, guarded
from ..registry.entry import Entry
from ..registry.names import redact_url
from ..registry.registry import Registry
from .file_url import FileHost
from .options import FetchOptions


def host_specs(package: str, registry: Registry, settings: Settings) -> list[str]:
    """The lines that declare hosts, in the order in which they are asked: the user's mirrors are nearer."""
    primary = [registry.dataurl] if registry.dataurl else []
    return list(dict.fromkeys([*settings.package(package).mirrors, *primary, *registry.mirrors]))


class _InvalidHost(Host):
    """Stands for a host that cannot be made: its declaration is wrong, or its kind is not installed."""

    def __init__(self, spec: str, error: DataferryError) -> None:
        super().__init__(spec)
        self._error = error

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        raise self._error


def declared_hosts(package: str, registry: Registry, settings: Settings) -> Callable[[Entry | None], list[Host]]:
    """What gives the hosts of each file: its own URLs come behind the user's mirrors, and before ``dataurl``."""
    hosts = [_host(spec) for spec in host_specs(package, registry, settings)]
    nearer = len(set(settings.package(package).mirrors))

    def hosts_of(entry: Entry | None) -> list[Host]:
        own = map(FileHost, entry.urls if entry is not None else ())
        return [*hosts[:nearer], *own, *hosts[nearer:]]

    return hosts_of


def _host(spec: str) -> Host:
    try:
        with guarded(redact_url(spec)):
            return make_host(spec)
    except DataferryError as error:
        return _InvalidHost(spec, error)


def known_sources(hosts: Iterable[Host], name: str, entry: Entry | None) -> Iterator[tuple[Host, list[Source], str]]:
    """Each host, and its sources of a file from the declaration and the registry alone, or why it has none."""
    for host in hosts:
        try:
            with guarded(host.redacted):
                found = list(host.sources(name, entry))
            without = "it has to be asked where the file is" if _can_look_up(host) else "it has no such file"
            yield host, found, "" if found else without
        except DataferryError as error:
            yield host, [], str(error)


def _can_look_up(host: Host) -> bool:
    return type(host).look_up is not Host.look_up


def download_from_hosts(
    hosts: Callable[[Entry], Sequence[Host]],
    entries: Sequence[Entry],
    *,
    settings: Settings,
    workdir: Path,
    store: Callable[[Wanted, Path | bytes], Path],
    find: Callable[[Wanted], Path | None] = lambda wanted: None,
    base: str = "",
    compare: bool = True,
    options: FetchOptions = FetchOptions(),  # noqa: B008 - it is immutable
) -> dict[str, Arrived | FileUnavailable]:
    """Download files from the hosts where they are known to be, then from where hosts say that they are.

    Without `compare`, the size and sha256 of an entry only lead to the file, and any bytes are taken.
    """
    results: dict[str, Arrived | FileUnavailable] = {}
    failures: dict[str, list[Failure]] = {}
    wanted: dict[str, Wanted] = {}
    for entry in entries:
        sources: list[Source] = []
        failures[entry.name] = []
        for host, found, why_not in known_sources(hosts(entry), entry.name, entry):
            sources += found
            if why_not:
                failures[entry.name].append(Failure(f"host {host.redacted}", why_not, Reason.UNKNOWN))
        key = base + entry.name if base else sources[0].url if sources else entry.name
        size, sha256 = (entry.size, entry.sha256) if compare else (None, None)
        wanted[entry.name] = Wanted(entry.name, key, size, sha256, tuple(sources))

    def transfer(sources: Mapping[str, Sequence[Source]]) -> None:
        from ..download.fetch import fetch

        items = [replace(wanted[name], sources=options.opened(found)) for name, found in sources.items() if found]
        if not items:
            return
        came = fetch(
            items,
            find=find,
            store=store,
            workdir=workdir,
            settings=settings,
            jobs=options.jobs,
            deadline=options.left,
            progress=False if options.progress is None else options.progress,
        )
        for item, result in zip(items, came, strict=True):
            results[item.name] = result
            if isinstance(result, FileUnavailable):
                failures[item.name] += map(options.as_given, result.failures)

    transfer({name: item.sources for name, item in wanted.items()})
    missing = [entry for entry in entries if not isinstance(results.get(entry.name), Arrived | Offline)]
    if missing:
        found_late, reasons = _look_up_in_time([(entry, hosts(entry)) for entry in missing], settings, options)
        for name, failed in reasons.items():
            failures[name] += failed
        transfer(found_late)
    for name, failed in failures.items():
        result = results.get(name) or FileUnavailable(name, failed)
        results[name] = result if isinstance(result, Arrived) else type(result)(name, failed, result.remedy)
    return results


_Answers = tuple[dict[str, list[Source]], dict[str, list[Failure]]]


def _look_up_in_time(
    asked: Sequence[tuple[Entry, Sequence[Host]]], settings: Settings, options: FetchOptions
) -> _Answers:
    """Ask the hosts where files are, in a thread, so that the deadline ends the wait for a host's own code."""
    if options.left is None:
        return _look_up(asked, settings)
    from ..threads import in_time

    with suppress(TimeoutError):
        if options.left:
            return in_time(options.left, partial(_look_up, asked, settings))
    return {}, {entry.name: [options.passed] for entry, _ in asked}


def _look_up(asked: Sequence[tuple[Entry, Sequence[Host]]], settings: Settings) -> _Answers:
    """The sources and the failures of each file."""
    found: dict[str, list[Source]] = {}
    reasons: dict[str, list[Failure]] = {}
    by_spec: dict[str, tuple[Host, dict[str, Entry]]] = {}
    for entry, hosts in asked:
        for host in filter(_can_look_up, hosts):
            by_spec.setdefault(host.spec, (host, {}))[1][entry.name] = entry
    for host, wanted in by_spec.values():
        place = host.redacted
        try:
            with guarded(place):
                answer = {name: list(sources) for name, sources in host.look_up(wanted, settings).items()}
        except DataferryError as error:
            failure = Failure(f"host {place}", str(error), getattr(error, "kind", Reason.ERROR))
            for name in wanted:
                reasons.setdefault(name, []).append(failure)
            continue
        for name in answer.keys() & wanted.keys():
            found.setdefault(name, []).extend(answer[name])
    return found, reasons
