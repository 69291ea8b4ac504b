"""Reading from buckets: a real store on loopback, and the URLs of Amazon's, which follow from the declaration alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataferry import PackageData
from dataferry.config import load_settings
from dataferry.errors import BadName, FileUnavailable, TransferError
from dataferry.hosts import make_host
from dataferry.hosts.base import Host
from dataferry.hosts.s3 import S3Host
from dataferry.registry import Entry
from dataferry.testing import HostContract

pytestmark = pytest.mark.usefixtures("no_aws_keys")
FILES = {"maps/dust.fits": b"dust" * 1000, "bands.ecsv": b"# bands\n"}


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch, radosgw: Any) -> Callable[[Any], None]:
    """Put a user's key into the environment, and say for which store it is."""

    def sign_in(user: Any) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", radosgw.url)
        for variable, value in user.environ.items():
            monkeypatch.setenv(variable, value)

    return sign_in


def put(radosgw: Any, bucket: str, files: Mapping[str, bytes], prefix: str = "") -> dict[str, str]:
    """Put objects there as anybody's tool does; gives their version ids."""
    client = radosgw.client()
    return {
        name: client.put_object(Bucket=bucket, Key=prefix + name, Body=data).get("VersionId", "")
        for name, data in files.items()
    }


def package(make_package: Callable[..., str], spec: str, files: Mapping[str, bytes] = FILES) -> PackageData:
    return PackageData(make_package(files, head=f'mirrors = ["{spec}"]'), show_progress=False)


class TestS3Host(HostContract):
    @pytest.fixture(autouse=True)
    def _store(self, radosgw: Any) -> None:
        self.radosgw = radosgw

    @contextmanager
    def serving(self, files: Mapping[str, bytes]) -> Iterator[Host]:
        bucket = self.radosgw.bucket()
        put(self.radosgw, bucket, files, "v 1/")
        yield S3Host(self.radosgw.spec(bucket, "v%201/"))


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ("s3://mypkg-data/?region=us-west-2", "https://mypkg-data.s3.us-west-2.amazonaws.com/a%2Bb%20c.fits"),
        ("s3://mypkg-data/v1/?region=eu-west-1", "https://mypkg-data.s3.eu-west-1.amazonaws.com/v1/a%2Bb%20c.fits"),
        ("s3://mypkg-data/v1", "https://mypkg-data.s3.amazonaws.com/v1/a%2Bb%20c.fits"),
        ("s3://data.my.org/?region=us-west-2", "https://s3.us-west-2.amazonaws.com/data.my.org/a%2Bb%20c.fits"),
        ("s3://mypkg/?region=us-west-2&style=path", "https://s3.us-west-2.amazonaws.com/mypkg/a%2Bb%20c.fits"),
        ("s3://mypkg/?region=cn-north-1", "https://mypkg.s3.cn-north-1.amazonaws.com.cn/a%2Bb%20c.fits"),
        ("s3://MyPkg_1/?endpoint=https://objects.my.org", "https://objects.my.org/MyPkg_1/a%2Bb%20c.fits"),
        ("s3://lab:mypkg/?endpoint=https://objects.my.org/", "https://objects.my.org/lab:mypkg/a%2Bb%20c.fits"),
        ("s3://mypkg/?endpoint=https%3A%2F%2Fmy.org%3A8443%2Fs3", "https://my.org:8443/s3/mypkg/a%2Bb%20c.fits"),
        ("s3://mypkg/?endpoint=https://my.org&style=virtual", "https://mypkg.my.org/a%2Bb%20c.fits"),
        (
            "s3://mypkg/v1/?endpoint=https://my.org&public=https://cdn.my.org/d",
            "https://cdn.my.org/d/v1/a%2Bb%20c.fits",
        ),
    ],
)
def test_urls_follow_from_the_declaration(spec: str, url: str) -> None:
    (source,) = make_host(spec).sources("a+b c.fits", None)
    assert source.url == url
    assert source.host == spec


def test_a_registered_version_is_asked_for() -> None:
    entry = Entry("a.fits", "0" * 64, 1, {"s3": "x/+3", "copy": "other"})

    def url(words: str) -> str:
        return make_host(f"s3://mypkg/?region=us-west-2{words}").sources("a.fits", entry)[0].url

    assert url("").endswith("/a.fits?versionId=x%2F%2B3")
    assert url("&version=copy").endswith("/a.fits?versionId=other")
    assert url("&version=off").endswith("/a.fits")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("s3:", "no name of a bucket"),
        ("s3://My_Bucket/", "no name of a bucket"),
        ("s3://ab/", "no name of a bucket"),
        ("s3://mypkg/?regoin=us-west-2", "did you mean region"),
        ("s3://mypkg/?region=us west", "region is a word"),
        ("s3://mypkg/?region=a&region=b", "given twice"),
        ("s3://mypkg/?endpoint=objects.my.org", "endpoint is a URL"),
        ("s3://mypkg/?endpoint=ftp://my.org", "endpoint is a URL"),
        ("s3://mypkg/?public=cdn.my.org", "public is a URL"),
        ("s3://mypkg/?style=dns", "path or virtual"),
        ("s3://mypkg/?class=DEEP_ARCHIVE", "can be read at once"),
        ("s3://mypkg/?payer=me", "owner or requester"),
        ("s3://mypkg/?version=sha256", "version is the registry's key"),
        ("s3://mypkg/a//b/", "empty"),
        ("s3://mypkg/%2E%2E/", "'..'"),
        ("s3://mypkg/#v1", "declared as"),
        ("s3://mypkg]/", "declared as"),
    ],
)
def test_bad_declarations_are_named(spec: str, why: str) -> None:
    with pytest.raises(BadName, match=why):
        make_host(spec)


@pytest.mark.parametrize("spec", ["s3://AKIA1:s3cret@mypkg/", "s3://mypkg/?public=https://ann:s3cret@my.org"])
def test_credentials_in_a_declaration_are_refused_and_not_printed(spec: str) -> None:
    with pytest.raises(BadName, match="credentials do not belong") as caught:
        make_host(spec)
    assert "s3cret" not in str(caught.value)


def test_reading_a_public_bucket_needs_neither_boto3_nor_a_client(home: Path) -> None:
    script = (
        "import sys; from dataferry.hosts import make_host; "
        "make_host('s3://mypkg/?region=us-west-2').sources('a.fits', None); "
        "print([m for m in ('boto3', 'botocore', 'urllib3', 'ssl', 'astropy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_users_get_files_of_a_public_bucket(radosgw: Any, make_package: Callable[..., str]) -> None:
    bucket = radosgw.bucket()
    put(radosgw, bucket, FILES, "v1/")
    data = package(make_package, radosgw.spec(bucket, "v1/"))
    assert {name: Path(data.get(name)).read_bytes() for name in FILES} == FILES
    assert f"{radosgw.url}/{bucket}/v1/bands.ecsv" in str(data.where("bands.ecsv"))


def test_over_tls_with_an_own_authority(
    radosgw: Any,
    tls_ca: Any,
    make_package: Callable[..., str],
    home: Path,
    sign_in: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (home / ".config" / "dataferry").mkdir()
    server = radosgw.tls_url.removeprefix("https://")
    (home / ".config" / "dataferry" / "config.toml").write_text(f'[hosts."{server}"]\nca_bundle = "{tls_ca.pem}"\n')
    for public in (True, False):
        bucket = radosgw.bucket(public=public)
        put(radosgw, bucket, FILES)
        if not public:
            sign_in(radosgw.owner)
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", radosgw.tls_url)
        data = package(make_package, radosgw.spec(bucket, endpoint=radosgw.tls_url))
        assert Path(data.get("bands.ecsv")).read_bytes() == FILES["bands.ecsv"]


def test_a_registered_version_keeps_its_bytes(radosgw: Any, make_package: Callable[..., str]) -> None:
    bucket = radosgw.bucket(versioned=True)
    old = put(radosgw, bucket, {"a.dat": b"old"})["a.dat"]
    put(radosgw, bucket, {"a.dat": b"newer"})
    name = make_package({"a.dat": b"old"}, head=f'mirrors = ["{radosgw.spec(bucket)}"]')
    registry = (
        next(Path(entry) for entry in sys.path if (Path(entry) / name).is_dir()) / name / "data" / "dataferry.toml"
    )
    with pytest.raises(FileUnavailable, match="size|bytes"):
        PackageData(name, show_progress=False).get("a.dat")
    registry.write_text(registry.read_text() + f's3 = "{old}"\n')
    assert Path(PackageData(name, show_progress=False).get("a.dat")).read_bytes() == b"old"


class TestPrivate:
    @pytest.fixture
    def data(self, radosgw: Any, make_package: Callable[..., str]) -> PackageData:
        bucket = radosgw.bucket(public=False)
        put(radosgw, bucket, FILES)
        return package(make_package, radosgw.spec(bucket))

    def test_a_key_opens_it(self, data: PackageData, radosgw: Any, sign_in: Callable[[Any], None]) -> None:
        sign_in(radosgw.owner)
        assert {name: Path(data.get(name)).read_bytes() for name in FILES} == FILES
        assert not [arrival for arrival in data.arrivals.values() if radosgw.owner.key in arrival.source]

    def test_a_key_may_stand_in_the_settings(self, data: PackageData, radosgw: Any, home: Path) -> None:
        (home / ".config" / "dataferry").mkdir()
        server, owner = radosgw.url.removeprefix("http://"), radosgw.owner
        (home / ".config" / "dataferry" / "config.toml").write_text(
            f'[hosts."s3://{server}"]\nuser = "{owner.key}"\npassword = "{owner.secret}"\n'
        )
        assert Path(data.get("bands.ecsv")).read_bytes() == FILES["bands.ecsv"]

    def test_keys_that_are_not_meant_for_this_store_do_not_go_there(
        self, data: PackageData, radosgw: Any, monkeypatch: pytest.MonkeyPatch, home: Path
    ) -> None:
        for variable, value in radosgw.owner.environ.items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://objects.example.org")
        with pytest.raises(FileUnavailable, match=f"not AWS, AWS_ENDPOINT_URL_S3={radosgw.url}") as caught:
            data.get("bands.ecsv")
        assert radosgw.owner.key not in str(caught.value)
        with pytest.raises(TransferError, match="gives no list") as refused:
            make_host(data.registry.mirrors[0]).hosted(load_settings())
        assert "this access key" not in str(refused.value), "no key was used"
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
        (home / ".aws").mkdir()
        (home / ".aws" / "config").write_text(f"[default]\nendpoint_url = {radosgw.url}/\n")
        assert Path(data.get("bands.ecsv")).read_bytes() == FILES["bands.ecsv"]

    def test_the_error_without_a_key_names_what_may_be_wrong(self, data: PackageData) -> None:
        with pytest.raises(FileUnavailable) as caught:
            data.get("bands.ecsv")
        text = str(caught.value)
        assert "403" in text
        assert "it does not exist, or the bucket is private" in text
        assert "AWS_PROFILE" in text

    def test_a_wrong_secret_is_printed_nowhere(
        self, data: PackageData, radosgw: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", radosgw.owner.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrongsecret")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", radosgw.url)
        with pytest.raises(FileUnavailable) as caught:
            data.get("bands.ecsv")
        assert "X-Amz-Signature=..." in str(caught.value)
        assert "wrongsecret" not in str(caught.value)

    def test_without_boto3_the_error_names_the_extra(self, data: PackageData, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "boto3", None)
        with pytest.raises(FileUnavailable, match=r"pip install 'dataferry\[s3\]'"):
            data.get("bands.ecsv")


def test_a_missing_file_of_a_public_bucket_is_understandable(radosgw: Any, make_package: Callable[..., str]) -> None:
    data = package(make_package, radosgw.spec(radosgw.bucket()))
    with pytest.raises(FileUnavailable, match="it does not exist, or the bucket is private"):
        data.get("bands.ecsv")


def test_who_reads_pays_only_after_a_yes(
    radosgw: Any,
    make_package: Callable[..., str],
    sign_in: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = radosgw.user("reader")
    bucket = radosgw.bucket(public=False, writers={reader: ("s3:GetObject",)})
    put(radosgw, bucket, FILES)
    radosgw.client().put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    sign_in(reader)
    data = package(make_package, radosgw.spec(bucket, payer="requester"))
    with pytest.raises(FileUnavailable, match="AWS_REQUEST_PAYER=requester agrees"):
        data.get("bands.ecsv")
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    assert Path(data.get("bands.ecsv")).read_bytes() == FILES["bands.ecsv"]


def test_the_list_of_a_bucket(radosgw: Any, sign_in: Callable[[Any], None]) -> None:
    kept = {"sha256": hashlib.sha256(FILES["bands.ecsv"]).hexdigest()}
    for public in (True, False):
        rights = ("s3:ListBucket",)
        reader = radosgw.user("reader")
        bucket = radosgw.bucket(public=public, versioned=public, writers={reader: (*rights, "s3:GetObject")})
        if public:
            radosgw.let_list(bucket)
        else:
            with pytest.raises(TransferError, match="gives no list"):
                make_host(radosgw.spec(bucket, "v1/")).hosted(load_settings())
            sign_in(reader)
        put(radosgw, bucket, {**FILES, "folder/": b"", "%41": b"no name"}, "v1/")
        put(radosgw, bucket, {"elsewhere": b""})
        client, key = radosgw.client(), "v1/bands.ecsv"
        client.put_object(Bucket=bucket, Key=key, Body=FILES["bands.ecsv"], Metadata=kept)
        hosted = make_host(radosgw.spec(bucket, "v1/")).hosted(load_settings())
        assert sorted(hosted) == sorted(FILES)
        assert {name: item.size for name, item in hosted.items()} == {name: len(data) for name, data in FILES.items()}
        assert hosted["maps/dust.fits"].md5 == hashlib.md5(FILES["maps/dust.fits"]).hexdigest()
        assert hosted["bands.ecsv"].sha256 == kept["sha256"]
        assert bool(hosted["bands.ecsv"].locators.get("s3")) is public


def test_who_adds_a_bucket_names_its_store_as_who_publishes(
    radosgw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Result]
) -> None:
    """A key in the environment goes to the store that the user typed, without AWS_ENDPOINT_URL_S3."""
    bucket = radosgw.bucket(public=False)
    put(radosgw, bucket, FILES)
    for variable, value in radosgw.owner.environ.items():
        monkeypatch.setenv(variable, value)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    kept = {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in FILES.items()}
    for name, data in FILES.items():
        radosgw.client().put_object(Bucket=bucket, Key=name, Body=data, Metadata=kept[name])
    done = command("add", tmp_path / "pkg", "--from", radosgw.spec(bucket))
    assert done.exit_code == 0, done.stderr
    assert "2 added, mirror declared" in done.stdout


def test_hosts_are_listed_with_what_they_can_do(command: Callable[..., Result]) -> None:
    told = {
        scheme: kind
        for kind in json.loads(command("host", "list", "--json").stdout)["hosts"]
        for scheme in kind["schemes"]
    }
    assert told["s3"]["publishes"] is told["s3"]["lists"] is True
    assert "https" in told
    redacted = command("host", "list").stdout
    assert "s3 " in redacted and "A bucket of Amazon S3" in redacted
