"""The event loop of one run: which file asks which host next, and what happens when something comes.

It owns the limits and the health of the hosts; what is there of a file belongs to `FileDownload` alone.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import DataferryError, Reason, TransferError
from ..portable import free_descriptors
from ..threads import Workers
from .backoff import LONGEST_WAIT
from .file_download import FileDownload, FileTransfer
from .host_limiter import HostLimiter
from .session import Network, Session, too_slow
from .source import Wanted
from .source_state import SourceState
from .stream import StreamReader

_WORKERS = 4  # threads that hash
_PATIENCE = 5.0  # seconds that the end of a run waits for them
_TICK = 0.05
_GROWING = 0.02  # as long as more connections may be worth their while
_SIGN_OF_LIFE = 5.0
_LOOK_FIRST, _LOOK_LATER = 0.05, 0.5  # seconds between two looks whether another process has the file
_WORTH_A_RIVAL = 3.0  # seconds that a file would still need
_TRIAL = 0.7  # seconds in which another mirror shows what it can
_FASTER = 2.0
# What is open for a file: its bytes, twice, and its journal; and its connections. The rest is for whoever calls.
_DESCRIPTORS_ON_DISK, _DESCRIPTORS_AT_MOST, _SPARE_DESCRIPTORS = 3, 24, 32


class Scheduler:
    """Downloads the files of one run.

    Parameters
    ----------
    session : Session
        Where requests run; no other run uses it meanwhile.
    network : Network
        Settings and limits of time.
    workdir : Path
        Where partial files lie.
    find, store : callable
        See `dataferry.download.fetch.fetch`.
    jobs : int or None
        Files at the same time.
    deadline : float or None
        Seconds for all of it.
    """

    def __init__(
        self,
        session: Session,
        network: Network,
        workdir: Path,
        find: Callable[[Wanted], Path | None],
        store: Callable[[Wanted, Path | bytes], Path],
        *,
        jobs: int | None = None,
        deadline: float | None = None,
    ) -> None:
        self.workdir, self.find, self.store = workdir, find, store
        #: Seconds to wait for another process that seems to download a file and shows no sign of life.
        self.patience = network.stall_timeout
        self.wake = session.wake
        self.workers = Workers(_WORKERS)
        self._session, self._network, self._jobs = session, network, jobs
        self._descriptors = free_descriptors() - _SPARE_DESCRIPTORS
        self._deadline = deadline
        self._started = self._looked = self._lived = time.monotonic()
        self._until = None if deadline is None else self._started + deadline
        self._files: list[FileDownload] = []
        self._hosts: list[HostLimiter] = []
        self._pending: dict[HostLimiter, deque[FileDownload]] = {}
        self._delayed: list[tuple[float, int, FileDownload]] = []
        self._parked: deque[FileDownload] = deque()
        self._running: dict[FileDownload, None] = {}  # in the order in which they began
        self._draining: dict[FileTransfer, None] = {}
        self._left = 0
        self._count = 0

    def run(self, files: list[FileDownload], tick: Callable[[], None]) -> None:
        """Download all files; OSError or DataferryError if something is wrong with all of them."""
        self._files, self._left = files, len(files)
        self._hosts = list({id(state.host): state.host for file in files for state in file.states}.values())
        self._pending = {host: deque() for host in self._hosts}
        try:
            for file in files:
                self._enqueue(file)
            while self._left:
                now = time.monotonic()
                if self._until is not None and now > self._until:
                    break
                self._fill(now)
                if not self._left:
                    break
                for transfer in self._session.step(self._wait(now)):
                    if isinstance(transfer, FileTransfer):
                        self._ended(transfer)
                for transfer in list(self._draining):
                    self._drain(transfer)
                for file in [file for file in self._running if file.finishing]:
                    self._finish(file)
                now = time.monotonic()
                if now - self._looked >= _GROWING * 0.8:
                    self._looked = now
                    self._look(now)
                    tick()
        finally:
            try:
                self._end()
            finally:
                self.workers.close(_PATIENCE)

    def _wait(self, now: float) -> float:
        growing = any(host.active and not host.tuned for host in self._hosts)
        wait = _GROWING if growing and any(file.segments for file in self._running) else _TICK
        if self._delayed:
            wait = min(wait, max(0.0, self._delayed[0][0] - now))
        return wait

    # -- what files ask for --------------------------------------------------------------------------------------------

    def send(self, transfer: FileTransfer) -> None:
        """Begin a request, or reading a stream."""
        source = transfer.state.source
        transfer.rate = transfer.state.host.connection_rate
        if source.opener is None:
            self._session.start(transfer, self._network)
        else:
            transfer.reader = StreamReader(source, transfer.start, self.wake, transfer.rate)
        if transfer.segment is not None:
            self._draining[transfer] = None

    def stop(self, transfer: FileTransfer) -> None:
        """End a request now."""
        self._draining.pop(transfer, None)
        if transfer.reader is not None:
            transfer.reader.close()
        else:
            self._session.cancel(transfer)

    # -- queues --------------------------------------------------------------------------------------------------------

    def _enqueue(self, file: FileDownload, wait: float = 0.0) -> None:
        """Put a file into the queue of the host that is to be asked next."""
        if wait:
            self._count += 1
            heapq.heappush(self._delayed, (time.monotonic() + wait, self._count, file))
            return
        while True:
            state = file.choose()
            if state is None:
                file.give_up()
                self._close(file)
                return
            now = time.monotonic()
            latest = self._until if self._until is not None else now + LONGEST_WAIT
            if state.host.paused_until <= max(now, latest):
                self._pending[state.host].append(file)
                return
            state.final = True

    def _close(self, file: FileDownload) -> None:
        file.release()
        self._running.pop(file, None)
        self._left -= 1

    def _fill(self, now: float) -> None:
        """Begin what there is capacity for."""
        while self._delayed and self._delayed[0][0] <= now:
            self._enqueue(heapq.heappop(self._delayed)[2])
        for host in self._hosts:
            queue = self._pending[host]
            if queue and (host.aside or host.in_doubt_now):
                host.in_doubt_now = False
                self._choose_again(host)
                continue
            if queue:
                host.demand(len(queue) + host.active, queue[0].small)
            while queue and self._may_begin(host, now):
                file = queue.popleft()
                self._running[file] = None
                self._begin(file, file.state, partial(file.begin, now))
        for file in self._running:
            while self._may_help(file, now) and file.help(file.state):
                pass

    def _may_begin(self, host: HostLimiter, now: float) -> bool:
        if host.active >= host.target or now < host.paused_until or host.in_debt(now):
            return False
        if self._jobs is not None and len(self._running) >= self._jobs:
            return False
        if self._running and not self._fits():
            return False
        return not (host.suspect and host.active)  # after a failure a single file finds out whether the host is back

    def _fits(self) -> bool:
        """Whether the process may open what one more file, or one more connection, needs."""
        if (len(self._running) + 1) * _DESCRIPTORS_AT_MOST <= self._descriptors:
            return True
        on_disk = sum(file.body is not None for file in self._running)
        connections = max(sum(host.active for host in self._hosts), self._session.most_idle)
        return on_disk * _DESCRIPTORS_ON_DISK + connections + _DESCRIPTORS_ON_DISK < self._descriptors

    def _may_help(self, file: FileDownload, now: float) -> bool:
        state, segments = file.state, file.segments
        if segments is None or not segments.divisible or file.alone is not None or file.finishing:
            return False
        host = state.host
        if (not host.split and host.active) or state.source.opener is not None or not file.transfers:
            return False
        if not self._fits():
            return False
        # Where somebody got nothing lately, more of them would only keep each other trying.
        return not state.tries and host.active < host.target and host.paused_until <= now and not host.failures

    def _choose_again(self, host: HostLimiter) -> None:
        """Let others give what waits for a host, where there are others."""
        files = list(self._pending[host])
        self._pending[host].clear()
        for file in files:
            self._enqueue(file)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def _finish(self, file: FileDownload) -> None:
        """Let a file of which all bytes are there come to its end."""
        state = file.state
        try:
            if not file.finishing:
                file.finish()
            file.finished()
        except Exception as exc:  # noqa: BLE001
            file.wrong(state, _error_of_file(exc, state.source.redacted))
        self._see(file)

    def _begin(self, file: FileDownload, state: SourceState, act: Callable[[], None]) -> None:
        """Let a file send requests; what goes wrong is the failure of the source, unless it is of the disk."""
        try:
            act()
        except Exception as exc:  # noqa: BLE001
            error = _error_of_file(exc, state.source.redacted)
            for transfer in list(file.transfers):
                file.drop_transfer(transfer)
            file.note_failure(state, error)
        self._see(file)

    def _receive(self, transfer: FileTransfer, act: Callable[[FileTransfer], None]) -> bool:
        """Let a file take what has come; False if that was the end of the request in failure."""
        file = transfer.file
        try:
            act(transfer)
        except Exception as exc:  # noqa: BLE001
            file.failed(transfer, _error_of_file(exc, transfer.place))
            self._see(file)
            return False
        return True

    def _ended(self, transfer: FileTransfer) -> None:
        file, rival = transfer.file, transfer is transfer.file.rival
        self._draining.pop(transfer, None)
        if transfer not in file.transfers:
            return
        if transfer.error is None and transfer.head is not None and transfer.head.status == 200 and not transfer.hops:
            self._learn(transfer)
        if self._receive(transfer, file.ended):
            if rival:
                self._judge(file, transfer)
            else:
                file.next_segment(transfer)
            self._see(file)

    def _learn(self, transfer: FileTransfer) -> None:
        """What a good response says of its host."""
        host = transfer.state.host
        host.multiplexed = host.multiplexed or transfer.http2
        seconds = transfer.round_trip or transfer.measure()
        if seconds > 0:
            host.round_trip = min(host.round_trip, seconds)

    def _drain(self, transfer: FileTransfer) -> None:
        file, reader = transfer.file, transfer.reader
        if transfer not in self._draining:
            return
        if reader is not None:
            self._drain_stream(transfer, reader)
        elif transfer.chunks or (transfer.head is not None and not transfer.accepted):
            first = not transfer.accepted
            if self._receive(transfer, file.received):
                if first and transfer.accepted:
                    self._learn(transfer)
                if file.body is not None and transfer in file.transfers and file.body.is_through(transfer):
                    file.drop_transfer(transfer)
                    transfer.state.host.well()
                    file.next_segment(transfer, connected=False)
                self._see(file)

    def _drain_stream(self, transfer: FileTransfer, reader: StreamReader) -> None:
        now, limit, host = time.monotonic(), self._network.stall_timeout, transfer.state.host
        if host.in_debt(now) or not self._receive(transfer, transfer.file.received):
            return
        if reader.ended and not reader.waiting():
            transfer.error = reader.error
            self._ended(transfer)
            return
        if transfer.got and transfer.window is None:
            host.round_trip = min(host.round_trip, now - transfer.began)
        since, before = transfer.window = transfer.window or (transfer.began, 0)
        if now - since >= limit:
            transfer.window = (now, transfer.got)
            if error := too_slow(transfer.place, transfer.got - before, limit):
                transfer.error = error
                self._ended(transfer)

    def _see(self, file: FileDownload) -> None:
        """Find the place of a file after something has happened to it."""
        if file not in self._running:
            return
        if file.result is not None:
            self._close(file)
        elif file.segments is not None and file.segments.complete and not file.transfers and not file.finishing:
            self._finish(file)
        elif not file.transfers and not file.finishing:
            del self._running[file]
            if file.parked:
                self._parked.append(file)
            else:
                self._enqueue(file, file.wait)

    # -- now and then --------------------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        for host in self._hosts:
            if host.active and any(file.segments is not None for file in self._running):
                host.measure(now)
        for file in list(self._running):
            if file.body is not None:
                file.body.partial.note(now)
            self._compare(file, now)
            self._see(file)  # the other mirror may have had the last request
        if now - self._lived > min(_SIGN_OF_LIFE, self.patience / 4):
            self._lived = now
            for file in self._files:
                if file.body is not None:
                    file.body.partial.sign_of_life()
        for _ in range(len(self._parked)):
            file = self._parked.popleft()
            if now < file.look_at:
                self._parked.append(file)
                continue
            file.look(now)
            waited = now - file.waiting_since
            file.look_at = now + max(_LOOK_FIRST, min(_LOOK_LATER, waited / 4))
            file.parked = False
            self._enqueue(file)

    def _compare(self, file: FileDownload, now: float) -> None:
        """Let another mirror show what it can while a file is slow; the better one gets the rest."""
        state, segments = file.state, file.segments
        if not file.registered or file.alone is not None or file.finishing or not file.transfers:
            return
        if file.rival is not None:
            if segments is not None and file.rival.segment is not None:
                self._watch_rival(file, file.rival, now)
            return
        began = file.opened if segments is not None else file.transfers[0].began
        if now - began < 1:
            return
        if segments is not None:
            rate = max(state.host.rate, 1.0)
            slow = segments.to_come() > _WORTH_A_RIVAL * rate and (state.host.tuned or now - began > 2)
        else:
            got = sum(map(len, file.transfers[0].chunks))
            slow = got > 0 and ((file.size or got + 1) - got) / (got / (now - began)) > _WORTH_A_RIVAL
        if not slow:
            return
        for other in file.states:
            host = other.host
            worth = other.host is not state.host and not other.final and other not in file.compared
            if worth and not (host.aside or host.suspect or host.doubtful) and (segments is None or other.plain):
                host.target = max(host.target, host.active + 1)
                self._begin(file, other, partial(file.challenge, other))
                return

    def _watch_rival(self, file: FileDownload, rival: FileTransfer, now: float) -> None:
        segment = rival.segment
        if segment is None:
            return
        if segment.pos == segment.start or now - segment.since < _TRIAL:
            if now - segment.since > 5 * _TRIAL:
                file.drop_transfer(rival)
            return
        self._judge(file, rival)

    def _judge(self, file: FileDownload, rival: FileTransfer) -> None:
        """Give the rest of a file to the rival if it is much faster, and end the rival if not."""
        segment, old = rival.segment, file.state
        if segment is None or file.segments is None or file.result is not None:
            return
        file.rival = None
        rival.state.host.per_connection = segment.rate()
        if segment.rate() > _FASTER * old.host.rate:
            file.state = rival.state
            for transfer in [transfer for transfer in file.transfers if transfer.state is old]:
                file.drop_transfer(transfer)
            if rival not in file.transfers:
                file.next_segment(rival)
        elif rival in file.transfers:
            file.drop_transfer(rival)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        late = self._left > 0 and self._until is not None and time.monotonic() >= self._until
        for file in self._files:
            if file.result is None and late:
                file.give_up(f"the deadline of {self._deadline:g} s has passed")
            elif file.result is None:
                file.keep()
            file.release()


def _error_of_file(exc: Exception, place: str) -> TransferError:
    """The error for one file alone, so that the others come; what is wrong for all of them is raised on."""
    if isinstance(exc, TransferError):
        return exc
    if isinstance(exc, DataferryError) or getattr(exc, "errno", None) is not None:
        raise exc
    return TransferError(place, f"{type(exc).__name__}: {exc}", kind=Reason.ERROR)
