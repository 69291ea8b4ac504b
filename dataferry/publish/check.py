"""Ask every host for every registered file anonymously: do users still get it? Nothing is changed or kept."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ..errors import DataferryError, FileUnavailable, NeedsNetwork, TransferError, UnknownFile
from ..hosts import make_host
from ..hosts.base import guarded
from ..registry.names import redact_url
from .sampling import State, sample

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..download.http_client import Client
    from ..download.source import Source, Wanted
    from ..hosts.base import Host, HostedFile
    from ..lookup.candidates import Candidates
    from ..lookup.resolver import Resolver
    from ..registry.registry import Entry

__all__ = ["Finding", "State", "check"]

_UNREACHABLE = frozenset({"connect", "dns", "timeout", "unreachable"})
_MOST_SILENT = 3  # files in a row
_MISSING = frozenset({"absent", "unknown"})
#: What a host may say of a file where another release of the same data set has it.
_OTHER_RELEASE = _MISSING | {"sha256", "size"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One file at one host.

    Parameters
    ----------
    name : str
        The file.
    host : str
        The host as declared, without credentials.
    place : str
        Where at the host, without credentials.
    state : State
        How sure it is.
    note : str
        What was compared, or what is wrong.
    kind : str
        Of a bad one: a short word for programs, as in `dataferry.errors.TransferError`.
    """

    name: str
    host: str
    place: str
    state: State
    note: str
    kind: str = ""


class _PackageData(Protocol):
    _resolver: Resolver


def check(
    data: _PackageData,
    names: str | Iterable[str] = "*",
    *,
    deep: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> Iterator[Finding]:
    """Check whether users without a login still get the files of a package from every host.

    Parameters
    ----------
    data : PackageData
        The data of the package.
    names : str or iterable of str
        Names and globs.
    deep : bool
        Fetch every file whole from every host and hash it. Otherwise small files are hashed, and of others the size,
        samples and what the host says are compared.
    jobs : int, optional
        How many files at once.
    progress : bool
        Whether to show a bar where stderr is a terminal.

    Yields
    ------
    Finding
        One for each file at each host, hosts in their order; those that depend on another release come last.

    Raises
    ------
    UnknownFile
        If a name is not registered, or a glob matches nothing.
    NeedsNetwork
        If the network is not to be used.
    """
    from ..lookup.configured_hosts import engine_settings, offline_reason

    places = data._resolver.candidates()
    entries = []
    for name in data._resolver.expand(names):
        entry = places.registry.find(name)
        if entry is None:
            raise UnknownFile(name, str(places.registry.path))
        entries.append(entry)
    specs = data._resolver.host_specs()
    if reason := offline_reason():
        raise NeedsNetwork("the check", [(f"host {redact_url(spec)}", f"not asked: {reason}") for spec in specs])
    findings = _Check(places, engine_settings().as_anonymous(), deep, jobs, progress).every_host(specs, entries)
    if progress and not deep and sys.stderr.isatty():  # fetching has bars of its own
        from tqdm import tqdm

        total = len(specs) * len(entries)
        findings = tqdm(findings, total=total, unit="file", desc="checking", leave=False, delay=0.5)
    yield from findings


class _Check:
    """The check of one package."""

    def __init__(self, places: Candidates, settings: Settings, deep: bool, jobs: int | None, progress: bool) -> None:
        from ..lookup.configured_hosts import stall_timeout

        self._places, self._settings, self._deep, self._jobs, self._progress = places, settings, deep, jobs, progress
        self._stall_timeout = stall_timeout(places.registry)

    def every_host(self, specs: Sequence[str], entries: Sequence[Entry]) -> Iterator[Finding]:
        """The findings at all hosts. Hosts of one series share its files and versions among them."""
        from ..download.http_client import Client

        series = {spec: _series(spec) for spec in specs}
        shared = {name for name in series.values() if name and list(series.values()).count(name) > 1}
        unsettled: list[tuple[str, Finding]] = []
        good: dict[tuple[str, str], str] = {}
        client = Client(self._settings, stall_timeout=self._stall_timeout)
        for spec in specs:
            for finding in self._one_host(spec, entries, client):
                if series[spec] not in shared:
                    yield finding
                elif finding.state is not State.BAD:
                    good[series[spec], finding.name] = finding.host
                    yield finding
                else:
                    unsettled.append((series[spec], finding))
        for name, finding in unsettled:
            other = good.get((name, finding.name))
            if other and finding.kind in _OTHER_RELEASE:
                yield replace(finding, state=State.ELSEWHERE, note=f"{other} has it", kind="")
            else:
                yield finding

    def _one_host(self, spec: str, entries: Sequence[Entry], client: Client) -> Iterator[Finding]:
        """The findings at one host: the good ones as they come, then the others."""
        place = redact_url(spec)
        bad: dict[str, Finding] = {}
        served = False
        try:
            with guarded(place):
                host = make_host(spec)
                findings = self._fetched(host, entries) if self._deep else self._asked(host, entries, client)
            for finding in findings:
                if finding.state is State.BAD:
                    bad[finding.name] = finding
                else:
                    served = True
                    bad.pop(finding.name, None)
                    yield finding
        except DataferryError as error:
            for entry in entries:
                yield Finding(entry.name, place, place, State.BAD, str(error), getattr(error, "kind", "error"))
            return
        # S3 answers 403 for a missing object to those who may not list the bucket
        missing = _MISSING | ({"denied"} if served else frozenset())
        for entry in entries:
            if entry.name in bad:
                finding = bad[entry.name]
                needed = bool(host.locator) and host.locator in entry.locators
                if finding.kind in missing and not needed and self._bundled(entry):
                    note = "part of the package, and not at this host"
                    finding = replace(finding, state=State.BUNDLED, note=note, kind="")
                yield finding

    def _asked(self, host: Host, entries: Sequence[Entry], client: Client) -> Iterator[Finding]:
        """Ask for samples where the declaration leads, and then where the host says that files are, as for users."""
        breaker = _CircuitBreaker()
        with guarded(host.redacted):
            sources = {entry.name: host.sources(entry.name, entry) for entry in entries}
        hosted: Mapping[str, HostedFile] = {}
        with suppress(DataferryError), guarded(host.redacted):  # a list helps, and is not needed
            hosted = host.hosted(self._settings)
        left = {entry.name: entry for entry in entries}
        known = [entry for entry in entries if sources[entry.name]]
        for finding in self._in_threads(host, known, sources, hosted, client, breaker):
            if finding.state is not State.BAD:
                del left[finding.name]
            yield finding
        if not left:
            return
        why_not, kind, found = "the host does not know the file", "unknown", {}
        try:
            with guarded(host.redacted):
                found = dict(host.look_up(left, self._settings))
        except DataferryError as error:
            why_not, kind = str(error), getattr(error, "kind", "error")
        for name in left:
            if not found.get(name) and not sources[name]:
                yield Finding(name, host.redacted, host.redacted, State.BAD, why_not, kind)
        late = [e for e in left.values() if found.get(e.name) and found[e.name][0].url != _url(sources[e.name])]
        yield from self._in_threads(host, late, found, hosted, client, breaker)

    def _in_threads(
        self,
        host: Host,
        entries: Sequence[Entry],
        sources: Mapping[str, Sequence[Source]],
        hosted: Mapping[str, HostedFile],
        client: Client,
        breaker: _CircuitBreaker,
    ) -> Iterator[Finding]:
        with ThreadPoolExecutor(max_workers=self._jobs or 8, thread_name_prefix="dataferry-check") as pool:
            try:
                yield from pool.map(
                    lambda e: self._sampled_at_any(host, e, sources[e.name], hosted.get(e.name), client, breaker),
                    entries,
                )
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _sampled_at_any(
        self,
        host: Host,
        entry: Entry,
        sources: Sequence[Source],
        hosted: HostedFile | None,
        client: Client,
        breaker: _CircuitBreaker,
    ) -> Finding:
        """The first source that is good, as for a user: Figshare's download host answers programs with an empty 202."""
        findings = []
        for source in sources:
            findings.append(self._sampled(host, entry, source, hosted, client, breaker))
            if findings[-1].state is not State.BAD:
                return findings[-1]
        return findings[0]

    def _sampled(
        self,
        host: Host,
        entry: Entry,
        source: Source,
        hosted: HostedFile | None,
        client: Client,
        breaker: _CircuitBreaker,
    ) -> Finding:
        place = host.redacted
        if reason := breaker.reason(source):
            return Finding(entry.name, place, source.redacted, State.BAD, f"not asked: {reason}", "aside")
        try:
            state, note = sample(client, source, entry, self._here(entry))
            breaker.note(source, None)
        except TransferError as error:
            breaker.note(source, error)
            return Finding(entry.name, place, source.redacted, State.BAD, error.reason, error.kind)
        if hosted is not None and hosted.sha256 is not None and state is not State.PROVEN:
            if hosted.sha256 != entry.sha256:
                note = f"the host gives another sha256: {hosted.sha256[:12]}... instead of {entry.sha256[:12]}..."
                return Finding(entry.name, place, source.redacted, State.BAD, note, "sha256")
            state, note = State.LIKELY, f"{note} and the sha256 that the host gives"
        return Finding(entry.name, place, source.redacted, state, note)

    def _fetched(self, host: Host, entries: Sequence[Entry]) -> Iterator[Finding]:
        """Fetch whole files from one host alone; each is dropped as soon as its hash is known."""
        from ..cache.store import incoming
        from ..lookup.configured_hosts import download_from_hosts
        from ..lookup.options import FetchOptions

        def drop(_: Wanted, file: Path) -> Path:
            file.unlink()
            return file

        place = host.redacted
        with TemporaryDirectory(prefix="check-", dir=incoming()) as workdir:
            results = download_from_hosts(
                [host],
                entries,
                settings=self._settings,
                workdir=Path(workdir),
                store=drop,
                timeout=self._stall_timeout,
                options=FetchOptions(self._jobs, self._progress),
            )
        for name, result in results.items():
            if isinstance(result, FileUnavailable):
                # what a server answered says more than that the host itself could not be asked
                failures = sorted(result.failures, key=lambda failure: not failure.place.startswith("host "))
                where, reason, kind = failures[-1] if failures else (place, str(result), "fetch")
                yield Finding(name, place, where, State.BAD, reason, kind)
            else:
                where = result.source.redacted if result.source else place
                yield Finding(name, place, where, State.PROVEN, "sha256 of all bytes")

    def _here(self, entry: Entry) -> str | None:
        """A verified file on this machine."""
        return self._verified(entry, lambda kind: kind != "override")

    def _bundled(self, entry: Entry) -> bool:
        return self._verified(entry, lambda kind: kind == "package") is not None

    def _verified(self, entry: Entry, wanted: Callable[[str], bool]) -> str | None:
        for candidate in self._places.of(entry.name, entry):
            if wanted(candidate.kind) and self._places.examine(candidate, entry).accepted:
                return candidate.path
        return self._places.store().find(entry.name, entry)[0] if wanted("cache") else None


def _url(sources: Sequence[Source]) -> str:
    return sources[0].url if sources else ""


def _series(spec: str) -> str:
    try:
        return make_host(spec).series
    except DataferryError:
        return ""


class _CircuitBreaker:
    """Which servers do not answer at all, so that nobody waits for them once for every file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row: dict[str, int] = {}

    def note(self, source: Source, error: TransferError | None) -> None:
        """Note how asking for a file ended."""
        server = urlsplit(source.url).netloc
        with self._lock:
            silent = error is not None and error.kind in _UNREACHABLE
            self._in_a_row[server] = self._in_a_row.get(server, 0) + 1 if silent else 0

    def reason(self, source: Source) -> str:
        """Why a server is not worth asking; empty where it is."""
        with self._lock:
            count = self._in_a_row.get(urlsplit(source.url).netloc, 0)
        return f"the host did not answer for {count} files before" if count >= _MOST_SILENT else ""
