"""A bucket with an author and users, at Ceph's S3 gateway."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from dataferry.hosts import s3
from dataferry.hosts.base import Upload
from dataferry.hosts.s3_client import Bucket
from dataferry.hosts.s3_setup import upload_policy
from dataferry.testing.author import Author, empty_home

_KEYS = (
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
)
#: The smallest parts that S3 takes: files of several parts, and what they cost the store's memory, stay small.
PART = 5 << 20
#: What `dataferry host s3 policy` gives.
RIGHTS = tuple(a for statement in upload_policy(Bucket("s3://any/"))["Statement"] for a in statement["Action"])


@pytest.fixture
def no_aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's keys, and no question to the machine that a cloud would have."""
    for variable in _KEYS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Shop:
    """A bucket, an author who may publish there, and users."""

    def __init__(self, radosgw: Any, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.radosgw, self.folder, self.patch = radosgw, folder, patch
        patch.setattr(s3, "ONE_REQUEST", PART)
        self.ann = radosgw.user("ann")

    def author(
        self, bucket: str = "", *, user: Any = None, endpoint: str = "", rights: Any = RIGHTS, **how: Any
    ) -> Author:
        """An author in an empty home with a key; by default to a public bucket of their own."""
        stranger = dict(os.environ)
        self.sign_in(user or self.ann)
        empty_home(self.folder / "author", self.patch)
        self.bucket = bucket or self.radosgw.bucket(writers={self.ann: rights}, **how)
        return Author(self.radosgw.spec(self.bucket, "v1/", endpoint=endpoint), self.folder, stranger)

    def sign_in(self, user: Any) -> None:
        for variable, value in user.environ.items():
            self.patch.setenv(variable, value)

    def upload(self, name: str, data: bytes) -> Upload:
        path = self.folder / f"{hashlib.md5(data).hexdigest()}.dat"
        path.write_bytes(data)
        return Upload(name, path, len(data), hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest())

    def unfinished(self) -> list[str]:
        told = self.radosgw.client().list_multipart_uploads(Bucket=self.bucket)
        return [item["Key"] for item in told.get("Uploads", ())]

    def finished(self, key: str) -> int:
        """The bytes in finished parts of the one upload that has begun."""
        client = self.radosgw.client(self.ann)
        (begun,) = client.list_multipart_uploads(Bucket=self.bucket)["Uploads"]
        parts = client.list_parts(Bucket=self.bucket, Key=key, UploadId=begun["UploadId"]).get("Parts", ())
        return sum(part["Size"] for part in parts)

    def objects(self) -> dict[str, bytes]:
        client = self.radosgw.client()
        keys = [item["Key"] for item in client.list_objects_v2(Bucket=self.bucket).get("Contents", ())]
        return {key: client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}


@pytest.fixture
def shop(radosgw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A `Shop` that has no bucket yet: ``shop.author()`` makes it."""
    return Shop(radosgw, tmp_path, monkeypatch)
