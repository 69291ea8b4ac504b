"""Ask every host for every registered file anonymously: do users still get it? Nothing is changed or kept."""

from __future__ import annotations

import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ..errors import (
    CacheError,
    DataferryError,
    Failure,
    FileUnavailable,
    NeedsNetwork,
    PublishError,
    Reason,
    TransferError,
    UnknownFile,
)
from ..hosts import make_host
from ..hosts.base import guarded
from ..registry.names import check_public, redact_url
from ..threads import in_threads
from .plan import series_of
from .sampling import State, sample

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..download.source import Source
    from ..hosts.base import Host, HostedFile
    from ..lookup.candidates import Candidates
    from ..lookup.resolver import Resolver
    from ..registry.entry import Entry

__all__ = ["Finding", "State", "check"]

_OTHER_BYTES = frozenset({"encoding", "html", "lfs-pointer", "sha256", "size"})
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
        The URL, without credentials.
    state : State
        The result.
    note : str
        What was compared, or what is wrong.
    kind : str
        Of a bad or missing one: a short word for programs, as in `dataferry.errors.TransferError`.
    remedy : str
        Of a bad or missing one: the command that uploads or replaces it, or where to do that; empty if none is known.
    """

    name: str
    host: str
    place: str
    state: State
    note: str
    kind: str = ""
    remedy: str = ""


class Package(Protocol):
    """What `check` needs of a `PackageData`, which is not in a lower layer."""

    @property
    def _resolver(self) -> Resolver:
        """What finds its files."""


def check(
    data: Package,
    names: str | Iterable[str] = "*",
    *,
    deep: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> Iterator[Finding]:
    """Check whether users can download the files of a package from every host without a login.

    Parameters
    ----------
    data : PackageData
        The data of the package.
    names : str or iterable of str
        Names and globs.
    deep : bool
        Download and hash every file from every host. Otherwise small files are hashed, and of larger ones the size,
        samples and the digest that the host reports are compared.
    jobs : int, optional
        The number of files to check in parallel.
    progress : bool
        Whether to show a progress bar, if stderr is a terminal.

    Yields
    ------
    Finding
        One for each file at each host, hosts in their order; those that depend on another host come last.

    Raises
    ------
    UnknownFile
        If a name is not registered, or a glob matches nothing.
    NeedsNetwork
        If dataferry is offline.
    """
    from tqdm import tqdm

    from ..lookup.options import engine_settings, offline_reason

    resolver = data._resolver
    entries = []
    for name in resolver.expand(names):
        entry = resolver.registry.find(name)
        if entry is None:
            raise UnknownFile(name, resolver.registry.origin)
        entries.append(entry)
    specs = resolver.host_specs()
    if reason := offline_reason():
        raise NeedsNetwork("the check", [(f"host {redact_url(spec)}", f"not asked: {reason}") for spec in specs])
    settings, candidates = engine_settings(resolver.registry.timeout).as_anonymous(), resolver.candidates()
    target = str(resolver.registry.path or "") if not candidates.installed else ""
    target = target or resolver.package
    hidden = deep or not progress or not sys.stderr.isatty()  # fetching has bars of its own
    bar = tqdm(total=len(specs) * len(entries), unit="file", desc="checking", leave=False, delay=0.5, disable=hidden)

    def findings() -> Iterator[tuple[str, Finding]]:
        with bar:
            for spec in specs:
                for finding in _HostCheck(spec, candidates, settings, jobs, progress).findings(entries, deep):
                    bar.update()
                    failed = finding.state in {State.BAD, State.MISSING}
                    remedy = _remedy(spec, finding, settings, target) if failed else ""
                    yield spec, replace(finding, remedy=remedy)

    yield from _settle(findings(), specs)


def _settle(found: Iterable[tuple[str, Finding]], specs: Sequence[str]) -> Iterator[Finding]:
    """What one host lacks another may have: mirrors may have a part, and releases divide the files of one data set."""
    series = {spec: series_of(spec) for spec in specs}
    shared = {name for name, hosts in Counter(series.values()).items() if name and hosts > 1}
    unsettled: list[tuple[str, Finding]] = []
    good: dict[tuple[str, str], str] = {}
    for spec, finding in found:
        if finding.state is State.MISSING or (finding.state is State.BAD and series[spec] in shared):
            unsettled.append((spec, finding))
            continue
        if finding.state not in {State.BAD, State.BUNDLED}:
            for group in ("", series[spec]):
                good.setdefault((group, finding.name), finding.host)
        yield finding
    for spec, finding in unsettled:
        other = good.get(("", finding.name), "")
        release = good.get((series[spec], finding.name), "") if series[spec] in shared else ""
        if release and finding.kind in _OTHER_RELEASE:
            yield replace(finding, state=State.ELSEWHERE, note=f"{release} has it", kind="", remedy="")
        elif finding.state is State.MISSING and other and spec != specs[0]:
            yield replace(finding, note=f"{finding.note}; {other} has it")
        else:
            yield replace(finding, state=State.BAD)


def _remedy(spec: str, finding: Finding, settings: Settings, target: str) -> str:
    """What the author can do for a file that a host lacks or has with other bytes."""
    missing = finding.kind in _MISSING
    if not missing and finding.kind not in {"sha256", "size"}:
        return ""
    try:
        command = ["dataferry", "publish", "--to", check_public(spec), "--package", target]
        publisher = make_host(spec).publisher(settings, {})
    except PublishError as error:  # it can only be read from
        return (
            f"publish it again{'' if missing else ' with --repair'}, {error.remedy}" if error.remedy else error.reason
        )
    except DataferryError:
        return ""
    if not missing:
        if not (publisher.repairs or publisher.versioned):
            return "this kind of host cannot replace a file: publish it under another name"
        command.append("--repair" if publisher.repairs else "--new-version")
    return f"with the file on this machine, run: {shlex.join(command)}"


class _HostCheck:
    """The check of one host."""

    def __init__(self, spec: str, candidates: Candidates, settings: Settings, jobs: int | None, progress: bool) -> None:
        from ..download.http_client import Client

        self._spec, self._redacted = spec, redact_url(spec)
        self._candidates, self._settings = candidates, settings
        self._jobs, self._progress = jobs, progress
        self._client = Client(settings)
        self._sure_client = Client(settings, fresh=True)
        self._silent: dict[str, int] = defaultdict(int)  # server -> files in a row for which it did not answer
        self._hosted: Mapping[str, HostedFile] = {}

    def findings(self, entries: Sequence[Entry], deep: bool) -> Iterator[Finding]:
        """The good ones as they come, then the others."""
        bad: dict[str, Finding] = {}
        served = False
        try:
            with guarded(self._redacted):
                host = make_host(self._spec)
            for finding in self._fetched(host, entries) if deep else self._sampled_all(host, entries):
                if finding.state is State.BAD:
                    bad[finding.name] = finding
                else:
                    served = True
                    bad.pop(finding.name, None)
                    yield finding
        except CacheError:  # it says nothing of the host
            raise
        except DataferryError as error:
            yield from (self._bad(entry.name, str(error), getattr(error, "kind", "error")) for entry in entries)
            return
        # S3 answers 403 for a missing object to those who may not list the bucket
        missing = _MISSING | ({"denied"} if served else frozenset())
        for entry in entries:
            if entry.name not in bad:
                continue
            finding = bad[entry.name]
            if finding.kind in missing and not (host.locator and host.locator in entry.locators):
                finding = replace(finding, state=State.MISSING)
                if self._verified(entry, "package"):
                    note = "part of the package, and not at this host"
                    finding = replace(finding, state=State.BUNDLED, note=note, kind="")
            yield finding

    def _bad(self, name: str, note: str, kind: str, url: str = "") -> Finding:
        return Finding(name, self._redacted, url or self._redacted, State.BAD, note, kind)

    def _sampled_all(self, host: Host, entries: Sequence[Entry]) -> Iterator[Finding]:
        """Ask for samples where the declaration leads, and then where the host says that files are, as for users."""
        with guarded(self._redacted):
            sources = {entry.name: host.sources(entry.name, entry) for entry in entries}
        with suppress(DataferryError), guarded(self._redacted):  # a list helps, and is not needed
            self._hosted = host.hosted(self._settings)
        left = {entry.name: entry for entry in entries}
        for finding in self._sample_each([entry for entry in entries if sources[entry.name]], sources):
            if finding.state is not State.BAD:
                del left[finding.name]
            yield finding
        if not left:
            return
        why_not, kind, found = "the host does not know the file", "unknown", {}
        try:
            with guarded(self._redacted):
                found = dict(host.look_up(left, self._settings))
        except DataferryError as error:
            why_not, kind = str(error), getattr(error, "kind", "error")
        late = []
        for name, entry in left.items():
            if not found.get(name) and not sources[name]:
                yield self._bad(name, why_not, kind)
            elif found.get(name) and [s.url for s in found[name][:1]] != [s.url for s in sources[name][:1]]:
                late.append(entry)
        yield from self._sample_each(late, found)

    def _sample_each(self, entries: Sequence[Entry], sources: Mapping[str, Sequence[Source]]) -> Iterator[Finding]:
        return in_threads(lambda entry: self._at_any(entry, sources[entry.name]), entries, self._jobs or 8)

    def _at_any(self, entry: Entry, sources: Sequence[Source]) -> Finding:
        """The first source that is good, as for a user: Figshare's download host answers programs with an empty 202."""
        findings = []
        for source in sources:
            findings.append(self._sampled(entry, source))
            if findings[-1].state is not State.BAD:
                return findings[-1]
        return findings[0]

    def _sampled(self, entry: Entry, source: Source) -> Finding:
        server = urlsplit(source.url).netloc
        if (silent := self._silent[server]) >= _MOST_SILENT:  # nobody waits for it once for every file
            reason = f"not asked: the host did not answer for {silent} files before"
            return self._bad(entry.name, reason, "aside", source.redacted)
        try:
            state, note = self._compare(entry, source)
            self._silent[server] = 0
        except TransferError as error:
            self._silent[server] = self._silent[server] + 1 if error.kind in _UNREACHABLE else 0
            return self._bad(entry.name, error.reason, error.kind, source.redacted)
        hosted = self._hosted.get(entry.name)
        if hosted is not None and hosted.sha256 is not None and state is not State.PROVEN:
            if hosted.sha256 != entry.sha256:
                note = f"the host gives another sha256: {hosted.sha256[:12]}... instead of {entry.sha256[:12]}..."
                return self._bad(entry.name, note, "sha256", source.redacted)
            state, note = State.LIKELY, f"{note} and the sha256 that the host gives"
        return Finding(entry.name, self._redacted, source.redacted, state, note)

    def _compare(self, entry: Entry, source: Source) -> tuple[State, str]:
        here = self._verified(entry, "folder", "package", "cache")
        try:
            return sample(self._client, source, entry, here)
        except TransferError as error:
            if error.kind not in _OTHER_BYTES or source.opener is not None:
                raise
        # What a server sends late behind another answer looks the same, but not over new connections: libcurl sees only
        # what has come before it sends the next request.
        return sample(self._sure_client, source, entry, here)

    def _fetched(self, host: Host, entries: Sequence[Entry]) -> Iterator[Finding]:
        """Fetch whole files from this host alone; each is dropped as soon as its hash is known."""
        from ..cache.store import incoming
        from ..lookup.options import FetchOptions
        from .proof import fetch_and_drop

        options = FetchOptions(self._jobs, self._progress)
        workdirs = [Path(incoming())]
        results = fetch_and_drop(lambda _: [host], entries, self._settings, workdirs, "check-", options)
        for name, result in results.items():
            if isinstance(result, CacheError):
                raise result
            if isinstance(result, FileUnavailable):
                # what a server answered says more than that the host itself could not be asked
                failures = sorted(result.failures, key=lambda failure: not failure.place.startswith("host "))
                last = failures[-1] if failures else Failure("", str(result), Reason.FETCH)
                yield self._bad(name, last.reason, last.kind, last.place)
            else:
                where = result.source.redacted if result.source else self._redacted
                yield Finding(name, self._redacted, where, State.PROVEN, "sha256 of all bytes")

    def _verified(self, entry: Entry, *kinds: str) -> str | None:
        """The path of a verified file in folders, the package or the cache, as named."""
        for candidate in self._candidates.of(entry.name, entry):
            if candidate.kind in kinds and self._candidates.examine(candidate, entry).accepted:
                return candidate.path
        return self._candidates.store().find(entry.name, entry)[0] if "cache" in kinds else None
