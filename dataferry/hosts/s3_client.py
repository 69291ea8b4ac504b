"""A bucket of S3: the line that declares it, the URLs that follow from that alone, and boto3 for all else."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from ..download.origin import host_option
from ..errors import AccessDenied, BadName, DataferryError, MissingExtra, PublishError
from ..registry.names import check_name, close_names
from .base import HostedFile

if TYPE_CHECKING:
    from ..config.settings import Settings

__all__ = ["SIGN_IN", "Bucket", "S3Client", "common_start", "error_code", "error_status"]

_WORDS = ("region", "endpoint", "style", "public", "class", "acl", "payer", "version")
_AWS_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]").fullmatch
#: Other stores are more liberal; a colon parts tenant and bucket of a radosgw.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}").fullmatch
_REGION = re.compile(r"[a-z0-9][a-z0-9-]*").fullmatch
_CLASS = re.compile(r"[A-Z][A-Z0-9_]*").fullmatch
_LOCATOR = re.compile(r"[a-z][a-z0-9_-]*").fullmatch
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_MD5 = re.compile(r'"?([0-9a-f]{32})"?').fullmatch
#: Objects of these have to be restored before anybody can read them.
_FROZEN = {"GLACIER", "DEEP_ARCHIVE"}
_ACLS = {"public-read", "private", "bucket-owner-full-control"}
#: Requests at the same time.
REQUESTS = 16
#: Up to so many files are asked for one by one; for more the store gives a list.
_FEW = 64
#: Nobody's upload, and nobody's key.
_NO_UPLOAD = "dataferry-asks-whether-it-may"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A part of a bucket, as it is declared. ``prefix`` is empty or ends with a slash, and so does ``public``."""

    name: str
    prefix: str = ""
    region: str = ""
    endpoint: str = ""
    path_style: bool = False
    public: str = ""
    storage_class: str = ""
    acl: str = ""
    requester_pays: bool = False
    locator: str = "s3"

    @property
    def server(self) -> str:
        """The URL of the store, without a slash at its end."""
        if self.endpoint:
            return self.endpoint
        china, eu = self.region.startswith("cn-"), self.region.startswith("eusc-")
        suffix = "amazonaws.com.cn" if china else "amazonaws.eu" if eu else "amazonaws.com"
        return f"https://s3.{self.region}.{suffix}" if self.region else "https://s3.amazonaws.com"

    def url(self, name: str, version: str = "") -> str:
        """The URL of a file for everybody. A plus sign is quoted: in the path of a URL S3 takes it for a space."""
        scheme, _, host = self.server.partition("://")
        inside = f"{self.server}/{quote(self.name, safe=':')}/"
        base = self.public or (inside if self.path_style else f"{scheme}://{self.name}.{host}/")
        url = base + quote(self.prefix + name, safe="/~")
        return f"{url}?versionId={quote(version, safe='')}" if version else url

    def params(self, name: str) -> dict[str, Any]:
        """What names an object to boto3."""
        payer = {"RequestPayer": "requester"} if self.requester_pays else {}
        return {"Bucket": self.name, "Key": self.prefix + name, **payer}

    @classmethod
    def parse(cls, spec: str) -> Bucket:
        """Read the line that declares a bucket. Raises `BadName` if it is none, or holds credentials."""
        form = "a bucket is declared as s3://bucket/prefix/?region=..."
        try:
            parts = urlsplit(spec)
        except ValueError as error:
            raise BadName(f"{form}: {error}") from None
        place = f"s3://{parts.netloc.rpartition('@')[2]}{parts.path}"

        def check(right: object, why: str) -> None:
            if not right:
                raise BadName(f"{place}: {why}")

        check(
            "@" not in parts.netloc and not any("@" in value for _, value in parse_qsl(parts.query)),
            "credentials do not belong into a declaration; readers need none, and authors keep theirs for AWS",
        )
        check(parts.scheme.lower() == "s3" and not parts.fragment, form)
        words: dict[str, str] = {}
        for word, value in parse_qsl(parts.query, keep_blank_values=True):
            close = close_names(word, _WORDS) if word not in _WORDS else ()
            hint = f"; did you mean {close[0]}?" if close else f" (there are {', '.join(_WORDS)})"
            usable = word in _WORDS and word not in words and value
            check(usable, f"{word!r} in its query is unknown, given twice or empty{hint}")
            words[word] = value
        for word in ("endpoint", "public"):
            url = words.get(word, "")
            check(not url or _is_url(url), f"{word} is a URL like https://objects.example.org, not {url!r}")
            words[word] = url.rstrip("/")
        region, kept, acl = (words.get(word, "") for word in ("region", "class", "acl"))
        check(not region or _REGION(region), f"region is a word like us-west-2, not {region!r}")
        legal = (_BUCKET if words["endpoint"] else _AWS_BUCKET)(parts.netloc) and ".." not in parts.netloc
        check(legal, f"{parts.netloc!r} is no name of a bucket")
        style = words.get("style", "path" if words["endpoint"] or "." in parts.netloc else "virtual")
        check(style in {"path", "virtual"}, f"style is path or virtual, not {style!r}")
        readable = not kept or (_CLASS(kept) and kept not in _FROZEN)
        check(readable, f"class is a storage class that can be read at once, like STANDARD_IA, not {kept!r}")
        check(not acl or acl in _ACLS, f"acl is {', '.join(sorted(_ACLS))}, not {acl!r}")
        payer, locator = words.get("payer", "owner"), words.get("version", "s3")
        check(payer in {"owner", "requester"}, f"payer is owner or requester, not {payer!r}")
        free = _LOCATOR(locator) and locator not in {"sha256", "size"}
        check(free, f"version is the registry's key for version ids, or off, not {locator!r}")
        prefix = unquote(parts.path).strip("/")
        clean = not {"", ".", ".."} & set(prefix.split("/")) and prefix.isprintable()
        check(not prefix or clean, f"its prefix {prefix!r} has an empty, '.' or '..' part, or a control character")
        return cls(
            name=parts.netloc,
            prefix=prefix and f"{prefix}/",
            region=region,
            endpoint=words["endpoint"],
            path_style=style == "path",
            public=words["public"] and f"{words['public']}/",
            storage_class=kept,
            acl=acl,
            requester_pays=payer == "requester",
            locator="" if locator == "off" else locator,
        )


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and not parts.query and not parts.fragment and url.isascii()


class S3Client:
    """A bucket through boto3: who asks, over which connections, and what the store's errors mean.

    With `reading` a package named the store. One that is not AWS then gets only what the user means for it: the key
    under its name in the settings, or any where ``AWS_ENDPOINT_URL_S3`` or the user's profile names it too.
    """

    def __init__(
        self,
        bucket: Bucket,
        redacted: str,
        settings: Settings,
        *,
        connections: int = 8,
        anonymous: bool = False,
        reading: bool = False,
        attempts: int = 4,
    ) -> None:
        try:
            import boto3
            import botocore
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
            from botocore.session import Session
            from s3transfer.utils import signal_not_transferring, signal_transferring
        except ImportError as error:
            raise MissingExtra("s3", "boto3") from error
        self.bucket, self.redacted = bucket, redacted
        self._failures: tuple[type[Exception], ...] = (ClientError, BotoCoreError)
        self.credentials: Any = None
        # not under the bare name of the store: user and password would go there with every plain request
        label = f"s3://{urlsplit(bucket.server).netloc}"
        login = settings.hosts.get(label, {})
        bundle, cert = (host_option(settings, urlsplit(bucket.server), word) for word in ("ca_bundle", "client_cert"))
        key = login.get("user") or None
        options: dict[str, Any] = {
            "signature_version": "s3v4",
            "s3": {"addressing_style": "path" if bucket.path_style else "virtual"},
            "max_pool_connections": connections,
            "connect_timeout": 10,
            "read_timeout": 60,
            # the standard mode gives up after a hundred retries of all requests together: 32 uploads have spent them
            # when the network is away for three seconds
            "retries": {"mode": "legacy", "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS") or attempts)},
            "user_agent_extra": settings.user_agent.split(" ")[0],
            "tcp_keepalive": True,
            "ignore_configured_endpoint_urls": True,  # readers go where the declaration says
        }
        if cert:
            options["client_cert"] = cert if isinstance(cert, str) else tuple(cert)
        if bucket.endpoint:
            # many stores do not know the checksums that newer versions of boto3 send by default
            whenever = "request_checksum_calculation", "response_checksum_validation"
            options |= dict.fromkeys(whenever, "when_required")
        with self.asking("credentials"):
            core = Session()
            core.register_component("data_loader", _loader())
            self.session = boto3.Session(
                botocore_session=core,
                aws_access_key_id=key,
                aws_secret_access_key=(login.get("password") or None) if key else None,
                region_name=bucket.region or None,
            )
            meant = bool(key) or not (reading and bucket.endpoint) or bucket.endpoint == _configured_endpoint(core)
            if meant and not anonymous:
                self.credentials = self.session.get_credentials()
            else:
                options["signature_version"] = botocore.UNSIGNED
            self.boto: Any = self.session.client(
                "s3",
                endpoint_url=bucket.endpoint or None,
                region_name=bucket.region or self.session.region_name or "us-east-1",
                verify=bundle or _ca_bundle(),
                config=Config(**options),
            )
        # what is read of a file counts as sent only while it is sent, and not while it is signed
        self.boto.meta.events.register_first("request-created.s3", signal_not_transferring)
        self.boto.meta.events.register_last("request-created.s3", signal_transferring)
        found = self.credentials
        origin = f'[hosts."{label}"] of config.toml' if key else getattr(found, "method", "")
        #: Which access key is used and where it was found; empty where there is none.
        self.who = f"access key {_shortened(str(found.access_key))} from {origin}" if found else ""

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Turn errors of boto3 into those of dataferry; `error_code` gives the store's word for one."""
        try:
            yield
        except DataferryError:
            raise
        except self._failures as exc:
            raise self._error(exc, what) from exc

    def _error(self, exc: Exception, what: str) -> PublishError:
        place, kind, code = f"{self.redacted} ({what})", type(exc).__name__, _response(exc)[0]
        if kind in {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}:
            return AccessDenied(place, f"no credentials: {exc}", SIGN_IN)
        response = getattr(exc, "response", None)
        if not response:
            cause = getattr(exc, "kwargs", {}).get("error")
            if cause is None:
                return PublishError(place, str(exc))
            remedy = "what was uploaded stays there; the same command continues from there"
            return PublishError(place, f"the store did not answer: {cause}", remedy)
        message, status = response.get("Error", {}).get("Message") or "", _response(exc)[1]
        reason = f"{code or status}" + (f": {message}" if message and message != code else "")
        if code in _MEANINGS:
            error, why, remedy = _MEANINGS[code]
            return error(place, f"{why} ({reason})", remedy)
        if status == 403:
            if self.credentials is None:
                return AccessDenied(place, f"that takes an access key ({reason})", SIGN_IN)
            return AccessDenied(place, f"this access key may not do that ({reason})", _RIGHTS)
        return PublishError(place, f"it is not there ({reason})" if status == 404 else f"HTTP {status}: {reason}")

    def region(self) -> str:
        """Where the bucket is; AWS says it to everybody. Empty where the store says nothing."""
        try:
            answer = self.boto.head_bucket(Bucket=self.bucket.name)
        except self._failures as exc:
            answer = getattr(exc, "response", None) or {}
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return str(headers.get("x-amz-bucket-region", ""))

    def versioned(self) -> bool:
        """Whether the bucket keeps the old bytes of a name, as far as this key may ask."""
        try:
            return bool(self.boto.get_bucket_versioning(Bucket=self.bucket.name).get("Status") == "Enabled")
        except self._failures:
            return False  # no version ids come into the registry

    def pages(self, operation: str, entries: str, what: str, **params: Any) -> Iterator[tuple[dict[str, Any], Any]]:
        """The items of a list of many pages, each with its page."""
        with self.asking(what):
            for page in self.boto.get_paginator(operation).paginate(Bucket=self.bucket.name, **params):
                yield from ((item, page) for item in page.get(entries, ()))

    def listed(self, below: str = "") -> dict[str, HostedFile]:
        """The objects below the prefix whose names begin so: size, and md5 where the store tells it."""
        found, payer = {}, {"RequestPayer": "requester"} if self.bucket.requester_pays else {}
        prefix = self.bucket.prefix
        for item, _ in self.pages("list_objects_v2", "Contents", "list", Prefix=prefix + below, **payer):
            name = str(item["Key"])[len(prefix) :]
            try:
                found[check_name(name)] = HostedFile(int(item["Size"]), md5=_md5_of(item))
            except BadName:  # the mark of a folder, or nothing that dataferry wrote
                continue
        return found

    def head(self, name: str) -> HostedFile | None:
        """What an object tells of itself; None if there is none."""
        checksums = {} if self.bucket.endpoint else {"ChecksumMode": "ENABLED"}
        try:
            with self.asking(name):
                head = self.boto.head_object(**self.bucket.params(name), **checksums)
        except PublishError as error:
            if _response(error.__cause__)[1] == 404:
                return None
            raise
        sha256 = str(head.get("Metadata", {}).get("sha256", "")).lower()
        if not _SHA256(sha256):
            whole = head.get("ChecksumType") == "FULL_OBJECT" and head.get("ChecksumSHA256")
            sha256 = base64.b64decode(head["ChecksumSHA256"]).hex() if whole else ""
        locator, version = self.bucket.locator, str(head.get("VersionId", ""))
        locators: dict[str, str | int] = {locator: version} if locator and version not in {"", "null"} else {}
        return HostedFile(int(head["ContentLength"]), sha256 or None, _md5_of(head), locators)

    def heads(self, names: Iterable[str]) -> dict[str, HostedFile]:
        """What objects tell of themselves; those that are there."""
        names = list(names)
        with ThreadPoolExecutor(REQUESTS, thread_name_prefix="dataferry-s3") as pool:
            found = zip(names, pool.map(self.head, names), strict=True)
            return {name: file for name, file in found if file is not None}

    def heads_where_they_tell_more(self, names: list[str]) -> dict[str, HostedFile]:
        """What only the objects themselves tell, where the first ones tell more than a list."""
        found: dict[str, HostedFile] = {}
        for some in (names[:REQUESTS], names[REQUESTS:]):
            try:
                found |= self.heads(some)
            except PublishError:  # who may list need not be allowed to read
                return {}
            if not any(file.sha256 or file.locators for file in found.values()):
                return {}
        return found

    def hosted(self, names: Sequence[str], *, versioned: bool) -> dict[str, HostedFile]:
        """Objects by name; with version ids, which no list tells, where they are wanted."""
        if len(names) <= _FEW:
            return self.heads(names)
        wanted = set(names)
        found = {name: file for name, file in self.listed(common_start(names)).items() if name in wanted}
        return found | self.heads(name for name, file in found.items() if versioned or file.md5 is None)

    def check_rights(self) -> None:
        """Ask whether files can be published and read by everybody, without writing anything.

        An empty part is sent for an upload that does not exist: a key that may put gets the answer that there is no
        such upload, another one that it may not; neither leaves anything.
        """
        if self.credentials is None:
            raise AccessDenied(self.redacted, "no access key was found", SIGN_IN)
        bucket = self.bucket
        with self.asking("list"):
            self.boto.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix, MaxKeys=1)
        try:
            with self.asking("put"):
                key = {"Bucket": bucket.name, "Key": bucket.prefix + _NO_UPLOAD}
                self.boto.upload_part(**key, UploadId=_NO_UPLOAD, PartNumber=1, Body=b"")
        except PublishError as error:
            code, status = _response(error.__cause__)
            if status == 403 or not code:
                raise
        if bucket.requester_pays or bucket.public or bucket.acl == "public-read":
            return
        try:
            with self.asking("policy"):
                # a principal "*" is everybody; what a policy means in the end only the store knows
                public = '"*"' in str(self.boto.get_bucket_policy(Bucket=bucket.name)["Policy"])
        except PublishError as error:
            public = error_code(error) != "NoSuchBucketPolicy"  # who may not ask sees it when the proof fails
        if not public:
            raise PublishError(self.redacted, "users may not read what is put there: no policy allows it", _MAKE_PUBLIC)


@lru_cache(maxsize=1)
def _loader() -> Any:
    """Reading the description of S3 takes longer than all the rest: once a process is enough."""
    from botocore.loaders import create_loader

    return create_loader()


def _configured_endpoint(core: Any) -> str:
    """The store that the user means by the keys of the environment and of the profile; empty for AWS."""
    from botocore.configprovider import ConfiguredEndpointProvider

    provider = ConfiguredEndpointProvider(core.full_config, core.get_scoped_config(), "s3")
    return str(provider.provide() or "").rstrip("/")


def _ca_bundle() -> str | None:
    """The roots that the other transfers trust as well; boto3 knows only its own variables."""
    if os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE"):
        return None
    return os.environ.get("SSL_CERT_FILE") or os.environ.get("CURL_CA_BUNDLE")


def _shortened(key: str) -> str:
    return key if len(key) <= 8 else f"{key[:4]}...{key[-4:]}"


def _response(exc: BaseException | None) -> tuple[str, int]:
    response = getattr(exc, "response", None) or {}  # botocore's HTTPClientError has one that is None
    code = str(response.get("Error", {}).get("Code", ""))
    return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_status(error: PublishError) -> int:
    """The HTTP status of an error; 0 where the store did not answer."""
    return _response(error.__cause__)[1]


def error_code(error: PublishError) -> str:
    """The store's word for an error, ``NoSuchKey``, or the HTTP status; empty where the store did not answer."""
    return _response(error.__cause__)[0]


def _md5_of(item: Mapping[str, Any]) -> str | None:
    """The md5 of an object, where its ETag is one: not of one in parts or under a customer's or a KMS key."""
    found = _MD5(str(item.get("ETag", "")))
    sealed = "kms" in str(item.get("ServerSideEncryption", "")) or item.get("SSECustomerAlgorithm")
    return found[1] if found and not sealed else None


def common_start(names: Iterable[str]) -> str:
    """What all names begin with, which need not be a folder."""
    return os.path.commonprefix(list(names))  # noqa: RUF071


SIGN_IN = (
    "give an access key by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, by AWS_PROFILE after `aws configure`, or as "
    'user and password in [hosts."s3://<host of the store>"] of config.toml'
)
_RIGHTS = (
    "it needs s3:PutObject, s3:GetObject, s3:ListBucket and those for multipart uploads: `dataferry host s3 policy "
    "BUCKET` prints the policy and the commands that grant it"
)
_MAKE_PUBLIC = (
    "`dataferry host s3 setup BUCKET` lets everybody read it; where single objects are made public by ACLs, declare "
    "&acl=public-read; where a web server or CDN serves it, declare &public=https://..."
)
_NEW_KEY = "compare the access key and its secret; `dataferry publish` names the place where they were found"
_CLOCK = "set the clock of this machine (`timedatectl set-ntp true`): signatures are valid for a quarter of an hour"
_FULL = "remove something there, or ask for a larger quota; what was uploaded stays, and the same command continues"
_NO_ACL = "leave acl= out of the declaration, and let a policy make the bucket public: `dataferry host s3 setup BUCKET`"
_REGION_REMEDY = "give its region in the declaration"
_MEANINGS: dict[str, tuple[type[PublishError], str, str]] = {
    "SignatureDoesNotMatch": (AccessDenied, "the secret key is not the one of this access key", _NEW_KEY),
    "InvalidAccessKeyId": (AccessDenied, "the store does not know this access key", _NEW_KEY),
    "InvalidToken": (AccessDenied, "the session's token is not valid", SIGN_IN),
    "ExpiredToken": (AccessDenied, "the session has expired", "sign in again, for example with `aws sso login`"),
    "RequestTimeTooSkewed": (AccessDenied, "the clocks of this machine and of the store differ too much", _CLOCK),
    "NoSuchBucket": (PublishError, "there is no such bucket", "make it with `dataferry host s3 setup BUCKET`"),
    "QuotaExceeded": (PublishError, "the quota there is full", _FULL),
    "AccessControlListNotSupported": (PublishError, "the bucket takes no ACLs of objects", _NO_ACL),
    "InvalidStorageClass": (
        PublishError,
        "the store does not have this storage class",
        "see `class` in the declaration",
    ),
    "PermanentRedirect": (PublishError, "the bucket is in another region", _REGION_REMEDY),
    "IllegalLocationConstraintException": (PublishError, "the bucket is in another region", _REGION_REMEDY),
}
