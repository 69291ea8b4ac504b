"""Many files from hosts: sources in order, every file verified, one failure never stops the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import DataferryError, Failure, FileUnavailable, Offline
from .access import host_option
from .progress import Progress, Reporter
from .source import Arrived, Source, Wanted

if TYPE_CHECKING:
    from ..config.settings import Settings

__all__ = ["Arrived", "Progress", "Wanted", "fetch"]

_LARGE = 1 << 23
_PATIENCE = 60.0  # seconds, at least, to wait for another process that has a file and shows no progress
_STREAMS = 4  # at once from a host that does not speak HTTP: its library may have less patience than a web server


def fetch(
    wanted: Sequence[Wanted],
    *,
    find: Callable[[Wanted], Path | None],
    store: Callable[[Wanted, Path], Path],
    workdir: Path,
    settings: Settings,
    jobs: int | None = None,
    deadline: float | None = None,
    connect_timeout: float = 10,
    stall_timeout: float = 30,
    progress: bool | Callable[[Progress], None] = True,
) -> list[Arrived | FileUnavailable]:
    """Fetch files, each from the first of its sources that gives the right bytes.

    Parameters
    ----------
    wanted : sequence of Wanted
        The files.
    find : callable
        Says where a file is if it is here; asked again just before a download. May be called from several threads.
    store : callable
        Moves a verified private file to its place and returns it. May be called from several threads.
    workdir : Path
        Where partials lie, on the file system of the cache.
    settings : Settings
        Offline state, user agent, options of hosts.
    jobs : int, optional
        Files at the same time.
    deadline : float, optional
        Seconds for all of it.
    connect_timeout, stall_timeout : float
        Seconds to wait for a connection, and for the next bytes.
    progress : bool or callable
        Bars (True), nothing (False), or who is told.

    Returns
    -------
    list of Arrived or FileUnavailable
        In the order of `wanted`.

    Raises
    ------
    CacheError
        If nothing can be written in `workdir`.
    """
    from .blame import disk_error
    from .client import Client
    from .crew import Crew
    from .health import HostHealth
    from .job import Job
    from .strays import sweep
    from .watch import Watch
    from .way import Way
    from .yard import Yard

    results: dict[int, Arrived | FileUnavailable] = {}
    missing: dict[str, list[int]] = {}
    for index, item in enumerate(wanted):
        here = None if item.etag else find(item)
        if here is not None:
            results[index] = Arrived(item, here, None, 0.0, 0)
        elif settings.offline:
            results[index] = Offline(item.name, [Failure("network", str(settings.offline), "offline")])
        else:
            missing.setdefault(item.key, []).append(index)
    if missing:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise disk_error(exc, workdir) from exc
        sweep(workdir)
        hosts: dict[str, HostHealth] = {}

        known: dict[str, HostHealth] = {}

        def health(source: Source) -> HostHealth:
            # Thousands of URLs have one beginning: it is taken apart once.
            url = source.url
            begin = url[: url.find("/", url.find("//") + 2)] if source.opener is None else ""
            found = known.get(begin)
            if found is None:
                found = asked(source)
                if begin:
                    known[begin] = found
            return found

        def asked(source: Source) -> HostHealth:
            parts = urlsplit(source.url)
            name = parts.netloc.rpartition("@")[2]
            if source.opener is not None:
                name = f"{parts.scheme}://{name}"
            if name not in hosts:
                limit, rate = (host_option(settings, parts, option) for option in ("connections", "rate"))
                limit = limit or (_STREAMS if source.opener is not None else None)
                hosts[name] = HostHealth(name, limit, rate)
            return hosts[name]

        client = Client(settings, connect_timeout, stall_timeout)
        todo = []
        for indices in missing.values():
            item = wanted[indices[0]]
            todo.append(Job(item, [Way(source, health(source)) for source in item.sources], workdir))
        # What is large is begun first, so that no long one is left for the end.
        todo.sort(key=lambda job: -(job.size or 0) if (job.size or 0) > _LARGE else 0)
        reporter = Reporter(todo, progress)
        crew = Crew(Yard(client, workdir, find, store), todo, jobs)
        try:
            Watch(crew, deadline, max(_PATIENCE, 2 * stall_timeout)).run(reporter.tick)
        except KeyboardInterrupt as exc:
            exc.add_note("dataferry: what has arrived is kept; the same command goes on from there")
            raise
        except OSError as exc:
            if isinstance(exc, DataferryError) or exc.errno is None:
                raise
            raise disk_error(exc, exc.filename or workdir) from exc
        finally:
            reporter.close()
            client.close()
        for job in todo:
            for index in missing[job.wanted.key]:
                if job.result is not None:
                    results[index] = job.result
    return [results[index] for index in range(len(wanted))]
