"""Objects that go up in parts, and go on where they were cut."""

from __future__ import annotations

import hashlib
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from .refusals import ClientError, code_of
from .single import about
from .store import Store
from .stream import Stream

if TYPE_CHECKING:
    from ..base import Upload

__all__ = ["LARGEST_PART", "MOST_PARTS", "ONE_REQUEST", "Parts", "part_size"]

#: Up to here a file goes up in one request.
ONE_REQUEST = 16 << 20
MOST_PARTS = 10_000
LARGEST_PART = 5 << 30
_MIB = 1 << 20
#: Parts of one file, and of all files, on their way at the same time.
_AT_ONCE, _IN_ALL = 8, 16
#: An upload that got no part in this time is nobody's.
_FORGOTTEN = timedelta(hours=1)
_MD5 = re.compile(r'"?([0-9a-f]{32})"?').fullmatch


def part_size(size: int) -> int:
    """The size of the parts of a file, which follows from its size alone: so another run can go on with them.

    Parameters
    ----------
    size : int
        The file's bytes.

    Returns
    -------
    int
        16 MiB, or as many MiB as 10,000 parts need.
    """
    return max(ONE_REQUEST, math.ceil(size / MOST_PARTS / _MIB) * _MIB)


class Parts:
    """Uploads in parts. Threads may share it.

    Parameters
    ----------
    store : Store
        The bucket.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._room = threading.BoundedSemaphore(_IN_ALL)
        self._begun: dict[str, list[str]] = {}

    def look(self, names: Iterable[str], below: str) -> None:
        """Learn which uploads other runs began.

        Parameters
        ----------
        names : iterable of str
            The files.
        below : str
            What all the names begin with.
        """
        wanted = set(names)
        self._begun = {}
        for name, upload_id, _ in self._unfinished(below):
            if name in wanted:
                self._begun.setdefault(name, []).append(upload_id)

    def _unfinished(self, below: str) -> Iterator[tuple[str, str, bool]]:
        """Name, upload id, and whether it is old."""
        place = self._store.place
        pages = self._store.client.get_paginator("list_multipart_uploads")
        try:
            for page in pages.paginate(Bucket=place.bucket, Prefix=place.prefix + below):
                date = page["ResponseMetadata"]["HTTPHeaders"].get("date")
                now = parsedate_to_datetime(date) if date else datetime.now(UTC)
                for item in page.get("Uploads", ()):
                    old = now - item["Initiated"] > _FORGOTTEN
                    yield str(item["Key"])[len(place.prefix) :], str(item["UploadId"]), old
        except ClientError as exc:
            # a key that may not list them still goes on with those in its notes
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404, 405, 501}:
                raise

    def put(
        self,
        upload: Upload,
        notes: MutableMapping[str, Any],
        moved: Callable[[int], None],
        before_the_end: Callable[[], None],
        *,
        create: bool,
    ) -> str:
        """Put a file there.

        Parameters
        ----------
        upload : Upload
            The file.
        notes : mapping
            Keeps the id of the upload.
        moved : callable
            Is told the bytes that went or were there.
        before_the_end : callable
            Called once all parts are there, before they become an object.
        create : bool
            Whether there must be no such object yet; a store may not heed it.

        Returns
        -------
        str
            The version id.

        Raises
        ------
        ClientError
            What boto3 raises.
        """
        client, said = self._store.client, about(self._store, upload)
        upload_id, done = self._resumed(upload, notes)
        if not upload_id:
            checked = {} if self._store.place.endpoint else {"ChecksumAlgorithm": "CRC32"}
            upload_id = str(client.create_multipart_upload(**said, **checked)["UploadId"])
            notes["upload_id"] = upload_id
        moved(sum(_length(upload, number) for number in done))
        which: dict[str, Any] = {word: said[word] for word in ("Bucket", "Key", "RequestPayer") if word in said}
        which["UploadId"] = upload_id

        def send(number: int) -> dict[str, Any]:
            size = _length(upload, number)
            with self._room, Stream(upload.path, (number - 1) * part_size(upload.size), size, moved) as body:
                answer = client.upload_part(Body=body, ContentLength=size, PartNumber=number, **which)
                body.settle()
            return _part(number, answer)

        parts = dict(done)
        missing = [number for number in range(1, _count(upload) + 1) if number not in done]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="dataferry-s3") as crew:
            sent = [crew.submit(send, number) for number in missing]
            try:
                wait(sent, return_when=FIRST_EXCEPTION)
            finally:
                crew.shutdown(wait=False, cancel_futures=True)
            failed = next((f.exception() for f in sent if f.done() and not f.cancelled() and f.exception()), None)
            if failed is not None:
                raise failed
            parts |= {part["PartNumber"]: part for part in (future.result() for future in sent)}
        before_the_end()
        whole = {"Parts": [parts[number] for number in sorted(parts)]}
        condition = {"IfNoneMatch": "*"} if create else {}
        answer = client.complete_multipart_upload(MultipartUpload=whole, **which, **condition)
        return str(answer.get("VersionId", ""))

    def _resumed(self, upload: Upload, notes: MutableMapping[str, Any]) -> tuple[str, dict[int, dict[str, Any]]]:
        """The upload to go on with, and its parts that hold this file's bytes."""
        noted = str(notes.get("upload_id", ""))
        best: tuple[str, dict[int, dict[str, Any]]] = ("", {})
        for upload_id in dict.fromkeys([*([noted] if noted else []), *self._begun.get(upload.name, ())]):
            right, wrong = self._compared(upload, upload_id)
            if right is None:
                continue
            # one that somebody else began is taken over only if it is about the same bytes
            if (upload_id == noted or (right and not wrong)) and (not best[0] or len(right) > len(best[1])):
                best = upload_id, right
        if best[0] and best[0] != noted:
            notes["upload_id"] = best[0]
        return best

    def _compared(self, upload: Upload, upload_id: str) -> tuple[dict[int, dict[str, Any]] | None, int]:
        """The parts that hold this file's bytes, and how many do not; None if there is no such upload."""
        place = self._store.place
        pages = self._store.client.get_paginator("list_parts")
        which = {"Bucket": place.bucket, "Key": place.prefix + upload.name, "UploadId": upload_id}
        try:
            told = [part for page in pages.paginate(**which) for part in page.get("Parts", ())]
        except ClientError as exc:
            if code_of(exc) in {"NoSuchUpload", "NoSuchKey", "404", "AccessDenied", "403"}:
                return None, 0  # it has ended, or is somebody else's
            raise
        with ThreadPoolExecutor(2, thread_name_prefix="dataferry-s3") as crew:
            same = list(crew.map(lambda part: _is_ours(upload, part), told))
        right = {
            part["PartNumber"]: _part(part["PartNumber"], part) for part, ours in zip(told, same, strict=True) if ours
        }
        return right, len(told) - len(right)

    def clean(self, uploads: Iterable[Upload], below: str) -> None:
        """Abort what is left of uploads whose object is there.

        Parameters
        ----------
        uploads : iterable of Upload
            Files that are proven to be there.
        below : str
            What all their names begin with.
        """
        wanted = {upload.name: upload for upload in uploads}
        for name, upload_id, old in list(self._unfinished(below)):
            if name not in wanted:
                continue
            right, wrong = self._compared(wanted[name], upload_id)
            if right is not None and not wrong and (right or old):
                key = self._store.place.prefix + name
                self._store.client.abort_multipart_upload(Bucket=self._store.place.bucket, Key=key, UploadId=upload_id)


def _count(upload: Upload) -> int:
    return math.ceil(upload.size / part_size(upload.size))


def _length(upload: Upload, number: int) -> int:
    step = part_size(upload.size)
    return min(step, upload.size - (number - 1) * step)


def _part(number: int, told: dict[str, Any]) -> dict[str, Any]:
    checked = {"ChecksumCRC32": told["ChecksumCRC32"]} if told.get("ChecksumCRC32") else {}
    return {"PartNumber": number, "ETag": told["ETag"], **checked}


def _is_ours(upload: Upload, part: dict[str, Any]) -> bool:
    """Whether a part at the store holds the bytes of the file; read again, since a wrong part spoils the object."""
    number, found = int(part["PartNumber"]), _MD5(str(part["ETag"]))
    if not 1 <= number <= _count(upload) or part["Size"] != _length(upload, number) or found is None:
        return False
    digest, left = hashlib.md5(usedforsecurity=False), int(part["Size"])
    with open(upload.path, "rb") as file:
        file.seek((number - 1) * part_size(upload.size))
        while left and (block := file.read(min(1 << 20, left))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest() == found[1]
