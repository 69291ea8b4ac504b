"""Many files from hosts: sources in order, every file verified, one failure never stops the others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CacheError, FileUnavailable, Offline, TransferError
from .hosts.base import Source

if TYPE_CHECKING:
    from .settings import Settings
    from .transport.client import Client

__all__ = ["Arrived", "Progress", "Wanted", "fetch"]

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch.

    Parameters
    ----------
    name : str
        Its name, for people.
    key : str
        The canonical URL.
    size : int or None
        Bytes that it must have.
    sha256 : str or None
        What it must hash to; None for a file that is not registered.
    sources : tuple of Source
        Where it may come from, best first.
    """

    name: str
    key: str
    size: int | None
    sha256: str | None
    sources: tuple[Source, ...]


@dataclass(slots=True)
class Arrived:
    """A file that is here now.

    Parameters
    ----------
    wanted : Wanted
        What was asked for.
    path : Path
        Where it is.
    source : Source or None
        Who gave it; None if it was here already, or another process brought it.
    seconds : float
        From its start to its end.
    moved_bytes : int
        Bytes of it that came over the wire in this call.
    """

    wanted: Wanted
    path: Path
    source: Source | None
    seconds: float
    moved_bytes: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call of `fetch` is."""

    name: str
    done_bytes: int
    total_bytes: int | None


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
    from .transport.client import Client

    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        from .transport.blame import disk_error

        raise disk_error(exc, workdir) from exc
    client = Client(settings, connect_timeout, stall_timeout)
    try:
        return [_one(item, find, store, workdir, client) for item in wanted]
    finally:
        client.close()


def _one(
    item: Wanted,
    find: Callable[[Wanted], Path | None],
    store: Callable[[Wanted, Path], Path],
    workdir: Path,
    client: Client,
) -> Arrived | FileUnavailable:
    import tempfile

    from .transport.blame import disk_error

    started = time.monotonic()
    here = find(item)
    if here is not None:
        return Arrived(item, here, None, 0.0, 0)
    if client.settings.offline:
        return Offline(item.name, [("network", str(client.settings.offline))])
    tried: list[tuple[str, str]] = []
    for source in item.sources:
        fd, name = tempfile.mkstemp(dir=workdir)
        try:
            moved = _stream(client, item, source, fd)
            path = store(item, Path(name))
            return Arrived(item, path, source, time.monotonic() - started, moved)
        except TransferError as exc:
            tried.append((exc.place, exc.reason))
        except CacheError:
            raise
        except OSError as exc:
            raise disk_error(exc, name) from exc
        finally:
            os.close(fd)
            if os.path.exists(name):
                os.unlink(name)
    return FileUnavailable(item.name, tried)


def _stream(client: Client, item: Wanted, source: Source, fd: int) -> int:
    import hashlib

    from .transport.blame import blame
    from .transport.verdict import check_body, check_head

    answer, line = client.ask(source)
    digest, got, head = hashlib.sha256(), 0, b""
    view = memoryview(bytearray(_BLOCK))
    try:
        check_head(answer, source, 0, None, item.size)
        while True:
            try:
                count = answer.read_some(view)
            except Exception as exc:
                raise blame(exc, source.shown) from exc
            if not count:
                break
            head = head or bytes(view[:1024])
            os.pwrite(fd, view[:count], got)
            digest.update(view[:count])
            got += count
    finally:
        client.done(answer, line)
    check_body(answer, source, item.name, head, got, item.size)
    if item.sha256 is not None and digest.hexdigest() != item.sha256:
        raise TransferError(source.shown, "its sha256 is not the registered one", kind="sha256", final=True)
    return got
