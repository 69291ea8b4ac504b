"""One thread of a run: it brings what the crew has for it, and says what came of it."""

from __future__ import annotations

from ..errors import TransferError
from .batch import bring_together
from .blame import blame_file
from .bring import SMALL
from .crew import Crew
from .health import HostHealth
from .job import Job
from .lease import give_back
from .pieces import Segment
from .source import Arrived
from .way import Way
from .work import begin, begin_many, finish, lead, pull

__all__ = ["Worker"]


class Worker:
    """One thread of a run.

    Parameters
    ----------
    crew : Crew
        Says what is to be done.
    """

    def __init__(self, crew: Crew) -> None:
        self.crew = crew

    def run(self) -> None:
        """Do what is to be done until the run ends."""
        crew, buffer = self.crew, memoryview(bytearray(SMALL + 1))
        while True:
            task = crew.take()
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
                    error = blame_file(exc, way.source.redacted)
                self._leave(job, way, error, job.kept_bytes() - before)
            except BaseException as exc:  # noqa: BLE001
                crew.fail(exc)
                return

    def _begin_many(self, jobs: list[Job], host: HostHealth, buffer: memoryview) -> None:
        crew = self.crew
        errors: dict[int, TransferError] = {}
        try:
            ready = begin_many(crew.yard, jobs)
            errors = bring_together(crew.yard, ready, buffer) if ready else {}
        except Exception as exc:  # noqa: BLE001
            # Nobody can tell whose it is: each is asked for alone from now on.
            errors = {
                id(job): blame_file(exc, way.source.redacted) for job in jobs if job.result is None and (way := job.way)
            }
        rest = [job for job in jobs if job.result is None or id(job) in errors]
        done = [job for job in jobs if id(job) not in {id(other) for other in rest}] if rest else jobs
        give_back([job.lease for job in done])
        with crew.change:
            for job in done:
                job.leased = False
                del crew.busy[id(job)]
            host.active += len(rest) - 1
            crew.closed(len(done))
        served = any(isinstance(job.result, Arrived) and job.result.source is not None for job in done)
        for job in rest:
            if served:
                host.well()  # what it refuses is of single files
            if job.way is not None:
                self._leave(job, job.way, errors.get(id(job)), 0)

    def _begin(self, job: Job, way: Way, buffer: memoryview) -> None:
        crew = self.crew
        if not begin(crew.yard, job):
            return
        opened = lead(crew.yard, job, way, buffer, alone=crew.left == 1)
        if job.result is not None or job.pieces is None:
            return
        segment = job.pieces.take(1)
        with crew.change:
            crew.open.append(job)
            crew.change.notify()
        if segment is not None:
            segment.way = way
            pull(crew.yard, job, way, segment, opened)
            self._bring(job, way, None)

    def _bring(self, job: Job, way: Way, segment: Segment | None) -> None:
        crew, host = self.crew, way.host
        while not crew.stopped and job.pieces is not None:
            if segment is None:
                surplus = host.active > max(1, host.target) and crew.busy[id(job)] > 1
                if surplus or job.way is not way:
                    return  # too many of them, or the rest goes to a faster host
                segment = job.pieces.take(host.target if host.split else 1, growing=not host.settled)
                if segment is None:
                    return
                segment.way = way
            pull(crew.yard, job, way, segment, None)
            segment = None

    def _leave(self, job: Job, way: Way, error: TransferError | None, moved: int) -> None:
        crew = self.crew
        with crew.change:
            crew.busy[id(job)] -= 1
            last = not crew.busy[id(job)]
            if last:
                del crew.busy[id(job)]
                if job in crew.open:
                    crew.open.remove(job)
            way.host.active -= 1
            crew.change.notify()
        if crew.stopped:
            return
        wait = 0.0
        if error is not None and error.kind == "sha256" and last:
            job.wrong(way, error)  # its bytes are not kept, so they are no progress
        elif error is not None:
            trusted = not way.host.doubtful
            wait = job.failed(way, error, moved)
            if trusted and way.host.doubtful:
                crew.choose_again(way.host)
        if not last:
            return
        try:
            if job.result is None and job.pieces is not None and job.pieces.complete:
                finish(crew.yard, job, way)
        except Exception as exc:  # noqa: BLE001
            job.wrong(way, blame_file(exc, way.source.redacted))
        if job.result is not None:
            crew.close(job)
        elif job.parked:
            crew.waiting.append(job)
        else:
            if error is not None and not job.keeps(way, error):
                job.drop()
                way.etag = None
            crew.enqueue(job, wait)
