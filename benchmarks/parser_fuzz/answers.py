"""What servers answer."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import os
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSResponse
from damage import ODD_TEXTS, SHA256, Dice, changed_bytes, changed_json, changed_text, json_bytes

from dataferry.config.settings import Settings
from dataferry.download.fetch import fetch
from dataferry.download.response import check_body, check_head, decoded, parse_head, retry_after, validator
from dataferry.download.source import Source, Wanted
from dataferry.errors import DataferryError, TransferError
from dataferry.files import put_content
from dataferry.hosts import make_host
from dataferry.hosts.api_client import ApiClient, HostRefused, Response, error_message
from dataferry.hosts.base import Upload, checked_files, guarded
from dataferry.hosts.s3 import S3Host
from dataferry.hosts.s3_client import S3Client
from dataferry.hosts.s3_setup import set_up
from dataferry.publish.plan import as_error
from dataferry.registry.registry import Registry

HEADS = (
    'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n',
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Encoding: gzip\r\nContent-Type: text/html\r\nDate: "
        "Thu, 28 Nov 2030 10:00:00 GMT\r\nLast-Modified: Thu, 28 Nov 2024 10:00:00 GMT\r\n\r\n"
    ),
    "HTTP/1.1 429 Too Many\r\nRetry-After: 120\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1900000000\r\n\r\n",
    "HTTP/1.1 403 Forbidden\r\nRetry-After: Thu, 28 Nov 2030 10:00:00 GMT\r\nx-ratelimit-remaining: 0\r\n\r\n",
    "HTTP/1.1 302 Found\r\nLocation: https://h.example/a\r\nTransfer-Encoding: chunked\r\n\r\n",
)


def http_headers(dice: Dice, folder: Path) -> None:
    text = dice.choice(HEADS)
    rows = text.split("\r\n")
    for _ in range(dice.choice([1, 1, 2])):
        at, word = dice.randrange(len(rows)), dice.choice(ODD_TEXTS)
        rows[at] = f"{rows[at].partition(': ')[0]}: {word}" if dice.random() < 0.7 else f"HTTP/1.1 {word} {word}"
    data = changed_bytes(dice, "\r\n".join(rows).encode("utf-8", "surrogatepass"), 0.3)
    head = parse_head(data.splitlines(keepends=True))
    retry_after(head.headers, head.status), validator(head.headers)
    body = changed_bytes(dice, dice.choice([b"<html>x", gzip.compress(b"x" * 5000), b"", b"{}", b"version https://"]))
    for check in (
        lambda: check_head(head, "place", dice.choice([0, 5]), dice.choice([None, 10]), dice.choice([None, 10])),
        lambda: check_body(head.headers, "place", "a.bin", body, len(body), dice.choice([None, 10])),
        lambda: decoded(body, head.headers.get("content-encoding", "gzip"), 1000, "place"),
    ):
        with contextlib.suppress(TransferError):
            check()


ASSET = {"id": 7, "name": "a.bin", "url": "https://h.example/a", "state": "uploaded", "size": 5, "digest": None}
RELEASE = {"id": 5, "tag_name": "v1", "draft": False, "upload_url": "https://h/{?n}", "html_url": "h"}
RECORD = {"id": "abc", "access": {"files": "public"}, "versions": {"index": 1}, "links": {}}
ENTRY = {"key": "a.bin", "size": 5, "checksum": "md5:" + "a" * 32, "status": "completed"}
DATAFILE = {"id": 7, "filesize": 5, "checksum": {"type": "MD5", "value": "a" * 32}}
BATCH = {"oid": SHA256, "size": 5, "actions": {"download": {"href": "https://127.0.0.1:9/o", "header": {"A": "b"}}}}
FIGURE = {"id": 7, "name": "a.bin", "size": 5, "computed_md5": "a" * 32, "download_url": "https://h/7"}
#: A declaration, and what its interface answers at the paths that end so; the first fitting one counts.
INTERFACES: dict[str, dict[str, Any]] = {
    "github-release:o/r@v1": {"assets": [ASSET], "more2": None, "": RELEASE},
    "inveniordm:https://h.example/abc": {"files": {"entries": [ENTRY]}, "": RECORD},
    "zenodo:4924875": {"files": {"entries": [ENTRY]}, "": RECORD},
    "dataverse:doi:10.7910/DVN/ABCDEF": {"": {"data": [{"label": "a.bin", "dataFile": DATAFILE}]}},
    "figshare:14763051": {"files": [FIGURE], "": {"id": 1, "version": 2, "files": [FIGURE], "folder_structure": {}}},
    "figshare:10.6084/x.y": {"files": [FIGURE], "articles": [{"id": 1, "doi": "10.6084/x.y"}], "": {"id": 1}},
    "git-lfs:https://h.example/o/r.git": {"": {"objects": [BATCH]}},
    "folder:/none?url=https://h.example/": {
        "": {"format": "dataferry-catalog/1", "files": {"a.bin": {"size": 5, "sha256": SHA256}}}
    },
}


def api_answers(dice: Dice, folder: Path) -> None:
    """What hosts make of the answers of their interfaces, and what a download makes of where these lead."""
    spec = dice.choice(list(INTERFACES))
    answers, calls = INTERFACES[spec], 0

    def call(self: ApiClient, method: str, path: str, **how: Any) -> Response:
        nonlocal calls
        calls += 1
        found = next(value for end, value in answers.items() if path.partition("?")[0].endswith(end))
        status = 404 if found is None and dice.random() < 0.9 else dice.choice([200] * 20 + [404, 403])
        headers = {"link": dice.choice(['<https://h.example/x>; rel="next"', *ODD_TEXTS])} if calls < 5 else {}
        response = Response(status, headers, json_bytes(dice, found), f"{method} {path}")
        if status != 200 and status not in how.get("accept", ()):
            raise TransferError(response.place, error_message(response), kind="status", final=True)
        return response

    ApiClient.call = call  # type: ignore[method-assign]
    os.environ["GH_TOKEN"] = "token"
    make_host.cache_clear()
    entry = Registry.from_files("mypkg", {"a.bin": {"sha256": SHA256, "size": 5}})["a.bin"]
    with contextlib.suppress(TransferError), guarded(spec):
        checked_files(spec, make_host(spec).hosted(Settings()))
    with guarded(spec):
        found = make_host(spec).look_up({"a.bin": entry}, Settings())
    for sources in found.values():
        odd = tuple(source for source in sources if not source.url.startswith("https://h.example/"))[:1]
        if odd and all(isinstance(source, Source) for source in odd) and "zenodo.org" not in odd[0].url:
            wanted = [Wanted("a.bin", odd[0].url, 5, SHA256, odd)]
            store = lambda item, content: put_content(content, folder / item.name)  # noqa: E731
            fetch(
                wanted,
                find=lambda _: None,
                store=store,
                workdir=folder / "w",
                settings=Settings(timeout=0.2),
                deadline=0.2,
                progress=False,
            )


#: What interfaces answer to somebody who publishes five bytes.
CONTENT = b"01234"
MD5 = hashlib.md5(CONTENT).hexdigest()
OWN_RECORD = {**RECORD, "versions": {"index": 1, "is_latest": True, "is_latest_draft": True}, "is_draft": False}
OWN_ENTRY = {**ENTRY, "checksum": f"md5:{MD5}"}
DEPOSIT = {**OWN_RECORD, "links": {"self_html": "https://h.example/d"}, "entries": [OWN_ENTRY], "enabled": True}
PIECES = {"status": "PENDING", "parts": [{"partNo": 1, "startOffset": 0, "endOffset": 4, "status": "PENDING"}]}
UPLOAD = {**FIGURE, "computed_md5": MD5, "supplied_md5": MD5, "status": "available", "location": "https://h/files/7"}
UPLOAD |= {"upload_url": "https://h.example/up"}
DATASET = {"id": 3, "persistentId": "doi:10.7910/DVN/ABCDEF", "latestVersion": {"files": [], "versionState": "DRAFT"}}
DATASET |= {"url": "https://h.example/up", "storageIdentifier": "s3://x", "partSize": 5, "files": []}
RIGHTS = {"canEditDataset": True, "canPublishDataset": True}
ZENODO = {"user/records": {"hits": {"hits": [OWN_RECORD]}}, "files": DEPOSIT, "a.bin": OWN_ENTRY, "": DEPOSIT}
PUBLISHERS: dict[str, dict[str, Any]] = {
    "github-release:o/r@v1": {"assets": [ASSET], "more2": None, "releases": [RELEASE], "": RELEASE | {"login": "a"}},
    "zenodo:4924875": ZENODO,
    "zenodo:new": ZENODO,
    "figshare:14763051": {
        "account": {"id": 1, "first_name": "A", "quota": 10**9, "used_quota_private": 5, "maximum_file_size": 10**9},
        "licenses": [{"name": "CC BY 4.0", "value": 1}],
        "categories": [{"id": 2, "title": "Dust", "source_id": "5"}],
        "files": [UPLOAD],
        "up": PIECES,
        "files/7": UPLOAD,
        "": {"id": 1, "files": [UPLOAD], "location": "https://h/articles/7", "doi": ""},
    },
    "dataverse:doi:10.7910/DVN/ABCDEF": {
        "userPermissions": {"data": RIGHTS, "status": "OK"},
        "files": {"data": [{"label": "a.bin", "dataFile": DATAFILE}], "status": "OK"},
        "": {"data": DATASET, "status": "OK"},
    },
}


class Waits(DataferryError):
    """A publisher waits for its host."""


def wait(seconds: float) -> None:
    if seconds > 0:
        raise Waits


def to_publishers(dice: Dice, folder: Path) -> None:
    """What publishers make of answers, and of the notes of an earlier run."""
    spec = dice.choice(list(PUBLISHERS))
    answers, calls = PUBLISHERS[spec], 0

    def call(self: ApiClient, method: str, path: str, **how: Any) -> Response:
        nonlocal calls
        if (calls := calls + 1) > 200:
            raise Waits
        found = next(value for end, value in answers.items() if path.partition("?")[0].endswith(end))
        found = [] if isinstance(found, list) and dice.random() < 0.3 else found
        status = 404 if found is None else dice.choice([200] * 40 + [*how.get("accept", ()), 404])
        response = Response(status, {}, json_bytes(dice, found), f"{method} {path}")
        if status != 200 and status not in how.get("accept", ()):
            raise HostRefused(response.place, status, error_message(response), None)
        return response

    ApiClient.call = call  # type: ignore[method-assign]
    time.sleep = wait
    for name in ("GH_TOKEN", "ZENODO_TOKEN", "FIGSHARE_TOKEN", "DATAVERSE_API_TOKEN"):
        os.environ[name] = "token"
    (folder / "a.bin").write_bytes(CONTENT)
    upload = Upload("a.bin", folder / "a.bin", 5, hashlib.sha256(CONTENT).hexdigest(), MD5)
    make_host.cache_clear()
    about = {"title": "Maps", "description": "d", "keywords": ["k"], "categories": ["Dust"], "authors": ["A B"]}
    about["license"] = "CC BY 4.0"
    notes = {"draft": "abc", "mark": "[dataferry 1]", "upload_id": "u", "location": "https://h/files/7"}
    try:
        publisher = make_host(spec).publisher(Settings(), about)
        kept = changed_json(dice, notes) if dice.random() < 0.5 else {}
        kept = kept if isinstance(kept, dict) else {}
        publisher.check_rights()
        list(publisher.hosted([upload])), publisher.occupied(), publisher.remarks([upload])
        publisher.begin([upload], kept)
        publisher.upload(upload, kept, lambda count: None)
        publisher.finish([upload], kept)
    except Exception as error:
        raise as_error(error, spec) from error


OBJECT = f'<Key>v1/a.bin</Key><Size>5</Size><ETag>"{"a" * 32}"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified>'
POLICY = '{"Version": "2012-10-17", "Statement": [{"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": "s3:*"}]}'
PART = f'<Part><PartNumber>1</PartNumber><Size>5</Size><ETag>"{"a" * 32}"</ETag></Part>'
#: Operation -> what a store answers.
STORE = {
    "ListObjectsV2": f"<ListBucketResult><Contents>{OBJECT}</Contents></ListBucketResult>",
    "GetBucketPolicy": POLICY,
    "ListMultipartUploads": "<ListMultipartUploadsResult><Upload><Key>v1/a.bin</Key><UploadId>u</UploadId>"
    "<Initiated>2026-01-01T00:00:00Z</Initiated></Upload></ListMultipartUploadsResult>",
    "ListParts": f"<ListPartsResult>{PART}</ListPartsResult>",
    "CreateMultipartUpload": "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
    "CompleteMultipartUpload": "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>",
    "GetBucketVersioning": "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    "GetBucketCors": "<CORSConfiguration><CORSRule><ID>dataferry</ID></CORSRule></CORSConfiguration>",
    "GetBucketLifecycleConfiguration": "<LifecycleConfiguration><Rule><ID>x</ID></Rule></LifecycleConfiguration>",
    "GetPublicAccessBlock": "<PublicAccessBlockConfiguration><BlockPublicPolicy>false</BlockPublicPolicy>"
    "</PublicAccessBlockConfiguration>",
}
REFUSAL = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
ODD_XML = (
    *ODD_TEXTS,
    *(
        "<",
        ">",
        "</Key>",
        "<Key/>",
        "<Key>",
        "&x;",
        "&#0;",
        "&#x110000;",
        "<!DOCTYPE a [<!ENTITY x 'y'>]>",
        "<![CDATA[",
    ),
    *(
        "<a>" * 3000,
        "<Size>" + "9" * 5000 + "</Size>",
        "<Contents/>",
        "<IsTruncated>maybe</IsTruncated>",
        "<Part/>",
        "[]",
    ),
    *("<!DOCTYPE a [<!ENTITY a 'xxxxxxxxxx'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>]>", "null", "{}", "<Error/>"),
)


@functools.cache
def store() -> tuple[S3Host, S3Client]:
    os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    host = S3Host("s3://bucket/v1/?endpoint=https://s3.example")
    return host, S3Client(host.bucket, Settings(), attempts=1)


def store_answers(dice: Dice, folder: Path) -> None:
    """The XML and JSON of stores of S3, whatever is asked: lists, objects, uploads in parts, the setup."""
    host, client = store()

    def answer(request: Any, event_name: str, **how: Any) -> AWSResponse:
        operation = event_name.rpartition(".")[2]
        status = dice.choice([200] * 12 + [404, 403, 500, 301])
        body = changed_text(dice, STORE.get(operation, "") if status == 200 else REFUSAL, ODD_XML)
        fields = {"Content-Length": "5", "ETag": f'"{"a" * 32}"', "x-amz-meta-sha256": SHA256, "x-amz-version-id": "v"}
        fields = {key: dice.choice(ODD_TEXTS) if dice.random() < 0.1 else value for key, value in fields.items()}
        raw = types.SimpleNamespace(stream=lambda: [body])
        return AWSResponse(request.url, status, {k: v for k, v in fields.items() if dice.random() > 0.1}, raw)

    client.boto.meta.events.register("before-send.s3", answer, unique_id="fuzz")
    client.boto.meta.events.unregister("before-send.s3", unique_id="fuzz")
    client.boto.meta.events.register("before-send.s3", answer, unique_id="fuzz")
    size = dice.choice([5, 20 << 20])
    with open(folder / "a.bin", "wb") as file:
        file.truncate(size)
    upload = Upload("a.bin", folder / "a.bin", size, SHA256, "a" * 32)
    publisher = host.publisher(Settings(), {})
    publisher._client = client
    questions: list[Callable[[], Any]] = [
        lambda: checked_files(host.spec, client.all_files()),
        lambda: client.hosted(["a.bin"], versioned=True),
        client.check_rights,
        client.region,
        lambda: publisher.upload(upload, {"upload_id": dice.choice(["", "u"])}, lambda count: None),
        lambda: publisher.finish([upload], {}),
    ]
    if dice.random() < 0.2:
        list(set_up(client, dry=dice.random() < 0.5))
        return
    try:
        dice.choice(questions)()
    except Exception as error:
        raise as_error(error, host.spec) from error


LISTED = {"/x/a.bin": {"name": "/x/a.bin", "size": 5, "type": "file", "md5Hash": "q" * 22 + "=="}}


def listings(dice: Dice, folder: Path) -> None:
    """What a file system of fsspec lists."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.find = lambda self, path, **how: changed_json(dice, LISTED)
    make_host.cache_clear()
    with guarded("memory://x/"):
        checked_files("memory://x/", make_host("fsspec:memory://x/").hosted(Settings()))
