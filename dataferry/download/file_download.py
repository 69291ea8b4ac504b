"""One file: where its bytes may come from, what is there of them, and how it ends. It owns all state of the file.

A file is waiting for a host; or for another process that downloads it; or it runs, small ones in memory and large ones
in segments of a partial file; or its hash is finished; then it has a result. The scheduler calls `begin`, `help`,
`received` and `ended`, in its one thread, and looks at the attributes afterwards.
"""

from __future__ import annotations

import hashlib
import os
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ..errors import DataferryError, Failure, FileUnavailable, Offline, Reason, TransferError
from .file_lock import FileLock
from .host_limiter import HostLimiter
from .partial_file import PartialFile, claims, identity_of, process_token, progress_of
from .response import Head, check_body, check_head, describe_body, strong_etag, validator
from .rolling_hash import RollingHash
from .segments import Segment, Segments
from .session import Transfer
from .source import Arrived, Part, Source, Wanted
from .stream import StreamReader

__all__ = ["SMALL", "FileDownload", "FileTransfer", "Run", "SourceState"]

SMALL = 1 << 20  # bytes up to which a file is kept in memory until it is whole
_HEAD = 1024  # bytes by which a body is recognised
_ROUNDS = 4
_SLOWER = 3.0  # a host that is so many times slower than another is asked after it
# Where a redirect leads to may be good for minutes only, as signed URLs are.
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_PROGRESS = 1 << 20  # bytes that make an attempt worth repeating at once
_NO_NETWORK = frozenset({Reason.DNS, Reason.UNREACHABLE})
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Run(Protocol):
    """What a file needs of the run that it belongs to."""

    workdir: Path
    find: Callable[[Wanted], Path | None]
    store: Callable[[Wanted, Path], Path]
    patience: float

    def send(self, transfer: FileTransfer) -> None:
        """Begin a request, or reading a stream."""

    def stop(self, transfer: FileTransfer) -> None:
        """End it now."""

    def wake(self) -> None:
        """End a wait of the loop; called in the thread that hashes."""


@dataclass(slots=True, eq=False)
class SourceState:
    """One source of one file."""

    source: Source
    host: HostLimiter
    tries: int = 0
    wrong: int = 0
    final: bool = False
    validator: str | None = None  # what says that later bytes are of the same version
    etag: str | None = None
    last: str = ""
    layout: list[tuple[int, Source, int | None]] = field(default_factory=list)  # start, URL, stop
    targets: dict[str, str] = field(default_factory=dict)  # URL -> where it redirects to

    @property
    def plain(self) -> bool:
        """Whether one GET brings the whole file."""
        return not self.source.parts and self.source.opener is None

    def at(self, position: int) -> tuple[int, Source, int | None]:
        """The object that has a byte of the file, where the host keeps it in several: its start, source and stop."""
        if not self.layout:
            self.layout = _layout(self.source)
        return self.layout[max(0, bisect_right(self.layout, position, key=lambda part: part[0]) - 1)]

    def total(self, size: int | None) -> int | None:
        """The size of a file in parts, which must be `size`; that itself for a file in one object."""
        parts = self.source.parts
        if not parts:
            return size
        total = sum(part.size for part in parts)
        if size is not None and total != size:
            reason = f"its {len(parts)} parts have {total} bytes together, {size} are registered"
            raise TransferError(self.source.redacted, reason, kind=Reason.SIZE, final=True)
        return total


def _layout(source: Source) -> list[tuple[int, Source, int | None]]:
    found: list[tuple[int, Source, int | None]] = []
    start = 0
    for part in source.parts:
        if part.size:
            found.append((start, _source_of(part, source), start + part.size))
            start += part.size
    return found or [(0, source, None)]


def _source_of(part: Part, source: Source) -> Source:
    # What a source brings along for its host is not for another host that has a part.
    near = urlsplit(part.url)[:2] == urlsplit(source.url)[:2]
    return Source(part.url, source.host, source.headers if near else {})


class FileTransfer(Transfer):
    """A request for a file or a segment of it, or a stream that is read."""

    segment: Segment | None = None
    reader: StreamReader | None = None
    accepted = False
    shortcut = False  # it goes straight to where an earlier redirect led
    position = 0  # the byte of the file at which the next byte of the body belongs
    first = 0  # the byte of the file at which its object begins
    limit: int | None = None  # where the object ends, if that is not the end of the file
    asked = 0  # the first byte that was asked for
    ranged = False
    began = 0.0
    got = kept = 0  # bytes that came, and those that another attempt goes on from

    def __init__(self, file: FileDownload, state: SourceState, url: str, place: str) -> None:
        super().__init__(url, place)
        self.file = file
        self.state = state


class FileDownload:
    """One file of a run.

    Parameters
    ----------
    wanted : Wanted
        The file.
    states : list of SourceState
        Its sources.
    run : Run
        The run.
    """

    # What most small files never need costs them nothing here.
    locked = parked = impatient = finishing = False
    state: SourceState | None = None
    began: SourceState | None = None
    alone: SourceState | None = None
    givers: frozenset[SourceState] = frozenset()
    compared: frozenset[int] = frozenset()
    partial: PartialFile | None = None
    hash: RollingHash | None = None
    segments: Segments | None = None
    rival: FileTransfer | None = None
    head = b""
    strange: tuple[Reason, str] | None = None
    moved = 0
    wait = started = waiting_since = opened = look_at = 0.0
    seen: tuple[int, float] = (0, 0.0)
    seen_at = 0.0
    tried: tuple[Failure, ...] = ()
    result: Arrived | FileUnavailable | None = None

    def __init__(self, wanted: Wanted, states: list[SourceState], run: Run) -> None:
        self.wanted = wanted
        self.states = states
        self.run = run
        self.identity = identity_of(wanted.sha256, wanted.key)
        self.lock = FileLock(run.workdir, self.identity)
        self.size = wanted.size
        self.registered = wanted.sha256 is not None
        self.transfers: list[FileTransfer] = []

    @property
    def small(self) -> bool:
        """Whether it fits into memory, as far as is known."""
        return self.size is not None and self.size <= SMALL and (self.state is None or self.state.plain)

    def choose(self) -> SourceState | None:
        """The source to ask next; None if no source is worth asking any more."""
        left = [s for s in self.states if not s.final and not s.host.aside and s.tries < _ROUNDS]
        if len(left) < 2:
            self.state = left[0] if left else self.state
            return left[0] if left else None
        now = time.monotonic()
        fastest = max(state.host.per_connection for state in left)

        def cost(state: SourceState) -> tuple[bool, bool, int, bool]:
            host = state.host
            failing = host.failures > 0 or host.doubtful
            return host.paused_until > now, failing, state.tries, 0 < host.per_connection * _SLOWER < fastest

        self.state = min(left, key=cost)
        return self.state

    # -- beginning -----------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Take the lock, look whether the file has come, and send a first request; may raise as `received`."""
        state = self.state
        if state is None or not (self.locked or self._lock(now)):
            return
        if not self.registered and self.began is not state:
            self.drop()  # nothing says that two sources have the same file
        self.began = state
        self.size = state.total(self.size)
        large = (self.size is not None and self.size > SMALL) or not state.plain
        if self.segments is None and self.partial is None and large and not self._open():
            return
        if self.segments is not None:
            if self.segments.complete:
                self._finish()
            elif segment := self.segments.take(1):
                self._ask(state, segment)
            return
        start = self._resumable(state)
        if start and self.registered and self.partial is not None and self.partial.size == start:
            self._all_is_there(start)
            return
        self._ask(state, None, start)

    def _lock(self, now: float) -> bool:
        if not self.lock.acquire(force=self.impatient):
            self._park(now)
            return False
        self.locked = True
        self.started = now
        return not self._has_come()

    def _has_come(self) -> bool:
        here = None if self.wanted.etag else self.run.find(self.wanted)
        if here is not None:
            self.result = Arrived(self.wanted, here, None, 0.0, 0)
        return here is not None

    def _park(self, now: float) -> None:
        self.parked = True
        self.waiting_since = self.waiting_since or now

    def look(self, now: float) -> None:
        """Look how far another process is that downloads the file; one that shows no sign of life is passed."""
        last = max(map(progress_of, claims(self.run.workdir, self.identity)), default=(0, 0.0))
        if last != self.seen or not self.seen_at:
            self.seen, self.seen_at = last, now
        self.impatient = now - self.seen_at > self.run.patience

    def _open(self) -> bool:
        """Open the partial file; False if it turns out that another process downloads the same."""
        run = self.run
        partial = PartialFile.open(run.workdir, self.identity, self.size, self.wanted.name, run.patience)
        # Where locks do not work, who has claimed the file first goes on.
        if not self.impatient and partial.older_claim():
            partial.discard()
            self.lock.release()
            self.locked = False
            self._park(time.monotonic())
            return False
        self.partial = partial
        self._follow()
        try:
            partial.reserve()
        except OSError:
            self.keep()
            raise
        return True

    def _follow(self) -> None:
        """Begin to hash what is there of the file, and find out what is missing."""
        partial, size = self.partial, self.size
        if partial is None:
            return
        if self.registered:
            self.hash = RollingHash(partial.fd, self.run.wake)
            if size is None or size > SMALL:
                self.hash.start()
            self.hash.advance(partial.ranges.prefix())
        # A size that is not known is found by reading to the end: what is there is there from the first byte on.
        prefix = partial.ranges.prefix()
        self.segments = Segments([(prefix, None)] if size is None else list(partial.ranges.missing(size)))
        self.segments.divisible = self.registered
        self.opened = time.monotonic()

    def _resumable(self, state: SourceState) -> int:
        """Where to go on with a file whose size is not known, or that is not registered; its partial is open then.

        What an earlier run left of a registered file is proven by its sha256 in the end, whoever sends the rest; for
        any other its server proves that it is still the same.
        """
        if self.size is not None and self.registered:
            return 0
        run, partial = self.run, self.partial
        if partial is None:
            if not (os.path.lexists(run.workdir / self.identity) or claims(run.workdir, self.identity)):
                return 0
            partial = PartialFile.open(run.workdir, self.identity, None, self.wanted.name, run.patience)
        start = partial.ranges.prefix()
        if not self.registered and (not start or partial.source != state.source.redacted or not partial.validator):
            partial.discard()
            start = 0
        elif not start:
            partial.keep()
        self.partial = partial if start else None
        if start and not self.registered:
            state.validator = partial.validator
        return start

    def _all_is_there(self, size: int) -> None:
        """Nothing is missing of what an earlier run left; whether it is right is found by its hash."""
        self.size = size
        if self.partial is not None:
            self.partial.size = size
        self._follow()
        self._finish()

    # -- requests ------------------------------------------------------------------------------------------------------

    def _ask(self, state: SourceState, segment: Segment | None, start: int = 0) -> None:
        start = segment.pos if segment is not None else start
        stop = segment.stop if segment is not None else None
        first, source, end = state.at(start)
        transfer = FileTransfer(self, state, source.url, source.redacted)
        transfer.segment, transfer.first, transfer.limit, transfer.asked = segment, first, end, start
        transfer.position, transfer.began = start, time.monotonic()
        transfer.large = segment is not None or start > 0 or not self.small
        if end is not None:
            stop = end if stop is None else min(stop, end)
        whole = self.size is not None and segment is not None and stop == self.size and start == 0 and end is None
        headers: list[tuple[str, str]] = []
        if (start > first or stop is not None) and not (whole and not self.registered):
            transfer.ranged = True
            headers.append(("Range", f"bytes={start - first}-{'' if stop is None else stop - first - 1}"))
            if not self.registered and state.validator:
                headers.append(("If-Range", state.validator))
        elif self.wanted.etag and not self.registered:
            headers.append(("If-None-Match", self.wanted.etag))
        if headers:
            transfer.headers = tuple(headers)
        target = state.targets.get(source.url)
        if target is not None:
            transfer.url, transfer.hops, transfer.shortcut = target, 1, True
        if source.headers and (target is None or urlsplit(target)[:2] == urlsplit(source.url)[:2]):
            transfer.private = tuple(source.headers.items())
        if stop is not None:
            transfer.expected = stop - start
        elif self.small:
            transfer.expected = self.size
        if segment is None and self.small:
            transfer.most = SMALL + (1 << 20)  # a page in place of the file may be longer than that
        self.transfers.append(transfer)
        state.host.active += 1
        self.run.send(transfer)

    def help(self, state: SourceState) -> bool:
        """Begin a further request for a segment, if there is one that is worth it."""
        host = state.host
        if self.segments is None:
            return False
        segment = self.segments.take(max(2, host.target), growing=not host.settled)
        if segment is not None:
            self._ask(state, segment)
        return segment is not None

    def challenge(self, state: SourceState) -> None:
        """Let another mirror show what it can: for a segment, or for all of a file that is in memory."""
        if self.segments is None:
            self._ask(state, None)
        else:
            segment = self.segments.take(2, growing=True)
            if segment is None:
                return
            self._ask(state, segment)
        self.rival = self.transfers[-1]
        self.compared |= {id(state)}

    def drop_transfer(self, transfer: FileTransfer) -> None:
        """End a request; what it did not bring is for others."""
        if transfer in self.transfers:
            self.run.stop(transfer)
            self._leave(transfer)

    def _leave(self, transfer: FileTransfer) -> None:
        self.transfers.remove(transfer)
        transfer.state.host.active -= 1
        if transfer.segment is not None and self.segments is not None:
            self.segments.end(transfer.segment)
        if transfer is self.rival:
            self.rival = None

    # -- what comes ----------------------------------------------------------------------------------------------------

    def received(self, transfer: FileTransfer) -> None:
        """Take what has come; TransferError if it is not the file, OSError if the disk does not take it."""
        if not transfer.accepted:
            if transfer.reader is None:
                head = transfer.head
                if head is None or transfer.follows():
                    return
                self._accept(transfer, head)
                if transfer not in self.transfers:
                    return
            transfer.accepted = True
        if transfer.segment is None and self.segments is None:
            return  # it stays in memory until it is whole
        if transfer.reader is not None:
            chunks = transfer.reader.take()
        else:
            chunks = transfer.chunks[:]
            transfer.chunks.clear()
        count = sum(map(len, chunks))
        if count:
            self._count(transfer, count)
            self._write(transfer, chunks, count)
            if self.hash is not None and self.partial is not None:
                self.hash.advance(self.partial.ranges.prefix())

    def _count(self, transfer: FileTransfer, count: int) -> None:
        transfer.got += count
        transfer.state.host.got(count)

    def _accept(self, transfer: FileTransfer, head: Head) -> None:
        state, status = transfer.state, head.status
        first, end = transfer.first, transfer.limit
        if transfer.shortcut and status in _EXPIRED:
            self._ask_the_source_itself(transfer)
            return
        size = self.size if end is None else end - first
        stop = transfer.segment.stop if transfer.segment is not None else None
        if end is not None:
            stop = end if stop is None else min(stop, end)
        begins = transfer.asked - first if status == 206 else 0
        try:
            total = check_head(head, transfer.place, begins, None if stop is None else stop - first, size)
        except TransferError as error:
            if error.kind == Reason.BEYOND and transfer.segment is None and transfer.asked:
                self._beyond(transfer)
                return
            if error.kind == Reason.UNCHANGED and (here := self.run.find(self.wanted)) is not None:
                seconds = time.monotonic() - self.started
                self.result = Arrived(self.wanted, here, state.source, seconds, 0, self.wanted.etag, unchanged=True)
                self.drop_transfer(transfer)
                return
            page = b"".join(transfer.chunks)[:_HEAD]
            strange = describe_body(page, head.headers, self.wanted.name) if error.kind == Reason.SIZE else None
            if strange is None:
                raise
            raise TransferError(error.place, strange[1], kind=strange[0], final=True) from None
        if transfer.hops and not transfer.shortcut:
            state.targets[state.at(transfer.asked)[1].url] = transfer.url
        transfer.position = transfer.asked if status == 206 else first
        if status == 200:
            # Of a server that ignores ranges all of its object comes.
            transfer.expected = total if total is not None else size
        if end is None:
            self._check_version(transfer, head)
        if transfer.segment is None:
            self._accept_first(transfer, head, total)
        if self.segments is not None:
            ranges = status == 206 or head.headers.get("accept-ranges", "").lower() == "bytes"
            self.segments.divisible = ranges and (self.registered or state.validator is not None)
            if not self.registered and self.partial is not None and state.validator != self.partial.validator:
                source = state.source.redacted
                self.partial.describe(etag=state.validator, source=source, name=self.wanted.name)
        self.givers |= {state}

    def _ask_the_source_itself(self, transfer: FileTransfer) -> None:
        state, segment = transfer.state, transfer.segment
        state.targets.clear()
        self.drop_transfer(transfer)
        if segment is not None and self.segments is not None:
            segment = self.segments.take_at(segment.pos)
            if segment is None:
                return
        self._ask(state, segment, transfer.asked)

    def _check_version(self, transfer: FileTransfer, head: Head) -> None:
        """See whether this is the version of the bytes before, as far as the server says."""
        state, found = transfer.state, validator(head.headers)
        if not self.registered and state.validator and found != state.validator:
            if head.status == 206 or transfer.segment is not None:
                text = "the file there was changed meanwhile"
                raise TransferError(transfer.place, text, kind=Reason.CHANGED)
            state.validator = None  # another version comes whole: what was kept of the old one is of no use
        state.validator = state.validator or found
        state.etag = strong_etag(head.headers)

    def _accept_first(self, transfer: FileTransfer, head: Head, total: int | None) -> None:
        """Find out from a first response how the rest is downloaded."""
        if self.segments is not None:
            return  # a rival of a file in memory, or one that has become large meanwhile
        state, kept = transfer.state, self.partial
        if head.status == 206 and transfer.asked:
            if kept is not None and total is not None and kept.size in (None, total) and total > transfer.asked:
                self.size = kept.size = total
                self._follow()
                self._give_segment(transfer)
            else:
                # It does not say how much is to come, or it is not as long as what was kept: begin again.
                self._again_from_the_start(transfer)
            return
        if self.size is None:
            self.size = total
        if self.size is not None and self.size <= SMALL:
            self._discard()
            transfer.expected, transfer.most = self.size, SMALL + (1 << 20)
            return
        if not self.registered:
            self._discard()
        elif kept is not None:
            kept.keep()  # what comes again of it is not written again
            self.partial = None
        state.etag = strong_etag(head.headers)
        for other in [other for other in self.transfers if other is not transfer]:
            self.drop_transfer(other)
        if self._open():
            self._give_segment(transfer)
        else:
            self.drop_transfer(transfer)

    def _give_segment(self, transfer: FileTransfer) -> None:
        if self.segments is not None:
            if transfer.ranged or self.size is None:
                transfer.segment = self.segments.take_at(transfer.position)
            else:
                self.segments.divisible = False  # of a whole body, this connection brings all that it can
                transfer.segment = self.segments.take(1)
            if transfer.segment is None:
                self._finish_early(transfer)

    def _finish_early(self, transfer: FileTransfer) -> None:
        self.drop_transfer(transfer)
        if self.segments is not None and self.segments.complete and not self.transfers:
            self._finish()

    def _again_from_the_start(self, transfer: FileTransfer) -> None:
        self.drop_transfer(transfer)
        self.drop()
        transfer.state.validator = None
        self._ask(transfer.state, None)

    def _beyond(self, transfer: FileTransfer) -> None:
        """A file whose size is not known has no byte behind those that are there."""
        state, start = transfer.state, transfer.asked
        self.drop_transfer(transfer)
        if self.registered:
            self._all_is_there(start)
            return
        self.drop()
        state.validator = None
        self._ask(state, None)

    def _write(self, transfer: FileTransfer, chunks: list[bytes], count: int) -> None:
        partial, segments, segment = self.partial, self.segments, transfer.segment
        if partial is None or segments is None:
            return
        while count and segment is not None:
            skip = segment.pos - transfer.position  # a server that ignores ranges sends what is there again
            room = count if segment.stop is None else segment.stop - segment.pos
            if transfer.limit is not None:
                room = min(room, transfer.limit - transfer.position)
            if skip <= 0 and room >= count:
                self._put(transfer, segment, chunks, count)
                return
            data = b"".join(chunks)
            if skip > 0:
                taken = min(skip, count)
                transfer.position += taken
                self.moved += taken
            elif room > 0:
                taken = room
                self._put(transfer, segment, [data[:taken]], taken)
            else:
                following = self._next_of_the_same_body(transfer, segment)
                if following is None:
                    self._surplus(transfer)
                    return
                segment = following
                continue
            chunks, count = [data[taken:]], count - taken

    def _put(self, transfer: FileTransfer, segment: Segment, chunks: list[bytes], count: int) -> None:
        if transfer.position == 0:
            self.head = b"".join(chunks[:8])[:_HEAD]
            self.strange = self._strange(transfer)
            if self.strange and not self.registered:
                raise TransferError(transfer.place, self.strange[1], kind=self.strange[0], final=True)
        if self.partial is not None and self.segments is not None:
            self.partial.write(transfer.position, chunks)
            self.segments.wrote(segment, count)
            self.moved += count
            transfer.position += count
            transfer.kept += count

    def _strange(self, transfer: FileTransfer) -> tuple[Reason, str] | None:
        head = transfer.head
        return describe_body(self.head, head.headers if head is not None else None, self.wanted.name)

    def _next_of_the_same_body(self, transfer: FileTransfer, segment: Segment) -> Segment | None:
        """A further segment for a response that goes on: of a server that ignores ranges, or of a stream."""
        head, segments = transfer.head, self.segments
        if segments is None or (head is not None and head.status == 206):
            return None
        if transfer.limit is not None and transfer.position >= transfer.limit:
            return None
        following = segments.take_at(transfer.position)
        if following is None or (transfer.reader is not None and following.start != transfer.position):
            if following is not None:
                segments.end(following)
            return None
        segments.end(segment)
        transfer.segment = following
        return following

    def _surplus(self, transfer: FileTransfer) -> None:
        """More comes than is wanted: of a range that was given to another connection, or of a file that is longer."""
        head = transfer.head
        end = self.size if transfer.limit is None else transfer.limit
        if transfer.position == end and (head is None or head.status == 200):
            strange = self._strange(transfer)
            known = f"{self.size} that are registered" if transfer.limit is None else "ones of this part"
            kind, reason = strange or (Reason.SIZE, f"more bytes come than the {known}")
            raise TransferError(transfer.place, reason, kind=kind, final=True)

    def is_through(self, transfer: FileTransfer) -> bool:
        """Whether a request has brought all of its segment, though its response may go on."""
        segment = transfer.segment
        if segment is None or segment.stop is None or segment.pos < segment.stop or transfer not in self.transfers:
            return False
        if transfer.head is not None and transfer.head.status == 206:
            return segment.stop < transfer.asked + (transfer.expected or 0)  # its end was given to another
        if self._next_of_the_same_body(transfer, segment) is not None:
            return False
        return transfer.position not in (self.size, transfer.limit)

    # -- the end of a request ------------------------------------------------------------------------------------------

    def ended(self, transfer: FileTransfer) -> None:
        """Take the end of a response, or its failure; may raise as `received`."""
        if transfer not in self.transfers:
            return
        before = transfer.error
        try:
            if before is None or transfer.accepted or (transfer.head and transfer.head.status in (200, 206)):
                self.received(transfer)
                if transfer not in self.transfers:
                    return
            if before is None and transfer.reader is None and transfer.head is None:
                raise TransferError(transfer.place, "the connection was closed without an answer", kind=Reason.CUT)
            if self.segments is None:
                self._small_ended(transfer, before)
            else:
                self._segment_ended(transfer, before)
        finally:
            if transfer in self.transfers:
                self._leave(transfer)
        transfer.state.host.well()
        transfer.state.tries = 0

    def _small_ended(self, transfer: FileTransfer, before: TransferError | None) -> None:
        body = b"".join(transfer.chunks)
        transfer.chunks.clear()
        self._count(transfer, len(body))
        self.moved += len(body)
        head = transfer.head
        headers = head.headers if head is not None else {}
        if before is not None and not (self.registered and len(body) == self.wanted.size):
            strange = describe_body(body[:_HEAD], headers, self.wanted.name) if body else None
            if strange is None or before.kind != Reason.CUT:
                raise before
            raise TransferError(transfer.place, strange[1], kind=strange[0])
        if not self.registered or hashlib.sha256(body).hexdigest() != self.wanted.sha256:
            # The hash judges first: what else is strange explains why it is not the right one.
            check_body(headers, transfer.place, self.wanted.name, body[:_HEAD], len(body), self.wanted.size)
            if self.registered:
                self._explain(transfer.state, describe_body(body[:_HEAD], headers, self.wanted.name))
        for other in [other for other in self.transfers if other is not transfer]:
            self.drop_transfer(other)
        self.size = len(body)
        place = f"{self.run.workdir}{os.sep}{self.identity}.{process_token()}.{id(self):x}"
        try:
            fd = os.open(place, _NEW, 0o600)
            try:
                done = os.write(fd, body)
                while done < len(body):
                    done += os.write(fd, body[done:])
            finally:
                os.close(fd)
            self._store(Path(place), transfer.state)
        except BaseException:
            if os.path.lexists(place):
                os.unlink(place)
            raise

    @staticmethod
    def _explain(state: SourceState, strange: tuple[Reason, str] | None) -> None:
        """Raise the error for a file that is whole and not the right one."""
        kind, reason = strange or (
            Reason.SHA256,
            "all bytes came, but their sha256 is not the registered one: another file has this name there",
        )
        raise TransferError(state.source.redacted, reason, kind=kind, final=strange is not None)

    def _segment_ended(self, transfer: FileTransfer, before: TransferError | None) -> None:
        segment, place = transfer.segment, transfer.position
        if segment is None:
            return
        if segment.stop is not None and segment.pos >= segment.stop:
            return  # whatever happened after its last byte
        strange = self._strange(transfer) if self.head else None
        if before is not None:
            if strange is not None and before.kind == Reason.CUT:
                raise TransferError(transfer.place, strange[1], kind=strange[0])
            raise before
        if segment.stop is None and place >= segment.pos:
            if transfer.reader is None and not self.registered:
                headers = transfer.head.headers if transfer.head is not None else {}
                check_body(headers, transfer.place, self.wanted.name, self.head, place, self.wanted.size)
            elif strange is not None and not self.registered:
                raise TransferError(transfer.place, strange[1], kind=strange[0], final=True)
            self.size = segment.stop = place
            return
        if transfer.limit is not None and place >= transfer.limit:
            return  # the rest is in other objects
        what = "stream" if transfer.reader is not None else "body"
        size = segment.pos if segment.stop is None else self.size
        kind, reason = strange or (Reason.CUT, f"the {what} ended after {place} of {size} bytes")
        raise TransferError(transfer.place, reason, kind=kind, final=strange is not None)

    def next_segment(self, transfer: FileTransfer, *, connected: bool = True) -> bool:
        """Ask the same host for the next segment, where it is worth it."""
        host, segments = transfer.state.host, self.segments
        if segments is None or self.state is not transfer.state or self.result is not None:
            return False
        if host.active >= max(1, host.target) and self.transfers:
            return False  # it has as many connections as it should
        segment = segments.take(host.target if host.split else 1, growing=not host.settled, connected=connected)
        if segment is None:
            return False
        self._ask(transfer.state, segment)
        return True

    # -- failures ------------------------------------------------------------------------------------------------------

    def failed(self, transfer: FileTransfer, error: TransferError) -> None:
        """Note that a source did not give the file, or not all of it."""
        if transfer in self.transfers:
            self.drop_transfer(transfer)
        self.note_failure(transfer.state, error, transfer.kept)
        if self.transfers:
            return
        if self._right_without_an_end(error):
            self._finish()
        elif not self._keeps(transfer.state, error):
            self.drop()
            transfer.state.validator = None

    def note_failure(self, state: SourceState, error: TransferError, moved: int) -> None:
        """Count a failure of a source, and see how long to wait."""
        self.wait = 0.0
        if error.kind == Reason.SHA256:
            self.wrong(state, error)
            return
        state.last = error.reason
        self._try(Failure(error.place, error.reason, error.kind))
        much = moved >= _PROGRESS or bool(self.size and moved * 20 >= self.size)
        state.host.failed(error, much)
        if error.final:
            state.final = True
            return
        if much and self._keeps(state, error):
            return
        state.tries += 1
        others = any(s is not state and not s.final and not s.host.aside and s.tries < state.tries for s in self.states)
        self.wait = 0.0 if others else state.host.backoff(state.tries)

    def _try(self, failure: Failure) -> None:
        if failure not in self.tried:  # a file that is cut every megabyte has many
            self.tried += (failure,)

    def _right_without_an_end(self, error: TransferError) -> bool:
        """Whether all bytes of a registered file of unknown size are there, and only the end of its body lacks."""
        partial = self.partial
        if self.wanted.size is not None or self.size is not None or not self.registered or partial is None:
            return False
        left = start = partial.ranges.prefix()
        if error.kind not in (Reason.CUT, Reason.STALL) or not start:
            return False
        digest = hashlib.sha256()
        with open(partial.path, "rb") as file:
            while left and (block := file.read(min(1 << 20, left))):
                digest.update(block)
                left -= len(block)
        if digest.hexdigest() != self.wanted.sha256:
            return False
        self.size = partial.size = start
        self.segments = Segments([])
        return True

    def _keeps(self, state: SourceState, error: TransferError) -> bool:
        """Whether what has come is of use after a failure: something must prove that the rest belongs to it."""
        return self.registered or (state.validator is not None and error.kind != Reason.CHANGED)

    def wrong(self, state: SourceState, error: TransferError) -> None:
        """Note that the file was brought to its end and is not the right one: nothing of it is kept."""
        mixed = len(self.givers) > 1 or (self.partial is not None and self.partial.resumed > 0)
        reason = error.reason + (" (bytes of several attempts)" if mixed else "")
        state.last = reason
        self.tried += (Failure(error.place, reason, error.kind),)
        self.drop()
        state.wrong += 1
        state.tries += 1
        if mixed:
            self.alone = state  # nobody can tell who was wrong: one source at a time, from its first byte
        elif state.wrong > 1 or len(self.states) > 1:
            state.final = True

    def give_up(self, reason: str = "", kind: Reason = Reason.DEADLINE) -> None:
        """Note that no source has the file, or for what other reason it ends; what there is of it is kept."""
        for state in self.states:
            if not state.last and state.host.reason:
                why = f"not asked, its host failed before: {state.host.reason}"
                self.tried += (Failure(state.source.redacted, why, Reason.ASIDE),)
        tried = list(dict.fromkeys(self.tried))
        if reason:
            tried.append(Failure("this run", reason, kind))
        have = self.done_bytes()
        self.keep()
        away = bool(self.states) and all(s.host.kind in _NO_NETWORK and s.host.failures for s in self.states)
        remedy = f"{have} bytes are kept: the same command goes on from there" if have and self.registered else ""
        self.result = (Offline if away else FileUnavailable)(self.wanted.name, tried, remedy)

    # -- the end -------------------------------------------------------------------------------------------------------

    def complete(self) -> None:
        """Finish a file whose last request has ended."""
        self._finish()
        self.finished()

    def _finish(self) -> None:
        """All bytes are there: wait for the hash."""
        self.finishing = True
        if self.hash is not None and self.size is not None:
            self.hash.finish(self.size)

    def finished(self) -> None:
        """Check the hash, once it is known, and store the file; may raise as `received`."""
        partial, state = self.partial, self.state
        if partial is None or state is None or self.size is None:
            raise RuntimeError("the file is not open")
        if self.hash is not None:
            digest = self.hash.digest()
            if digest is None:
                return
            self.finishing = False
            if digest != self.wanted.sha256:
                self._explain(state, self.strange)
            self.hash.close()
        self.finishing = False
        if partial.is_lost():
            # Frozen for long, this process has lost the file to another.
            self.drop()
            self._has_come()
            return
        os.ftruncate(partial.fd, self.size)
        partial.close()
        self._store(partial.path, state)
        partial.discard()
        self.partial = self.hash = self.segments = None

    def _store(self, place: Path, state: SourceState) -> None:
        path = self.run.store(self.wanted, place)
        seconds = time.monotonic() - self.started
        self.result = Arrived(self.wanted, path, state.source, seconds, self.moved, state.etag)

    def _end_all(self) -> None:
        for transfer in list(self.transfers):
            self.drop_transfer(transfer)
        self.finishing = False
        if self.hash is not None:
            self.hash.close()
        self.hash = self.segments = None

    def drop(self) -> None:
        """Forget the bytes that are there."""
        self._end_all()
        self._discard()
        self.size = self.wanted.size

    def _discard(self) -> None:
        if self.partial is not None:
            self.partial.discard()
        self.partial = None
        self.givers = frozenset()
        self.head, self.strange = b"", None

    def keep(self) -> None:
        """Leave what is there for another attempt, perhaps of another process."""
        self._end_all()
        if self.partial is not None:
            self.partial.keep()
        self.partial = None

    def release(self) -> None:
        """Let others have the file."""
        if self.locked:
            self.locked = False
            self.lock.release()

    def done_bytes(self) -> int:
        """Bytes of the file that are there."""
        if isinstance(self.result, Arrived):
            return self.size or 0
        if self.partial is None:
            return self.seen[0]
        return self.partial.resumed + (self.segments.moved if self.segments else 0)


def error_of_file(exc: Exception, place: str) -> TransferError:
    """The error for one file alone, so that the others come; what is wrong for all of them is raised on."""
    if isinstance(exc, TransferError):
        return exc
    if isinstance(exc, DataferryError) or getattr(exc, "errno", None) is not None:
        raise exc
    return TransferError(place, f"{type(exc).__name__}: {exc}", kind=Reason.ERROR)
