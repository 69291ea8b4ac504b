"""The files of one run, and what its workers do next."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque

from .batch import company
from .health import HostHealth
from .job import Job
from .pieces import Segment
from .way import Way
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

    def enqueue(self, job: Job, wait: float = 0.0) -> None:
        """Put a file in the queue of the host that is to be asked next.

        Parameters
        ----------
        job : Job
            The file.
        wait : float
            Seconds before it is.
        """
        if wait:
            with self.change:
                heapq.heappush(self.delayed, (time.monotonic() + wait, next(_marks), job))
            return
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
        self.close(job)

    def close(self, job: Job) -> None:
        """Note that a file is through.

        Parameters
        ----------
        job : Job
            The file.
        """
        job.give_back()
        with self.change:
            self.closed(1)

    def closed(self, count: int) -> None:
        """Note that files are through; `change` is held.

        Parameters
        ----------
        count : int
            How many.
        """
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
                self.choose_again(host)
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

    def choose_again(self, host: HostHealth) -> None:
        """Let others bring what waits for a host, where there are others.

        Parameters
        ----------
        host : HostHealth
            The host.
        """
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

    def fail(self, exc: BaseException) -> None:
        """End the run with an error that is not of one file.

        Parameters
        ----------
        exc : BaseException
            The error.
        """
        with self.change:
            if self.error is None and not self.stopped:
                self.error = exc
            self.stopped = True
            self.change.notify_all()
            self.news.notify_all()
        self.yard.client.abort()
