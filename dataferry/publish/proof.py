"""The proof that files are published: fetch them back anonymously, with nothing but what the registry says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..download.source import Arrived, Wanted
from ..errors import CacheError, DataferryError, FileUnavailable, Offline, PublishError
from ..files import hash_file, put_content
from ..hosts import make_host
from ..lookup.configured_hosts import download_from_hosts
from ..lookup.options import FetchOptions
from .state import PROOF

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..download.progress import Progress
    from ..hosts.base import Host
    from ..registry.entry import Entry


#: Larger files are downloaded one by one, so that only one of them needs space.
_LARGE = 1 << 28


def fetch_and_drop(
    hosts: Callable[[Entry], Sequence[str | Host]],
    entries: Sequence[Entry],
    settings: Settings,
    workdir: str | Path,
    prefix: str,
    options: FetchOptions,
    look: Callable[[Wanted, Path], None] = lambda wanted, file: None,
    *,
    compare: bool = True,
    base: str = "",
) -> dict[str, Arrived | FileUnavailable]:
    """Download files without a cache; each goes as soon as `look` has seen it."""

    def drop(wanted: Wanted, content: Path | bytes) -> Path:
        file = put_content(content, Path(folder, "small")) if isinstance(content, bytes) else content
        look(wanted, file)
        file.unlink()
        return file

    with TemporaryDirectory(prefix=prefix, dir=workdir, ignore_cleanup_errors=True) as folder:
        return download_from_hosts(
            hosts,
            entries,
            settings=settings,
            workdir=Path(folder),
            store=drop,
            base=base,
            compare=compare,
            options=options,
        )


def fetch_back(
    declared: str,
    entries: Sequence[Entry],
    settings: Settings,
    workdirs: Sequence[Path],
    progress: Callable[[Progress], None] | bool = False,
    *,
    compare: bool = True,
) -> dict[str, str | DataferryError]:
    """Name -> the sha256 of what came without a token or a login (any bytes, unless `compare`), or why nothing came."""
    host = type(make_host(declared))(declared)  # one that has looked up nothing yet
    results: dict[str, str | DataferryError] = {}

    def look(wanted: Wanted, file: Path) -> None:
        results[wanted.name] = wanted.sha256 or hash_file(file).sha256  # the engine has compared a known one

    small = [entry for entry in entries if (entry.size or 0) <= _LARGE]
    large = [entry for entry in entries if (entry.size or 0) > _LARGE]
    for batch, jobs in ((small, None), (large, 1)):
        if not batch:
            continue
        try:
            workdir = _with_space(workdirs, max(entry.size or 0 for entry in batch))
            options = FetchOptions(jobs, progress)
            came = fetch_and_drop(
                lambda _: [host], batch, settings.as_anonymous(), workdir, PROOF, options, look, compare=compare
            )
            results |= {name: result for name, result in came.items() if isinstance(result, FileUnavailable)}
        except CacheError as error:
            results |= {entry.name: error for entry in batch}
    return results


def _with_space(workdirs: Iterable[Path], size: int) -> Path:
    """The first folder with space for a file: if the cache has none, the author's own disk may have it."""
    tried = []
    for folder in dict.fromkeys(workdirs):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
        except OSError as error:  # a full disk has no space for a folder either
            tried.append(f"{folder}: {error.strerror or error}")
            continue
        if free > size and os.access(folder, os.W_OK):  # an author's files may lie in a read-only place
            return folder
        tried.append(f"{folder} has {free} bytes free" if free <= size else f"{folder} cannot be written")
    raise CacheError(
        f"a file of {size} bytes cannot be fetched back to prove that it arrived: {'; '.join(tried)}; "
        f"set ASTROPY_CACHE_DIR to an existing folder with more space, and run the same command again"
    )


def not_proven(label: str, result: object, complete: bool) -> PublishError:
    """Why a file that arrived is not registered: what `fetch_back` says, and whether all files of the run arrived."""
    if isinstance(result, CacheError):
        return PublishError(label, f"it arrived, and could not be proven: {result}")
    if not complete:
        return PublishError(
            label, "it arrived and is not public before all files have; the same command goes on from here"
        )
    reason, when = str(result), "everybody may read it"
    if isinstance(result, FileUnavailable):
        reason = "; ".join(dict.fromkeys(f"{where}: {why}" for where, why in result.tried)) or reason
        when = "the network is there" if isinstance(result, Offline) else when
    return PublishError(
        label,
        f"it arrived, but users do not get it: {reason}",
        f"It is not registered. Once {when}, the same command proves and registers it",
    )
