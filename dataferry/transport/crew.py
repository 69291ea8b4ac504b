"""The threads of one run, and who of them does what next."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque

from ..errors import TransferError
from .batch import bring_together, company
from .blame import blame_file
from .bring import SMALL
from .health import HostHealth
from .job import Job, Way
from .lease import give_back
from .order import Arrived
from .pieces import Segment
from .work import begin, begin_many, finish, lead, pull
from .yard import Yard

__all__ = ["Crew"]

_LONGEST_WAIT = 120.0  # a server that asks for more is not waited for
_marks = iter(range(1 << 62))

Task = tuple[list[Job], Way, Segment | None]


class Crew:
    """Brings the files of one run.

    Parameters
    ----------
    yard : Yard
        Where files come from and go to.
    jobs : list of Job
        The files, in the order in which they are begun.
    most : int or None
        Files at the same time.
    """

    def __init__(self, yard: Yard, jobs: list[Job], most: int | None) -> None:
        self.yard = yard
        self.jobs = jobs
        self.most = most
        lock = threading.RLock()
        self.change = threading.Condition(lock)  # for workers
        self.news = threading.Condition(lock)  # for who looks after them
        self.hosts = list({id(way.host): way.host for job in jobs for way in job.ways}.values())
        self.pending: dict[int, deque[Job]] = {id(host): deque() for host in self.hosts}
        self.delayed: list[tuple[float, int, Job]] = []
        self.waiting: deque[Job] = deque()
        self.rivals: deque[tuple[Job, Way]] = deque()
        self.open: list[Job] = []
        self.busy: dict[int, int] = {}  # id(job) -> workers on it
        self.left = len(jobs)
        self.error: BaseException | None = None
        self.stopped = False
        self.change.acquire()
        for job in jobs:
            self.enqueue(job)
        self.change.release()

    def enqueue(self, job: Job) -> None:
        """Put a file in the queue of the host that is to be asked next.

        Parameters
        ----------
        job : Job
            The file.
        """
        way = job.choose()
        if way is None:
            self.give_up(job)
        elif way.host.paused_until > time.monotonic() + _LONGEST_WAIT:
            way.final = True
            self.enqueue(job)
        else:
            with self.change:
                self.pending[id(way.host)].append(job)
                self.change.notify()

    def give_up(self, job: Job, reason: str = "") -> None:
        """Note that a file cannot be had, see `Job.give_up`.

        Parameters
        ----------
        job : Job
            The file.
        reason : str
            Why, if it is not the sources' fault.
        """
        job.give_up(reason)
        self._close(job)

    def _close(self, job: Job) -> None:
        """Note that a file is through."""
        job.give_back()
        with self.change:
            self._closed(1)

    def _closed(self, count: int) -> None:
        self.left -= count
        if not self.left:
            self.change.notify_all()
            self.news.notify_all()

    def take(self) -> Task | None:
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
                task = self._rival() or self._next(now) or self._help(now)
                if task is not None:
                    return task
                self.change.wait(0.1)
        return None

    def _next(self, now: float) -> Task | None:
        for host in self.hosts:
            queue = self.pending[id(host)]
            if host.aside and queue:
                self._choose_again(host)
                return self._next(now)
            full = host.active >= host.target or (self.most is not None and len(self.busy) >= self.most)
            # After a failure a single file finds out whether the host is back.
            trial = host.failures or (host.suspect and not host.bytes)
            if not queue or full or now < host.paused_until or (trial and host.active):
                continue
            job = queue.popleft()
            jobs = [job, *(company(job, queue, host) if self.most is None else ())]
            host.active += 1
            self.busy |= {id(member): 1 for member in jobs}
            if job.way is not None:
                return jobs, job.way, None
        return None

    def _choose_again(self, host: HostHealth) -> None:
        """Let others bring what waits for a host, where there are others."""
        with self.change:
            queue = self.pending[id(host)]
            jobs = list(queue)
            queue.clear()
            for job in jobs:
                self.enqueue(job)

    def _help(self, now: float) -> Task | None:
        for job in self.open:
            way, pieces = job.way, job.pieces
            if way is None or pieces is None or not pieces.divisible or job.alone is not None:
                continue
            host = way.host
            if (not host.split and host.active) or way.source.opener is not None:
                continue
            # Where somebody got nothing lately, more of them would only keep each other trying.
            if not way.tries and host.active < host.target and host.paused_until <= now and not host.failures:
                segment = pieces.take(max(2, host.target), growing=not host.settled)
                if segment is not None:
                    return self._join(job, way, segment)
        return None

    def _rival(self) -> Task | None:
        while self.rivals:
            job, way = self.rivals.popleft()
            if job in self.open and job.pieces is not None:
                segment = job.pieces.take(2, growing=True)
                if segment is not None:
                    job.rival = (way, segment)
                    return self._join(job, way, segment)
        return None

    def _join(self, job: Job, way: Way, segment: Segment) -> Task:
        segment.way = way
        way.host.active += 1
        self.busy[id(job)] += 1
        if job.follower is not None:
            job.follower.start()
        return [job], way, segment

    def worker(self) -> None:
        """What each thread does until the run ends."""
        buffer = memoryview(bytearray(SMALL + 1))
        while True:
            task = self.take()
            if task is None:
                return
            jobs, way, segment = task
            try:
                if len(jobs) > 1:
                    self._begin_many(jobs, way.host, buffer)
                    continue
                job = jobs[0]
                before = job.kept_bytes()
                error: TransferError | None = None
                try:
                    if segment is None:
                        self._begin(job, way, buffer)
                    else:
                        self._bring(job, way, segment)
                except Exception as exc:  # noqa: BLE001
                    error = blame_file(exc, way.source.shown)
                self._leave(job, way, error, job.kept_bytes() - before)
            except BaseException as exc:  # noqa: BLE001
                self._fail(exc)
                return

    def _begin_many(self, jobs: list[Job], host: HostHealth, buffer: memoryview) -> None:
        errors: dict[int, TransferError] = {}
        try:
            ready = begin_many(self.yard, jobs)
            errors = bring_together(self.yard, ready, buffer) if ready else {}
        except Exception as exc:  # noqa: BLE001
            # Nobody can tell whose it is: each is asked for alone from now on.
            errors = {
                id(job): blame_file(exc, way.source.shown) for job in jobs if job.result is None and (way := job.way)
            }
        rest = [job for job in jobs if job.result is None or id(job) in errors]
        done = [job for job in jobs if id(job) not in {id(other) for other in rest}] if rest else jobs
        give_back([job.lease for job in done])
        with self.change:
            for job in done:
                job.leased = False
                del self.busy[id(job)]
            host.active += len(rest) - 1
            self._closed(len(done))
        served = any(isinstance(job.result, Arrived) and job.result.source is not None for job in done)
        for job in rest:
            if served:
                host.well()  # what it refuses is of single files
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
            segment.way = way
            pull(self.yard, job, way, segment, opened)
            self._bring(job, way, None)

    def _bring(self, job: Job, way: Way, segment: Segment | None) -> None:
        host = way.host
        while not self.stopped and job.pieces is not None:
            if segment is None:
                surplus = host.active > max(1, host.target) and self.busy[id(job)] > 1
                if surplus or job.way is not way:
                    return  # too many of them, or the rest goes to a faster host
                segment = job.pieces.take(host.target if host.split else 1, growing=not host.settled)
                if segment is None:
                    return
                segment.way = way
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
        if error is not None and error.kind == "sha256" and last:
            job.wrong(way, error)  # its bytes are not kept, so they are no progress
        elif error is not None:
            trusted = not way.host.doubtful
            wait = job.failed(way, error, moved)
            if trusted and way.host.doubtful:
                self._choose_again(way.host)
        if not last:
            return
        try:
            if job.result is None and job.pieces is not None and job.pieces.complete:
                finish(self.yard, job, way)
        except Exception as exc:  # noqa: BLE001
            job.wrong(way, blame_file(exc, way.source.shown))
        if job.result is not None:
            self._close(job)
        elif job.parked:
            self.waiting.append(job)
        else:
            if error is not None and not job.keeps(way, error):
                job.drop()
                way.etag = None
            with self.change:
                if wait:
                    heapq.heappush(self.delayed, (time.monotonic() + wait, next(_marks), job))
                else:
                    self.enqueue(job)

    def _fail(self, exc: BaseException) -> None:
        """End the run with an error that is not of one source."""
        with self.change:
            if self.error is None and not self.stopped:
                self.error = exc
            self.stopped = True
            self.change.notify_all()
            self.news.notify_all()
        self.yard.client.abort()
