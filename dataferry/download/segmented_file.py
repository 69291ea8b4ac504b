"""The bytes of a file that is too large for memory: segments of a partial file, written and hashed as they come."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..errors import Reason, TransferError
from ..threads import Workers
from .partial_file import PartialFile
from .response import check_body, describe_body
from .rolling_hash import RollingHash
from .segments import Segment, Segments
from .session import Transfer
from .source import Wanted
from .stream import StreamReader

BEGINNING = 1024  # bytes by which a body is recognised


class RangeTransfer(Transfer):
    """A request for bytes of a file, or a stream of them that is read, and where they belong."""

    segment: Segment | None = None
    reader: StreamReader | None = None
    position = 0  # the byte of the file at which the next byte of the body belongs
    first = 0  # the byte of the file at which its object begins
    limit: int | None = None  # where the object ends, if that is not the end of the file
    start = 0  # the first byte that was requested
    stop: int | None = None  # one after the last one that was asked for, where that is known
    shortcut = False  # it goes straight to where an earlier redirect led
    got = kept = 0  # bytes that came, and those that another attempt goes on from

    @property
    def is_range(self) -> bool:
        """Whether the server sends what was asked for, and not the file from its first byte."""
        return self.head is not None and self.head.status == 206


class SegmentedFile:
    """What there is of one file on the disk, and what of the rest each connection downloads."""

    def __init__(
        self, partial: PartialFile, wanted: Wanted, size: int | None, workers: Workers, wake: Callable[[], None]
    ) -> None:
        self.partial, self.size, self._wanted = partial, size, wanted
        self.registered = wanted.sha256 is not None
        self.strange: tuple[Reason, str] | None = None
        self._head = b""
        self._hash: RollingHash | None = None
        if self.registered:
            self._hash = RollingHash(partial.fd, workers, wake)
            self._hash.advance(partial.ranges.prefix())
        here = partial.ranges.prefix()
        self.segments = Segments([(here, None)] if size is None else list(partial.ranges.missing(size)))
        self.segments.divisible = self.registered

    # -- what comes ----------------------------------------------------------------------------------------------------

    def learn_size(self, segment: Segment, total: int, place: str) -> None:
        """The server says how long a file is of which no size is registered."""
        partial = self.partial
        if total < segment.pos or partial.size not in (None, total):
            text = f"{total} bytes there, {partial.size or segment.pos} before: the file there was changed meanwhile"
            raise TransferError(place, text, kind=Reason.CHANGED)
        self.size = partial.size = total
        partial.describe()
        first, *others = partial.ranges.missing(total) or [(total, total)]
        segment.stop = first[1]
        self.segments.add(others)
        try:
            partial.reserve()
        except OSError as error:  # a server's word is no reason to end the run: another may have the file
            text = f"it announces {total} bytes: {error.strerror}"
            raise TransferError(place, text, kind=Reason.SIZE, final=True) from error

    def write(self, transfer: RangeTransfer, chunks: list[bytes], count: int) -> int:
        """Put bytes where they belong: how many of them were of use; TransferError if they are not of the file."""
        segment, before = transfer.segment, transfer.position
        while count and segment is not None:
            skip = segment.pos - transfer.position  # a server that ignores ranges sends what is there again
            space = count if segment.stop is None else segment.stop - segment.pos
            if transfer.limit is not None:
                space = min(space, transfer.limit - transfer.position)
            if skip <= 0 and space >= count:
                self._put(transfer, segment, chunks, count)
                break
            data = b"".join(chunks)
            if skip > 0:
                taken = min(skip, count)
                transfer.position += taken
            elif space > 0:
                taken = space
                self._put(transfer, segment, [data[:taken]], taken)
            else:
                segment = self._following(transfer, segment)
                if segment is None:
                    self._refuse_surplus(transfer)
                continue
            chunks, count = [data[taken:]], count - taken
        if self._hash is not None:
            self._hash.advance(self.partial.ranges.prefix())
        return transfer.position - before

    def _put(self, transfer: RangeTransfer, segment: Segment, chunks: list[bytes], count: int) -> None:
        if transfer.position == 0:
            self._head = b"".join(chunks[:8])[:BEGINNING]
            headers = transfer.head.headers if transfer.head is not None else None
            self.strange = describe_body(self._head, headers, self._wanted.name)
            if self.strange and not self.registered:
                raise TransferError(transfer.place, self.strange[1], kind=self.strange[0], final=True)
        self.partial.write(transfer.position, chunks)
        self.segments.wrote(segment, count)
        transfer.position += count
        transfer.kept += count

    def _following(self, transfer: RangeTransfer, segment: Segment) -> Segment | None:
        """A further segment for a response that goes on: of a server that ignores ranges, or of a stream."""
        if transfer.is_range or (transfer.limit is not None and transfer.position >= transfer.limit):
            return None
        following = self.segments.take_at(transfer.position, exactly=transfer.reader is not None)
        if following is not None:
            self.segments.end(segment)
            transfer.segment = following
        return following

    def _refuse_surplus(self, transfer: RangeTransfer) -> None:
        """Refuse a file that is longer than it should be; what comes of another connection's range is no surplus."""
        end = self.size if transfer.limit is None else transfer.limit
        if transfer.position == end and not transfer.is_range:
            known = f"{self.size} that are registered" if transfer.limit is None else "ones of this part"
            kind, reason = self.strange or (Reason.SIZE, f"the server sent more bytes than the {known}")
            raise TransferError(transfer.place, reason, kind=kind, final=True)

    def is_through(self, transfer: RangeTransfer) -> bool:
        """Whether a request has all bytes of its segment, though its response goes on."""
        segment = transfer.segment
        if segment is None or segment.stop is None or segment.pos < segment.stop:
            return False
        if transfer.is_range:
            return segment.stop < transfer.start + (transfer.expected or 0)  # its end was given to another
        if self._following(transfer, segment) is not None:
            return False
        return transfer.position not in (self.size, transfer.limit)

    def ended(self, transfer: RangeTransfer, segment: Segment, error: TransferError | None) -> None:
        """Take the end of a response, whose bytes are written; TransferError if some of its segment lack."""
        position = transfer.position
        if segment.stop is not None and segment.pos >= segment.stop:
            return  # whatever happened after its last byte
        if error is not None:
            if self.strange is not None and error.kind == Reason.CUT:
                raise TransferError(transfer.place, self.strange[1], kind=self.strange[0])
            raise error
        if segment.stop is None and position >= segment.pos:
            if not self.registered and transfer.head is not None:
                name, size = self._wanted.name, self._wanted.size
                check_body(transfer.head.headers, transfer.place, name, self._head, position, size)
            self.size = segment.stop = position
            return
        if transfer.limit is not None and position >= transfer.limit:
            return  # the rest is in other objects
        what = "stream" if transfer.reader is not None else "body"
        size = segment.pos if segment.stop is None else self.size
        # An answer without a length, of a file without a registered size, ends where its server thinks that it does.
        whole = transfer.head is not None and transfer.head.status == 200 and transfer.head.total is None
        kind = Reason.CHANGED if whole and self._wanted.size is None else Reason.CUT
        kind, reason = self.strange or (kind, f"the {what} ended after {position} of {size} bytes")
        raise TransferError(transfer.place, reason, kind=kind, final=self.strange is not None)

    def is_right_without_an_end(self, error: TransferError) -> bool:
        """Whether all bytes of a registered file of unknown size are there, and only the end of its body lacks."""
        size = self.partial.ranges.prefix()
        if not self.registered or self.size is not None or error.kind not in (Reason.CUT, Reason.STALL) or not size:
            return False
        check = RollingHash(self.partial.fd, Workers(0))
        check.finish(size)
        check.close()
        if check.digest() != self._wanted.sha256:
            return False
        self.size = self.partial.size = size
        return True

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """All bytes are there: have the rest of them hashed."""
        if self._hash is not None and self.size is not None:
            self._hash.finish(self.size)

    def is_hashed(self, place: str) -> bool:
        """Whether the hash is known; TransferError about `place` if it is not the registered one."""
        if self._hash is not None:
            digest = self._hash.digest()
            if digest is None:
                return False
            if digest != self._wanted.sha256:
                raise other_file(place, digest, self.strange)
        return True

    def close(self) -> None:
        """Cut the file to its size, and end all writing."""
        self._stop()
        fd, size = self.partial.fd, self.size or 0
        if os.fstat(fd).st_size != size:  # to cut nothing off waits for the disk on ext4
            os.ftruncate(fd, size)
        self.partial.close()

    def keep(self) -> None:
        """Leave what is there for another attempt."""
        self._stop()
        self.partial.keep()

    def discard(self) -> None:
        """Remove what is there."""
        self._stop()
        self.partial.discard()

    def _stop(self) -> None:
        if self._hash is not None:
            self._hash.close()


def other_file(place: str, sha256: str, strange: tuple[Reason, str] | None) -> TransferError:
    """The error for a file that is whole and not the right one."""
    text = "all bytes arrived, but their sha256 is not the registered one: another file has this name there"
    kind, reason = strange or (Reason.SHA256, text)
    return TransferError(place, reason, kind=kind, final=strange is not None, sha256="" if strange else sha256)
