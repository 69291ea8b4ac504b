"""The hosts of a package: which there are, where they have a file, and the one loop that downloads from them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ..cache import astropy_cache
from ..config.settings import Settings, load_settings
from ..download.source import Arrived, Source, Wanted
from ..errors import DataferryError, Failure, FileUnavailable, Offline, Reason
from ..hosts import make_host
from ..hosts.base import Host, guarded
from ..registry.entry import Entry
from ..registry.names import redact_url
from ..registry.registry import Registry
from .file_url import FileHost, opened_by
from .options import FetchOptions


def offline_reason() -> str:
    """Why the network is not to be used; empty where it may be."""
    return load_settings().offline or ("" if astropy_cache.internet_allowed() else "astropy's allow_internet is False")


def engine_settings() -> Settings:
    """The settings for a transfer, with what astropy's configuration adds to the user agent."""
    return load_settings()._replace(agent=astropy_cache.astropy_user_agent())


def stall_timeout(registry: Registry) -> float:
    """Seconds without progress after which a host is given up: the package's, or what the user gave astropy, or 30."""
    return registry.timeout or astropy_cache.astropy_timeout() or 30.0


def host_specs(package: str, registry: Registry, settings: Settings) -> list[str]:
    """The lines that declare hosts, in the order in which they are asked: the user's mirrors are nearer."""
    primary = [registry.dataurl] if registry.dataurl else []
    return list(dict.fromkeys([*settings.package(package).mirrors, *primary, *registry.mirrors]))


def hosts_of(package: str, registry: Registry, settings: Settings, entry: Entry | None) -> list[str | Host]:
    """The hosts of one file: its own URLs come behind the user's mirrors, and before ``dataurl``."""
    specs: list[str | Host] = [*host_specs(package, registry, settings)]
    nearer = len(set(settings.package(package).mirrors))
    specs[nearer:nearer] = [FileHost(url) for url in (entry.urls if entry is not None else ())]
    return specs


def known_sources(
    specs: Sequence[str | Host], name: str, entry: Entry | None
) -> Iterator[tuple[str, list[Source], str]]:
    """Each host's line, and its sources of a file from the declaration and the registry alone, or why it has none."""
    for spec in specs:
        line = spec if isinstance(spec, str) else spec.spec
        try:
            with guarded(_redacted(line)):
                host = make_host(spec) if isinstance(spec, str) else spec
                found = list(host.sources(name, entry))
            without = "it has to be asked where the file is" if _can_look_up(host) else "it has no such file"
            yield line, found, "" if found else without
        except DataferryError as error:
            yield line, [], str(error)


_redacted = lru_cache(maxsize=256)(redact_url)


def _can_look_up(host: Host) -> bool:
    return type(host).look_up is not Host.look_up


def download_from_hosts(
    specs: Callable[[Entry], Sequence[str | Host]],
    entries: Sequence[Entry],
    *,
    settings: Settings,
    workdir: Path,
    store: Callable[[Wanted, Path | bytes], Path],
    find: Callable[[Wanted], Path | None] = lambda wanted: None,
    base: str = "",
    compare: bool = True,
    timeout: float = 30.0,
    options: FetchOptions = FetchOptions(),  # noqa: B008 - it is immutable
    tried: Mapping[str, Sequence[Failure]] | None = None,
    remedy: Callable[[str, FileUnavailable], str] = lambda name, error: error.remedy,
) -> dict[str, Arrived | FileUnavailable]:
    """Download files from the hosts where they are known to be, then from where hosts say that they are.

    Parameters
    ----------
    specs : callable
        The hosts of an entry in their order, as declared.
    entries : sequence of Entry
        The files.
    settings : Settings
        See `engine_settings`; anonymous ones ask as anybody could.
    workdir : Path
        Where partial files are, on the file system of `store`.
    store, find : callable
        As for `dataferry.download.fetch.fetch`.
    base : str
        The part of a cache key before the name.
    compare : bool
        Whether size and sha256 of the entries must hold; otherwise they only lead to the file.
    timeout : float
        Seconds without progress after which a host is given up.
    options : FetchOptions
        Jobs, progress and deadline.
    tried : mapping of str to sequence of Failure, optional
        What was tried for each file before, for its error.
    remedy : callable
        What helps with an error of a file.

    Returns
    -------
    dict of str to (Arrived or FileUnavailable)
        One for each entry.
    """

    def transfer(wanted: list[Wanted]) -> None:
        from ..download.fetch import fetch

        came = fetch(
            wanted,
            find=find,
            store=store,
            workdir=workdir,
            settings=settings,
            jobs=options.jobs,
            deadline=options.left,
            stall_timeout=timeout,
            progress=False if options.progress is None else options.progress,
        )
        for item, result in zip(wanted, came, strict=True):
            results[item.name] = result
            if isinstance(result, FileUnavailable):
                # the deadline as it was given, and not what was left of it
                late = options.passed.reason if options.deadline is not None else ""
                failures[item.name] += [
                    f._replace(reason=late) if f.kind == Reason.DEADLINE and late else f for f in result.failures
                ]

    def opened(sources: Sequence[Source]) -> Sequence[Source]:
        return [opened_by(options.opener, source) for source in sources] if options.opener else sources

    hosts = {entry.name: specs(entry) for entry in entries}
    results: dict[str, Arrived | FileUnavailable] = {}
    failures = {entry.name: list((tried or {}).get(entry.name, ())) for entry in entries}
    wanted = []
    for entry in entries:
        sources: list[Source] = []
        for line, found, why_not in known_sources(hosts[entry.name], entry.name, entry):
            sources += opened(found)
            if why_not:
                failures[entry.name].append(Failure(f"host {redact_url(line)}", why_not, Reason.UNKNOWN))
        size, sha256 = (entry.size, entry.sha256) if compare else (None, None)
        wanted.append(Wanted(entry.name, base + entry.name if base else "", size, sha256, tuple(sources)))
        if not base:
            wanted[-1] = replace(wanted[-1], key=sources[0].url if sources else entry.name)
    if known := [item for item in wanted if item.sources]:
        transfer(known)

    def is_missing(name: str) -> bool:
        result = results.get(name)
        return result is None or (isinstance(result, FileUnavailable) and not isinstance(result, Offline))

    if missing := {entry.name: entry for entry in entries if is_missing(entry.name)}:
        late, reasons = _ask_hosts(hosts, missing, settings, options)
        for name, failed in reasons.items():
            failures[name] += failed
        if again := [replace(item, sources=tuple(opened(late[item.name]))) for item in wanted if late.get(item.name)]:
            transfer(again)
    for name, all_tried in failures.items():
        result = results.get(name)
        if result is None or isinstance(result, FileUnavailable):
            error = result or FileUnavailable(name, all_tried)
            results[name] = type(error)(name, all_tried, remedy(name, error))
    return results


_Answers = tuple[dict[str, list[Source]], dict[str, list[Failure]]]


def _ask_hosts(
    hosts: Mapping[str, Sequence[str | Host]], wanted: Mapping[str, Entry], settings: Settings, options: FetchOptions
) -> _Answers:
    """Ask the hosts where files are, in a thread, so that the deadline ends the wait for a host's own code."""
    if options.left is None:
        return _look_up(hosts, wanted, settings)
    answers: list[_Answers | BaseException] = []

    def ask() -> None:
        try:
            answers.append(_look_up(hosts, wanted, settings))
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            answers.append(error)

    thread = threading.Thread(target=ask, name="dataferry-look-up", daemon=True)
    if options.left:
        thread.start()
        thread.join(options.left)
    if not answers:
        return {}, {name: [options.passed] for name in wanted}
    if isinstance(answers[0], BaseException):
        raise answers[0]
    return answers[0]


def _look_up(hosts: Mapping[str, Sequence[str | Host]], asked: Mapping[str, Entry], settings: Settings) -> _Answers:
    found: dict[str, list[Source]] = {}
    reasons: dict[str, list[Failure]] = {}
    by_spec: dict[str | Host, dict[str, Entry]] = {}
    for name, entry in asked.items():
        for spec in hosts[name]:
            by_spec.setdefault(spec, {})[name] = entry
    for spec, wanted in by_spec.items():
        line = redact_url(spec if isinstance(spec, str) else spec.spec)
        try:
            with guarded(line):
                host = make_host(spec) if isinstance(spec, str) else spec
                if not _can_look_up(host):
                    continue
                answer = {name: list(sources) for name, sources in host.look_up(wanted, settings).items()}
        except DataferryError as error:
            failure = Failure(f"host {line}", str(error), getattr(error, "kind", Reason.ERROR))
            for name in wanted:
                reasons.setdefault(name, []).append(failure)
            continue
        for name, sources in answer.items():
            if name in wanted:
                found.setdefault(name, []).extend(sources)
    return found, reasons
