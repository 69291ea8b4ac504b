"""Every registered file at every host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...cache import store as keeping
from ...errors import DataferryError, FileUnavailable, NeedsNetwork, TransferError, UnknownFile
from ...hosts.base import guarded
from ...lookup.candidates import Candidates
from ...lookup.configured_hosts import engine_settings, host_specs, offline_reason, stall_timeout
from ...registry.names import redact_url
from .findings import Finding, State

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...download.client import Client
    from ...download.source import Source
    from ...hosts.base import Host, HostedFile
    from ...package_data import PackageData
    from ...registry.registry import Entry
    from .silence import Silence

__all__ = ["check"]


class _Task(NamedTuple):
    entry: Entry
    redacted: str
    sources: Sequence[Source]
    hosted: HostedFile | None
    why_not: str
    asked: bool = False


def check(
    data: PackageData,
    names: str | Iterable[str] = "*",
    *,
    deep: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> Iterator[Finding]:
    """Check whether strangers still get the files of a package from every host; nothing is changed or kept.

    Parameters
    ----------
    data : PackageData
        The data of the package.
    names : str or iterable of str
        Names and globs.
    deep : bool
        Fetch every file whole from every host and hash it. Otherwise small files are hashed, and of others the size,
        samples and what the host tells are compared.
    jobs : int, optional
        How many files at once.

    Yields
    ------
    Finding
        One for each file at each host, hosts in their order.

    Raises
    ------
    UnknownFile
        If a name is not registered, or a glob matches nothing.
    NeedsNetwork
        If the network is not to be used.
    """
    places = data._resolver.candidates()
    entries = []
    for name in data._resolver.expand(names):
        entry = places.registry.find(name)
        if entry is None:
            raise UnknownFile(name, str(places.registry.path))
        entries.append(entry)
    if reason := offline_reason():
        raise NeedsNetwork(
            "the check",
            [
                (f"host {redact_url(spec)}", f"not asked: {reason}")
                for spec in host_specs(places.package, places.registry, places.settings)
            ],
        )
    settings = engine_settings().as_anonymous()
    from ...download.client import Client

    client = Client(settings, 10, stall_timeout(places.registry))
    try:
        for spec in host_specs(places.package, places.registry, places.settings):
            tasks = _tasks(spec, entries, settings)
            yield from (_without(task) for task in tasks if not task.sources)
            tasks = [task for task in tasks if task.sources]

            def look(tasks: Sequence[_Task]) -> Iterator[Finding]:
                if deep:
                    return _fetched(places, tasks, settings, jobs)
                return _probed(places, client, tasks, jobs or 8)

            bad: dict[str, Finding] = {}
            for finding in look(tasks):
                if finding.state is State.BAD:
                    bad[finding.name] = finding
                else:
                    yield finding
            # users are helped as well by what the host says when it is asked
            late = _looked_up(spec, [task for task in tasks if task.entry.name in bad], settings)
            bad |= {finding.name: finding for finding in (look(late) if late else ())}
            yield from bad.values()
    finally:
        client.close()


def _looked_up(spec: str, tasks: Sequence[_Task], settings: Settings) -> list[_Task]:
    """The tasks for which the host names other sources than the declaration did."""
    from ...hosts import make_host

    tasks = [task for task in tasks if not task.asked]
    if not tasks:
        return []
    try:
        with guarded(redact_url(spec)):
            found = make_host(spec).look_up({task.entry.name: task.entry for task in tasks}, settings)
            others = [
                task._replace(sources=sources)
                for task in tasks
                if (sources := found.get(task.entry.name)) and sources[0].url != task.sources[0].url
            ]
    except DataferryError:  # what the declaration leads to was bad, and that is told
        return []
    return others


def _tasks(spec: str, entries: Sequence[Entry], settings: Settings) -> list[_Task]:
    from ...hosts import make_host

    redacted = redact_url(spec)
    try:
        with guarded(redacted):
            host = make_host(spec)
            known = {entry.name: host.sources(entry.name, entry) for entry in entries}
    except DataferryError as error:
        return [_Task(entry, redacted, (), None, str(error)) for entry in entries]
    without = {entry.name: entry for entry in entries if not known[entry.name]}
    why_not = "the host does not know the file"
    if without:
        try:
            with guarded(redacted):
                known |= host.look_up(without, settings)
        except DataferryError as error:
            why_not = str(error)
    hosted = _held(host, settings)
    return [
        _Task(e, redacted, known.get(e.name, ()), hosted.get(e.name), why_not, asked=e.name in without) for e in entries
    ]


def _held(host: Host, settings: Settings) -> Mapping[str, HostedFile]:
    try:
        with guarded(host.redacted):
            return host.hosted(settings)
    except DataferryError:  # a list is a help, not a need
        return {}


def _without(task: _Task) -> Finding:
    return Finding(task.entry.name, task.redacted, task.redacted, State.BAD, task.why_not, "unknown")


def _probed(places: Candidates, client: Client, tasks: Sequence[_Task], jobs: int) -> Iterator[Finding]:
    from .silence import Silence

    silence = Silence()
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="dataferry-check") as pool:
        try:
            yield from pool.map(lambda task: _probe(places, client, task, silence), tasks)
        except BaseException:
            client.abort()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _probe(places: Candidates, client: Client, task: _Task, silence: Silence) -> Finding:
    from .probe import probe

    entry, hosted, source = task.entry, task.hosted, task.sources[0]
    if reason := silence.of(source):
        return Finding(entry.name, task.redacted, source.redacted, State.BAD, f"not asked: {reason}", "aside")
    try:
        state, note = probe(client, source, entry, _here(places, entry))
        silence.note(source, None)
    except TransferError as error:
        silence.note(source, error)
        return Finding(entry.name, task.redacted, source.redacted, State.BAD, error.reason, error.kind)
    if hosted is not None and hosted.sha256 is not None and state is not State.PROVEN:
        if hosted.sha256 != entry.sha256:
            note = f"the host tells another sha256: {hosted.sha256[:12]}... instead of {entry.sha256[:12]}..."
            return Finding(entry.name, task.redacted, source.redacted, State.BAD, note, "sha256")
        state, note = State.LIKELY, f"{note} and the sha256 that the host tells"
    return Finding(entry.name, task.redacted, source.redacted, state, note)


def _here(places: Candidates, entry: Entry) -> str | None:
    """A verified file on this machine."""
    for candidate in places.of(entry.name, entry):
        if candidate.kind != "override" and places.examine(candidate, entry).accepted:
            return candidate.path
    return places.store().find(entry.name, entry)[0]


def _fetched(places: Candidates, tasks: Sequence[_Task], settings: Settings, jobs: int | None) -> Iterator[Finding]:
    """Fetch whole files from one host alone; each is dropped as soon as its hash is known."""
    from tempfile import TemporaryDirectory

    from ...download.fetch import Wanted, fetch

    def drop(_: Wanted, file: Path) -> Path:
        file.unlink()
        return file

    with TemporaryDirectory(prefix="check-", dir=keeping.incoming()) as folder:
        wanted = [
            Wanted(entry.name, places.registry.base + entry.name, entry.size, entry.sha256, tuple(task.sources))
            for task in tasks
            for entry in [task.entry]
        ]
        results = fetch(
            wanted,
            find=lambda _: None,
            store=drop,
            workdir=Path(folder),
            settings=settings,
            jobs=jobs,
            stall_timeout=stall_timeout(places.registry),
        )
    for task, result in zip(tasks, results, strict=True):
        if isinstance(result, FileUnavailable):
            place, reason = result.tried[-1] if result.tried else (task.redacted, str(result))
            yield Finding(task.entry.name, task.redacted, place, State.BAD, reason, "fetch")
        else:
            place = result.source.redacted if result.source else task.redacted
            yield Finding(task.entry.name, task.redacted, place, State.PROVEN, "sha256 of all bytes")
