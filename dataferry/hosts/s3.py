"""Buckets of Amazon S3 and of the stores that speak its language.

``s3://bucket/prefix/?region=us-west-2`` in ``dataferry.toml``. Words of the query, all optional:

============ ========================================================================================================
``region``   where the bucket is; AWS needs it
``endpoint`` the URL of a store that is not AWS, ``https://objects.example.org``
``style``    ``virtual``, as AWS wants it (the bucket stands in the host of a URL), or ``path``, as other stores do
``public``   the URL at which everybody finds the bucket, where a CDN or a domain of its own stands before it
``class``    the storage class of new objects, ``INTELLIGENT_TIERING``
``acl``      the ACL of new objects, ``public-read``, where the bucket is not made public by a policy
``payer``    ``requester``: who reads signs and pays
``version``  the registry's key for version ids, ``s3``; ``off`` to keep none
============ ========================================================================================================

Public files are read by plain HTTPS. All else goes through boto3.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import math
import mimetypes
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..download.source import Source
from ..errors import AccessDenied, Conflict, MissingExtra, PublishError, TransferError
from .api_client import FileBody
from .base import Host, HostedFile, HostStatus, Limits, Locators, Moved, Notes, Publisher, Upload
from .s3_client import Bucket, S3Client

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.entry import Entry


_MIB = 1 << 20
#: Up to here a file goes up in one request.
ONE_REQUEST = 16 * _MIB
MOST_PARTS = 10_000
LARGEST_PART = 5 << 30
#: AWS since December 2025; what other stores take is not known, and what AWS took before is a fair guess.
_AWS_FILE, _OTHER_FILE = MOST_PARTS * LARGEST_PART, 5 << 40
_LONGEST_KEY = 1024
#: Parallel uploads of files, of parts of one file, and of parts of all files.
_UPLOADS, _PARTS, _ALL_PARTS = 32, 8, 16
#: Attempts for each request of an upload: with their pauses about a minute. Questions before it get fewer.
_ATTEMPTS = 8
#: Seconds that a signed URL holds; long, since a large file is asked for in many pieces.
_SIGNED_FOR = 24 * 3600
_KEY_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
#: Who sets it to "requester" agrees to pay for what is read; other programs know it too.
_PAY_VARIABLE = "AWS_REQUEST_PAYER"
#: A compressed file has the type of its archive and no Content-Encoding, so that nobody unpacks it on its journey.
_TYPES = {**dict.fromkeys((".fits", ".fit", ".fz"), "application/fits"), ".gz": "application/gzip"}
#: The object is there, or was being made by someone else.
_BEFORE_US = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchUpload"}
#: An upload that has ended, or is somebody else's.
_NOT_OURS = {"NoSuchUpload", "NoSuchKey", "404", "AccessDenied", "403"}
_AGAIN = "run the same command again"
_GIVEN_UP = "if nobody continues the other upload, run the same command again half an hour after its last part"
_OTHER = "a published name keeps its bytes: choose a new name, or publish a new version to a bucket that keeps versions"


class S3Host(Host):
    """A bucket of Amazon S3 or of a compatible store.

    It is declared as ``s3://bucket/prefix/?region=us-west-2``; all words are in the docstring of this module.
    """

    schemes = ("s3",)
    example = "s3://bucket/"

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.bucket = Bucket(spec)
        self.locator = self.bucket.locator  # each bucket may have a key of its own

    @property
    def redacted(self) -> str:
        """The declaration; there are no secrets in it."""
        return self.spec

    @classmethod
    def missing(cls, scheme: str) -> str:
        """The library that publishes."""
        if importlib.util.find_spec("boto3") is None:
            return "boto3, to publish and for private buckets: pip install 'dataferry[s3]'"
        return ""

    def status(self, settings: Settings) -> HostStatus:
        """What boto3 would find first, without it: loading it is slow, and it may ask the network."""
        found = [f"the variable {name}" for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE") if os.environ.get(name)]
        for variable, path in _KEY_FILES.items():
            found += filter(os.path.isfile, [os.path.expanduser(os.environ.get(variable) or path)])
        return HostStatus("Amazon S3", "AWS_ACCESS_KEY_ID", found[0] if found else "")

    def _version(self, entry: Entry | None) -> str:
        return str(entry.locators.get(self.locator, "")) if entry is not None and self.locator else ""

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The object's URL for everybody; none where readers pay, because they have to sign."""
        if self.bucket.requester_pays:
            return []
        return [Source(self.bucket.url(name, self._version(entry)), self.redacted)]

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Signed URLs, that hold for a day or as long as the credentials do; the store is not asked for the files."""
        bucket = self.bucket
        if bucket.requester_pays and os.environ.get(_PAY_VARIABLE) != "requester":
            reason = f"the store charges the reader of this bucket: {_PAY_VARIABLE}=requester agrees to that"
            raise TransferError(self.redacted, reason, kind="payer", final=True)
        if settings.anonymous and not bucket.requester_pays:  # the proof that everybody can read
            raise self._private()
        with self._reading(settings) as client:
            if not bucket.endpoint and not bucket.region and (region := client.region()):
                return self.in_region(region).look_up(wanted, settings)  # a signature names it
            headers = {"x-amz-request-payer": "requester"} if bucket.requester_pays else {}
            found = {}
            for name, entry in wanted.items():
                version = self._version(entry)
                params = bucket.params(name) | ({"VersionId": version} if version else {})
                url = client.boto.generate_presigned_url("get_object", Params=params, ExpiresIn=_SIGNED_FOR)
                found[name] = [Source(str(url), self.redacted, headers)]
            return found

    @contextmanager
    def _reading(self, settings: Settings, what: str = "", *, anonymous: bool = False) -> Iterator[S3Client]:
        """The bucket as a reader asks it, who has a key unless it is `anonymous`."""
        reading = self.spec not in settings.named_hosts
        try:
            client = S3Client(self.bucket, settings, anonymous=anonymous, reading=reading)
            client.boto.meta.events.register_first("needs-retry.s3", _end_in_silence)
            with closing(client.boto):
                if client.credentials is None and not anonymous:
                    raise self._private(what)
                yield client
        except MissingExtra as error:
            reason = f"it is not public, and to sign a request {error}"
            raise TransferError(self.redacted, reason, kind="extra", final=True) from error
        except PublishError as error:
            raise TransferError(self.redacted, f"{what}{error.reason}", kind="credentials", final=True) from error

    def _private(self, what: str = "") -> TransferError:
        elsewhere = ""
        if self.bucket.endpoint:
            elsewhere = (
                f", and, since this store is not AWS, AWS_ENDPOINT_URL_S3={self.bucket.endpoint}; or user and password "
                f'under [hosts."s3://{urlsplit(self.bucket.server).netloc}"] of config.toml'
            )
        reason = (
            f"{what}without an access key the store refuses the file: it does not exist, or the bucket is private (the "
            "store gives the same answer to both); for a private one set AWS_PROFILE, or AWS_ACCESS_KEY_ID "
            f"and AWS_SECRET_ACCESS_KEY{elsewhere}"
        )
        return TransferError(self.redacted, reason, kind="credentials", final=True)

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """All objects below the prefix, asked for without a key first, then signed.

        With md5 where an object went up in one piece, and sha256 where its author kept it in the object's metadata.
        """
        no_list = "gives no list: "
        with self._reading(settings, no_list, anonymous=True) as client, suppress(AccessDenied):
            return client.all_files()
        with self._reading(settings, no_list) as client:
            return client.all_files()

    def in_region(self, region: str) -> S3Host:
        """The same bucket, declared with its region."""
        return S3Host(f"{self.spec}{'&' if '?' in self.spec else '?'}region={region}")

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """See `Publisher`."""
        return S3Publisher(self, settings, about)


def _end_in_silence(attempts: int, caught_exception: Exception | None, **_: object) -> None:
    """Let boto3 ask a reader's question again after one lost answer; each further one would cost a whole timeout."""
    from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

    if attempts > 1 and isinstance(caught_exception, ConnectTimeoutError | ReadTimeoutError):
        raise caught_exception


class S3Publisher(Publisher):
    """Takes files to a bucket; large ones in parts, which go on where they were cut."""

    parallel = _UPLOADS
    repairs = True
    host: S3Host
    #: An upload without a new part for so long is given up. Clocks may differ by 15 minutes: S3 refuses requests then.
    abandoned_after = timedelta(minutes=30)

    def __init__(self, host: S3Host, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self.limits = Limits(file_bytes=_OTHER_FILE if host.bucket.endpoint else _AWS_FILE)
        self.versioned = bool(host.bucket.locator)  # it may be; `check_rights` asks the bucket
        self._parts_at_once = threading.BoundedSemaphore(_ALL_PARTS)
        self._unfinished: dict[str, dict[str, datetime]] = {}

    def check_rights(self) -> str:
        """Ask what the access key may do, and whether everybody may read; nothing is written."""
        self._client = client = S3Client(self.host.bucket, self.settings)
        declared = self.host.bucket
        client.check_rights()
        region = client.region()
        if region and not declared.endpoint and region != declared.region:
            if declared.region:
                reason = f"the bucket is in {region}, and everybody would ask {declared.region} for it"
                raise PublishError(self.host.redacted, reason, f"declare region={region}")
            client.boto.close()
            self.host = self.host.in_region(region)  # which is then declared: everybody needs it
            self._client = client = S3Client(self.host.bucket, self.settings)  # a signature names the region
        self.versioned = bool(declared.locator) and client.versioned()
        return client.who

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """The objects that are there; the list gives the md5 of those in one piece, the others are asked."""
        found = self._client.hosted([upload.name for upload in uploads], versioned=self.versioned)
        # a version's id is worth keeping only where the bucket keeps versions
        return found if self.versioned else {name: replace(file, locators={}) for name, file in found.items()}

    def problem(self, upload: Upload) -> str:
        """A key has 1,024 bytes at most."""
        length = len((self.host.bucket.prefix + upload.name).encode())
        return f"its key would have {length} bytes, and {_LONGEST_KEY} are the most" if length > _LONGEST_KEY else ""

    def begin(self, uploads: Sequence[Upload], notes: Notes) -> None:
        """Look which multipart uploads other runs began; from now on a network may be away for some seconds."""
        self._client.boto.close()
        self._client = S3Client(self.host.bucket, self.settings, attempts=_ATTEMPTS)
        self._unfinished = self._multipart_uploads(uploads)

    def upload(self, upload: Upload, notes: Notes, moved: Moved) -> Locators:
        """Put a file there, in one request or in parts."""
        put = self._put_parts if upload.size > ONE_REQUEST else self._put_whole
        # there must be no such object yet; a store may not heed it
        new = {} if upload.name in {*self.superseded, *self.damaged} else {"IfNoneMatch": "*"}
        answer: dict[str, Any] = {}
        with self._client.translated_errors(upload.name, unless=_BEFORE_US):
            answer = put(upload, notes, moved, new)
        locators: Locators = self._client.locators(answer)
        if not answer:  # another run, or a request whose answer was lost, was first
            locators = self._compare(upload, self._client.head(upload.name)).locators
        return locators if self.versioned else {}

    def _compare(self, upload: Upload, there: HostedFile | None) -> HostedFile:
        """What is there under a name: raises `PublishError` if that is nothing, `Conflict` if it has other bytes."""
        place = f"{self.host.redacted} ({upload.name})"
        if there is None:
            raise PublishError(place, "it is not there any more: somebody else removed it, or its upload", _AGAIN)
        if there.matches(upload) is False:
            raise Conflict(place, "someone else put other bytes under this name at the same time", _OTHER)
        return there

    def _object(self, upload: Upload) -> dict[str, Any]:
        """What is kept with an object."""
        bucket, known = self.host.bucket, _TYPES.get(os.path.splitext(upload.name)[1].lower())
        guess, encoding = mimetypes.guess_type(upload.name, strict=False)
        options = {"StorageClass": bucket.storage_class, "ACL": bucket.acl}
        return {
            **bucket.params(upload.name),
            "ContentType": known or (guess if guess and not encoding else "application/octet-stream"),
            "Metadata": {"sha256": upload.sha256},
            **{word: value for word, value in options.items() if value},
        }

    def _put_whole(self, upload: Upload, notes: Notes, moved: Moved, new: Mapping[str, str]) -> dict[str, Any]:
        params = {**self._object(upload), **new}
        if not self.host.bucket.endpoint:
            params["ChecksumSHA256"] = base64.b64encode(bytes.fromhex(upload.sha256)).decode()
        # boto3 takes 0.6 ms of CPU for each file more than a request signed by hand: 1.3 s for 2,000 files of 20 kB
        with FileBody(upload.path, 0, upload.size, moved) as body:
            return dict(self._client.boto.put_object(Body=body if upload.size else b"", **params))

    def _put_parts(self, upload: Upload, notes: Notes, moved: Moved, new: Mapping[str, str]) -> dict[str, Any]:
        boto, ranges = self._client.boto, _ranges(upload.size)
        upload_id, done = self._resumed(upload, notes.get("upload_id", ""))
        if not upload_id:
            checksum = {} if self.host.bucket.endpoint else {"ChecksumAlgorithm": "CRC32"}
            upload_id = str(boto.create_multipart_upload(**self._object(upload), **checksum)["UploadId"])
        notes["upload_id"] = upload_id
        moved(sum(ranges[number][1] for number in done))
        which = {**self.host.bucket.params(upload.name), "UploadId": upload_id}

        def send(number: int) -> dict[str, Any]:
            start, size = ranges[number]
            with self._parts_at_once, FileBody(upload.path, start, size, moved) as body:
                return _part(number, boto.upload_part(Body=body, ContentLength=size, PartNumber=number, **which))

        with ThreadPoolExecutor(_PARTS, thread_name_prefix="dataferry-s3") as pool:
            sent = pool.map(send, (number for number in ranges if number not in done))
            parts = sorted([*done.values(), *sent], key=itemgetter("PartNumber"))
        # radosgw 16 ignores the condition when it puts parts together
        if new and self.host.bucket.endpoint:
            self._check_earlier_uploads(upload, upload_id)
            if self._client.head(upload.name) is not None:
                return {}
        return dict(boto.complete_multipart_upload(MultipartUpload={"Parts": parts}, **which, **new))

    def _check_earlier_uploads(self, upload: Upload, upload_id: str) -> None:
        """Of two authors with other bytes the one who began later gets a `Conflict`, and the earlier one completes.

        An upload leaves the store's list after its object is there: who completes next sees one of them. An abandoned
        upload is aborted, so that its author cannot complete it afterwards.
        """
        begun = self._multipart_uploads([upload])[upload.name]
        mine = begun.get(upload_id)  # None if this key may not list uploads
        for other, time in begun.items():
            parts = self._list_parts(upload, other) if mine and (time, other) < (mine, upload_id) else None
            if parts is None or (parts and _all_ours(upload, parts)):
                continue
            newest = max([time, *(part["LastModified"] for part in parts)])
            if datetime.now(UTC) - newest < self.abandoned_after:
                reason = f"another upload of other bytes began earlier, and got its last part at {newest:%H:%M} UTC"
                raise Conflict(f"{self.host.redacted} ({upload.name})", reason, f"{_OTHER}; {_GIVEN_UP}")
            self._abort(upload, other)

    def _multipart_uploads(self, uploads: Sequence[Upload]) -> dict[str, dict[str, datetime]]:
        """The ids of unfinished uploads of these files and when they began, by name."""
        found: dict[str, dict[str, datetime]] = {upload.name: {} for upload in uploads if upload.size > ONE_REQUEST}
        prefix = self.host.bucket.prefix
        below = prefix + os.path.commonprefix(list(found))  # noqa: RUF071 - it need not end with a folder
        # a key that may not list them still goes on with those in its notes
        with self._client.translated_errors("unfinished uploads", unless={"403", "404", "405", "501"}):
            for item in self._client.pages("list_multipart_uploads", "Uploads", Prefix=below) if found else ():
                found.get(str(item["Key"])[len(prefix) :], {})[str(item["UploadId"])] = item["Initiated"]
        return found

    def _resumed(self, upload: Upload, noted: str) -> tuple[str, dict[int, dict[str, Any]]]:
        """The upload to go on with, and its parts; the one that has most of this file."""
        found = {}
        for upload_id in {noted, *self._unfinished.get(upload.name, ())} - {""}:
            parts = self._parts(upload, upload_id)
            # one without parts may be somebody else's, unless the notes have it
            if parts or (parts is not None and upload_id == noted):
                found[upload_id] = parts
        return max(found.items(), key=lambda item: len(item[1]), default=("", {}))

    def _parts(self, upload: Upload, upload_id: str) -> dict[int, dict[str, Any]] | None:
        """The parts of an upload of this file's bytes; None if there is no such upload, or it has other bytes."""
        found = self._list_parts(upload, upload_id)
        if found is None or not _all_ours(upload, found):
            return None
        return {part["PartNumber"]: _part(part["PartNumber"], part) for part in found}

    def _list_parts(self, upload: Upload, upload_id: str) -> list[dict[str, Any]] | None:
        """What the store says of the parts of an upload; None if there is no such upload."""
        key, found = self.host.bucket.prefix + upload.name, None
        with self._client.translated_errors(upload.name, unless=_NOT_OURS):
            found = list(self._client.pages("list_parts", "Parts", Key=key, UploadId=upload_id))
        return found  # noqa: RET504 - also after an error that is none

    def _abort(self, upload: Upload, upload_id: str) -> None:
        key = {"Bucket": self.host.bucket.name, "Key": self.host.bucket.prefix + upload.name}
        with self._client.translated_errors("unfinished uploads", unless={"NoSuchUpload"}):
            self._client.boto.abort_multipart_upload(**key, UploadId=upload_id)

    def finish(self, uploads: Sequence[Upload], notes: Notes) -> Mapping[str, Locators]:
        """Compare what is there now, since not every store keeps two authors apart; abort what is left of uploads."""
        # where versions are kept, each author's bytes stay under their own version's id
        if not self.versioned:
            there = self.hosted(uploads)
            for upload in uploads:
                self._compare(upload, there.get(upload.name))
        unfinished = self._multipart_uploads(uploads)
        for upload in uploads:
            for upload_id in unfinished.get(upload.name, ()):
                if self._parts(upload, upload_id):
                    self._abort(upload, upload_id)
        return {}


def part_size(size: int) -> int:
    """The size of the parts of a file, which follows from its size alone: so another run can go on with them."""
    return max(ONE_REQUEST, math.ceil(size / MOST_PARTS / _MIB) * _MIB)


def _ranges(size: int) -> dict[int, tuple[int, int]]:
    """First byte and length of each part of a file, by the part's number."""
    step = part_size(size)
    return {number: (start, min(step, size - start)) for number, start in enumerate(range(0, size, step), 1)}


def _part(number: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    checksum = {"ChecksumCRC32": answer["ChecksumCRC32"]} if answer.get("ChecksumCRC32") else {}
    return {"PartNumber": number, "ETag": answer["ETag"], **checksum}


def _all_ours(upload: Upload, parts: Sequence[Mapping[str, Any]]) -> bool:
    ranges = _ranges(upload.size)
    return all(_is_ours(upload, ranges.get(part["PartNumber"]), part) for part in parts)


def _is_ours(upload: Upload, expected: tuple[int, int] | None, part: Mapping[str, Any]) -> bool:
    """Whether a part at the store has the bytes of the file; read again, since a wrong part spoils the object."""
    if expected is None or part["Size"] != expected[1]:
        return False
    digest = hashlib.md5(usedforsecurity=False)
    with FileBody(upload.path, *expected) as body:
        while block := body.read(_MIB):
            digest.update(block)
    return digest.hexdigest() == str(part["ETag"]).strip('"')
