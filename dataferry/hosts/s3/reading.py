"""What reading needs boto3 for: signed URLs, and the list of a bucket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...errors import AccessDenied, MissingExtra, PublishError, TransferError
from ..base import HostedFile

if TYPE_CHECKING:
    from ...config.settings import Settings
    from .place import Place
    from .store import Store

__all__ = ["signed_urls", "whole_list"]

#: Who sets it to "requester" agrees to pay for what is read; other programs know it too.
PAY_VARIABLE = "AWS_REQUEST_PAYER"
_AT_ONCE = 16


def signed_urls(
    place: Place, redacted: str, wanted: Mapping[str, str], settings: Settings, seconds: int
) -> dict[str, str]:
    """URLs that hold a signature.

    Parameters
    ----------
    place : Place
        The bucket.
    shown : str
        The bucket as it may be printed.
    wanted : mapping of str to str
        Name -> version id, empty for the newest.
    settings : Settings
        The user's settings.
    seconds : int
        How long they are to hold.

    Returns
    -------
    dict of str to str
        One for each name. The store was not asked whether it has the files.

    Raises
    ------
    TransferError
        If there is nothing to sign with, or whoever reads has not agreed to pay.
    """
    if place.reader_pays and os.environ.get(PAY_VARIABLE) != "requester":
        reason = f"who reads from this bucket is charged for it by the store: {PAY_VARIABLE}=requester says yes to that"
        raise TransferError(redacted, reason, kind="payer", final=True)
    if settings.anonymous and not place.reader_pays:  # the proof that everybody can read
        raise TransferError(redacted, _stranger(place), kind="credentials", final=True)
    store = _store(place, redacted, settings)
    try:
        if store.credentials is None:
            raise TransferError(redacted, _stranger(place), kind="credentials", final=True)
        if not place.endpoint and not place.region and (region := store.region()):
            store.close()
            store = _store(replace(place, region=region), redacted, settings)  # a signature names the region
        payer = {"RequestPayer": "requester"} if place.reader_pays else {}
        urls = {}
        for name, version in wanted.items():
            said = {"Bucket": place.bucket, "Key": place.prefix + name, **({"VersionId": version} if version else {})}
            urls[name] = str(store.client.generate_presigned_url("get_object", Params=said | payer, ExpiresIn=seconds))
        return urls
    finally:
        store.close()


def _stranger(place: Place) -> str:
    server = urlsplit(place.server).netloc
    elsewhere = (
        f", and, since this store is not AWS, AWS_ENDPOINT_URL_S3={place.endpoint}; or user and password under "
        f'[hosts."s3://{server}"] of config.toml'
    )
    return (
        "a stranger does not get the file: it is not there, or the bucket is private (the store says the same to "
        "both); for a private one give an access key, by AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        + (elsewhere if place.endpoint else "")
    )


def _store(place: Place, redacted: str, settings: Settings, *, stranger: bool = False) -> Store:
    try:
        from .store import Store

        return Store(place, redacted, settings, connections=_AT_ONCE, stranger=stranger, reading=True)
    except MissingExtra as error:
        reason = f"users do not get it, and to sign a request {error}"
        raise TransferError(redacted, reason, kind="extra", final=True) from error
    except PublishError as error:
        raise TransferError(redacted, error.reason, kind="credentials", final=True) from error


def whole_list(place: Place, redacted: str, settings: Settings) -> dict[str, HostedFile]:
    """Everything below the prefix.

    Parameters
    ----------
    place : Place
        The bucket.
    shown : str
        The bucket as it may be printed.
    settings : Settings
        The user's settings.

    Returns
    -------
    dict of str to HostedFile
        By name; an object whose key is no legal name is left out.

    Raises
    ------
    TransferError
        If nobody is given a list.
    """
    refused: PublishError | None = None
    for stranger in (False,) if place.reader_pays else (True, False):
        store = _store(place, redacted, settings, stranger=stranger)
        try:
            if not stranger and store.credentials is None:
                break
            from .objects import listed

            found = {name: HostedFile(size, md5=md5) for name, size, md5 in listed(store)}
            return found | _looked_at(store, list(found))
        except AccessDenied as error:
            refused = error
        except PublishError as error:
            raise TransferError(redacted, error.reason, kind="list") from error
        finally:
            store.close()
    raise TransferError(
        redacted, f"gives no list: {refused.reason if refused else _stranger(place)}", kind="list", final=True
    )


def _looked_at(store: Store, names: list[str]) -> dict[str, HostedFile]:
    """What only the objects themselves tell; given up where the first ones tell nothing more."""
    from .objects import held_of

    found: dict[str, HostedFile] = {}

    def look(name: str) -> None:
        try:
            found[name] = held_of(store, name) or HostedFile()
        except PublishError:
            found[name] = HostedFile()

    with ThreadPoolExecutor(_AT_ONCE) as crew:
        for some in (names[:_AT_ONCE], names[_AT_ONCE:]):
            list(crew.map(look, some))
            if not any(hosted.sha256 or hosted.locators for hosted in found.values()):
                return {}
    return {name: hosted for name, hosted in found.items() if hosted.size is not None}
