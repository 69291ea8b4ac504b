"""Sources that do not speak HTTP: what their library opens is read ahead, in a thread that nobody has to wait for."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from ..errors import DataferryError, Reason, TransferError
from .source import Source

_AHEAD = 4  # reads that may be ahead of the disk
_LEAST, _MOST = 1 << 14, 1 << 20
_QUICK, _SLOW = 0.1, 0.5  # seconds: a read that takes less is made larger, one that takes more smaller
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})


class StreamReader:
    """Reads a source with an opener from a byte on, at most `rate` bytes per second, 0 for any.

    `news` is called in the thread when something has come, or all is over.
    """

    def __init__(self, source: Source, start: int, news: Callable[[], None], rate: int = 0) -> None:
        self._source, self._start, self._news = source, start, news
        self._most = max(4096, min(_MOST, rate // 10)) if rate else _MOST
        self._chunks: list[bytes] = []
        self._change = threading.Condition()
        self._left = False
        self.ended = False
        self.error: TransferError | None = None
        self._thread = threading.Thread(target=self._run, name="dataferry-reader", daemon=True)
        self._thread.start()

    def waiting(self) -> bool:
        """Whether something has come that was not taken."""
        return bool(self._chunks)

    def take(self) -> list[bytes]:
        """What has come since the last time."""
        with self._change:
            chunks, self._chunks = self._chunks, []
            self._change.notify()
        return chunks

    def close(self) -> None:
        """Leave it; a thread that is not waiting ends now."""
        with self._change:
            self._left = True
            self._chunks.clear()
            self._change.notify()
        self._thread.join(0.1)

    def _run(self) -> None:
        opener, stream = self._source.opener, None
        try:
            stream = opener(self._start) if opener is not None else None
            # `read` may wait until all has come that was asked for: a slow stream is asked for little.
            read, size = getattr(stream, "read1", None) or stream.read, _LEAST  # type: ignore[union-attr]
            while not self._left:
                began = time.monotonic()
                data = read(min(size, self._most))
                took = time.monotonic() - began
                if not isinstance(data, bytes | bytearray | memoryview):
                    raise TypeError(f"what was opened gives {type(data).__name__} and not bytes")
                size = min(_MOST, size * 4) if took < _QUICK else max(_LEAST, size // 4) if took > _SLOW else size
                if not len(data):
                    return
                with self._change:
                    while len(self._chunks) >= _AHEAD and not self._left:
                        self._change.wait()
                    if not self._left:
                        self._chunks.append(bytes(data))
                self._news()
        except BaseException as exc:  # noqa: BLE001
            self.error = _named(exc, self._source)
        finally:
            with suppress(BaseException):
                if stream is not None:
                    stream.close()
            self.ended = True
            self._news()


def _named(exc: BaseException, source: Source) -> TransferError:
    """The error of any library as one of ours, without what only the library may know."""
    if isinstance(exc, TransferError):
        return exc
    place = source.redacted
    message = " ".join(str(exc).split()).replace(source.url, place)
    user, _, _ = urlsplit(source.url).netloc.rpartition("@")
    for secret in filter(None, (user, user.partition(":")[2])):
        message = message.replace(secret, "...")
    text = f"{type(exc).__name__}: {message}" if message else type(exc).__name__
    if isinstance(exc, DataferryError | ImportError):
        return TransferError(place, message or text, kind=Reason.ERROR, final=True)
    if isinstance(exc, FileNotFoundError):
        return TransferError(place, f"not there ({text})", kind=Reason.ABSENT, final=True)
    if isinstance(exc, PermissionError):
        return TransferError(place, f"not allowed ({text})", kind=Reason.DENIED, final=True)
    kinds = ((socket.gaierror, Reason.DNS), (TimeoutError, Reason.TIMEOUT), (ConnectionRefusedError, Reason.CONNECT))
    kinds += ((ConnectionError, Reason.CUT), (EOFError, Reason.CUT))  # type: ignore[assignment]
    kind = next((kind for sort, kind in kinds if isinstance(exc, sort)), Reason.ERROR)
    if isinstance(exc, OSError) and exc.errno in _NO_ROUTE:
        kind = Reason.UNREACHABLE
    return TransferError(place, text, kind=kind)
