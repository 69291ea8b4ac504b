"""What an access key may do at a bucket, found out without a change to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, PublishError, TransferError
from ..api_client import ApiClient
from .refusals import SIGN_IN, BotoCoreError, ClientError, error_of
from .store import Store

if TYPE_CHECKING:
    from ...config.settings import Settings

__all__ = ["Told", "ask_for_rights"]

#: Nobody's upload, and nobody's key.
_NO_UPLOAD = "dataferry-asks-whether-it-may"


@dataclass(frozen=True, slots=True)
class Told:
    """What a store says of a bucket and of who asks.

    Parameters
    ----------
    who : str
        Who asks, and where the access key was found.
    region : str
        Where the bucket is; empty where the store does not say.
    versioned : bool
        Whether it keeps the old bytes of a name.
    """

    who: str
    region: str
    versioned: bool


def ask_for_rights(store: Store, settings: Settings) -> Told:
    """Ask whether files can be published, without writing anything.

    The list is asked for. Then an empty part is sent for an upload that does not exist: a key that may put gets the
    answer that there is no such upload, another one that it may not; neither leaves anything. Then, if the list has an
    object, a stranger asks for it.

    Parameters
    ----------
    store : Store
        The bucket.
    settings : Settings
        The user's settings.

    Returns
    -------
    Told
        What the store said.

    Raises
    ------
    AccessDenied
        If there is no access key, or it may not list or put.
    PublishError
        If there is no such bucket, or strangers may not read from it.
    """
    place, client = store.place, store.client
    if store.credentials is None:
        raise AccessDenied(store.redacted, "no access key was found", SIGN_IN)
    with store.asking("list"):
        page = client.list_objects_v2(Bucket=place.bucket, Prefix=place.prefix, MaxKeys=1)
    key = place.prefix + _NO_UPLOAD
    try:
        client.upload_part(Bucket=place.bucket, Key=key, UploadId=_NO_UPLOAD, PartNumber=1, Body=b"")
    except ClientError as exc:
        if exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 403:
            raise error_of(exc, store.redacted, "put") from exc
    except BotoCoreError as exc:
        raise error_of(exc, store.redacted, "put") from exc
    if page.get("Contents") and not place.reader_pays:
        _ask_as_stranger(store, settings, str(page["Contents"][0]["Key"]))
    region = "" if place.endpoint else store.region()
    return Told(_who(store), region, _versioned(store))


def _ask_as_stranger(store: Store, settings: Settings, key: str) -> None:
    url = store.place.url(key.removeprefix(store.place.prefix))
    try:
        with ApiClient(settings, store.place.server) as service:
            status = service.call("HEAD", url, accept={301, 307, 400, 403, 404}, redirect=False).status
    except TransferError:
        return  # the fetch-back will tell more
    if status == 403:
        remedy = "`dataferry host s3 setup BUCKET` makes it public, or its owner gives a policy with s3:GetObject"
        raise PublishError(store.redacted, f"strangers may not read from the bucket: {key} gives them 403", remedy)


def _versioned(store: Store) -> bool:
    try:
        status: Any = store.client.get_bucket_versioning(Bucket=store.place.bucket).get("Status")
    except (ClientError, BotoCoreError):
        return False  # a key that may not ask gets no version ids into the registry
    return bool(status == "Enabled")


def _who(store: Store) -> str:
    if store.place.endpoint:
        return store.who
    try:
        identity = store.session.client("sts", region_name=store.client.meta.region_name).get_caller_identity()
    except (ClientError, BotoCoreError):
        return store.who
    return f"{identity['Arn']}, {store.who}"
