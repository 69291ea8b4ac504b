"""Looking after a run: threads, connections, files that others bring, slow mirrors, deadline, end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .crew import Crew
from .job import Job
from .leftovers import in_use, progress_of
from .worker import Worker

__all__ = ["Watch"]

_TICK = 0.05
_GROWING = 0.02  # as long as more connections may be worth their while
_SIGN_OF_LIFE = 10.0
_WORTH_A_RIVAL = 3.0  # seconds that a file would still need
_TRIAL = 0.7  # seconds in which another mirror shows what it can
_FASTER = 2.0


class Watch:
    """Looks after a crew, in the thread that wants the files.

    Parameters
    ----------
    crew : Crew
        The crew.
    deadline : float or None
        Seconds for all of it.
    patience : float
        Seconds to wait for another process that seems to bring a file but shows no progress.
    """

    def __init__(self, crew: Crew, deadline: float | None, patience: float) -> None:
        self.crew = crew
        self.threads: list[threading.Thread] = []
        self._started = time.monotonic()
        self._until = None if deadline is None else self._started + deadline
        self._deadline = deadline
        self._patience = patience
        self._spent = 0.0
        self._then = self._life = self._seen = self._started

    def run(self, tick: Callable[[], None]) -> None:
        """Bring all files.

        Parameters
        ----------
        tick : callable
            Called about twenty times a second.

        Raises
        ------
        OSError
            If the disk does not take the files.
        """
        crew = self.crew
        try:
            while True:
                self._hire()
                with crew.change:
                    if crew.left and not crew.stopped:
                        growing = any(host.active and not host.settled for host in crew.hosts)
                        crew.news.wait(_GROWING if growing else _TICK)
                    if not crew.left or crew.stopped:
                        break
                now = time.monotonic()
                if self._until is not None and now > self._until:
                    break
                self._measure(now)
                self._look_at_waiting(now)
                if now - self._life > _SIGN_OF_LIFE:
                    self._life = now
                    for job in crew.jobs:
                        if job.partial is not None:
                            job.partial.sign_of_life()
                tick()
        finally:
            self._end()
        if crew.error is not None:
            raise crew.error

    def _hire(self) -> None:
        crew = self.crew
        for host in crew.hosts:
            queue = crew.pending[id(host)]
            host.demand(len(queue) + host.active, bool(queue) and queue[0].small)
        wanted = sum(host.target for host in crew.hosts)
        split = sum(host.target for host in crew.hosts if host.split)
        work = sum(map(len, crew.pending.values())) + len(crew.busy) + split + 2 * len(crew.rivals)
        while len(self.threads) < min(wanted, max(1, work)):
            thread = threading.Thread(target=Worker(crew).run, name=f"dataferry-{len(self.threads) + 1}", daemon=True)
            self.threads.append(thread)
            thread.start()

    def _measure(self, now: float) -> None:
        if now - self._then < _GROWING * 0.8:
            return
        self._then = now
        crew = self.crew
        spent = sum(sum(list(host.cpu.values())) for host in crew.hosts)
        spent += sum(job.follower.cpu for job in list(crew.open) if job.follower is not None)
        self._spent = max(self._spent, spent)  # a hash that is through no longer counts
        for host in crew.hosts:
            host.tick(now, self._spent)
            host.measure(now)
        with crew.change:
            for job in crew.open:
                self._compare(job, now)

    # -- mirrors -------------------------------------------------------------------------------------------------------

    def _compare(self, job: Job, now: float) -> None:
        """Let another mirror show what it can while a file is slow; the better one gets the rest."""
        way, pieces = job.way, job.pieces
        if way is None or pieces is None or not job.registered or job.alone is not None:
            return
        if job.rival is None:
            rate = way.host.rate
            slow = pieces.to_come() > _WORTH_A_RIVAL * max(rate, 1)
            if not slow or now - job.opened < 1 or not (way.host.settled or now - job.opened > 2):
                return
            others = [w for w in job.ways if w.host is not way.host and not w.final and id(w) not in job.compared]
            rival = next((w for w in others if not (w.host.aside or w.host.failures or w.host.doubtful)), None)
            if rival is not None:
                job.compared |= {id(rival)}
                self.crew.rivals.append((job, rival))
                rival.host.target = max(rival.host.target, rival.host.active + 1)
                self.crew.change.notify()
            return
        rival, segment = job.rival
        running = segment in pieces.active
        if running and (segment.pos == segment.start or now - segment.since < _TRIAL):
            if now - segment.since > 5 * _TRIAL:
                pieces.cut([segment])
                job.rival = None
            return
        job.rival = None
        seconds = (segment.ended or now) - segment.since
        rival.host.per_connection = (segment.pos - segment.start) / max(0.01, seconds)
        if rival.host.per_connection > _FASTER * way.host.rate:
            job.way = rival
            pieces.cut([s for s in pieces.active if s.way is way])
        elif running:
            pieces.cut([segment])

    # -- other processes -----------------------------------------------------------------------------------------------

    def _look_at_waiting(self, now: float) -> None:
        crew = self.crew
        look = now - self._seen > 0.5
        if look:
            self._seen = now
        for index in range(min(len(crew.waiting), 64)):
            job = crew.waiting.popleft()
            if look and index < 16:
                self._look_at(job, now)
            job.parked = False
            with crew.change:
                crew.enqueue(job)

    def _look_at(self, job: Job, now: float) -> None:
        have = max(map(progress_of, in_use(self.crew.yard.workdir, job.identity)), default=0)
        if have != job.seen[0] or not job.seen[1]:
            job.seen = (have, now)
        job.impatient = now - job.seen[1] > self._patience

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        crew = self.crew
        with crew.change:
            late = crew.left > 0 and not crew.stopped and self._until is not None and time.monotonic() >= self._until
            unfinished = crew.left > 0
            crew.stopped = True
            crew.change.notify_all()
        if unfinished:
            crew.yard.client.abort()
        until = time.monotonic() + 0.8
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))
        for job in crew.jobs:
            if job.result is None and late:
                crew.give_up(job, f"the deadline of {self._deadline:g} s has passed")
            elif job.result is None:
                job.keep()
            job.give_back()
