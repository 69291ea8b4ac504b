"""Several small files over one connection, asked for at once: round trips are shared, whatever their length.

Answers as every web server gives them for such a file, 200 with its length, are read here with few steps for each: the
interpreter's time is what thousands of small files cost. Any other answer is left to the rooms that know them all.
"""

from __future__ import annotations

import re
import socket
import time
from collections import deque
from contextlib import suppress
from http.client import HTTPException
from typing import cast

from ..errors import TransferError
from .answer import Answer, KeptReader
from .asking import accept
from .blame import blame
from .health import HostHealth
from .job import Job
from .line import Line
from .stall import Stall
from .store import store_bytes, store_small
from .way import Way
from .work import lead
from .yard import Yard

__all__ = ["bring_together", "company"]

_PLAIN = re.compile(rb"http/1\.1 200[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?:\r|\Z)")
_STRANGE = re.compile(rb"\r\n(?:transfer-encoding:|content-encoding:|connection:(?![ \t]*keep-alive[ \t]*(?:\r|\Z)))")
_LONGEST_HEAD = 65536
_MOST = 63  # further small files that one worker takes; `HostHealth.depth` of them are asked for at a time
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def company(job: Job, queue: deque[Job], host: HostHealth) -> list[Job]:
    """Further small files to bring with one: fewer round trips, and each connection has its share.

    Parameters
    ----------
    job : Job
        The file that is brought in any case.
    queue : deque of Job
        What waits for the same host; what goes along is taken out.
    host : HostHealth
        The host.

    Returns
    -------
    list of Job
        They share a connection with `job`.
    """
    most = min(_MOST, len(queue) // (2 * host.target)) if host.depth and job.small and not host.suspect else 0
    along: list[Job] = []
    while len(along) < most and queue[0].small:
        along.append(queue.popleft())
    return along


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
    todo = [(job, job.way) for job in jobs if job.way is not None]
    client, host = yard.client, todo[0][1].host
    errors: dict[int, TransferError] = {}
    while todo:
        line, heads = None, None
        with suppress(TransferError):  # one of the URLs is not fit: each is asked alone, and says so
            heads = client.heads([way.source for _, way in todo])
            line = client.kept(todo[0][1].source) if heads else None
        if line is None or heads is None:
            # No connection has served before: the first file opens one, and the others follow it.
            job, way = todo.pop(0)
            try:
                lead(yard, job, way, buffer, alone=False)
            except TransferError as exc:
                errors[id(job)] = exc
            if job.result is None:
                break
            continue
        try:
            answered, asked = _read_plain(yard, todo, heads, line, buffer, errors)
            answered += _read_any(yard, todo[answered:asked], line, buffer, errors) if line.owed else 0
        except BaseException:
            line.close()
            raise
        if answered < asked:
            # What was not answered is asked again; of a server that does so often less is asked at once.
            line.close()
            host.depth //= 2
            break
        del todo[:answered]
    return errors


def _read_plain(
    yard: Yard,
    ways: list[tuple[Job, Way]],
    heads: list[bytes],
    line: Line,
    buffer: memoryview,
    errors: dict[int, TransferError],
) -> tuple[int, int]:
    """Ask for files and read the answers as long as they are what they should be: how many came, of how many.

    If the next one is another, ``line.owed`` is what is still to come, and ``line.reader`` begins with it.
    """
    client, host = yard.client, ways[0][1].host
    data, recv_into, sendall = cast(bytearray, buffer.obj), line.sock.recv_into, line.sock.sendall
    window, sent = host.depth + 1, 0
    stall: Stall | None = None
    asked_at = 0.0
    begin = end = 0  # what has come and was not used yet

    def more() -> None:
        nonlocal end, stall
        if _QUICK_ACK is not None:
            # A server may hold the end of an answer back until the rest is acknowledged, which takes 40 ms by default.
            line.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        before = time.monotonic()
        count = recv_into(buffer[end:])
        if not count:
            raise ConnectionResetError(104, "closed")
        now = time.monotonic()
        if not end and not begin:
            host.first_byte = min(host.first_byte, now - asked_at)
        end += count
        host.waited += now - before
        host.got(count)
        if stall is None:
            stall = Stall(client.stall_timeout)
        elif stall.check(count, now):
            raise TimeoutError("too little")

    for number, (job, way) in enumerate(ways):
        size = job.size or 0
        try:
            if sent - number <= window // 2 and sent < len(heads):
                # Some are always on their way, so that neither side waits for the other.
                further = min(number + window, len(heads))
                asked_at = time.monotonic()
                sendall(b"".join(heads[sent:further]))
                sent = further
            if not host.unlimited:
                line.owed = sent
                return 0, sent
            if len(buffer) - begin < _LONGEST_HEAD + size:
                # The rest of what came moves to the front, so that there is room for all of this one.
                buffer[: end - begin] = buffer[begin:end]
                begin, end = 0, end - begin
            while (stop := data.find(b"\r\n\r\n", begin, end)) < 0 and end - begin < _LONGEST_HEAD:
                more()
            head = data[begin:stop].lower() if stop >= 0 else b""
            length = _LENGTH.findall(head)
            fit = len(length) == 1 and int(length[0]) == size and _PLAIN.match(head)
            if not fit or _STRANGE.search(head):
                line.reader = KeptReader(line.sock, bytes(buffer[begin:end]))
                line.owed = sent - number
                return number, sent
            begin = stop + 4
            while end - begin < size:
                more()
        except (OSError, ValueError) as exc:
            line.close()
            if number or not (end or isinstance(exc, TimeoutError)):
                return number, len(ways)  # closed after some answers, or while it was kept: the rest is asked again
            error = blame(exc, way.source.redacted)
            if isinstance(exc, TimeoutError):
                error = TransferError(way.source.redacted, f"nothing came for {client.stall_timeout:g} s", kind="stall")
            errors[id(job)] = error
            return 1, len(ways)
        body = buffer[begin : begin + size]
        begin += size
        job.moved += size
        try:
            store_bytes(yard, job, way, body)
        except TransferError as exc:
            errors[id(job)] = exc
    if begin == end:
        line.used += len(ways)
        client.keep(line)
    else:
        line.close()  # more has come than was asked for
    return len(ways), len(ways)


def _read_any(
    yard: Yard, ways: list[tuple[Job, Way]], line: Line, buffer: memoryview, errors: dict[int, TransferError]
) -> int:
    """Read whatever answers come; the number of those that came."""
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
    return answered
