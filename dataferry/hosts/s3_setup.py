"""Making a bucket that everybody can read, and what a key needs to publish there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..errors import PublishError
from .about import as_list
from .base import guarded
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


class _Step(NamedTuple):
    text: str
    is_done: Callable[[], bool]
    do: Callable[[], object]
    #: Not every store knows this setting, and data can be published without it.
    optional: bool = False


def set_up(client: S3Client, *, dry: bool) -> Iterator[tuple[str, str]]:
    """Make a bucket that everybody can read, or only look, step by step; what others configured there stays.

    Gives each step, and ``already so``, ``to do``, ``done`` or ``unknown to this store``.
    """
    bucket, *settings = _Setup(client).steps()
    state = _take(client, bucket, dry=dry)
    yield bucket.text, state
    bucket_is_missing = state == "to do"
    for step in settings:
        yield step.text, "to do" if bucket_is_missing else _take(client, step, dry=dry)


def _take(client: S3Client, step: _Step, *, dry: bool) -> str:
    try:
        with guarded(client.bucket.spec), client.translated_errors(step.text):
            if step.is_done():
                return "already so"
            if dry:
                return "to do"
            step.do()
    except PublishError as error:
        if step.optional and response_of(error)[1] in _UNKNOWN_THERE:
            return "unknown to this store"
        raise
    return "done"


class _Setup:
    """The settings of one bucket."""

    def __init__(self, client: S3Client) -> None:
        self.client, self.declared, self.boto = client, client.bucket, client.boto
        self.bucket = {"Bucket": client.bucket.name}
        self.public = {
            "Sid": _PUBLIC,
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:GetObject", "s3:GetObjectVersion"],
            "Resource": [_arn(client.bucket, "*")],
        }

    def steps(self) -> list[_Step]:
        """What has to be so, the bucket itself first."""
        return [
            _Step(f"the bucket {self.declared.name} at {self.declared.server}", self._exists, self._create),
            _Step("no block of public policies", self._is_open, self._open, optional=bool(self.declared.endpoint)),
            _Step("everybody may read objects and their versions", self._is_public, self._make_public),
            _Step("versions are kept, so that a name's old bytes stay", self.client.versioned, self._keep_versions),
            self._rule("web pages may read, also pieces of files (CORS)", "cors", "CORS", _CORS),
            self._rule(
                "unfinished uploads are removed after 30 days", "lifecycle_configuration", "Lifecycle", _LIFECYCLE
            ),
        ]

    def _read(self, operation: str, none: str) -> dict[str, Any]:
        """What the bucket has; nothing if the store answers that it has none."""
        answer: dict[str, Any] = {}
        with self.client.translated_errors(operation, unless={none}):
            answer |= getattr(self.boto, operation)(**self.bucket)
        return answer

    def _exists(self) -> bool:
        return bool(self._read("list_objects_v2", "NoSuchBucket"))

    def _create(self) -> None:
        region = self.boto.meta.region_name
        elsewhere = not self.declared.endpoint and region != "us-east-1"
        where = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
        self.boto.create_bucket(**self.bucket, **where)

    def _block(self) -> dict[str, bool]:
        answer = self._read("get_public_access_block", "NoSuchPublicAccessBlockConfiguration")
        return dict(answer.get("PublicAccessBlockConfiguration", {}))

    def _is_open(self) -> bool:
        block = self._block()
        return not (block.get("BlockPublicPolicy") or block.get("RestrictPublicBuckets"))

    def _open(self) -> None:
        # ACLs stay blocked: the policy is enough
        block = self._block() | {"BlockPublicPolicy": False, "RestrictPublicBuckets": False}
        self.boto.put_public_access_block(**self.bucket, PublicAccessBlockConfiguration=block)

    def _statements(self) -> list[dict[str, Any]]:
        policy = self._read("get_bucket_policy", "NoSuchBucketPolicy").get("Policy", '{"Statement": []}')
        return as_list(json.loads(policy)["Statement"])  # IAM allows a single one without a list

    def _is_public(self) -> bool:
        return self.public in self._statements()

    def _make_public(self) -> None:
        kept = [statement for statement in self._statements() if statement.get("Sid") != _PUBLIC]
        policy = {"Version": "2012-10-17", "Statement": [*kept, self.public]}
        self.boto.put_bucket_policy(**self.bucket, Policy=json.dumps(policy))

    def _keep_versions(self) -> None:
        self.boto.put_bucket_versioning(**self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def _rule(self, text: str, operation: str, kind: str, rule: dict[str, Any]) -> _Step:
        """One rule of ours in a list of rules, by its ID."""
        configuration, entries = f"{kind}Configuration", "CORSRules" if kind == "CORS" else "Rules"

        def rules() -> list[dict[str, Any]]:
            return list(self._read(f"get_bucket_{operation}", f"NoSuch{configuration}").get(entries, ()))

        def add() -> None:
            getattr(self.boto, f"put_bucket_{operation}")(**self.bucket, **{configuration: {entries: [*rules(), rule]}})

        return _Step(text, lambda: any(other.get("ID") == rule["ID"] for other in rules()), add, optional=True)


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
