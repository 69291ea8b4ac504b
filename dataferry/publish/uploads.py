"""The uploads to one host, several at a time."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import AccessDenied, Conflict, DataferryError, PublishError, WrongBytes
from .ask import as_error
from .tally import Lane, Stopped

if TYPE_CHECKING:
    from ..files import Digests
    from ..hosts.base import Publisher, Upload
    from .notes import Notebook

__all__ = ["Uploads"]

#: After so many failures in a row the host is not asked for every other file as well.
_ENOUGH = 3
_LARGE = 1 << 23


class Uploads:
    """The uploads to one host.

    Parameters
    ----------
    publisher : Publisher
        What takes a file there.
    book : Notebook
        The notes.
    digests : mapping of str to Digests
        What each file was when it was read.
    lane : Lane
        Who is told how far it is.
    """

    def __init__(self, publisher: Publisher, book: Notebook, digests: Mapping[str, Digests], lane: Lane) -> None:
        self._publisher, self._book, self._digests, self._lane = publisher, book, digests, lane
        self._lock = threading.Lock()
        self._queue: deque[Upload] = deque()
        self._in_a_row = 0
        self._enough = False
        self._results: dict[str, Mapping[str, str | int] | DataferryError] = {}

    def run(self, uploads: Sequence[Upload], parallel: int) -> dict[str, Mapping[str, str | int] | DataferryError]:
        """Upload files.

        Parameters
        ----------
        uploads : sequence of Upload
            The files.
        parallel : int
            How many at the same time.

        Returns
        -------
        dict of str to (mapping or DataferryError)
            Name -> the file's locators, or why it did not arrive.

        Raises
        ------
        Stopped
            If the run ends.
        """
        # what is large is begun first, so that no long one is left for the end
        self._queue = deque(sorted(uploads, key=lambda u: -u.size if u.size > _LARGE else 0))
        threads = [threading.Thread(target=self._work, name="dataferry-upload", daemon=True) for _ in range(parallel)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self._lane.check()
            for thread in threads:
                thread.join(0.05 / len(threads))
        self._lane.check()
        missing = [upload.name for upload in uploads if upload.name not in self._results]
        if missing:
            place, word = self._publisher.host.redacted, "file was" if len(missing) == 1 else "files were"
            none = PublishError(place, f"{len(missing)} further {word} not tried after so many failures")
            self._results |= dict.fromkeys(missing, none)
        return {upload.name: self._results[upload.name] for upload in uploads}

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue or self._enough:
                    return
                upload = self._queue.popleft()
            result: Mapping[str, str | int] | DataferryError
            self._lane.begin(upload.name, upload.size)
            try:
                result = self._one(upload)
            except Stopped:
                return
            except Exception as error:  # noqa: BLE001 - one failure does not stop the others
                result = as_error(error, f"{self._publisher.host.redacted}: {upload.name}")
            self._lane.end(upload.name, not isinstance(result, DataferryError))
            with self._lock:
                self._results[upload.name] = result
                self._judge(result)

    def _one(self, upload: Upload) -> Mapping[str, str | int]:
        self._lane.check()
        self._still_the_same(upload)
        notes = self._book.file(upload.name, upload.sha256)
        locators = self._publisher.upload(upload, notes, lambda count: self._lane.moved(upload.name, count))
        self._still_the_same(upload)
        return locators

    def _still_the_same(self, upload: Upload) -> None:
        try:
            same = self._digests[upload.name].holds(os.stat(upload.path))
        except OSError as error:
            raise WrongBytes(f"{upload.path}: {error.strerror or error}") from error
        if not same:
            raise WrongBytes(f"{upload.path} has changed since it was read; run the same command again")

    def _judge(self, result: Mapping[str, str | int] | DataferryError) -> None:
        if not isinstance(result, DataferryError):
            self._in_a_row = 0
        elif isinstance(result, AccessDenied):
            self._enough = True
        elif not isinstance(result, Conflict | WrongBytes):
            self._in_a_row += 1
            self._enough = self._enough or self._in_a_row >= _ENOUGH
