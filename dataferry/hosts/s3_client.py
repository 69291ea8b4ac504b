"""A bucket of S3: the line that declares it, the URLs that follow from that alone, and boto3 for all else."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from ..download.origin import client_certificate, host_option
from ..errors import AccessDenied, BadName, MissingExtra, PublishError
from ..registry.names import check_name, check_prefix, close_names
from .base import HostedFile

if TYPE_CHECKING:
    from ..config.settings import Settings

_FORM = "a bucket is declared as s3://bucket/prefix/?region=..."
_URL = r"https?://[\w.:\[\]-]+(?:/[\w.~%:+/-]*)?"
#: What the query of a declaration may say. Objects of the frozen classes are restored before anybody can read them.
_OPTIONS = {
    "region": (r"[a-z0-9][a-z0-9-]*", "a word like us-west-2"),
    "endpoint": (_URL, "a URL like https://objects.example.org"),
    "public": (_URL, "a URL like https://data.example.org"),
    "style": (r"path|virtual", "path or virtual"),
    "class": (
        r"(?!(?:GLACIER|DEEP_ARCHIVE)\Z)[A-Z][A-Z0-9_]*",
        "a storage class that can be read at once, like STANDARD_IA",
    ),
    "acl": (r"public-read|private|bucket-owner-full-control", "public-read, private or bucket-owner-full-control"),
    "payer": (r"owner|requester", "owner or requester"),
    "version": (r"(?!(?:sha256|size)\Z)[a-z][a-z0-9_-]*", "the registry's key for version ids, or off"),
}
_AWS_BUCKET = r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
#: Other stores are more liberal; a colon separates tenant and bucket of a radosgw.
_OTHER_BUCKET = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._:-]{0,254}"
_MD5 = re.compile(r'"?([0-9a-f]{32})"?').fullmatch
#: Parallel questions about single objects.
_REQUESTS = 16
#: Above this number of files the store is asked for a list.
_FEW = 64
#: Pages of a list, of up to a thousand objects each: a store may give a further one each time.
MOST_PAGES = 10_000
#: An upload and a key that nobody has.
_NO_UPLOAD = "dataferry-asks-whether-it-may"


class Bucket:
    """A part of a bucket, as a line declares it. Raises `BadName` if it is no such line, or contains credentials."""

    def __init__(self, spec: str) -> None:
        try:
            parts = urlsplit(spec)
        except ValueError as error:
            raise BadName(f"{_FORM}: {error}") from None
        try:
            given = _read_options(parts)
            self.spec, self.name = spec, parts.netloc
            self.region, self.endpoint, self.acl = given["region"], given["endpoint"], given["acl"]
            if not re.fullmatch(_OTHER_BUCKET if self.endpoint else _AWS_BUCKET, self.name):
                raise BadName(f"{self.name!r} is no name of a bucket")
        except BadName as error:
            raise BadName(f"s3://{parts.netloc.rpartition('@')[2]}{parts.path}: {error}") from None
        self.storage_class, self.requester_pays = given["class"], given["payer"] == "requester"
        #: What tells boto3 who pays.
        self.payer = {"RequestPayer": "requester"} if self.requester_pays else {}
        #: The registry's key for version ids; empty where none are kept.
        self.locator = {"": "s3", "off": ""}.get(given["version"], given["version"])
        #: Both end with a slash, or are empty.
        self.prefix, self.public = check_prefix(parts.path), given["public"] and f"{given['public']}/"
        # the certificate of AWS does not hold for a bucket with a dot
        usual = "path" if self.endpoint or "." in self.name else "virtual"
        self.path_style = (given["style"] or usual) == "path"

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
        return {"Bucket": self.name, "Key": self.prefix + name, **self.payer}


def _read_options(parts: SplitResult) -> dict[str, str]:
    """The options of a declaration, empty where it has none; raises `BadName` if it declares no bucket."""
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any("@" in text for text in (parts.netloc, *(value for _, value in query))):
        raise BadName("credentials do not belong in a declaration: readers need none, and authors keep theirs for AWS")
    if parts.scheme.lower() != "s3" or parts.fragment:
        raise BadName(_FORM)
    given = dict.fromkeys(_OPTIONS, "")
    for word, value in query:
        if word not in given:
            close = close_names(word, list(_OPTIONS))
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(_OPTIONS)}"
            raise BadName(f"unknown option {word!r}; {hint}")
        if given[word]:
            raise BadName(f"the option {word!r} is given twice")
        pattern, expected = _OPTIONS[word]
        if not re.fullmatch(pattern, value, re.ASCII):
            raise BadName(f"{word} is {expected}, not {value!r}")
        given[word] = value.rstrip("/")
    return given


class S3Client:
    """A bucket through boto3: who asks, over which connections, and what the store's errors mean.

    With `reading` a package named the store. One that is not AWS then gets only what the user means for it: the key
    under its name in the settings, or any where ``AWS_ENDPOINT_URL_S3`` or the user's profile names it too.
    """

    def __init__(
        self,
        bucket: Bucket,
        settings: Settings,
        *,
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
        except ImportError as error:
            raise MissingExtra("s3", "boto3") from error
        self.bucket = bucket
        self._failures: tuple[type[Exception], ...] = (ClientError, BotoCoreError)
        self.credentials: Any = None
        server = urlsplit(bucket.server)
        # not under the bare name of the store: user and password would go there with every plain request
        label = f"s3://{server.netloc}"
        login = settings.hosts.get(label, {})
        key, secret = login.get("user") or None, login.get("password") or None
        self._key_place = f'[hosts."{label}"] of config.toml' if key else ""
        options = _boto_options(bucket, settings, attempts)
        with self.translated_errors("credentials"):
            core = Session()
            core.register_component("data_loader", _loader())
            session = boto3.Session(
                botocore_session=core,
                aws_access_key_id=key,
                aws_secret_access_key=secret if key else None,
                region_name=bucket.region or None,
            )
            meant = key or not (reading and bucket.endpoint) or bucket.endpoint == _configured_endpoint(core)
            if meant and not anonymous:
                self.credentials = session.get_credentials()
            else:
                options["signature_version"] = botocore.UNSIGNED
            self.boto: Any = session.client(
                "s3",
                endpoint_url=bucket.endpoint or None,
                region_name=bucket.region or session.region_name or "us-east-1",
                verify=host_option(settings, server, "ca_bundle") or _ca_bundle(),
                config=Config(**options),
            )

    @contextmanager
    def translated_errors(self, what: str, *, unless: Collection[str] = ()) -> Iterator[None]:
        """Turn errors of boto3 into those of dataferry, except for answers with one of these codes or statuses."""
        try:
            yield
        except self._failures as error:
            code, status = response_of(error)
            if code not in unless and str(status) not in unless:
                raise self._error(error, f"{self.bucket.spec} ({what})") from error

    def _error(self, error: Exception, place: str) -> PublishError:
        if type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}:
            return AccessDenied(place, f"no credentials: {error}", SIGN_IN)
        code, status = response_of(error)
        if not status:
            cause = getattr(error, "kwargs", {}).get("error")  # what came from the network
            remedy = "once it answers, the same command continues and uploads nothing twice" if cause else ""
            return PublishError(place, f"the store did not answer: {cause}" if cause else str(error), remedy)
        message = getattr(error, "response", {}).get("Error", {}).get("Message") or ""
        answer = f"{code or status}" + (f": {message}" if message and message != code else "")
        kind, reason, remedy = PublishError, f"HTTP {status}", ""
        if code in _MEANINGS:
            kind, reason, remedy = _MEANINGS[code]
        elif status == 403:
            kind, reason, remedy = _NO_RIGHT if self.credentials else _NO_KEY
        return kind(place, f"{reason} ({answer})", remedy)

    @property
    def who(self) -> str:
        """Which access key is used and where it was found."""
        key = str(self.credentials.access_key)
        redacted_key = key if len(key) <= 8 else f"{key[:4]}...{key[-4:]}"
        return f"access key {redacted_key} from {self._key_place or self.credentials.method}"

    def region(self) -> str:
        """Where the bucket is; AWS answers that to everybody, also with an error. Empty for other stores."""
        try:
            answer = self.boto.head_bucket(Bucket=self.bucket.name)
        except self._failures as error:
            answer = getattr(error, "response", None) or {}
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return str(headers.get("x-amz-bucket-region", ""))

    def versioned(self) -> bool:
        """Whether the bucket keeps the old bytes of a name, as far as this key may ask."""
        with suppress(*self._failures):
            return bool(self.boto.get_bucket_versioning(Bucket=self.bucket.name).get("Status") == "Enabled")
        return False

    def pages(self, operation: str, entries: str, **params: Any) -> Iterator[dict[str, Any]]:
        """The items of a list of many pages."""
        pages = self.boto.get_paginator(operation).paginate(Bucket=self.bucket.name, **params)
        for number, page in enumerate(pages):
            if number == MOST_PAGES:
                raise PublishError(self.bucket.spec, f"its list has more than {MOST_PAGES} pages")
            yield from page.get(entries, ())

    def listed(self, below: str = "") -> dict[str, HostedFile]:
        """The objects whose names begin so: size, and md5 where the store gives it."""
        found, prefix = {}, self.bucket.prefix
        with self.translated_errors("list"):
            for item in self.pages("list_objects_v2", "Contents", Prefix=prefix + below, **self.bucket.payer):
                with suppress(BadName):  # the mark of a folder, or nothing that dataferry wrote
                    name = check_name(str(item["Key"])[len(prefix) :])
                    found[name] = HostedFile(int(item["Size"]), md5=_md5_of(item))
        return found

    def head(self, name: str) -> HostedFile | None:
        """What the store says of one object; None if there is none."""
        head: dict[str, Any] = {}
        with self.translated_errors(name, unless={"404"}):
            head = self.boto.head_object(**self.bucket.params(name))
        if not head:
            return None
        sha256 = str(head.get("Metadata", {}).get("sha256", "")).lower()
        known = sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else None
        return HostedFile(int(head["ContentLength"]), known, _md5_of(head), self.locators(head))

    def locators(self, answer: Mapping[str, Any]) -> dict[str, str | int]:
        """What the registry keeps of an answer: the version's id, where the bucket keeps versions."""
        version = answer.get("VersionId", "null")
        return {self.bucket.locator: version} if self.bucket.locator and version != "null" else {}

    def heads(self, names: Sequence[str]) -> dict[str, HostedFile]:
        """What the store says of single objects; those that are there."""
        with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="dataferry-s3") as pool:
            found = zip(names, pool.map(self.head, names), strict=True)
            return {name: file for name, file in found if file is not None}

    def all_files(self) -> dict[str, HostedFile]:
        """All objects, with what no list says of them; not if the first ones say no more, or may not be read."""
        found = self.listed()
        names = list(found)
        with suppress(PublishError):
            first = self.heads(names[:_REQUESTS])
            if any(file.sha256 or file.locators for file in first.values()):
                found |= first | self.heads(names[_REQUESTS:])
        return found

    def hosted(self, names: Sequence[str], *, versioned: bool) -> dict[str, HostedFile]:
        """Objects by name; with version ids, which no list has, where they are wanted."""
        if len(names) <= _FEW:
            return self.heads(names)
        listed = self.listed(os.path.commonprefix(names))  # noqa: RUF071 - it need not end with a folder
        found = {name: listed[name] for name in names if name in listed}
        return found | self.heads([name for name, file in found.items() if versioned or file.md5 is None])

    def check_rights(self) -> None:
        """Ask whether files can be published and read by everybody, without writing anything.

        An empty part is sent for an upload that does not exist: a key that may put gets the answer that there is no
        such upload, another one that it may not; neither leaves anything.
        """
        if self.credentials is None:
            raise AccessDenied(self.bucket.spec, "no access key was found", SIGN_IN)
        bucket = self.bucket
        with self.translated_errors("list"):
            self.boto.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix, MaxKeys=1)
        try:
            with self.translated_errors("put"):
                self.boto.upload_part(**bucket.params(_NO_UPLOAD), UploadId=_NO_UPLOAD, PartNumber=1, Body=b"")
        except PublishError as error:
            if response_of(error)[1] in {0, 403}:
                raise
        if bucket.requester_pays or bucket.public or bucket.acl == "public-read":
            return
        try:
            with self.translated_errors("policy"):
                # a principal "*" is everybody; what a policy means in the end only the store knows
                public = '"*"' in str(self.boto.get_bucket_policy(Bucket=bucket.name)["Policy"])
        except PublishError as error:
            public = response_of(error)[0] != "NoSuchBucketPolicy"  # who may not ask sees it when the proof fails
        if not public:
            raise PublishError(bucket.spec, "users may not read what is put there: no policy allows it", _MAKE_PUBLIC)


def _boto_options(bucket: Bucket, settings: Settings, attempts: int) -> dict[str, Any]:
    cert = client_certificate(settings, urlsplit(bucket.server))
    # many stores do not know the checksums that newer versions of boto3 send by default
    checksums = "when_required" if bucket.endpoint else "when_supported"
    return {
        "signature_version": "s3v4",
        "s3": {"addressing_style": "path" if bucket.path_style else "virtual"},
        "max_pool_connections": 64,
        "connect_timeout": min(10, settings.timeout),
        "read_timeout": settings.timeout,
        # the standard mode gives up after a hundred retries of all requests together: 32 uploads have spent them
        # when the network is away for three seconds
        "retries": {"mode": "legacy", "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS") or attempts)},
        "user_agent_extra": settings.user_agent.split(" ")[0],
        "ignore_configured_endpoint_urls": True,  # readers go where the declaration says
        "request_checksum_calculation": checksums,
        "response_checksum_validation": checksums,
        "client_cert": (cert[0], cert[-1]) if cert else None,
    }


@cache
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


def response_of(error: BaseException) -> tuple[str, int]:
    """The store's word for an error, ``NoSuchKey``, and the HTTP status; empty and 0 where it did not answer."""
    source = error.__cause__ if isinstance(error, PublishError) else error
    response = getattr(source, "response", None) or {}  # botocore's HTTPClientError has one that is None
    code = str(response.get("Error", {}).get("Code", ""))
    return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _md5_of(item: Mapping[str, Any]) -> str | None:
    """The md5 of an object, where its ETag is one: not of one in parts or under a customer's or a KMS key."""
    found = _MD5(str(item.get("ETag", "")))
    sealed = "kms" in str(item.get("ServerSideEncryption", "")) or item.get("SSECustomerAlgorithm")
    return found[1] if found and not sealed else None


SIGN_IN = (
    "give an access key by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, by AWS_PROFILE after `aws configure`, or as "
    'user and password in [hosts."s3://<host of the store>"] of config.toml'
)
_MAKE_PUBLIC = (
    "`dataferry host s3 setup BUCKET` lets everybody read it; where single objects are made public by ACLs, declare "
    "&acl=public-read; where a web server or CDN serves it, declare &public=https://..."
)
_NO_KEY = (AccessDenied, "that takes an access key", SIGN_IN)
_RIGHTS = (
    "it needs s3:PutObject, s3:GetObject, s3:ListBucket and those for multipart uploads: `dataferry host s3 policy "
    "BUCKET` prints the policy and the commands that grant it"
)
_NO_RIGHT = (AccessDenied, "this access key may not do that", _RIGHTS)
_NEW_KEY = "compare the access key and its secret; `dataferry publish` names the place where they were found"
_SESSION = (AccessDenied, "the session has expired", "sign in again, for example with `aws sso login`")
_CLOCK = "set the clock of this machine (`timedatectl set-ntp true`): signatures are valid for a quarter of an hour"
_FULL = "remove something there, or ask for a larger quota; what was uploaded stays, and the same command continues"
_NO_ACL = "leave acl= out of the declaration, and let a policy make the bucket public: `dataferry host s3 setup BUCKET`"
_OTHER_REGION = (PublishError, "the bucket is in another region", "give its region in the declaration")
_MEANINGS: dict[str, tuple[type[PublishError], str, str]] = {
    "SignatureDoesNotMatch": (AccessDenied, "the secret key is not the one of this access key", _NEW_KEY),
    "InvalidAccessKeyId": (AccessDenied, "the store does not know this access key", _NEW_KEY),
    "InvalidToken": _SESSION,
    "ExpiredToken": _SESSION,
    "RequestTimeTooSkewed": (AccessDenied, "the clocks of this machine and of the store differ too much", _CLOCK),
    "NoSuchBucket": (PublishError, "there is no such bucket", "make it with `dataferry host s3 setup BUCKET`"),
    "QuotaExceeded": (PublishError, "the quota there is full", _FULL),
    "AccessControlListNotSupported": (PublishError, "the bucket takes no ACLs of objects", _NO_ACL),
    "PermanentRedirect": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
}
