"""The proof that files are published: fetch them back anonymously, with nothing but what the registry says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
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


#: So many files are downloaded at once at the most; larger ones than fit so often go one by one.
_AT_ONCE = 64


def fetch_and_drop(
    hosts: Callable[[Entry], Sequence[Host]],
    entries: Sequence[Entry],
    settings: Settings,
    workdirs: Sequence[Path],
    prefix: str,
    options: FetchOptions,
    look: Callable[[Wanted, Path], None] = lambda wanted, file: None,
    *,
    compare: bool = True,
    base: str = "",
) -> dict[str, Arrived | FileUnavailable | CacheError]:
    """Download files without a cache, where there is space; each goes as soon as `look` has seen it."""
    results: dict[str, Arrived | FileUnavailable | CacheError] = {}
    free, unfit = _free_space(workdirs)
    groups: dict[tuple[Path, bool], list[Entry]] = {}
    for entry in entries:
        size = entry.size or 0
        workdir = next((folder for folder, space in free.items() if space > size), None)
        if workdir is None:
            results[entry.name] = _no_space(size, free, unfit)
        else:
            groups.setdefault((workdir, size > free[workdir] // _AT_ONCE), []).append(entry)
    for (workdir, one_by_one), group in groups.items():
        with TemporaryDirectory(prefix=prefix, dir=workdir, ignore_cleanup_errors=True) as folder:

            def drop(wanted: Wanted, content: Path | bytes, folder: str = folder) -> Path:
                file = put_content(content, Path(folder, "small")) if isinstance(content, bytes) else content
                look(wanted, file)
                file.unlink()
                return file

            try:
                results |= download_from_hosts(
                    hosts,
                    group,
                    settings=settings,
                    workdir=Path(folder),
                    store=drop,
                    base=base,
                    compare=compare,
                    options=options._replace(jobs=1) if one_by_one else options,
                )
            except CacheError as error:
                results |= dict.fromkeys((entry.name for entry in group), error)
    return results


def fetch_back(
    declared: str,
    entries: Sequence[Entry],
    settings: Settings,
    workdirs: Sequence[Path],
    progress: Callable[[Progress], None] | bool = False,
    *,
    compare: bool = True,
) -> Mapping[str, str | DataferryError]:
    """Name -> the sha256 of what came without a token or a login (any bytes, unless `compare`), or why nothing came."""
    host = type(make_host(declared))(declared)  # one that has looked up nothing yet
    proven: dict[str, str] = {}

    def look(wanted: Wanted, file: Path) -> None:
        proven[wanted.name] = wanted.sha256 or hash_file(file).sha256  # the engine has compared a known one

    options = FetchOptions(progress=progress)
    came = fetch_and_drop(
        lambda _: [host], entries, settings.as_anonymous(), workdirs, PROOF, options, look, compare=compare
    )
    return {name: result for name, result in came.items() if not isinstance(result, Arrived)} | proven


def _free_space(folders: Iterable[Path]) -> tuple[dict[Path, int], list[str]]:
    """The bytes that are free in each folder that can be used, and why others cannot."""
    free, unfit = {}, []
    for folder in dict.fromkeys(folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            space = shutil.disk_usage(folder).free
        except OSError as error:  # a full disk has no space for a folder either
            unfit.append(f"{folder}: {error.strerror or error}")
            continue
        if os.access(folder, os.W_OK):  # an author's files may lie in a read-only place
            free[folder] = space
        else:
            unfit.append(f"{folder} cannot be written")
    return free, unfit


def _no_space(size: int, free: Mapping[Path, int], unfit: Sequence[str]) -> CacheError:
    tried = [*(f"{folder} has {space} bytes free" for folder, space in free.items()), *unfit]
    return CacheError(
        f"a file of {size} bytes cannot be fetched back to be compared: {'; '.join(tried)}; "
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
