"""Making a bucket that everybody can read, and what a key needs to publish there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import PublishError
from .s3_client import Bucket, S3Client, response_of

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


def set_up(client: S3Client, *, dry: bool) -> Iterator[tuple[str, str]]:
    """Make a bucket that everybody can read, or only look, step by step; what others configured there stays.

    Gives what was seen to, and ``already so``, ``to do``, ``done`` or ``unknown to this store``.
    """
    declared, boto, bucket = client.bucket, client.boto, {"Bucket": client.bucket.name}
    aws = not declared.endpoint
    bucket_to_come = False

    def see_to(
        text: str, is_done: Callable[[], bool], do: Callable[[], object], *, optional: bool = False
    ) -> tuple[str, str]:
        try:
            with client.translated_errors(text):
                if not bucket_to_come and is_done():
                    return text, "already so"
                if dry:
                    return text, "to do"
                do()
        except PublishError as error:
            if optional and response_of(error)[1] in _UNKNOWN_THERE:
                return text, "unknown to this store"
            raise
        return text, "done"

    def read(operation: str, none: str) -> dict[str, Any]:
        """What the bucket has; nothing if the store's word is that it has none."""
        answer: dict[str, Any] = {}
        with client.translated_errors(operation, unless={none}):
            answer |= getattr(boto, operation)(**bucket)
        return answer

    def create() -> None:
        region = boto.meta.region_name
        elsewhere = aws and region != "us-east-1"
        where = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
        boto.create_bucket(**bucket, **where)

    def block() -> dict[str, bool]:
        answer = read("get_public_access_block", "NoSuchPublicAccessBlockConfiguration")
        return dict(answer.get("PublicAccessBlockConfiguration", {}))

    def unblock() -> None:
        # ACLs stay blocked: the policy is enough
        opened = {"BlockPublicPolicy": False, "RestrictPublicBuckets": False}
        boto.put_public_access_block(**bucket, PublicAccessBlockConfiguration=block() | opened)

    def is_open() -> bool:
        found = block()
        return not (found.get("BlockPublicPolicy") or found.get("RestrictPublicBuckets"))

    def statements() -> list[dict[str, Any]]:
        policy = read("get_bucket_policy", "NoSuchBucketPolicy").get("Policy", '{"Statement": []}')
        return list(json.loads(policy)["Statement"])

    public = {
        "Sid": _PUBLIC,
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": [_arn(declared, "*")],
    }

    def publish() -> None:
        kept = [statement for statement in statements() if statement.get("Sid") != _PUBLIC]
        boto.put_bucket_policy(**bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [*kept, public]}))

    def see_to_rule(text: str, kind: str, entries: str, configuration: str, rule: dict[str, Any]) -> tuple[str, str]:

        def rules() -> list[dict[str, Any]]:
            return list(read(f"get_bucket_{kind}", f"NoSuch{configuration}").get(entries, ()))

        def add() -> None:
            getattr(boto, f"put_bucket_{kind}")(**bucket, **{configuration: {entries: [*rules(), rule]}})

        return see_to(text, lambda: any(other.get("ID") == rule["ID"] for other in rules()), add, optional=True)

    text = f"the bucket {declared.name} at {declared.server}"
    _, state = see_to(text, lambda: bool(read("list_objects_v2", "NoSuchBucket")), create)
    bucket_to_come = state == "to do"
    yield text, state
    yield see_to("no block of public policies", is_open, unblock, optional=not aws)
    yield see_to("everybody may read objects and their versions", lambda: public in statements(), publish)
    yield see_to(
        "versions are kept, so that a name's old bytes stay",
        client.versioned,
        lambda: boto.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"}),
    )
    text = "web pages may read, also pieces of files (CORS)"
    yield see_to_rule(text, "cors", "CORSRules", "CORSConfiguration", _CORS)
    text = "unfinished uploads are removed after 30 days"
    yield see_to_rule(text, "lifecycle_configuration", "Rules", "LifecycleConfiguration", _LIFECYCLE)


def _arn(bucket: Bucket, below: str = "") -> str:
    parts = {"cn": "aws-cn", "us-gov": "aws-us-gov", "eusc": "aws-eusc"}
    partition = next((name for start, name in parts.items() if bucket.region.startswith(f"{start}-")), "aws")
    return f"arn:{partition}:s3:::{bucket.name}" + (f"/{bucket.prefix}{below}" if below else "")


def upload_policy(bucket: Bucket) -> dict[str, Any]:
    """What a key needs to publish below a prefix, and no more: it can neither delete nor make anything public."""

    def allow(sid: str, resource: str, *actions: str) -> dict[str, Any]:
        return {"Sid": sid, "Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": resource}

    about_bucket = "ListBucket", "ListBucketMultipartUploads", "GetBucketVersioning", "GetBucketPolicy"
    about_objects = "PutObject", "GetObject", "AbortMultipartUpload", "ListMultipartUploadParts"
    return {
        "Version": "2012-10-17",
        "Statement": [
            # the whole list: with a condition on the prefix the store answers 403 for an object that is not there
            allow("DataferryLook", _arn(bucket), *about_bucket),
            allow("DataferryPut", _arn(bucket, "*"), *about_objects, *(["PutObjectAcl"] if bucket.acl else [])),
        ],
    }


def user_commands(bucket: Bucket) -> list[str]:
    """The commands that make a user of AWS who may publish to a bucket; the policy is expected in ``policy.json``."""
    user = f"dataferry-{bucket.name}"[:64]
    return [
        f"dataferry host s3 policy '{bucket.spec}' --json > policy.json",
        f"aws iam create-user --user-name {user}",
        f"aws iam put-user-policy --user-name {user} --policy-name dataferry-publish --policy-document file://policy.json",
        f"aws iam create-access-key --user-name {user}",
        f"aws configure --profile {user}",
        f"AWS_PROFILE={user} dataferry publish ... --to '{bucket.spec}'",
    ]
