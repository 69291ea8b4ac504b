"""What a store tells of its objects."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...errors import BadName
from ...registry.names import check_name
from ..base import HostedFile
from .refusals import ClientError, error_of
from .store import Store

__all__ = ["common_start", "held_of", "held_of_many", "listed", "md5_of"]

#: Up to so many files the store is asked for each; for more it gives a list.
_FEW = 64
_ASKING = 16

_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_MD5 = re.compile(r'"?([0-9a-f]{32})"?').fullmatch


def listed(store: Store, below: str = "") -> Iterator[tuple[str, int, str | None]]:
    """The objects below the prefix.

    Parameters
    ----------
    store : Store
        The bucket.
    below : str
        Only names that begin so.

    Yields
    ------
    (str, int, str or None)
        Name, size, and md5 where the store tells it.

    Raises
    ------
    PublishError
        If the store gives no list.
    """
    place = store.place
    payer = {"RequestPayer": "requester"} if place.reader_pays else {}
    pages = store.client.get_paginator("list_objects_v2")
    with store.asking("list"):
        for page in pages.paginate(Bucket=place.bucket, Prefix=place.prefix + below, **payer):
            for item in page.get("Contents", ()):
                name = str(item["Key"])[len(place.prefix) :]
                try:
                    yield check_name(name), int(item["Size"]), md5_of(item)
                except BadName:  # the mark of a folder, or nothing that dataferry wrote
                    continue


def held_of(store: Store, name: str, version: str = "") -> HostedFile | None:
    """What an object tells of itself.

    Parameters
    ----------
    store : Store
        The bucket.
    name : str
        The file.
    version : str
        The version's id; empty for the newest.

    Returns
    -------
    HostedFile or None
        None if there is none.

    Raises
    ------
    PublishError
        If the store does not say.
    """
    place = store.place
    said: dict[str, Any] = {"Bucket": place.bucket, "Key": place.prefix + name}
    said |= {"VersionId": version} if version else {}
    said |= {"RequestPayer": "requester"} if place.reader_pays else {}
    said |= {} if place.endpoint else {"ChecksumMode": "ENABLED"}
    with store.asking(name):
        try:
            head = store.client.head_object(**said)
        except ClientError as exc:
            if exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return None
            raise error_of(exc, store.redacted, name) from exc
    kept = str(head.get("Metadata", {}).get("sha256", "")).lower()
    sha256 = kept if _SHA256(kept) else _checksum(head)
    at = str(head.get("VersionId", ""))
    locators: dict[str, str | int] = {place.locator: at} if place.locator and at not in {"", "null"} else {}
    return HostedFile(int(head["ContentLength"]), sha256, md5_of(head), locators)


def held_of_many(store: Store, names: Sequence[str], versioned: bool) -> dict[str, HostedFile]:
    """What objects tell of themselves.

    Parameters
    ----------
    store : Store
        The bucket.
    names : sequence of str
        The files.
    versioned : bool
        Whether their version ids are wanted, which no list tells.

    Returns
    -------
    dict of str to HostedFile
        Those that are there.

    Raises
    ------
    PublishError
        If the store does not say.
    """
    found: dict[str, HostedFile] = {}
    asked = list(names)
    if len(asked) > _FEW:
        wanted = set(asked)
        found = {n: HostedFile(size, md5=md5) for n, size, md5 in listed(store, common_start(asked)) if n in wanted}
        asked = [name for name, hosted in found.items() if versioned or hosted.md5 is None]
    with ThreadPoolExecutor(_ASKING, thread_name_prefix="dataferry-s3") as crew:
        told = dict(zip(asked, crew.map(lambda name: held_of(store, name), asked), strict=True))
    return found | {name: hosted for name, hosted in told.items() if hosted is not None}


def common_start(names: Sequence[str]) -> str:
    """What all names begin with.

    Parameters
    ----------
    names : sequence of str
        The names.

    Returns
    -------
    str
        Empty if there are none.
    """
    first, last = min(names, default=""), max(names, default="")
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same]


def _checksum(head: Mapping[str, Any]) -> str | None:
    if head.get("ChecksumType") != "FULL_OBJECT" or not head.get("ChecksumSHA256"):
        return None
    return base64.b64decode(head["ChecksumSHA256"]).hex()


def md5_of(told: Mapping[str, Any]) -> str | None:
    """The md5 of an object, where its ETag is one.

    Parameters
    ----------
    told : mapping
        What the store told of it.

    Returns
    -------
    str or None
        None for an object in parts or under a customer's or a KMS key.
    """
    found = _MD5(str(told.get("ETag", "")))
    sealed = "kms" in str(told.get("ServerSideEncryption", "")) or told.get("SSECustomerAlgorithm")
    return found[1] if found and not sealed else None
