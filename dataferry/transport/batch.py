"""Several small files over one connection, asked for at once: round trips are shared, whatever their length."""

from __future__ import annotations

from contextlib import suppress
from http.client import HTTPException

from ..errors import TransferError
from .answer import Answer
from .asking import accept
from .job import Job
from .work import lead, store_small
from .yard import Yard

__all__ = ["bring_together"]


def bring_together(yard: Yard, jobs: list[Job], buffer: memoryview) -> dict[int, TransferError]:
    """Bring small files of one host.

    Parameters
    ----------
    yard : Yard
        The run.
    jobs : list of Job
        Small registered files; all of them ask the same host.
    buffer : memoryview
        As for `lead`.

    Returns
    -------
    dict of int to TransferError
        ``id(job)`` -> what happened; a file without result and without error was not answered and is to be asked again.
    """
    ways = [(job, job.way) for job in jobs if job.way is not None]
    host = ways[0][1].host
    line = None
    with suppress(TransferError):  # one of the URLs is not fit: each is asked alone, and says so
        line = yard.client.ask_together([way.source for _, way in ways])
    if line is None:
        # No connection has served before: the first file opens one, and the others follow it.
        job, way = ways.pop(0)
        try:
            lead(yard, job, way, buffer, alone=False)
        except TransferError as exc:
            return {id(job): exc}
        return bring_together(yard, [job for job, _ in ways], buffer) if ways and job.result is not None else {}
    errors: dict[int, TransferError] = {}
    answered = 0
    for job, way in ways:
        line.owed -= 1
        answer = Answer(line.reader)
        try:
            answer.begin()
        except (OSError, HTTPException):
            break
        if 300 <= answer.status < 400:
            break
        answered += 1
        try:
            accept(yard.client, job, way.at(0), answer, line)
            store_small(yard, job, way, answer, line, buffer)
        except TransferError as exc:
            errors[id(job)] = exc
        if not answer.ended or answer.will_close:
            break
    if answered < len(ways):
        # What was not answered is asked again; of a server that does so often less is asked at once.
        line.close()
        host.depth //= 2
    return errors
