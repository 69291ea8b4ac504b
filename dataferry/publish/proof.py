"""The proof that files are published: fetch them back anonymously, with nothing but what the registry says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..download.source import Wanted
from ..errors import CacheError, DataferryError, FileUnavailable, Offline, PublishError
from ..files import hash_file
from ..hosts import make_host
from ..lookup.configured_hosts import download_from_hosts
from ..lookup.options import FetchOptions
from .state import PROOF

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..download.progress import Progress
    from ..registry.registry import Entry

__all__ = ["Proof", "not_proven"]

#: Larger files are downloaded one by one, so that only one of them needs space.
_LARGE = 1 << 28


def not_proven(place: str, result: object, complete: bool) -> PublishError:
    """Why a file that arrived is not registered: what `Proof.fetch` says, and whether all files of the run arrived."""
    if isinstance(result, CacheError):
        return PublishError(place, f"it arrived, and could not be proven: {result}")
    if not complete:
        return PublishError(
            place, "it arrived and is not public before all files have; the same command goes on from here"
        )
    reason, when = str(result), "everybody may read it"
    if isinstance(result, FileUnavailable):
        reason = "; ".join(dict.fromkeys(f"{where}: {why}" for where, why in result.tried)) or reason
        when = "the network is there" if isinstance(result, Offline) else when
    return PublishError(
        place,
        f"it arrived, but users do not get it: {reason}",
        f"It is not registered. Once {when}, the same command proves and registers it",
    )


class Proof:
    """Downloads from one host without a cache, a token or a login; the files are dropped once they are hashed."""

    def __init__(self, declared: str, settings: Settings, workdir: Path, files: Iterable[Path]) -> None:
        self.host = type(make_host(declared))(declared)  # one that has looked up nothing yet
        self._settings = settings.as_anonymous()
        # if the cache has no space, the author's own disk may have it
        self._workdirs = [workdir, *dict.fromkeys(file.absolute().parent for file in files)]

    def fetch(
        self,
        entries: Sequence[Entry],
        progress: Callable[[Progress], None] | bool = False,
        *,
        compare: bool = False,
    ) -> dict[str, str | DataferryError]:
        """Name -> the sha256 of what came (with `compare` also of other bytes), or why nothing came."""
        results: dict[str, str | DataferryError] = {}
        small = [entry for entry in entries if (entry.size or 0) <= _LARGE]
        large = [entry for entry in entries if (entry.size or 0) > _LARGE]
        for batch, jobs in ((small, None), (large, 1)):
            if batch:
                try:
                    results |= self._fetch(batch, FetchOptions(jobs, progress), compare)
                except CacheError as error:
                    results |= {entry.name: error for entry in batch}
        return {entry.name: results[entry.name] for entry in entries}

    def _fetch(self, entries: Sequence[Entry], options: FetchOptions, compare: bool) -> dict[str, str | DataferryError]:
        hashes: dict[str, str] = {}

        def store(wanted: Wanted, file: Path) -> Path:
            hashes[wanted.name] = wanted.sha256 or hash_file(file).sha256  # the engine has compared a known one
            file.unlink()
            return file

        workdir = self._workdir(max(entry.size or 0 for entry in entries))
        try:
            results = download_from_hosts(
                [self.host],
                entries,
                settings=self._settings,
                workdir=workdir,
                store=store,
                compare=not compare,
                options=options,
            )
        finally:
            shutil.rmtree(workdir, ignore_errors=True)
        return {
            name: result if isinstance(result, FileUnavailable) else hashes[name] for name, result in results.items()
        }

    def _workdir(self, size: int) -> Path:
        """A new private folder with space for a file."""
        tried = []
        for place in self._workdirs:
            try:
                place.mkdir(parents=True, exist_ok=True)
                free = shutil.disk_usage(place).free
                if free > size:
                    return Path(tempfile.mkdtemp(prefix=PROOF, dir=place))
                tried.append(f"{place} has {free} bytes free")
            except OSError as error:
                tried.append(f"{place}: {error.strerror or error}")
        raise CacheError(
            f"a file of {size} bytes cannot be fetched back to prove that it arrived: {'; '.join(tried)}; "
            f"set ASTROPY_CACHE_DIR to an existing folder with more space, and run the same command again"
        )
