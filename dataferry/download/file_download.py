"""One file: where its bytes come from, what is there of them, and how it ends. It owns all state of the file.

A file waits for a host; or for another process that downloads it; or it runs, a small one in memory and any other one
in segments of a partial file; or its hash is finished; then it has a result. The scheduler calls `begin`, `help`,
`received` and `ended`, in its one thread, and looks at the attributes afterwards.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..errors import Failure, FileUnavailable, Offline, Reason, TransferError
from ..threads import Workers
from .file_lock import FileLock
from .partial_file import PartialFile, claims, identity_of, progress_of
from .response import EXPIRED, Head, check_body, check_head, describe_body, strong_etag, validator
from .segmented_file import BEGINNING, RangeTransfer, SegmentedFile, other_file
from .segments import Segment, Segments
from .source import Arrived, Wanted
from .source_state import SourceState, choose

SMALL = 1 << 20  # bytes up to which a file is kept in memory until it is whole
_PROGRESS = 1 << 20  # bytes that make an attempt worth repeating at once
_NO_NETWORK = frozenset({Reason.DNS, Reason.UNREACHABLE})


class Run(Protocol):
    """What a file needs of the run that it belongs to."""

    workdir: Path
    find: Callable[[Wanted], Path | None]
    store: Callable[[Wanted, Path | bytes], Path]
    patience: float
    workers: Workers

    def send(self, transfer: FileTransfer) -> None:
        """Begin a request, or reading a stream."""

    def stop(self, transfer: FileTransfer) -> None:
        """End it now."""

    def wake(self) -> None:
        """End a wait of the loop; called in the thread that hashes."""


class FileTransfer(RangeTransfer):
    """A request for a file, or for a segment of it."""

    accepted = False
    began = 0.0

    def __init__(self, file: FileDownload, state: SourceState, url: str, place: str) -> None:
        super().__init__(url, place)
        self.file = file
        self.state = state


class FileDownload:
    """One file of a run."""

    # What most small files never need costs them nothing here.
    locked = parked = impatient = finishing = False
    state: SourceState  # the source that is asked; chosen before the file begins
    began: SourceState | None = None
    alone: SourceState | None = None
    used_sources: frozenset[SourceState] = frozenset()
    compared: frozenset[SourceState] = frozenset()
    body: SegmentedFile | None = None
    rival: FileTransfer | None = None
    moved = 0
    wait = started = waiting_since = opened = look_at = seen_at = 0.0
    seen: tuple[int, float] = (0, 0.0)
    tried: tuple[Failure, ...] = ()
    result: Arrived | FileUnavailable | None = None

    def __init__(self, wanted: Wanted, states: list[SourceState], run: Run) -> None:
        self.wanted = wanted
        self.states = states
        self.run = run
        self.identity = identity_of(wanted.sha256, wanted.key)
        self.lock = FileLock(run.workdir, self.identity)
        self.registered = wanted.sha256 is not None
        self.transfers: list[FileTransfer] = []
        self._size = wanted.size

    @property
    def size(self) -> int | None:
        """The bytes that it has, if that is known by now."""
        return self._size if self.body is None else self.body.size

    @property
    def segments(self) -> Segments | None:
        """What is still to come of a file that is not small."""
        return None if self.body is None else self.body.segments

    @property
    def small(self) -> bool:
        """Whether it is kept in memory until it is whole."""
        known = self.registered and self.size is not None and self.size <= SMALL
        return known and self.body is None and self.state.plain

    def choose(self) -> SourceState | None:
        """Take the source to ask next; None if no source is worth asking any more."""
        again = [self.alone] if self.alone is not None and not self.alone.wrong else []
        chosen = choose(again) or choose(self.states)
        if chosen is not None:
            self.state = chosen
        return chosen

    # -- beginning -----------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Take the lock, look whether the file has come, and send a first request; may raise as `received`."""
        state = self.state
        if not (self.locked or self._lock(now)):
            return
        if not self.registered and self.began is not state:
            self.drop()  # nothing says that two sources have the same file
        self.began = state
        size = state.total(self.wanted.size) or self.size
        if self.size not in (None, size):
            self.drop()  # what another source said is no reason to refuse this one
        if self.body is None:
            self._size = size
        else:
            self.body.size = size
        if self.small:
            self._request(state, None)
        elif self.body is not None or self._open(state):
            self.help(state, first=True)

    def _lock(self, now: float) -> bool:
        if not self.lock.acquire(force=self.impatient):
            self._park(now)
            return False
        self.locked = True
        self.started = now
        return not self._take_finished()

    def _take_finished(self) -> bool:
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

    def _open(self, state: SourceState) -> bool:
        """Open the partial file; False if it turns out that another process downloads the same."""
        run, place = self.run, state.source.redacted
        partial = PartialFile.open(run.workdir, self.identity, self.size, self.wanted.name, run.patience)
        if not self.registered and partial.resumed:
            # Its server has to prove that it is still the same; a registered one is proven by its hash in the end.
            if partial.source == place and partial.validator and partial.ranges.prefix():
                state.validator = partial.validator
            else:
                partial.discard()
                partial = PartialFile.open(run.workdir, self.identity, self.size, self.wanted.name, run.patience)
        # Where locks do not work, who has claimed the file first goes on.
        if not self.impatient and partial.older_claim():
            partial.discard()
            self.release()
            self._park(time.monotonic())
            return False
        self.body = SegmentedFile(partial, self.wanted, self.size, run.workers, run.wake)
        self.opened = time.monotonic()
        try:
            partial.reserve()
        except OSError:
            self.keep()
            raise
        return True

    # -- requests ------------------------------------------------------------------------------------------------------

    def help(self, state: SourceState, *, first: bool = False, connected: bool = False) -> bool:
        """Send a request for a segment, if there is one that is worth it: for the first one any is."""
        host, segments = state.host, self.segments
        if segments is None:
            return False
        connections = 1 if first or (connected and not host.split) else max(2, host.target)
        segment = segments.take(connections, growing=not first and not host.tuned, connected=connected)
        if segment is not None:
            self._request(state, segment)
        return segment is not None

    def challenge(self, state: SourceState) -> None:
        """Let another mirror show what it can: for a segment, or for all of a file that is in memory."""
        self.compared |= {state}
        segment = self.body.segments.take(2, growing=True) if self.body is not None else None
        if self.body is None or segment is not None:
            self._request(state, segment)
            self.rival = self.transfers[-1]

    def _request(self, state: SourceState, segment: Segment | None) -> None:
        start, stop = (segment.pos, segment.stop) if segment is not None else (0, None)
        first, source, end = state.at(start)
        transfer = FileTransfer(self, state, source.url, source.redacted)
        transfer.segment, transfer.first, transfer.limit = segment, first, end
        transfer.start = transfer.position = start
        transfer.began = time.monotonic()
        transfer.large = transfer.streamed = segment is not None
        transfer.fresh = state.fresh or not self.registered
        if end is not None:
            stop = end if stop is None else min(stop, end)
        if start > first or stop is not None:
            headers = [("Range", f"bytes={start - first}-{'' if stop is None else stop - first - 1}")]
            if not self.registered and state.validator:
                headers.append(("If-Range", state.validator))
            transfer.headers = tuple(headers)
        elif self.wanted.etag and not self.registered:
            transfer.headers = (("If-None-Match", self.wanted.etag),)
        state.address(transfer, source)
        if segment is None:
            transfer.expected, transfer.most = self.size, 2 * SMALL  # a page in its place may be longer
        elif stop is not None:
            transfer.stop, transfer.expected = stop, stop - start
        self.transfers.append(transfer)
        state.host.active += 1
        self.run.send(transfer)

    def drop_transfer(self, transfer: FileTransfer) -> None:
        """End a request; what it did not bring is for others."""
        if transfer in self.transfers:
            self.run.stop(transfer)
            self._leave(transfer)

    def _leave(self, transfer: FileTransfer) -> None:
        self.transfers.remove(transfer)
        transfer.state.reused = transfer.state.reused or transfer.reused
        transfer.state.host.active -= 1
        if transfer.segment is not None and self.body is not None:
            self.body.segments.end(transfer.segment)
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
            self.used_sources |= {transfer.state}
        if transfer.segment is None:
            return  # it stays in memory until it is whole
        chunks = transfer.take() if transfer.reader is None else transfer.reader.take()
        count = sum(map(len, chunks))
        if count and self.body is not None:
            transfer.got += count
            transfer.state.host.got(count)
            self.moved += self.body.write(transfer, chunks, count)

    def _accept(self, transfer: FileTransfer, head: Head) -> None:
        state, segment, first, end = transfer.state, transfer.segment, transfer.first, transfer.limit
        if transfer.shortcut and head.status in EXPIRED:
            self._request_without_redirect(transfer)
            return
        begins = transfer.start - first if transfer.is_range else 0
        stop = None if transfer.stop is None else transfer.stop - first
        size = self.wanted.size if end is None else end - first
        try:
            total = check_head(head, transfer.place, begins, stop, size)
        except TransferError as error:
            if not self._explained(transfer, head, error):
                raise
            return
        if end is None and total is not None and self.size not in (None, total):
            raise self._another_version(transfer, f"{total} bytes")
        if transfer.hops and not transfer.shortcut:
            state.targets[state.at(transfer.start)[1].url] = transfer.url
        if head.status == 200:
            transfer.position = first
            transfer.expected = total if total is not None else size  # a server that ignores ranges sends it all
        if end is None:
            self._check_version(transfer, head)
            if self.body is not None and segment is not None and segment.stop is None and total is not None:
                self.body.learn_size(segment, total, self.states[0].source.redacted)
        if self.body is not None:
            ranges = transfer.is_range or head.headers.get("accept-ranges", "").lower() == "bytes"
            self.body.segments.divisible = ranges and (self.registered or state.validator is not None)

    def _explained(self, transfer: FileTransfer, head: Head, error: TransferError) -> bool:
        """Whether a refusal is good news; else it is raised, in better words where there are any."""
        segment = transfer.segment
        if error.kind == Reason.BEYOND and segment is not None and segment.stop is None and transfer.start:
            # A file whose size is not known has no byte behind those that are there: its hash decides.
            if not self.registered:
                raise TransferError(error.place, "the file there was changed meanwhile", kind=Reason.CHANGED)
            if self.body is not None:
                self.body.size = segment.stop = transfer.start
            self.drop_transfer(transfer)
            return True
        if error.kind == Reason.BEYOND and self.wanted.size is None and transfer.limit is None:
            raise self._another_version(transfer, f"at most {transfer.start} bytes")
        if error.kind == Reason.UNCHANGED and (here := self.run.find(self.wanted)) is not None:
            seconds, etag = time.monotonic() - self.started, self.wanted.etag
            self.drop()
            self.result = Arrived(self.wanted, here, transfer.state.source, seconds, 0, etag, unchanged=True)
            return True
        if error.kind == Reason.SIZE:
            page = b"".join(transfer.chunks)[:BEGINNING]
            if strange := describe_body(page, head.headers, self.wanted.name):
                raise TransferError(error.place, strange[1], kind=strange[0], final=True)
        return False

    def _another_version(self, transfer: FileTransfer, has: str) -> TransferError:
        text = f"{has} there, {self.size} in an answer before: one of them is of another version"
        return TransferError(transfer.place, text, kind=Reason.CHANGED)

    def _request_without_redirect(self, transfer: FileTransfer) -> None:
        transfer.state.targets.clear()
        self.drop_transfer(transfer)
        segment = transfer.segment
        if segment is None or self.segments is None:
            self._request(transfer.state, None)
        elif (again := self.segments.take_at(segment.pos)) is not None:
            self._request(transfer.state, again)

    def _check_version(self, transfer: FileTransfer, head: Head) -> None:
        """See whether this is the version of the bytes before, as far as the server says."""
        state, found = transfer.state, validator(head.headers)
        state.etag = strong_etag(head.headers)
        if self.registered:
            return
        if state.validator is None:
            state.validator = found
            if self.body is not None:
                self.body.partial.describe(etag=found, source=state.source.redacted, name=self.wanted.name)
        elif found != state.validator:
            raise TransferError(transfer.place, "the file there was changed meanwhile", kind=Reason.CHANGED)

    # -- the end of a request ------------------------------------------------------------------------------------------

    def ended(self, transfer: FileTransfer) -> None:
        """Take the end of a response, or its failure; may raise as `received`."""
        error, head = transfer.error, transfer.head
        try:
            if error is None or (head is not None and head.status in (200, 206)) or transfer.reader is not None:
                self.received(transfer)
                if transfer not in self.transfers:
                    return
            if error is None and transfer.reader is None and head is None:
                error = TransferError(transfer.place, "the connection was closed without an answer", kind=Reason.CUT)
            if transfer.segment is None:
                self._small_ended(transfer, error)
            elif self.body is not None:
                self.body.ended(transfer, transfer.segment, error)
        finally:
            if transfer in self.transfers:
                self._leave(transfer)
        transfer.state.host.well()
        transfer.state.tries = 0

    def _small_ended(self, transfer: FileTransfer, error: TransferError | None) -> None:
        body = b"".join(transfer.take())
        transfer.state.host.got(len(body))
        self.moved += len(body)
        headers = transfer.head.headers if transfer.head is not None else {}
        strange = None
        digest = hashlib.sha256(body).hexdigest()
        if digest != self.wanted.sha256:
            # The hash judges first: what else is strange explains why it is not the right one.
            strange = describe_body(body[:BEGINNING], headers, self.wanted.name) if body else None
            if error is not None and (strange is None or error.kind != Reason.CUT):
                raise error
            check_body(headers, transfer.place, self.wanted.name, body[:BEGINNING], len(body), self.wanted.size)
            raise other_file(transfer.state.source.redacted, digest, strange)
        for other in [other for other in self.transfers if other is not transfer]:
            self.drop_transfer(other)
            if transfer is self.rival:
                slow = TransferError(other.place, "another mirror was much faster", kind=Reason.STALL)
                other.state.host.failed(slow)
        self._store(body, transfer.state)

    def next_segment(self, transfer: FileTransfer, *, connected: bool = True) -> None:
        """Ask the same host for the next segment, where it is worth it."""
        host = transfer.state.host
        surplus = host.active >= max(1, host.target) and bool(self.transfers)
        if self.state is transfer.state and self.result is None and not surplus:
            self.help(transfer.state, connected=connected)

    # -- failures ------------------------------------------------------------------------------------------------------

    def failed(self, transfer: FileTransfer, error: TransferError) -> None:
        """Note that a source did not give the file, or not all of it."""
        self.drop_transfer(transfer)
        self.note_failure(transfer.state, error, transfer.kept)
        if self.transfers:
            return
        if self.body is not None and self.body.is_right_without_an_end(error):
            self.finish()
        elif not self._keeps(transfer.state, error):
            self.drop()
            transfer.state.validator = None
            self.alone = transfer.state  # it said something new, and says the rest of it

    def note_failure(self, state: SourceState, error: TransferError, moved: int = 0) -> None:
        """Count a failure of a source, and see how long to wait."""
        self.wait = 0.0
        if error.kind == Reason.SHA256:
            self.wrong(state, error)
            return
        self._try(state, error.place, error.reason, error.kind)
        if state.doubtful(error.kind) and error.final:
            return
        much = moved >= _PROGRESS or bool(self.size and moved * 20 >= self.size)
        state.host.failed(error, much)
        state.final = state.final or error.final
        if error.final or (much and self._keeps(state, error)):
            return
        state.tries += 1 if error.retry_after is None else 0.5  # it is there, and asks for patience
        others = [s for s in self.states if s is not state and not s.final and not s.host.aside]
        if not any(s.tries < state.tries for s in others):
            self.wait = state.host.backoff(state.tries)

    def _try(self, state: SourceState, place: str, reason: str, kind: Reason, sha256: str = "") -> None:
        state.last = reason
        failure = Failure(place, reason, kind, sha256)
        if failure not in self.tried:  # a file that is cut every megabyte has many
            self.tried += (failure,)

    def _keeps(self, state: SourceState, error: TransferError) -> bool:
        """Whether what has come is of use after a failure: something must prove that the rest belongs to it."""
        return error.kind != Reason.CHANGED and (self.registered or state.validator is not None)

    def wrong(self, state: SourceState, error: TransferError) -> None:
        """Note that all bytes arrived and are not the right ones: none of them is kept."""
        mixed = len(self.used_sources) > 1 or (self.body is not None and self.body.partial.resumed > 0)
        reason = error.reason + (" (bytes of several attempts)" if mixed else "")
        self._try(state, error.place, reason, error.kind, "" if mixed else error.sha256)
        self.drop()
        if state.doubtful(error.kind):
            return
        state.wrong += 1
        state.tries += 1
        if mixed:
            self.alone = state  # nobody can tell who was wrong: one source at a time, from its first byte
        elif state.wrong > 1 or len(self.states) > 1:
            state.final = True

    def give_up(self, reason: str = "") -> None:
        """Note that no source has the file, or that the time is over; what there is of it is kept."""
        for state in self.states:
            if not state.last and state.host.reason:
                why = f"not asked, its host failed before: {state.host.reason}"
                self._try(state, state.source.redacted, why, Reason.ASIDE)
        tried = [*self.tried, *([Failure("this run", reason, Reason.DEADLINE)] if reason else [])]
        have = self.done_bytes()
        self.keep()
        away = bool(self.states) and all(s.host.kind in _NO_NETWORK and s.host.failures for s in self.states)
        remedy = f"{have} bytes are kept: the same command goes on from there" if have and self.registered else ""
        self.result = (Offline if away else FileUnavailable)(self.wanted.name, tried, remedy)

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """All bytes are there: have the rest of them hashed."""
        self.finishing = True
        if self.body is not None:
            self.body.finish()

    def finished(self) -> None:
        """Check the hash, once it is known, and store the file; may raise as `received`."""
        body, state = self.body, self.state
        if body is None or not body.is_hashed(state.source.redacted):
            return
        self.finishing = False
        if body.partial.is_lost():
            # Frozen for long, this process has lost the file to another.
            self.drop()
            self._take_finished()
            return
        body.close()
        self._store(body.partial.path, state)
        self._end_all()
        body.discard()

    def _store(self, content: Path | bytes, state: SourceState) -> None:
        path = self.run.store(self.wanted, content)
        self.result = Arrived(self.wanted, path, state.source, time.monotonic() - self.started, self.moved, state.etag)

    def _end_all(self) -> SegmentedFile | None:
        """End the requests; what there is on the disk, which is not of this file any more."""
        for transfer in list(self.transfers):
            self.drop_transfer(transfer)
        self.finishing = False
        body, self._size, self.body = self.body, self.size, None
        return body

    def drop(self) -> None:
        """Forget the bytes that are there."""
        body = self._end_all()
        if body is not None:
            body.discard()
        self.used_sources = frozenset()
        self._size = self.wanted.size

    def keep(self) -> None:
        """Leave what is there for another attempt, perhaps of another process."""
        self.seen = (self.done_bytes(), 0.0)  # so that an interrupted run shows what is kept
        body = self._end_all()
        if body is not None:
            body.keep()

    def release(self) -> None:
        """Let others have the file."""
        if self.locked:
            self.locked = False
            self.lock.release()

    def done_bytes(self) -> int:
        """Bytes of the file that are there."""
        if isinstance(self.result, Arrived):
            return self.size or 0
        return self.seen[0] if self.body is None else self.body.partial.resumed + self.body.segments.moved
