"""Many files from hosts: sources in order, every file verified, one failure never stops the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import DataferryError, FileUnavailable
from .backoff import first_pause
from .origin import host_option
from .progress import Progress, Reporter
from .source import Arrived, Source, Wanted

if TYPE_CHECKING:
    from ..config.settings import Settings


_LARGE = 1 << 23
_STREAMS = 4  # at once from a host that does not speak HTTP: its library may have less patience than a web server


def fetch(
    wanted: Sequence[Wanted],
    *,
    find: Callable[[Wanted], Path | None],
    store: Callable[[Wanted, Path | bytes], Path],
    workdir: Path,
    settings: Settings,
    jobs: int | None = None,
    deadline: float | None = None,
    progress: bool | Callable[[Progress], None] = True,
) -> list[Arrived | FileUnavailable]:
    """Fetch files, each from the first of its sources that gives the right bytes; results are in the order of `wanted`.

    `find` says where a file is if it is here, and is asked again just before a download. `store` moves a verified
    private file to its place, or writes the verified bytes of a small one, and returns it. `workdir` is for partial
    files, on the file system of the cache. `deadline` is in seconds, for all of it. Raises `CacheError` if nothing can
    be written.
    """
    from .file_download import FileDownload
    from .host_limiter import HostLimiter
    from .partial_file import disk_error
    from .scheduler import Scheduler
    from .session import Network
    from .session_pool import borrowed
    from .source_state import SourceState

    results: dict[int, Arrived | FileUnavailable] = {}
    missing: dict[str, list[int]] = {}
    for index, item in enumerate(wanted):
        here = None if item.etag else find(item)
        if here is not None:
            results[index] = Arrived(item, here, None, 0.0, 0)
        else:
            missing.setdefault(item.key, []).append(index)
    if not missing:
        return [results[index] for index in range(len(wanted))]
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise disk_error(exc, workdir) from exc
    hosts: dict[str, HostLimiter] = {}

    def limiter(source: Source) -> HostLimiter:
        name = source.url[: source.url.find("/", source.url.find("//") + 2)]
        name = name.rpartition("@")[2].rpartition("//")[2] if source.opener is None else name
        if name not in hosts:
            parts = urlsplit(source.url)
            limit, rate = (host_option(settings, parts, option) for option in ("connections", "rate"))
            limit = limit or (_STREAMS if source.opener is not None else None)
            hosts[name] = HostLimiter(name, limit, rate, first_pause(settings.timeout))
        return hosts[name]

    network = Network(settings)
    with borrowed() as session:
        scheduler = Scheduler(session, network, workdir, find, store, jobs=jobs, deadline=deadline)
        files, identities = {}, set()
        for key, indices in missing.items():
            item = wanted[indices[0]]
            states = [SourceState(source, limiter(source)) for source in item.sources]
            file = files[key] = FileDownload(item, states, scheduler)
            # The lock of a content would let files of equal bytes wait for each other, though none brings the other.
            file.impatient = file.identity in identities
            identities.add(file.identity)
        # What is large is begun first, so that no long one is left for the end.
        order = sorted(files.values(), key=lambda file: -(file.size or 0) if (file.size or 0) > _LARGE else 0)
        reporter = Reporter(order, progress)
        try:
            scheduler.run(order, reporter.tick)
        except KeyboardInterrupt as exc:
            exc.add_note("dataferry: what has arrived is kept; the same command goes on from there")
            raise
        except OSError as exc:
            if isinstance(exc, DataferryError) or exc.errno is None:
                raise
            raise disk_error(exc, exc.filename or workdir) from exc
        finally:
            reporter.tick(finished=True)
    for key, file in files.items():
        for index in missing[key]:
            if file.result is not None:
                results[index] = file.result
    return [results[index] for index in range(len(wanted))]
