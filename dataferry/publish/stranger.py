"""Get files from a host as somebody who has nothing but the registry: the proof that they are published."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..download.fetch import Progress, Wanted, fetch
from ..errors import CacheError, DataferryError, FileUnavailable, Offline, PublishError
from ..files import sha256_file
from ..hosts import make_host
from ..hosts.base import guarded
from ..registry.names import redact_url
from .notes import BACK

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..download.source import Source
    from ..registry.registry import Entry

__all__ = ["Stranger", "check_declared", "not_served"]

#: Larger files come one by one, so that no more than one of them needs room.
_LARGE = 1 << 28


def check_declared(spec: str) -> str:
    """Return the line for the registry if it gives no secret away. Raises `PublishError`."""
    if re.search(r"//[^/?#]*@", spec):
        raise PublishError(redact_url(spec), "its declaration holds a user or a password, which every user would get")
    return spec


def not_served(place: str, result: object, complete: bool) -> PublishError:
    """Say why a file that arrived is not registered.

    Parameters
    ----------
    place : str
        The file at its host.
    result : object
        What `Stranger.get` says of it.
    complete : bool
        Whether all files of the run arrived there.

    Returns
    -------
    PublishError
        The error.
    """
    if isinstance(result, CacheError):
        return PublishError(place, f"it arrived, and could not be proven: {result}")
    if not complete:
        return PublishError(
            place, "it arrived and is not public before all files have; the same command goes on from here"
        )
    said, when = str(result), "everybody may read it"
    if isinstance(result, FileUnavailable):
        said = "; ".join(dict.fromkeys(f"{where}: {reason}" for where, reason in result.tried)) or said
        when = "the network is there" if isinstance(result, Offline) else when
    return PublishError(
        place,
        f"it arrived, but a stranger does not get it: {said}",
        f"It is not registered. Once {when}, the same command proves and registers it",
    )


class Stranger:
    """Somebody with the registry, no cache, no token and no login.

    Parameters
    ----------
    declared : str
        The host as the registry declares it.
    settings : Settings
        The author's settings; what says who the author is, is dropped.
    folders : sequence of Path
        Where the files may lie for a moment, best first; the first with room is taken.
    prefix : str
        How the names of folders begin that are made there.
    """

    def __init__(self, declared: str, settings: Settings, folders: Sequence[Path], prefix: str = BACK) -> None:
        self.host = type(make_host(check_declared(declared)))(declared)  # one that has looked up nothing yet
        self._settings = settings.as_stranger()
        self._folders = folders
        self._prefix = prefix

    def get(
        self,
        entries: Sequence[Entry],
        tell: Callable[[Progress], None] | bool = False,
        *,
        compare: bool = False,
    ) -> dict[str, str | DataferryError]:
        """Get files, look at them and drop them.

        Parameters
        ----------
        entries : sequence of Entry
            The files as the registry would have them.
        tell : callable or bool
            Is told how far it is.
        compare : bool
            Whether other bytes are an answer too, and no error.

        Returns
        -------
        dict of str to (str or DataferryError)
            Name -> the sha256 of what came, or why nothing came.
        """
        results: dict[str, str | DataferryError] = {}
        sources: dict[str, Sequence[Source]] = {}
        for entry in entries:
            try:
                with guarded(self.host.redacted):
                    sources[entry.name] = list(self.host.sources(entry.name, entry))
            except DataferryError as error:
                results[entry.name] = error
        first = [entry for entry in entries if sources.get(entry.name)]
        results |= self._bring(first, sources, tell, compare)
        left = {e.name: e for e in entries if not isinstance(results.get(e.name), str)}
        if left:
            try:
                with guarded(self.host.redacted):
                    found = dict(self.host.look_up(left, self._settings))
            except DataferryError as error:
                return dict.fromkeys(left, error) | results
            late = [entry for entry in left.values() if found.get(entry.name)]
            results |= self._bring(late, found, tell, compare)
        nowhere = PublishError(self.host.redacted, "it does not say where a stranger would get the file")
        return {entry.name: results.get(entry.name, nowhere) for entry in entries}

    def _bring(
        self,
        entries: Sequence[Entry],
        sources: Mapping[str, Sequence[Source]],
        tell: Callable[[Progress], None] | bool,
        compare: bool,
    ) -> dict[str, str | DataferryError]:
        results: dict[str, str | DataferryError] = {}
        small = [entry for entry in entries if (entry.size or 0) <= _LARGE]
        large = [entry for entry in entries if (entry.size or 0) > _LARGE]
        for batch, jobs in ((small, None), (large, 1)):
            if not batch:
                continue
            try:
                folder = self._folder(max(entry.size or 0 for entry in batch))
            except CacheError as error:
                results |= {entry.name: error for entry in batch}
                continue
            try:
                results |= self._fetch(batch, sources, folder, jobs, tell, compare)
            except CacheError as error:
                results |= {entry.name: results.get(entry.name, error) for entry in batch}
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return results

    def _fetch(
        self,
        entries: Sequence[Entry],
        sources: Mapping[str, Sequence[Source]],
        folder: Path,
        jobs: int | None,
        tell: Callable[[Progress], None] | bool,
        compare: bool,
    ) -> dict[str, str | DataferryError]:
        came: dict[str, str] = {}

        def store(wanted: Wanted, file: Path) -> Path:
            came[wanted.name] = wanted.sha256 or sha256_file(file)  # where it is known, the engine has compared it
            file.unlink()
            return file

        wanted = [
            Wanted(
                entry.name,
                sources[entry.name][0].url,
                None if compare else entry.size,
                None if compare else entry.sha256,
                tuple(sources[entry.name]),
            )
            for entry in entries
        ]
        arrived = fetch(
            wanted,
            find=lambda _: None,
            store=store,
            workdir=folder,
            settings=self._settings,
            jobs=jobs,
            progress=tell,
        )
        return {
            item.name: result if isinstance(result, FileUnavailable) else came[item.name]
            for item, result in zip(wanted, arrived, strict=True)
        }

    def _folder(self, size: int) -> Path:
        """A fresh private folder with room for a file."""
        tried = []
        for place in self._folders:
            try:
                place.mkdir(parents=True, exist_ok=True)
                free = shutil.disk_usage(place).free
                if free > size:
                    return Path(tempfile.mkdtemp(prefix=self._prefix, dir=place))
                tried.append(f"{place} has {free} bytes free")
            except OSError as error:
                tried.append(f"{place}: {error.strerror or error}")
        raise CacheError(
            f"a file of {size} bytes cannot be fetched back to prove that it arrived: {'; '.join(tried)}; "
            f"let ASTROPY_CACHE_DIR name an existing folder with more room, and run the same command again"
        )
