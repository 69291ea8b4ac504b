"""Objects that go up in one request."""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from ...errors import HostRefused, TransferError
from ..api_client import ApiClient
from .refusals import ClientError
from .store import Store
from .stream import Stream

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ..base import Upload

__all__ = ["Single", "about"]

#: Up to here a file is read into memory and its request is signed here: boto3 takes a millisecond more for each.
_QUICK = 1 << 20
_TYPES = {".fits": "application/fits", ".fit": "application/fits", ".fz": "application/fits", ".gz": "application/gzip"}


def about(store: Store, upload: Upload) -> dict[str, Any]:
    """What is kept with an object, as boto3 wants it.

    Parameters
    ----------
    store : Store
        The bucket.
    upload : Upload
        The file.

    Returns
    -------
    dict
        Bucket, key, type, class and sha256. A compressed file has the type of its archive and no Content-Encoding, so
        that nobody unpacks it on the way.
    """
    place = store.place
    kept = {"StorageClass": place.storage_class} if place.storage_class else {}
    payer = {"RequestPayer": "requester"} if place.reader_pays else {}
    return {
        "Bucket": place.bucket,
        "Key": place.prefix + upload.name,
        "ContentType": _type(upload.name),
        "Metadata": {"sha256": upload.sha256},
        **kept,
        **payer,
    }


def _type(name: str) -> str:
    known = _TYPES.get(os.path.splitext(name)[1].lower())
    guess, encoding = mimetypes.guess_type(name, strict=False)
    return known or (guess if guess and not encoding else "application/octet-stream")


class _Signer(S3SigV4Auth):  # type: ignore[misc]  # boto3 carries no types
    """Signs with the digest that is known already."""

    def payload(self, request: AWSRequest) -> str:
        return str(request.context["sha256"])


class Single:
    """Puts objects in one request each. Threads may share it.

    Parameters
    ----------
    store : Store
        The bucket, with its region.
    settings : Settings
        The user's settings.
    connections : int
        Connections that are kept.
    """

    def __init__(self, store: Store, settings: Settings, connections: int) -> None:
        self._store = store
        self._service = ApiClient(settings, store.place.server, connections=connections)
        self._agent = {"User-Agent": settings.user_agent}

    @cached_property
    def _direct(self) -> urllib3.HTTPConnectionPool | None:
        return None

    def put(self, upload: Upload, moved: Callable[[int], None], *, create: bool) -> tuple[str, str]:
        """Put a file there.

        Parameters
        ----------
        upload : Upload
            The file.
        moved : callable
            Is told the bytes that went.
        create : bool
            Whether there must be no such object yet; a store may not heed it.

        Returns
        -------
        (str, str)
            ETag and version id.

        Raises
        ------
        ClientError
            What boto3 raises: ``PreconditionFailed`` if there is such an object.
        """
        if 0 < upload.size <= _QUICK:
            try:
                told = self._quickly(upload, create)
                moved(upload.size)
                return told
            except TransferError as error:
                if isinstance(error, HostRefused) and error.status == 412:
                    said = {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}}
                    raise ClientError(said, "PutObject") from error
                # boto3 tries again, and knows what the store's errors mean
        said = about(self._store, upload) | ({"IfNoneMatch": "*"} if create else {})
        if not self._store.place.endpoint:
            said["ChecksumSHA256"] = _base64(upload.sha256)
        with Stream(upload.path, 0, upload.size, moved) as body:
            answer = self._store.client.put_object(Body=body if upload.size else b"", **said)
            body.settle()
        return str(answer.get("ETag", "")), str(answer.get("VersionId", ""))

    def _quickly(self, upload: Upload, create: bool) -> tuple[str, str]:
        store, said = self._store, about(self._store, upload)
        headers = {"Content-Type": said["ContentType"], "x-amz-meta-sha256": upload.sha256}
        for word, header in _HEADERS.items():
            if word in said:
                headers[header] = said[word]
        if create:
            headers["If-None-Match"] = "*"
        if not store.place.endpoint:
            headers["x-amz-checksum-sha256"] = _base64(upload.sha256)
        body = upload.path.read_bytes()
        request = AWSRequest("PUT", store.place.key_url(upload.name), headers=headers, data=body)
        request.context["sha256"] = upload.sha256
        _Signer(store.credentials.get_frozen_credentials(), "s3", store.client.meta.region_name).add_auth(request)
        signed = dict(request.headers.items())
        told = self._send(request.url, body, signed | self._agent)
        return told.get("ETag", ""), told.get("x-amz-version-id", "")

    def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Mapping[str, str]:
        """One request and no more."""
        if self._direct is None:
            return self._service.call("PUT", url, body=body, headers=headers, again=False).headers
        path, patience = urlsplit(url).path, urllib3.Timeout(connect=10, read=60)
        try:
            answer = self._direct.urlopen("PUT", path, body, headers, retries=False, timeout=patience)
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise TransferError(self._store.redacted, str(exc)) from exc
        if answer.status != 200:
            raise HostRefused(self._store.redacted, answer.status)
        return answer.headers

    def close(self) -> None:
        """Close the kept connections."""
        self._service.close()


_HEADERS = {"StorageClass": "x-amz-storage-class", "RequestPayer": "x-amz-request-payer"}


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()
