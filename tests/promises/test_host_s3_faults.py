"""What a bucket refuses, and authors who publish at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest

from dataferry.config import load_settings
from dataferry.errors import AccessDenied, Conflict, DataferryError, PublishError
from dataferry.hosts import make_host
from dataferry.hosts.s3_client import Bucket
from dataferry.hosts.s3_setup import upload_policy
from dataferry.testing.author import Author

pytestmark = pytest.mark.usefixtures("no_aws_keys")

MIB = 1 << 20
#: The parts of files that the fixture ``shop`` has dataferry make.
PART = 5 * MIB
#: What `dataferry host s3 policy` gives.
RIGHTS = tuple(a for statement in upload_policy(Bucket("s3://any/"))["Statement"] for a in statement["Action"])


class TestTwoAuthors:
    """Two authors publish other bytes under one name at the same moment: one has it, the other is told."""

    @pytest.mark.parametrize("size", [100, 2 * MIB, 17 * MIB])
    def test_at_once(self, shop: Any, size: int) -> None:
        shop.patch.setattr("dataferry.hosts.s3.ONE_REQUEST", 16 * MIB)
        author = shop.author()
        spec, ready = author.spec, threading.Barrier(2)
        results: dict[str, Any] = {}

        def run(who: str) -> None:
            upload = shop.upload("same.dat", who.encode() * size)
            publisher = make_host(spec).publisher(load_settings(), {})
            publisher.check_rights()
            assert publisher.hosted([upload]) == {}
            publisher.begin([upload], {})
            ready.wait(20)
            try:
                publisher.upload(upload, {}, lambda count: None)
                publisher.finish([upload], {})
                results[who] = "has it"
            except DataferryError as error:
                results[who] = error

        authors = [threading.Thread(target=run, args=(who,)) for who in "ab"]
        for thread in authors:
            thread.start()
        for thread in authors:
            thread.join()
        [winner] = [who for who, result in results.items() if result == "has it"]
        [loser] = [result for result in results.values() if result != "has it"]
        assert isinstance(loser, Conflict)
        assert "same.dat" in str(loser) and "keeps its bytes" in loser.remedy
        assert shop.objects() == {"v1/same.dat": winner.encode() * size}

    def test_the_same_bytes_are_no_conflict(self, shop: Any) -> None:
        author = shop.author()
        for size in (100, PART + MIB):
            upload = shop.upload(f"{size}.dat", b"x" * size)
            for _ in range(2):  # the second knows nothing of the first
                publisher = make_host(author.spec).publisher(load_settings(), {})
                publisher.check_rights()
                publisher.begin([upload], {})
                publisher.upload(upload, {}, lambda count: None)
                publisher.finish([upload], {})

    @pytest.mark.parametrize("given_up", [False, True])
    def test_the_upload_in_parts_that_began_first_has_it(self, shop: Any, given_up: bool) -> None:
        """radosgw lets each of two uploads in parts make the object, whatever is there already."""
        author, key = shop.author(), {"Key": "v1/same.dat"}
        client, key["Bucket"] = shop.radosgw.client(shop.ann), shop.bucket
        key["UploadId"] = client.create_multipart_upload(**key)["UploadId"]
        part = {"PartNumber": 1, "ETag": client.upload_part(**key, PartNumber=1, Body=b"first")["ETag"]}
        upload = shop.upload("same.dat", b"later" * PART)
        publisher = make_host(author.spec).publisher(load_settings(), {})
        publisher.check_rights()
        if given_up:
            publisher.abandoned_after = timedelta()
            publisher.upload(upload, {}, lambda count: None)
            with pytest.raises(client.exceptions.ClientError):  # radosgw 16: InternalError
                client.complete_multipart_upload(**key, MultipartUpload={"Parts": [part]})
            assert shop.objects() == {"v1/same.dat": b"later" * PART}
            return
        with pytest.raises(Conflict, match="began earlier"):
            publisher.upload(upload, {}, lambda count: None)
        assert shop.objects() == {}
        client.complete_multipart_upload(**key, MultipartUpload={"Parts": [part]})
        with pytest.raises(Conflict, match="other bytes"):
            publisher.upload(upload, {}, lambda count: None)
        assert shop.objects() == {"v1/same.dat": b"first"}

    def test_where_the_store_heeds_no_condition_it_is_seen_at_the_end(self, shop: Any) -> None:
        author, client = shop.author(), shop.radosgw.client()
        upload = shop.upload("same.dat", b"mine")
        publisher = make_host(author.spec).publisher(load_settings(), {})
        publisher.check_rights()
        publisher.upload(upload, {}, lambda count: None)
        client.put_object(Bucket=shop.bucket, Key="v1/same.dat", Body=b"others")
        with pytest.raises(Conflict, match="at the same time"):
            publisher.finish([upload], {})
        client.delete_object(Bucket=shop.bucket, Key="v1/same.dat")
        with pytest.raises(PublishError, match="not there any more"):
            publisher.finish([upload], {})


class TestRefused:
    """What cannot be is said before the first byte goes, with what helps."""

    def refused(self, author: Author, kind: type[PublishError] = PublishError, **files: bytes) -> PublishError:
        with pytest.raises(kind) as caught:
            author.publish(files or {"a.dat": b"a"})
        assert not author.registry.exists()
        assert "secret" not in str(caught.value).replace("its secret", "").replace("the secret key", "")
        return caught.value

    def test_a_key_that_may_not_put(self, shop: Any) -> None:
        author = shop.author(rights=("s3:ListBucket", "s3:GetObject"))
        error = self.refused(author, AccessDenied)
        assert "(put)" in str(error) and "s3:PutObject" in error.remedy and "host s3 policy" in error.remedy
        assert shop.objects() == {}

    def test_a_key_that_may_not_list(self, shop: Any) -> None:
        error = self.refused(shop.author(rights=("s3:PutObject",)), AccessDenied)
        assert "(list)" in str(error) and "s3:ListBucket" in error.remedy

    def test_a_key_with_a_wrong_secret_and_one_that_is_unknown(self, shop: Any) -> None:
        author = shop.author()
        shop.patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert "not the one of this access key" in str(self.refused(author, AccessDenied))
        shop.patch.setenv("AWS_ACCESS_KEY_ID", "NOBODY")
        assert "does not know this access key" in str(self.refused(author, AccessDenied))

    def test_no_key_and_a_profile_that_is_not_there(self, shop: Any) -> None:
        author = shop.author()
        shop.patch.delenv("AWS_ACCESS_KEY_ID")
        shop.patch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "AWS_PROFILE" in self.refused(author, AccessDenied).remedy
        shop.patch.setenv("AWS_PROFILE", "nobody")
        assert "nobody" in str(self.refused(author, AccessDenied))

    def test_no_such_bucket(self, shop: Any) -> None:
        assert "host s3 setup" in self.refused(shop.author("not-there")).remedy

    def test_a_private_bucket_that_is_in_use(self, shop: Any) -> None:
        author = shop.author(public=False)
        shop.radosgw.client().put_object(Bucket=shop.bucket, Key="v1/old.dat", Body=b"old")
        error = self.refused(author)
        assert "users may not read" in str(error) and "host s3 setup" in error.remedy
        assert list(shop.objects()) == ["v1/old.dat"]

    def test_a_private_bucket_that_is_empty(self, shop: Any) -> None:
        error = self.refused(shop.author(public=False))
        assert "users may not read" in str(error) and "host s3 setup" in error.remedy
        assert shop.objects() == {}, "it is found before anything is uploaded"

    def test_a_full_quota(self, shop: Any) -> None:
        author = shop.author(shop.radosgw.full_bucket(shop.ann, RIGHTS, MIB))
        for size in (MIB + 1, 3 * MIB, PART + MIB):
            assert "quota there is full" in str(self.refused(author, **{f"{size}.dat": os.urandom(size)}))

    def test_a_clock_that_is_off(self, shop: Any, need: Any) -> None:
        faketime, author = need("faketime"), shop.author()
        (shop.folder / "a.dat").write_bytes(b"a")
        author.registry.parent.mkdir(parents=True)
        author.registry.touch()
        words = [faketime, "-f", "-2h", sys.executable, "-m", "dataferry", "publish", str(shop.folder / "a.dat")]
        words += ["--as", "a.dat", "--to", author.spec, "--package", str(author.registry)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert "clocks of this machine and of the store differ" in done.stderr and "set-ntp" in done.stderr

    def test_a_class_that_the_store_does_not_have(self, shop: Any) -> None:
        author = shop.author()
        author.spec += "&class=STANDARD_IA"
        assert "InvalidArgument" in str(self.refused(author))
