"""The threads of one run, and who of them does what next."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable

from ..errors import FileUnavailable, TransferError
from .batch import bring_together
from .bring import SMALL
from .health import HostHealth
from .job import Job, Way
from .pieces import Segment
from .work import Yard, begin, finish, lead, pull

__all__ = ["Crew"]

_LONGEST_WAIT = 120.0  # a server that asks for more is not waited for
_marks = iter(range(1 << 62))


class Crew:
    """Brings the files of one run.

    Parameters
    ----------
    yard : Yard
        Where files come from and go to.
    jobs : list of Job
        The files.
    most : int or None
        Files at the same time.
    """

    def __init__(self, yard: Yard, jobs: list[Job], most: int | None) -> None:
        self.yard = yard
        self.jobs = jobs
        self.most = most
        lock = threading.RLock()
        self.change = threading.Condition(lock)
        self.news = threading.Condition(lock)
        self.hosts = list({id(way.host): way.host for job in jobs for way in job.ways}.values())
        self.pending: dict[int, deque[Job]] = {id(host): deque() for host in self.hosts}
        self.delayed: list[tuple[float, int, Job]] = []
        self.waiting: deque[Job] = deque()
        self.open: list[Job] = []
        self.busy: dict[int, int] = {}  # id(job) -> workers on it
        self.left = len(jobs)
        self.error: BaseException | None = None
        self.stopped = False
        self.threads: list[threading.Thread] = []
        for job in jobs:
            self.enqueue(job)

    # -- whose turn it is ----------------------------------------------------------------------------------------------

    def enqueue(self, job: Job) -> None:
        """Put a file in the queue of the host that is to be asked next.

        Parameters
        ----------
        job : Job
            The file.
        """
        way = job.choose()
        if way is None:
            self._give_up(job)
        elif way.host.paused_until > time.monotonic() + _LONGEST_WAIT:
            way.final = True
            self.enqueue(job)
        else:
            self.pending[id(way.host)].append(job)

    def _give_up(self, job: Job) -> None:
        for way in job.ways:
            if way.host.aside and not way.last:
                job.tried.append((way.source.shown, f"not asked, its host failed before: {way.host.reason}"))
        tried = list(dict.fromkeys(job.tried))
        job.keep()
        job.result = FileUnavailable(job.wanted.name, tried)
        self._close(job)

    def _close(self, job: Job) -> None:
        job.give_back()
        with self.change:
            self.left -= 1
            if not self.left:
                self.change.notify_all()
                self.news.notify_all()

    def take(self) -> tuple[list[Job], Way, Segment | None] | None:
        """The next thing to do for a worker; waits until there is something.

        Returns
        -------
        (list of Job, Way, Segment or None) or None
            A segment to help with, a file to begin, or several small ones; None at the end of the run.
        """
        with self.change:
            while not self.stopped and self.left:
                now = time.monotonic()
                while self.delayed and self.delayed[0][0] <= now:
                    self.enqueue(heapq.heappop(self.delayed)[2])
                for host in self.hosts:
                    queue = self.pending[id(host)]
                    if not queue or host.active >= host.target or now < host.paused_until:
                        continue
                    if self.most is not None and len(self.busy) >= self.most:
                        continue
                    if host.aside:
                        jobs = list(queue)
                        queue.clear()
                        for job in jobs:
                            self.enqueue(job)
                        continue
                    # After a failure a single file finds out whether the host is back.
                    if host.failures and host.active:
                        continue
                    job = queue.popleft()
                    way = job.way
                    if way is None:
                        continue
                    host.active += 1
                    self.busy[id(job)] = 1
                    return [job, *self._company(job, host, queue)], way, None
                helped = self._help()
                if helped is not None:
                    return helped
                self.change.wait(0.1)
        return None

    def _company(self, job: Job, host: HostHealth, queue: deque[Job]) -> list[Job]:
        """Further small files to ask for in the same breath: fewer round trips, and each connection has its share."""
        depth = min(host.depth, len(queue) // (2 * host.target))
        company: list[Job] = []
        while len(company) < depth and job.small and queue[0].small and self.most is None:
            job = queue.popleft()
            self.busy[id(job)] = 1
            company.append(job)
        return company

    def _help(self) -> tuple[list[Job], Way, Segment | None] | None:
        for job in self.open:
            way, pieces = job.way, job.pieces
            if way is None or pieces is None or not pieces.divisible or not way.host.split or job.alone is not None:
                continue
            host = way.host
            if host.active < host.target and host.paused_until < time.monotonic():
                segment = pieces.take(max(2, host.target), growing=not host.settled)
                if segment is not None:
                    host.active += 1
                    self.busy[id(job)] += 1
                    if job.follower is not None:
                        job.follower.start()
                    return [job], way, segment
        return None

    # -- the work ------------------------------------------------------------------------------------------------------

    def worker(self) -> None:
        """What each thread does until the run ends."""
        buffer = memoryview(bytearray(SMALL + 1))
        while True:
            taken = self.take()
            if taken is None:
                return
            jobs, way, segment = taken
            try:
                if len(jobs) > 1:
                    self._begin_many(jobs, way.host, buffer)
                    continue
                job, moved = jobs[0], jobs[0].moved
                error: TransferError | None = None
                try:
                    if segment is None:
                        self._begin(job, way, buffer)
                    else:
                        self._bring(job, way, segment)
                except TransferError as exc:
                    error = exc
                self._leave(job, way, error, job.moved - moved)
            except BaseException as exc:  # noqa: BLE001
                self.fail(exc)
                return

    def _begin_many(self, jobs: list[Job], host: HostHealth, buffer: memoryview) -> None:
        """Several small files over one connection, asked for at once."""
        ready = [job for job in jobs if begin(self.yard, job)]
        errors = bring_together(self.yard, ready, buffer) if ready else {}
        with self.change:
            host.active += len(jobs) - 1
        for job in jobs:
            if job.way is not None:
                self._leave(job, job.way, errors.get(id(job)), 0)

    def _begin(self, job: Job, way: Way, buffer: memoryview) -> None:
        if not begin(self.yard, job):
            return
        opened = lead(self.yard, job, way, buffer, alone=self.left == 1)
        if job.result is not None or job.pieces is None:
            return
        segment = job.pieces.take(1)
        with self.change:
            self.open.append(job)
            self.change.notify()
        if segment is not None:
            pull(self.yard, job, way, segment, opened)
            self._bring(job, way, None)

    def _bring(self, job: Job, way: Way, segment: Segment | None) -> None:
        while not self.stopped and job.pieces is not None:
            if segment is None:
                host = way.host
                if host.active > host.target and host.active > 1 and self.busy[id(job)] > 1:
                    return
                many = host.target if host.split else 1
                segment = job.pieces.take(many, growing=not host.settled)
            if segment is None:
                return
            pull(self.yard, job, way, segment, None)
            segment = None

    def _leave(self, job: Job, way: Way, error: TransferError | None, moved: int) -> None:
        with self.change:
            self.busy[id(job)] -= 1
            last = not self.busy[id(job)]
            if last:
                del self.busy[id(job)]
                if job in self.open:
                    self.open.remove(job)
            way.host.active -= 1
            self.change.notify()
        if self.stopped:
            return
        wait = 0.0
        if error is not None:
            wait = job.failed(way, error, moved)
        if not last:
            return
        try:
            if job.result is None and job.pieces is not None and job.pieces.complete:
                finish(self.yard, job, way)
        except TransferError as exc:
            job.wrong(way, exc)
        except BaseException as exc:  # noqa: BLE001
            self.fail(exc)
            return
        if job.result is not None:
            self._close(job)
        elif job.parked:
            self.waiting.append(job)
        else:
            if not job.registered and error is not None and (way.etag is None or way.final):
                job.drop()
                job.size = job.wanted.size
            with self.change:
                if wait:
                    heapq.heappush(self.delayed, (time.monotonic() + wait, next(_marks), job))
                else:
                    self.enqueue(job)
                self.change.notify()

    def fail(self, exc: BaseException) -> None:
        """End the run with an error that is not of one source.

        Parameters
        ----------
        exc : BaseException
            Raised by `run`.
        """
        with self.change:
            if self.error is None and not self.stopped:
                self.error = exc
            self.stopped = True
            self.change.notify_all()
            self.news.notify_all()
        self.yard.client.abort()

    # -- the run -------------------------------------------------------------------------------------------------------

    def run(self, tick: Callable[[], None]) -> None:
        """Bring all files; the calling thread looks after the others.

        Parameters
        ----------
        tick : callable
            Called about twenty times a second.

        Raises
        ------
        CacheError
            If the disk does not take the files.
        """
        busy, then = 0.0, time.monotonic()
        try:
            while True:
                self._hire()
                with self.change:
                    if self.left and not self.stopped:
                        self.news.wait(0.05)
                    if not self.left or self.stopped:
                        break
                now = time.monotonic()
                if now - then >= 0.04:
                    spent = sum(sum(host.cpu.values()) for host in self.hosts)
                    spent += sum(j.follower.cpu for j in self.open if j.follower is not None)
                    for host in self.hosts:
                        host.tick(now, max(0.0, spent - busy) / (now - then))
                    busy, then = spent, now
                self._look_at_waiting()
                tick()
        finally:
            self._end()
        if self.error is not None:
            raise self.error

    def _hire(self) -> None:
        for host in self.hosts:
            host.demand(len(self.pending[id(host)]) + host.active)
        split = sum(host.target for host in self.hosts if host.split)
        work = sum(map(len, self.pending.values())) + len(self.busy) + split
        while len(self.threads) < min(sum(host.target for host in self.hosts), max(1, work)):
            thread = threading.Thread(target=self.worker, name=f"dataferry-{len(self.threads) + 1}", daemon=True)
            self.threads.append(thread)
            thread.start()

    def _look_at_waiting(self) -> None:
        for _ in range(min(len(self.waiting), 64)):
            job = self.waiting.popleft()
            job.parked = False
            with self.change:
                self.enqueue(job)
                self.change.notify()

    def _end(self) -> None:
        with self.change:
            unfinished = self.left > 0
            self.stopped = True
            self.change.notify_all()
        if unfinished:
            self.yard.client.abort()
        until = time.monotonic() + 0.8
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))
        for job in self.jobs:
            if job.result is None:
                job.keep()
            job.give_back()
