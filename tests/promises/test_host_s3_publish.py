"""Publishing to buckets, at a real store on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataferry.config import load_settings
from dataferry.errors import AccessDenied, Conflict, DataferryError, PublishError
from dataferry.hosts import make_host
from dataferry.hosts.base import Upload
from dataferry.hosts.s3 import LARGEST_PART, MOST_PARTS, part_size
from dataferry.hosts.s3_client import Bucket
from dataferry.hosts.s3_setup import upload_policy
from dataferry.publish import publish
from dataferry.registry import Registry
from dataferry.testing import PublishContract
from dataferry.testing.author import Author, empty_home

MIB = 1 << 20
#: What `dataferry host s3 policy` gives.
RIGHTS = tuple(a for statement in upload_policy(Bucket.parse("s3://any/"))["Statement"] for a in statement["Action"])


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Shop:
    """A bucket, an author who may publish there, and users."""

    def __init__(self, radosgw: Any, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.radosgw, self.folder, self.patch = radosgw, folder, patch
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
    return Shop(radosgw, tmp_path, monkeypatch)


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


def test_real_files_of_all_sizes_reach_users_with_their_type(shop: Shop) -> None:
    astropy, healpy = (pytest.importorskip(name) for name in ("astropy", "healpy"))
    folders = [Path(str(module.__file__)).parent for module in (astropy, healpy)]
    found = sorted((path for folder in folders for path in folder.rglob("*.fits*")), key=lambda p: p.stat().st_size)
    real = {path.name: path.read_bytes() for path in (found[0], found[len(found) // 2], found[-1])}
    assert len(real) == 3
    large = os.urandom(40 * MIB + 1)
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


def test_many_files_are_asked_for_by_one_list(shop: Shop) -> None:
    files = {f"many/{number:03}.dat": b"%d" % number for number in range(100)}
    author = shop.author()
    author.publish(files)
    again = author.publish(files, registry=shop.folder / "other.toml")
    assert not any(file.sent for file in again.files)
    assert len(Registry(shop.folder / "other.toml").names()) == 100
    with pytest.raises(Conflict, match=r"many/007\.dat"):
        author.publish(files | {"many/007.dat": b"8"}, registry=shop.folder / "third.toml")


def test_two_releases_each_keep_their_bytes(shop: Shop) -> None:
    author = shop.author(versioned=True)
    one = {"maps/dust.fits": b"one" * 100, "large.bin": b"1" * (17 * MIB), "bands.ecsv": b"bands"}
    two = one | {"maps/dust.fits": b"two" * 99, "large.bin": b"2" * (17 * MIB)}
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


def test_a_bucket_without_versions_gets_no_new_version(shop: Shop) -> None:
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
def test_a_damaged_copy_is_replaced_on_demand(shop: Shop, versioned: bool) -> None:
    author, files = shop.author(versioned=versioned), {"small.dat": b"small", "large.bin": os.urandom(17 * MIB)}
    author.publish(files)
    for name in files:
        shop.radosgw.client().put_object(Bucket=shop.bucket, Key=f"v1/{name}", Body=b"damage")
    author.publish(files, repair=True)
    assert shop.objects() == {f"v1/{name}": data for name, data in files.items()}
    assert author.users_get(list(files)) == files


def test_over_tls(shop: Shop, tls_ca: Any) -> None:
    author = shop.author(endpoint=shop.radosgw.tls_url)
    files = {"small.dat": b"small", "middle.dat": os.urandom(2 * MIB), "large.bin": os.urandom(17 * MIB)}
    with pytest.raises(PublishError, match="CERTIFICATE_VERIFY_FAILED"):
        author.publish(files)
    shop.patch.setenv("SSL_CERT_FILE", str(tls_ca.pem))
    author.anonymous["SSL_CERT_FILE"] = str(tls_ca.pem)
    author.publish(files)
    assert author.users_get(list(files)) == files


def test_through_a_proxy(shop: Shop, tinyproxy: Callable[..., Any]) -> None:
    author, proxy = shop.author(), tinyproxy()
    shop.patch.setenv("http_proxy", proxy.url)
    files = {"small.dat": b"small", "large.bin": os.urandom(17 * MIB)}
    author.publish(files)
    shop.patch.delenv("http_proxy")
    assert author.users_get(list(files)) == files
    assert f"PUT http://127.0.0.1:{shop.radosgw.port}/{shop.bucket}/v1/small.dat" in proxy.log.read_text()


def test_strangers_may_come_another_way(shop: Shop, counted_link: Callable[[str], Any]) -> None:
    author = shop.author()
    link = counted_link(shop.radosgw.url)
    author.spec += f"&public={link.url}/{shop.bucket}"
    author.publish({"a.dat": b"a"})
    assert author.users_get(["a.dat"]) == {"a.dat": b"a"}
    assert link.sent > 0
    assert f'mirrors = ["{author.spec}"]' in author.registry.read_text()


class TestObjectACLs:
    """A bucket whose objects are made public one by one, by an ACL."""

    def test_declared(self, shop: Shop) -> None:
        author = shop.author(public=False, rights=(*RIGHTS, "s3:PutObjectAcl"))
        author.spec += "&acl=public-read"
        files = {"small.dat": b"small", "large.bin": os.urandom(17 * MIB)}
        author.publish(files)
        assert author.users_get(list(files)) == files

    def test_not_declared(self, shop: Shop) -> None:
        author = shop.author(public=False)
        client = shop.radosgw.client()
        client.put_object(Bucket=shop.bucket, Key="v1/old.dat", Body=b"old", ACL="public-read")
        with pytest.raises(PublishError, match="users may not read what is put there") as caught:
            author.publish({"new.dat": b"new"})
        assert "acl=public-read" in caught.value.remedy
        assert list(shop.objects()) == ["v1/old.dat"]


def test_a_network_that_is_away_for_three_seconds(shop: Shop, counted_link: Callable[[str], Any]) -> None:
    link = counted_link(shop.radosgw.url)
    author = shop.author(endpoint=link.url)
    files = {f"{n:02}.dat": os.urandom(100_000 + n) for n in range(80)} | {"large.bin": os.urandom(40 * MIB)}

    def go_away() -> None:
        link._cut()
        threading.Timer(3.0, link.mend).start()

    link.call_after(4 * MIB, go_away)
    author.publish(files)
    assert author.users_get(list(files)) == files


class TestCut:
    """The network goes, or the program is killed, in the middle; the next run goes on and sends nothing twice."""

    SIZE = 12 * 16 * MIB + 1
    CUT = 10 * 16 * MIB + MIB  # eight parts are on their way at most, so two at least are finished

    @pytest.fixture
    def link(self, radosgw: Any, counted_link: Callable[[str], Any]) -> Any:
        return counted_link(radosgw.url)

    def test_a_cut_network(self, shop: Shop, link: Any) -> None:
        author, data = shop.author(endpoint=link.url), os.urandom(self.SIZE)
        shop.patch.setenv("AWS_MAX_ATTEMPTS", "1")
        link.cut_after(self.CUT)
        with pytest.raises(PublishError, match="the same command continues"):
            author.publish({"large.bin": data})
        assert not author.registry.exists()
        assert shop.unfinished() == ["v1/large.bin"]
        done, sent = shop.finished("v1/large.bin"), link.sent
        assert done >= 2 * 16 * MIB
        link.mend()
        author.publish({"large.bin": data})
        assert link.sent - sent < self.SIZE - done + MIB, "a finished part was sent again"
        assert author.users_get(["large.bin"]) == {"large.bin": data}
        assert shop.unfinished() == []

    @pytest.mark.parametrize("notes", ["with notes", "on another machine"])
    def test_kill_9(self, shop: Shop, link: Any, notes: str) -> None:
        author, data = shop.author(endpoint=link.url), os.urandom(self.SIZE)
        path = shop.folder / "large.bin"
        path.write_bytes(data)
        script = "import sys; from dataferry.publish import publish; publish({'large.bin': sys.argv[1]}, *sys.argv[2:])"
        words = [sys.executable, "-c", script, str(path), author.spec, str(author.registry)]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
            link.call_after(self.CUT, killed.kill)
            assert killed.wait(60) == -signal.SIGKILL
        done = shop.finished("v1/large.bin")
        assert done >= 2 * 16 * MIB
        if notes == "on another machine":
            empty_home(shop.folder / "elsewhere", shop.patch)
        sent = link.sent
        author.publish({"large.bin": data})
        assert link.sent - sent < self.SIZE - done + MIB, "a finished part was sent again"
        assert author.users_get(["large.bin"]) == {"large.bin": data}
        assert shop.unfinished() == []

    def test_ctrl_c(self, shop: Shop, link: Any) -> None:
        author = shop.author(endpoint=link.url)
        path = shop.folder / "large.bin"
        path.write_bytes(os.urandom(self.SIZE))
        author.registry.parent.mkdir(parents=True)
        author.registry.touch()
        words = [sys.executable, "-m", "dataferry", "publish", str(path), "--as", "large.bin", "--to", author.spec]
        words += ["--package", str(author.registry)]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as stopped:
            ended = threading.Event()

            def stop() -> None:
                stopped.send_signal(signal.SIGINT)
                ended.wait(60)  # this connection stands still, so the upload cannot come to its end before

            link.call_after(self.SIZE // 2, stop)
            said = stopped.communicate(timeout=60)[1]
            ended.set()
        assert stopped.returncode == 130, said
        author.publish({"large.bin": path.read_bytes()})
        assert shop.unfinished() == []

    def test_what_others_began_is_left_alone_and_what_is_ours_is_removed(self, shop: Shop) -> None:
        author, data = shop.author(), os.urandom(20 * MIB)
        client, key = shop.radosgw.client(shop.ann), {"Bucket": shop.bucket, "Key": "v1/large.bin"}
        ids = []
        for body in (data[: 16 * MIB], data[: 16 * MIB], b"other bytes"):
            ids.append(client.create_multipart_upload(**key)["UploadId"])
            client.upload_part(**key, UploadId=ids[-1], PartNumber=1, Body=body)
        author.publish({"large.bin": data})
        assert [i["UploadId"] for i in client.list_multipart_uploads(Bucket=shop.bucket)["Uploads"]] == ids[2:]
        assert client.list_multipart_uploads(Bucket=shop.bucket)["Uploads"][0]["UploadId"] == ids[2]
        assert author.users_get(["large.bin"]) == {"large.bin": data}


class TestTwoAuthors:
    """Two authors publish other bytes under one name at the same moment: one has it, the other is told."""

    @pytest.mark.parametrize("size", [100, 2 * MIB, 17 * MIB])
    def test_at_once(self, shop: Shop, size: int) -> None:
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

    def test_the_same_bytes_are_no_conflict(self, shop: Shop) -> None:
        author = shop.author()
        for size in (100, 17 * MIB):
            upload = shop.upload(f"{size}.dat", b"x" * size)
            for _ in range(2):  # the second knows nothing of the first
                publisher = make_host(author.spec).publisher(load_settings(), {})
                publisher.check_rights()
                publisher.begin([upload], {})
                publisher.upload(upload, {}, lambda count: None)
                publisher.finish([upload], {})

    def test_where_the_store_heeds_no_condition_it_is_seen_at_the_end(self, shop: Shop) -> None:
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

    def test_a_key_that_may_not_put(self, shop: Shop) -> None:
        author = shop.author(rights=("s3:ListBucket", "s3:GetObject"))
        error = self.refused(author, AccessDenied)
        assert "(put)" in str(error) and "s3:PutObject" in error.remedy and "host s3 policy" in error.remedy
        assert shop.objects() == {}

    def test_a_key_that_may_not_list(self, shop: Shop) -> None:
        error = self.refused(shop.author(rights=("s3:PutObject",)), AccessDenied)
        assert "(list)" in str(error) and "s3:ListBucket" in error.remedy

    def test_a_key_with_a_wrong_secret_and_one_that_is_unknown(self, shop: Shop) -> None:
        author = shop.author()
        shop.patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert "not the one of this access key" in str(self.refused(author, AccessDenied))
        shop.patch.setenv("AWS_ACCESS_KEY_ID", "NOBODY")
        assert "does not know this access key" in str(self.refused(author, AccessDenied))

    def test_no_key_and_a_profile_that_is_not_there(self, shop: Shop) -> None:
        author = shop.author()
        shop.patch.delenv("AWS_ACCESS_KEY_ID")
        shop.patch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "AWS_PROFILE" in self.refused(author, AccessDenied).remedy
        shop.patch.setenv("AWS_PROFILE", "nobody")
        assert "nobody" in str(self.refused(author, AccessDenied))

    def test_no_such_bucket(self, shop: Shop) -> None:
        assert "host s3 setup" in self.refused(shop.author("not-there")).remedy

    def test_a_private_bucket_that_is_in_use(self, shop: Shop) -> None:
        author = shop.author(public=False)
        shop.radosgw.client().put_object(Bucket=shop.bucket, Key="v1/old.dat", Body=b"old")
        error = self.refused(author)
        assert "users may not read" in str(error) and "host s3 setup" in error.remedy
        assert list(shop.objects()) == ["v1/old.dat"]

    def test_a_private_bucket_that_is_empty(self, shop: Shop) -> None:
        error = self.refused(shop.author(public=False))
        assert "users may not read" in str(error) and "host s3 setup" in error.remedy
        assert shop.objects() == {}, "it is found before anything is uploaded"

    def test_a_full_quota(self, shop: Shop) -> None:
        author = shop.author(shop.radosgw.full_bucket(shop.ann, RIGHTS, MIB))
        for size in (MIB + 1, 3 * MIB, 20 * MIB):
            assert "quota there is full" in str(self.refused(author, **{f"{size}.dat": os.urandom(size)}))

    def test_a_clock_that_is_off(self, shop: Shop, need: Any) -> None:
        faketime, author = need("faketime"), shop.author()
        (shop.folder / "a.dat").write_bytes(b"a")
        author.registry.parent.mkdir(parents=True)
        author.registry.touch()
        words = [faketime, "-f", "-2h", sys.executable, "-m", "dataferry", "publish", str(shop.folder / "a.dat")]
        words += ["--as", "a.dat", "--to", author.spec, "--package", str(author.registry)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert "clocks of this machine and of the store differ" in done.stderr and "set-ntp" in done.stderr

    def test_a_class_that_the_store_does_not_have(self, shop: Shop) -> None:
        author = shop.author()
        author.spec += "&class=STANDARD_IA"
        assert "InvalidArgument" in str(self.refused(author))


class TestSetup:
    """`dataferry host s3`."""

    @pytest.fixture
    def spec(self, shop: Shop) -> str:
        shop.sign_in(shop.radosgw.owner)
        shop.bucket = f"made-{os.urandom(4).hex()}"
        return str(shop.radosgw.spec(shop.bucket, "v1/"))

    def test_a_bucket_is_made_once_and_then_left(self, shop: Shop, spec: str, command: Callable[..., Result]) -> None:
        words = ["host", "s3", "setup", shop.bucket, "--endpoint", shop.radosgw.url, "--prefix", "v1"]
        dry = command(*words, "--dry-run")
        assert dry.exit_code == 0 and "to do" in dry.stdout and "done" not in dry.stdout
        names = [item["Name"] for item in shop.radosgw.client().list_buckets()["Buckets"]]
        assert shop.bucket not in names
        made = command(*words)
        assert made.exit_code == 0, made.stderr
        assert made.stdout.splitlines()[-1] == f"declare it in dataferry.toml: {spec}"
        again = command("host", "s3", "setup", spec)
        assert [line.split("  ")[1] for line in again.stdout.splitlines()[:-1]] == ["already so"] * 6
        author = shop.author(shop.bucket, user=shop.radosgw.owner)
        author.publish({"a.dat": b"one"})
        author.publish({"a.dat": b"three"}, new_version=True)
        assert author.users_get(["a.dat"]) == {"a.dat": b"three"}

    def test_what_others_configured_stays(self, shop: Shop, spec: str, command: Callable[..., Result]) -> None:
        client, ann = shop.radosgw.client(), shop.ann
        bucket = shop.radosgw.bucket(public=False, writers={ann: ("s3:PutObject",)})
        rule = {"ID": "mine", "AllowedMethods": ["PUT"], "AllowedOrigins": ["https://my.org"]}
        client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
        assert command("host", "s3", "setup", shop.radosgw.spec(bucket)).exit_code == 0
        statements = json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        assert len(statements) == 2
        assert [r["ID"] for r in client.get_bucket_cors(Bucket=bucket)["CORSRules"]] == ["mine", "dataferry"]

    def test_the_policy_is_enough_to_publish(self, shop: Shop, spec: str, command: Callable[..., Result]) -> None:
        assert command("host", "s3", "setup", spec).exit_code == 0
        policy = json.loads(command("host", "s3", "policy", spec, "--json").stdout)
        client = shop.radosgw.client()
        kept = json.loads(client.get_bucket_policy(Bucket=shop.bucket)["Policy"])
        for statement in policy["Statement"]:
            kept["Statement"].append(statement | {"Principal": {"AWS": [f"arn:aws:iam:::user/{shop.ann.name}"]}})
        client.put_bucket_policy(Bucket=shop.bucket, Policy=json.dumps(kept))
        author = shop.author(shop.bucket)
        files = {"small.dat": b"small", "large.bin": os.urandom(17 * MIB)}
        author.publish(files)
        author.publish(files | {"small.dat": b"smaller"}, new_version=True)
        assert author.users_get(["large.bin"]) == {"large.bin": files["large.bin"]}
        elsewhere = Bucket.parse(shop.radosgw.spec(shop.bucket, "v2/"))
        with pytest.raises(AccessDenied, match="put"):
            publish(
                {"a.dat": __file__}, elsewhere_spec(elsewhere, author.spec), shop.folder / "v2.toml", progress=False
            )

    def test_the_commands_for_a_user_of_aws(self, command: Callable[..., Result]) -> None:
        told = command("host", "s3", "policy", "mypkg-data", "--region", "us-gov-west-1", "--prefix", "v1/").stdout
        assert '"arn:aws-us-gov:s3:::mypkg-data/v1/*"' in told
        assert "aws iam create-user --user-name dataferry-mypkg-data" in told
        assert "Delete" not in told

    def test_without_a_key_or_with_an_odd_name(self, command: Callable[..., Result], shop: Shop) -> None:
        assert "AWS_PROFILE" in command("host", "s3", "setup", "mypkg-data", "--region", "us-west-2").stderr
        assert command("host", "s3", "policy", "My Bucket").exit_code == 2


def elsewhere_spec(place: Any, spec: str) -> str:
    return spec.replace("/v1/", f"/{place.prefix}")
