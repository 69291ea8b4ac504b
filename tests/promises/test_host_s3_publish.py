"""Publishing to buckets, at a real store on loopback."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dataferry.config import load_settings
from dataferry.errors import Conflict, DataferryError, PublishError
from dataferry.hosts import make_host
from dataferry.hosts.base import Upload
from dataferry.hosts.s3 import LARGEST_PART, MOST_PARTS, part_size
from dataferry.hosts.s3_client import Bucket
from dataferry.hosts.s3_setup import upload_policy
from dataferry.registry import Registry
from dataferry.testing import PublishContract

pytestmark = pytest.mark.usefixtures("no_aws_keys")

MIB = 1 << 20
#: The parts of files that the fixture ``shop`` has dataferry make.
PART = 5 * MIB
#: What `dataferry host s3 policy` gives.
RIGHTS = tuple(a for statement in upload_policy(Bucket("s3://any/"))["Statement"] for a in statement["Action"])


class TestPublishS3(PublishContract):
    secret = "annsecret"
    keeps_versions = True

    @pytest.fixture(autouse=True)
    def _store(self, radosgw: Any) -> None:
        self.radosgw = radosgw

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        ann = self.radosgw.user("ann")
        self.bucket = self.radosgw.bucket(writers={ann: RIGHTS}, versioned=self.keeps_versions)
        self.changes: set[tuple[str, str]] = set()
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in ann.environ.items():
                patch.setenv(variable, value)
            yield self.radosgw.spec(self.bucket, "v1/", **({} if self.keeps_versions else {"version": "off"}))

    def writes(self) -> int:
        client = self.radosgw.client()
        objects = client.list_object_versions(Bucket=self.bucket).get("Versions", ())
        begun = client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())
        self.changes |= {(item["Key"], str(item["LastModified"])) for item in objects}
        self.changes |= {(item["Key"], item["UploadId"]) for item in begun}
        return len(self.changes)

    @contextmanager
    def without_rights(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_SECRET_ACCESS_KEY", "not the secret")
            yield


class TestPublishS3WithoutVersions(TestPublishS3):
    keeps_versions = False
    test_an_old_release_keeps_its_bytes = None  # that is what this bucket cannot do


def test_parts_follow_from_the_size_alone() -> None:
    assert part_size(1) == part_size(MOST_PARTS * 16 * MIB) == 16 * MIB
    assert part_size(MOST_PARTS * 16 * MIB + 1) == 17 * MIB
    assert part_size(MOST_PARTS * LARGEST_PART) == LARGEST_PART


def test_limits_and_long_keys() -> None:
    aws = make_host("s3://mypkg/?region=us-west-2").publisher(load_settings(), {})
    other = make_host("s3://mypkg/a/?endpoint=https://my.org").publisher(load_settings(), {})
    assert aws.limits.file_bytes == 50_000 << 30
    assert other.limits.file_bytes == 5 << 40
    upload = Upload("ü" * 512, Path("any"), 1, "", "")
    assert aws.problem(upload) == ""
    assert "1026 bytes" in other.problem(upload)


def test_real_files_of_all_sizes_reach_users_with_their_type(shop: Any) -> None:
    astropy, healpy = (pytest.importorskip(name) for name in ("astropy", "healpy"))
    folders = [Path(str(module.__file__)).parent for module in (astropy, healpy)]
    found = sorted((path for folder in folders for path in folder.rglob("*.fits*")), key=lambda p: p.stat().st_size)
    real = {path.name: path.read_bytes() for path in (found[0], found[len(found) // 2], found[-1])}
    assert len(real) == 3
    large = os.urandom(2 * PART + MIB)
    files = real | {"large.bin": large, "notes.txt": b"a note\n", "empty.dat": b"", "table.ecsv.gz": b"\x1f\x8b" * 100}
    author = shop.author()
    outcome = author.publish(files)
    assert all(file.proven for file in outcome.files)
    assert author.users_get(list(files)) == files
    client = shop.radosgw.client()
    heads = {name: client.head_object(Bucket=shop.bucket, Key=f"v1/{name}") for name in files}
    for name, data in files.items():
        assert heads[name]["Metadata"]["sha256"] == hashlib.sha256(data).hexdigest()
        assert "ContentEncoding" not in heads[name]
    types = {name: heads[name]["ContentType"] for name in ("large.bin", "notes.txt", "table.ecsv.gz", found[0].name)}
    assert [*types.values()][:3] == ["application/octet-stream", "text/plain", "application/gzip"]
    assert heads["large.bin"]["ETag"].endswith('-3"')
    assert shop.unfinished() == []


def test_many_files_are_asked_for_by_one_list(shop: Any) -> None:
    files = {f"many/{number:03}.dat": b"%d" % number for number in range(70)}
    author = shop.author()
    author.publish(files)
    again = author.publish(files, registry=shop.folder / "other.toml")
    assert not any(file.sent for file in again.files)
    assert len(Registry(shop.folder / "other.toml").names()) == 70
    with pytest.raises(Conflict, match=r"many/007\.dat"):
        author.publish(files | {"many/007.dat": b"8"}, registry=shop.folder / "third.toml")


def test_two_releases_each_keep_their_bytes(shop: Any) -> None:
    author = shop.author(versioned=True)
    one = {"maps/dust.fits": b"one" * 100, "large.bin": b"1" * (PART + MIB), "bands.ecsv": b"bands"}
    two = one | {"maps/dust.fits": b"two" * 99, "large.bin": b"2" * (PART + MIB)}
    author.publish(one)
    old = shop.folder / "old.toml"
    old.write_bytes(author.registry.read_bytes())
    assert all(entry.locators["s3"] for entry in Registry(old).entries())
    with pytest.raises(DataferryError) as caught:
        author.publish(two)
    assert "--new-version" in str(caught.value)
    again = author.publish(two, new_version=True)
    assert sorted(file.name for file in again.files if file.sent) == ["large.bin", "maps/dust.fits"]
    assert author.users_get(list(one), old) == one
    assert author.users_get(list(two)) == two
    author.publish(two, new_version=True)
    versions = shop.radosgw.client().list_object_versions(Bucket=shop.bucket)["Versions"]
    assert len(versions) == 5


def test_a_bucket_without_versions_gets_no_new_version(shop: Any) -> None:
    author = shop.author()
    author.registry.parent.mkdir(parents=True)
    digest = hashlib.sha256(b"one").hexdigest()
    text = f'dataurl = "http://127.0.0.1:9/"\n\n[files."maps/dust.fits"]\nsize = 3\nsha256 = "{digest}"\n'
    author.registry.write_text(text)
    with pytest.raises(Conflict, match="keeps one version of a file only"):
        author.publish({"maps/dust.fits": b"two"}, new_version=True)
    assert author.registry.read_text() == text
    assert shop.objects() == {}


@pytest.mark.parametrize("versioned", [False, True])
def test_a_damaged_copy_is_replaced_on_demand(shop: Any, versioned: bool) -> None:
    author, files = shop.author(versioned=versioned), {"small.dat": b"small", "large.bin": os.urandom(PART + MIB)}
    author.publish(files)
    for name in files:
        shop.radosgw.client().put_object(Bucket=shop.bucket, Key=f"v1/{name}", Body=b"damage")
    author.publish(files, repair=True)
    assert shop.objects() == {f"v1/{name}": data for name, data in files.items()}
    assert author.users_get(list(files)) == files


class TestObjectACLs:
    """A bucket whose objects are made public one by one, by an ACL."""

    def test_declared(self, shop: Any) -> None:
        author = shop.author(public=False, rights=(*RIGHTS, "s3:PutObjectAcl"))
        author.spec += "&acl=public-read"
        files = {"small.dat": b"small", "large.bin": os.urandom(PART + MIB)}
        author.publish(files)
        assert author.users_get(list(files)) == files

    def test_not_declared(self, shop: Any) -> None:
        author = shop.author(public=False)
        client = shop.radosgw.client()
        client.put_object(Bucket=shop.bucket, Key="v1/old.dat", Body=b"old", ACL="public-read")
        with pytest.raises(PublishError, match="users may not read what is put there") as caught:
            author.publish({"new.dat": b"new"})
        assert "acl=public-read" in caught.value.remedy
        assert list(shop.objects()) == ["v1/old.dat"]
