"""Making a bucket that strangers can read, and what a key needs to publish there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .refusals import ClientError, code_of
from .store import Store

if TYPE_CHECKING:
    from .place import Place

__all__ = ["Step", "setup_steps", "upload_policy", "user_commands"]

_PUBLIC = "DataferryPublicRead"
_CORS: dict[str, Any] = {
    "ID": "dataferry",
    "AllowedMethods": ["GET", "HEAD"],
    "AllowedOrigins": ["*"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["Accept-Ranges", "Content-Length", "Content-Range", "ETag", "x-amz-version-id"],
    "MaxAgeSeconds": 3600,
}
_LIFECYCLE: dict[str, Any] = {
    "ID": "dataferry-unfinished",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 30},
}
_UNKNOWN_THERE = {400, 405, 501}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that `dataferry host s3 setup` sees to.

    Parameters
    ----------
    text : str
        What it is.
    there : callable
        Whether it is so already.
    do : callable
        Makes it so.
    optional : bool
        Whether a store may not know such a thing.
    """

    text: str
    there: Callable[[], bool]
    do: Callable[[], None]
    optional: bool = False

    def run(self, *, dry: bool) -> str:
        """See to it.

        Parameters
        ----------
        dry : bool
            Whether only to look.

        Returns
        -------
        str
            ``"already so"``, ``"to do"``, ``"done"`` or ``"unknown to this store"``.
        """
        try:
            if self.there():
                return "already so"
            if dry:
                return "to do"
            self.do()
        except ClientError as exc:
            if self.optional and exc.response["ResponseMetadata"]["HTTPStatusCode"] in _UNKNOWN_THERE:
                return "unknown to this store"
            raise
        return "done"


def setup_steps(store: Store) -> Iterator[Step]:
    """What makes a bucket that strangers can read, in order. What others configured there stays.

    Parameters
    ----------
    store : Store
        The bucket, which need not be there yet.

    Yields
    ------
    Step
        One after the other; the next one may need what the last one did.
    """
    place, client, bucket = store.place, store.client, {"Bucket": store.place.bucket}
    aws = not place.endpoint

    def exists() -> bool:
        return _or_none(lambda: client.list_objects_v2(**bucket, MaxKeys=1), "NoSuchBucket") is not None

    def create() -> None:
        region = client.meta.region_name
        elsewhere = aws and region != "us-east-1"
        where = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
        client.create_bucket(**bucket, **where)

    def block() -> dict[str, bool]:
        told = _or_none(lambda: client.get_public_access_block(**bucket), "NoSuchPublicAccessBlockConfiguration")
        return dict(told["PublicAccessBlockConfiguration"]) if told else {}

    def unblock() -> None:
        # access lists stay blocked: the policy is enough
        blocked = {"BlockPublicAcls": True, "IgnorePublicAcls": True}
        opened = {"BlockPublicPolicy": False, "RestrictPublicBuckets": False}
        client.put_public_access_block(
            **bucket, PublicAccessBlockConfiguration=block() | (blocked if aws else {}) | opened
        )

    def statements() -> list[dict[str, Any]]:
        told = _or_none(lambda: client.get_bucket_policy(**bucket), "NoSuchBucketPolicy")
        return list(json.loads(told["Policy"])["Statement"]) if told else []

    public = {
        "Sid": _PUBLIC,
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": [_arn(place, "*")],
    }

    def publish() -> None:
        kept = [statement for statement in statements() if statement.get("Sid") != _PUBLIC]
        client.put_bucket_policy(**bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [*kept, public]}))

    def rules(ask: Callable[..., Any], none: str, word: str) -> list[dict[str, Any]]:
        told = _or_none(lambda: ask(**bucket), none)
        return list(told[word]) if told else []

    def cors() -> list[dict[str, Any]]:
        return rules(client.get_bucket_cors, "NoSuchCORSConfiguration", "CORSRules")

    def lifecycle() -> list[dict[str, Any]]:
        return rules(client.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration", "Rules")

    yield Step(f"the bucket {place.bucket} at {place.server}", exists, create)
    yield Step(
        "no block of public policies",
        lambda: (
            not (aws and not block())
            and not any(block().get(w) for w in ("BlockPublicPolicy", "RestrictPublicBuckets"))
        ),
        unblock,
        optional=not aws,
    )
    yield Step("everybody may read objects and their versions", lambda: public in statements(), publish)
    yield Step(
        "versions are kept, so that a name's old bytes stay",
        lambda: client.get_bucket_versioning(**bucket).get("Status") == "Enabled",
        lambda: client.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"}),
    )
    yield Step(
        "web pages may read, also pieces of files (CORS)",
        lambda: any(rule.get("ID") == _CORS["ID"] for rule in cors()),
        lambda: client.put_bucket_cors(**bucket, CORSConfiguration={"CORSRules": [*cors(), _CORS]}),
        optional=True,
    )
    yield Step(
        "uploads that nobody finishes are removed after 30 days",
        lambda: any(rule.get("ID") == _LIFECYCLE["ID"] for rule in lifecycle()),
        lambda: client.put_bucket_lifecycle_configuration(
            **bucket, LifecycleConfiguration={"Rules": [*lifecycle(), _LIFECYCLE]}
        ),
        optional=True,
    )


def _or_none(ask: Callable[[], Any], none: str) -> Any:
    try:
        return ask()
    except ClientError as exc:
        if code_of(exc) == none:
            return None
        raise


def _arn(place: Place, below: str = "") -> str:
    parts = {"cn": "aws-cn", "us-gov": "aws-us-gov", "eusc": "aws-eusc"}
    partition = next((name for start, name in parts.items() if place.region.startswith(f"{start}-")), "aws")
    return f"arn:{partition}:s3:::{place.bucket}" + (f"/{place.prefix}{below}" if below else "")


def upload_policy(place: Place) -> dict[str, Any]:
    """What a key needs to publish below a prefix, and no more: it can neither delete nor make anything public.

    Parameters
    ----------
    place : Place
        The bucket.

    Returns
    -------
    dict
        A policy as JSON has it.
    """

    def allow(sid: str, resource: str, *actions: str) -> dict[str, Any]:
        return {"Sid": sid, "Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": resource}

    bucket = "ListBucket", "ListBucketMultipartUploads", "GetBucketVersioning"
    objects = "PutObject", "GetObject", "AbortMultipartUpload", "ListMultipartUploadParts"
    return {
        "Version": "2012-10-17",
        "Statement": [
            # the whole list: with a condition on the prefix the store answers 403 for an object that is not there
            allow("DataferryLook", _arn(place), *bucket),
            allow("DataferryPut", _arn(place, "*"), *objects),
        ],
    }


def user_commands(place: Place, spec: str) -> list[str]:
    """The commands that make a user of AWS who may publish to a bucket.

    Parameters
    ----------
    place : Place
        The bucket.
    spec : str
        Its declaration.

    Returns
    -------
    list of str
        For a shell; the policy is expected in ``policy.json``.
    """
    user = f"dataferry-{place.bucket}"[:64]
    return [
        f"dataferry host s3 policy '{spec}' --json > policy.json",
        f"aws iam create-user --user-name {user}",
        f"aws iam put-user-policy --user-name {user} --policy-name dataferry-publish --policy-document file://policy.json",
        f"aws iam create-access-key --user-name {user}",
        f"aws configure --profile {user}",
        f"AWS_PROFILE={user} dataferry publish ... --to '{spec}'",
    ]
