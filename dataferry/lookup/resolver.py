"""The way from a name to a verified local path: overrides, folders, the package, astropy's cache, then the hosts."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import log
from ..cache.verify import Verdict
from ..config.settings import CACHE_VARIABLE, DATA_VARIABLE, load_settings
from ..errors import DataferryError, Failure, FetchErrors, FileUnavailable, Offline, Reason, UnknownFile
from ..registry.entry import Entry
from ..registry.names import check_name, close_names, redact_url
from ..registry.packages import find_registry
from ..registry.registry import Registry
from .candidates import Candidate, Candidates
from .options import engine_settings, in_terminal, offline_reason

if TYPE_CHECKING:
    from pathlib import Path

    from ..cache.store import Store
    from ..download.progress import Progress
    from ..download.source import Arrived, Source, Wanted
    from ..hosts.base import Host
    from .options import FetchOptions
    from .report import Arrival, Step, Where


#: Variables that move the places; a change of one is seen by the next call.
_VARIABLES = (DATA_VARIABLE, CACHE_VARIABLE, "ASTROPY_CACHE_DIR", "XDG_CACHE_HOME", "HOME")


#: So often a file is looked for that goes away as soon as it is found.
_LOOKS = 3


class _Seen(NamedTuple):
    """The places under one environment, and the paths that were found there."""

    environment: tuple[str | None, ...]
    candidates: Candidates
    #: Name -> path, size, mtime, inode, and the ctime where others than dataferry write.
    paths: dict[str, tuple[str, int, int, int, int]]


class Resolver:
    """Finds the files of one package. It has no lock, so that a fork at any moment leaves none of them taken."""

    def __init__(
        self,
        package: str,
        registry_path: str | os.PathLike[str] | None = None,
        folders: Sequence[str] = (),
        overrides: Mapping[str, str] | None = None,
        cache: str | None = None,
        strict: bool | None = None,
        show_progress: bool | Callable[[Progress], None] | None = True,
        declared: Mapping[str, Any] | None = None,
    ) -> None:
        self.package, self.show_progress = package, show_progress
        #: The files that came from a host: name -> how.
        self.arrivals: dict[str, Arrival] = {}
        self._registry_path, self._folders = registry_path, folders
        self._overrides, self._cache, self._strict = overrides or {}, cache, strict
        self._declared = declared
        self._registry: Registry | None = None
        self._variables: tuple[str, ...] = _VARIABLES
        self._seen: _Seen | None = None
        self._redacted_base = ""

    # -- the registry

    @property
    def registry(self) -> Registry:
        """What the package declares, read at the first use."""
        if self._registry is None:
            if self._declared is not None:
                registry = Registry.from_files(self.package, **self._declared)
            else:
                registry = Registry(self._registry_path or find_registry(self.package), self.package)
            self._variables = (*_VARIABLES, *filter(None, (registry.env, registry.cache_env)))
            self._registry = registry
        return self._registry

    def entry(self, name: str) -> Entry | None:
        """What the registry knows of a name. Raises `UnknownFile` where unregistered names are an error."""
        entry = self.registry.find(check_name(name))
        if entry is None and name not in self._overrides:
            wish = load_settings().package(self.package).strict if self._strict is None else self._strict
            if self.registry.strict if wish is None else wish:
                raise self._unknown(name)
        return entry

    def _unknown(self, name: str) -> UnknownFile:
        names = self.registry.names()
        below = fnmatch.filter(names, f"{name}/*")[:1]
        return UnknownFile(name, self.registry.origin, [f"{name}/*", *below] if below else close_names(name, names))

    def expand(self, names: str | Iterable[str]) -> list[str]:
        """The names that names and globs mean, each once. Raises `UnknownFile` for a glob that matches nothing."""
        wanted: dict[str, None] = {}
        for name in [names] if isinstance(names, str) else names:
            # a registered name may have such a character itself
            if any(c in name for c in "*?[") and name not in (registered := self.registry.names()):
                found = registered if name == "*" else fnmatch.filter(registered, name)
                if not found:
                    raise UnknownFile(name, self.registry.origin)
            else:
                self.entry(name)
                found = [name]
            wanted.update(dict.fromkeys(found))
        return list(wanted)

    def host_specs(self) -> list[str]:
        """The lines that declare hosts, in the order in which they are asked."""
        from .configured_hosts import host_specs

        return host_specs(self.package, self.registry, self.candidates().settings)

    def _hosts(self) -> Callable[[Entry | None], list[Host]]:
        from .configured_hosts import declared_hosts

        return declared_hosts(self.package, self.registry, self.candidates().settings)

    # -- on this machine

    def candidates(self) -> Candidates:
        """The places as the environment has them now."""
        registry = self.registry
        environment = tuple(map(os.environ.get, self._variables))
        seen = self._seen
        if seen is None or seen.environment != environment:
            candidates = Candidates(
                self.package, registry, load_settings(), self._folders, self._overrides, self._cache
            )
            self._seen = seen = _Seen(environment, candidates, {})
        return seen.candidates

    def known(self, name: str) -> str | None:
        """The path that this process found before, if the file is still the same one."""
        seen = self._seen
        if seen is None or (known := seen.paths.get(name)) is None:
            return None
        if seen.environment != tuple(map(os.environ.get, self._variables)):
            return None
        try:
            now = os.stat(known[0])
        except OSError:
            return None  # it was purged
        same = known[1:4] == (now.st_size, now.st_mtime_ns, now.st_ino)
        return known[0] if same and known[4] in (0, now.st_ctime_ns) else None

    def _walk(
        self, name: str, entry: Entry | None, store: Store | None, *, rehash: bool = False
    ) -> Iterator[tuple[Candidate, Verdict, str | None]]:
        """Each place in the order in which they are asked: what was found there, and the path where it is the file."""
        candidates = self.candidates()
        for candidate in candidates.of(name, entry):
            verdict = candidates.examine(candidate, entry, rehash=rehash)
            yield candidate, verdict, candidate.path if verdict.accepted else None
        store = store or candidates.store()
        path, verdict = store.find(name, entry, rehash=rehash)
        yield Candidate("cache", path or self._cache_key(name), store.origin), verdict, path

    def _cache_key(self, name: str) -> str:
        if not self._redacted_base:
            self._redacted_base = redact_url(self.registry.base)
        return self._redacted_base + name

    def find(self, name: str, store: Store | None = None) -> tuple[str | None, list[Failure]]:
        """Look on this machine, nearest first: the path or None, and what was tried.

        Raises `FileUnavailable` for an override that is no file: what the user named is not replaced by another file.
        """
        entry, chosen = self.entry(name), self.candidates().cache
        tried: list[Failure] = []
        for _ in range(_LOOKS):
            tried.clear()
            for candidate, verdict, path in self._walk(name, entry, store):
                if path is not None:
                    if self._remember(name, path, ours=candidate.kind == "cache") is not None:
                        return path, tried
                    break  # another process has just cleared the cache: looked up again
                where = f"{candidate.kind} {candidate.path}"
                if candidate.kind == "cache":
                    where = "astropy's cache" if chosen is None else f"cache {chosen.path}"
                if verdict.wrong:
                    log.warning("%s: %s is skipped: %s", name, where, verdict.note)
                tried.append(Failure(where, verdict.note, verdict.reason or Reason.ERROR))
                if candidate.kind == "override":
                    raise FileUnavailable(
                        name, tried, f"{candidate.origin} sets this path for it; correct or remove that"
                    )
            else:
                break
        return None, tried

    def where(self, name: str) -> Where:
        """Every step of the way to a file, without fetching it."""
        from .configured_hosts import known_sources
        from .report import Step, Where

        entry, candidates = self.entry(name), self.candidates()
        store = candidates.store()
        steps: list[Step] = []
        for candidate, verdict, found in self._walk(name, entry, store):
            steps.append(_step(candidate, verdict, found))
            if found is not None or candidate.kind == "override":
                note = "not needed"
                break
        else:
            offline = offline_reason()
            note = f"not asked: {offline}" if offline else "would be asked"
        places = [*candidates.of(name, entry), Candidate("cache", self._cache_key(name), store.origin)]
        steps += [Step(place.kind, place.path, place.origin, False, note) for place in places[len(steps) :]]
        for host, sources, why_not in known_sources(self._hosts()(entry), name, entry):
            own = entry is not None and host.spec in entry.urls
            origin = "url" if own else "dataurl" if host.spec == self.registry.dataurl else "mirror"
            if why_not:
                steps.append(Step("host", host.redacted, origin, False, why_not))
            steps += [Step("host", source.redacted, origin, False, note) for source in sources]
        return Where(name, entry, found, steps)

    def verify(self, names: str | Iterable[str]) -> Iterator[tuple[str, Step]]:
        """Hash again what is on this machine: each place that has something under a name."""
        store = self.candidates().store()
        for name in self.expand(names):
            for candidate, verdict, path in self._walk(name, self.registry.find(name), store, rehash=True):
                if path is not None or verdict.wrong:
                    yield name, _step(candidate, verdict, path)

    # -- from hosts

    def get(self, name: str, options: FetchOptions, *, refresh: bool = False) -> str:
        """The path of a file; see `PackageData.get`."""
        if refresh and self.entry(name) is None:
            return self._refresh(name, self._with_progress(options))
        if (path := self.known(name)) is not None:
            return path
        found, tried = self.find(name)
        result = found or self.download({name: tried}, options)[name]
        if isinstance(result, DataferryError):
            raise result
        return result

    def get_many(self, names: str | Iterable[str], options: FetchOptions) -> list[str]:
        """The paths of files; see `PackageData.fetch`."""
        wanted = self.expand(names)
        results: dict[str, str | DataferryError] = {}
        missing: dict[str, list[Failure]] = {}
        store: Store | None = None
        for name in wanted:
            path = self.known(name)
            if path is None:
                store = store or self.candidates().store()
                try:
                    path, missing[name] = self.find(name, store)
                except FileUnavailable as error:
                    results[name] = error
            if path is not None:
                results[name] = path
                missing.pop(name, None)
        if missing:
            results |= self.download(missing, options, store)
        paths = {name: found for name in wanted if isinstance(found := results[name], str)}
        if len(paths) < len(wanted):
            errors = [result for result in results.values() if isinstance(result, DataferryError)]
            group = FetchErrors(f"{len(errors)} of {len(wanted)} files are not available", errors)
            group.paths = paths
            raise group
        return list(paths.values())

    def download(
        self, missing: Mapping[str, list[Failure]], options: FetchOptions, store: Store | None = None
    ) -> dict[str, str | DataferryError]:
        """Fetch what is not on this machine: for each name the path, or the error that says why there is none."""
        options = self._with_progress(options)
        registry = self.registry
        results: dict[str, str | DataferryError] = {}
        entries: list[Entry] = []
        offline, hosts_of = offline_reason(), self._hosts()
        for name, tried in missing.items():
            entry = registry.find(name)
            # nobody could verify what the opener gives for a name that is not registered
            if entry is None and (not registry.dataurl or options.opener is not None):
                results[name] = self._unknown(name)
            elif not hosts_of(entry):
                reason = f"{registry.origin} declares neither a dataurl nor mirrors, so there is no host to try"
                results[name] = FileUnavailable(name, tried, reason)
            elif offline:
                remedy = self._prefetch(name) if entry else self._not_registered(name)
                results[name] = Offline(name, [*tried, *self._not_asked(entry, offline)], remedy)
            elif entry is None:
                results[name] = self._plainly(name, tried, options)
            else:
                entries.append(entry)
        if entries:
            results |= self._from_hosts(store or self.candidates().store(), entries, missing, options)
        return {name: results[name] for name in missing}

    def _from_hosts(
        self, store: Store, entries: Sequence[Entry], tried: Mapping[str, list[Failure]], options: FetchOptions
    ) -> dict[str, str | DataferryError]:
        from pathlib import Path

        from .configured_hosts import download_from_hosts

        by_name = {entry.name: entry for entry in entries}
        looked: set[str] = set()

        def find(item: Wanted) -> Path | None:
            if item.name not in looked:  # it was not there a moment ago
                looked.add(item.name)
                return None
            path, _ = store.find(item.name, by_name[item.name])
            return None if path is None else Path(path)

        def put(item: Wanted, content: Path | bytes) -> Path:
            file = content if isinstance(content, bytes) else str(content)
            return Path(store.put(item.name, file, item.sha256 or ""))

        try:
            came = download_from_hosts(
                self._hosts(),
                entries,
                settings=engine_settings(self.registry.timeout),
                workdir=Path(store.incoming()),
                store=put,
                find=find,
                base=self.registry.base,
                options=options,
            )
        finally:
            store.flush()
        results: dict[str, str | DataferryError] = {}
        for name, result in came.items():
            if isinstance(result, FileUnavailable):
                remedy = self._prefetch(name) if isinstance(result, Offline) else self._look_closer(name)
                results[name] = type(result)(name, [*tried[name], *result.failures], result.remedy or remedy)
            else:
                results[name] = self._arrived(name, result)
        return results

    def _arrived(self, name: str, result: Arrived) -> str:
        path = str(result.path)
        if result.source is not None:
            from .report import Arrival

            arrival = Arrival(result.source.redacted, result.moved_bytes, result.seconds)
            self.arrivals[name] = arrival
            log.info("%s: %d bytes in %.1f s from %s", name, arrival.moved_bytes, arrival.seconds, arrival.source)
        return self._remember(name, path) or path

    def sources(self, name: str) -> list[Source]:
        """Where hosts would have a file, best first. Raises `Offline` where the network is not to be used."""
        from .configured_hosts import known_sources

        entry = self.entry(name)
        if offline := offline_reason():
            raise Offline(name, self._not_asked(entry, offline), self._prefetch(name))
        hosts = list(known_sources(self._hosts()(entry), name, entry))
        found = [source for _, sources, _ in hosts for source in sources]
        if not found:
            tried = [Failure(f"host {host.redacted}", why_not) for host, _, why_not in hosts]
            raise FileUnavailable(name, tried, f"{self.registry.origin} declares no host that can be used")
        return found

    def _not_asked(self, entry: Entry | None, offline: str) -> list[Failure]:
        places = [f"host {host.redacted}" for host in self._hosts()(entry)]
        return [Failure(place, f"not asked: {offline}", Reason.OFFLINE) for place in places]

    # -- names that are not registered

    def _plainly(self, name: str, tried: list[Failure], options: FetchOptions) -> str | DataferryError:
        """Leave a name that is not registered to the plain wrapper."""
        from ..plain import get_data_filename

        registry = self.registry
        mirrors = [*self.candidates().settings.package(self.package).mirrors, *registry.mirrors]
        timeout, left = registry.timeout, options.left
        if left is not None:  # astropy knows no deadline
            timeout = max(1.0, left if timeout is None else min(timeout, left))
        try:
            contents = get_data_filename(
                name,
                package=self.package,
                dataurl=registry.dataurl,
                timeout=timeout,
                mirror=next((m for m in mirrors if m.startswith(("http://", "https://"))), None),
                show_progress=options.progress is True,
            )
        except FileUnavailable as error:
            new = [failure for failure in error.failures if not failure.place.startswith("package ")]
            return type(error)(name, [*tried, *new], self._not_registered(name))
        except DataferryError as error:
            return error
        path = self.candidates().store().readable(name, contents)
        return self._remember(name, path) or path

    def _refresh(self, name: str, options: FetchOptions) -> str:
        """The newest version of a file that is not registered: the one that is there, where the host says so."""
        from pathlib import Path

        from ..download.fetch import fetch
        from ..download.source import Wanted

        store, url = self.candidates().store(), self.registry.base + name
        settings = engine_settings(self.registry.timeout)
        sources = tuple(self.sources(name))
        contents = store.cached(name)
        etag = store.etag(name)
        [result] = fetch(
            [Wanted(name, url, None, None, sources, etag)],
            find=lambda _: Path(contents) if etag and contents else None,
            store=lambda _, content: Path(store.put(name, str(content))),
            workdir=Path(store.incoming()),
            settings=settings,
            progress=False if options.progress is None else options.progress,
            deadline=options.deadline,
        )
        if isinstance(result, DataferryError):
            raise result
        path = store.readable(name, str(result.path)) if result.unchanged else str(result.path)
        if not result.unchanged:
            store.keep_etag(name, result.etag)
        return self._remember(name, path) or path

    # -- what to say

    def _not_registered(self, name: str) -> str:
        close = close_names(name, self.registry.names())
        hint = f"; registered are {' and '.join(map(repr, close))}" if close else ""
        return f"{name!r} is not registered in {self.registry.origin}{hint}"

    def _prefetch(self, name: str) -> str:
        return f"where there is a network, run: {self._command('get', name)}"

    def _look_closer(self, name: str) -> str:
        from .report import contact_of

        variable = self.registry.env
        folder = f"a folder that {variable or DATA_VARIABLE} names" + ("" if variable else f", below {self.package}/")
        contact = contact_of(self.package, self.registry.about)
        authors = f"; the authors of {self.package}: {contact}" if contact else ""
        every_step = f"for every step, run: {self._command('where', name)}"
        return f"{every_step}\nor put a copy of your own into {folder}{authors}"

    def _command(self, verb: str, name: str) -> str:
        import shlex

        if not self.registry.data_folder:
            return f"{self.registry.origin}.{verb}({name!r})"
        apart = [] if self.candidates().installed else ["--registry", self.registry.origin]
        return shlex.join(["dataferry", verb, self.package, name, *apart])

    def _with_progress(self, options: FetchOptions) -> FetchOptions:
        if options.progress is not None:
            return options
        return options._replace(progress=in_terminal() if self.show_progress is None else self.show_progress)

    def _remember(self, name: str, path: str, *, ours: bool = True) -> str | None:
        log.info("%s: %s", name, path)
        try:
            now = os.stat(path)
        except OSError:
            return None
        if self._seen is not None:
            self._seen.paths[name] = path, now.st_size, now.st_mtime_ns, now.st_ino, 0 if ours else now.st_ctime_ns
        return path


def _step(candidate: Candidate, verdict: Verdict, path: str | None) -> Step:
    from .report import Step

    where, found = path or candidate.path, path is not None
    return Step(candidate.kind, where, candidate.origin, found, verdict.note, verdict.reason)
