"""The line that declares a bucket, and the URLs that follow from it alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from ...errors import BadName
from ...registry.names import close_names

__all__ = ["Place", "parse_place"]

_WORDS = ("region", "endpoint", "style", "public", "class", "payer", "version")
_AWS_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]").fullmatch
#: Other stores are more liberal; a colon parts tenant and bucket of a radosgw.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}").fullmatch
_REGION = re.compile(r"[a-z0-9][a-z0-9-]*").fullmatch
_CLASS = re.compile(r"[A-Z][A-Z0-9_]*").fullmatch
_LOCATOR = re.compile(r"[a-z][a-z0-9_-]*").fullmatch
#: Objects of these have to be restored before anybody can read them.
_FROZEN = {"GLACIER", "DEEP_ARCHIVE"}
_NOT_OURS = {"sha256", "size"}


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a bucket.

    Parameters
    ----------
    bucket : str
        The bucket.
    prefix : str
        What stands before every name in a key; empty, or with a slash at its end.
    region : str
        The region; empty where the declaration says none.
    endpoint : str
        The URL of a store that is not AWS, without a slash at its end; empty for AWS.
    path_style : bool
        Whether the bucket stands in the path of a URL, and not in its host.
    public : str
        The URL at which strangers find the bucket, with a slash at its end, where that is not the store itself.
    storage_class : str
        The class in which new objects are kept; empty for the store's own choice.
    reader_pays : bool
        Whether who reads has to pay, and so to sign.
    locator : str
        The key under which the registry keeps version ids; empty to keep none.
    """

    bucket: str
    prefix: str = ""
    region: str = ""
    endpoint: str = ""
    path_style: bool = False
    public: str = ""
    storage_class: str = ""
    reader_pays: bool = False
    locator: str = "s3"

    @property
    def server(self) -> str:
        """The URL of the store, without a slash at its end."""
        if self.endpoint:
            return self.endpoint
        return f"https://s3.{self.region}.{_suffix(self.region)}" if self.region else "https://s3.amazonaws.com"

    @property
    def base(self) -> str:
        """The URL of the bucket at the store, with a slash at its end."""
        if self.path_style:
            return f"{self.server}/{quote(self.bucket, safe=':')}/"
        scheme, _, rest = self.server.partition("://")
        return f"{scheme}://{self.bucket}.{rest}/"

    def key_url(self, name: str) -> str:
        """The URL of a file at the store itself, to be signed.

        Parameters
        ----------
        name : str
            The file's name.

        Returns
        -------
        str
            Quoted. A plus sign is quoted too: in the path of a URL S3 takes it for a space.
        """
        return self.base + self._quoted(name)

    def url(self, name: str, version: str = "") -> str:
        """The URL of a file for a stranger.

        Parameters
        ----------
        name : str
            The file's name.
        version : str
            The version's id; empty for the newest.

        Returns
        -------
        str
            Quoted.
        """
        url = (self.public or self.base) + self._quoted(name)
        return f"{url}?versionId={quote(version, safe='')}" if version else url

    def _quoted(self, name: str) -> str:
        return quote(self.prefix + name, safe="/~")


def _suffix(region: str) -> str:
    if region.startswith("cn-"):
        return "amazonaws.com.cn"
    return "amazonaws.eu" if region.startswith("eusc-") else "amazonaws.com"


def parse_place(spec: str) -> Place:
    """Read the line that declares a bucket.

    Parameters
    ----------
    spec : str
        ``s3://bucket/prefix/?region=us-west-2``.

    Returns
    -------
    Place
        What it says.

    Raises
    ------
    BadName
        If it is no such line, or holds credentials.
    """
    try:
        parts = urlsplit(spec)
    except ValueError as error:
        raise BadName(f"a bucket is declared as s3://bucket/prefix/?region=...: {error}") from None
    redacted = f"s3://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def bad(why: str) -> BadName:
        return BadName(f"{redacted}: {why}")

    if "@" in parts.netloc or any("@" in value for _, value in parse_qsl(parts.query)):
        raise bad("credentials do not belong into a declaration; readers need none, and authors keep theirs for AWS")
    if parts.scheme.lower() != "s3" or parts.fragment:
        raise bad("a bucket is declared as s3://bucket/prefix/?region=...")
    said = _words(parts.query, bad)
    endpoint, public = (_url(said.get(word, ""), word, bad) for word in ("endpoint", "public"))
    region = said.get("region", "")
    if region and not _REGION(region):
        raise bad(f"region is a word like us-west-2, not {region!r}")
    bucket = parts.netloc
    if not (_BUCKET if endpoint else _AWS_BUCKET)(bucket) or ".." in bucket:
        raise bad(f"{bucket!r} is no name of a bucket")
    style = said.get("style", "path" if endpoint or "." in bucket else "virtual")
    if style not in {"path", "virtual"}:
        raise bad(f"style is path or virtual, not {style!r}")
    kept, payer, locator = said.get("class", ""), said.get("payer", "owner"), said.get("version", "s3")
    if kept and (not _CLASS(kept) or kept in _FROZEN):
        raise bad(f"class is a storage class that can be read at once, like STANDARD_IA, not {kept!r}")
    if payer not in {"owner", "requester"}:
        raise bad(f"payer is owner or requester, not {payer!r}")
    if not _LOCATOR(locator) or locator in _NOT_OURS:
        raise bad(f"version is the registry's key for version ids, or off, not {locator!r}")
    return Place(
        bucket=bucket,
        prefix=_prefix(parts.path, bad),
        region=region,
        endpoint=endpoint,
        path_style=style == "path",
        public=public and f"{public}/",
        storage_class=kept,
        reader_pays=payer == "requester",
        locator="" if locator == "off" else locator,
    )


def _words(query: str, bad: Callable[[str], BadName]) -> dict[str, str]:
    said: dict[str, str] = {}
    for word, value in parse_qsl(query, keep_blank_values=True):
        if word not in _WORDS or word in said or not value:
            close = close_names(word, _WORDS)
            hint = (
                f"; did you mean {close[0]}?" if close and word not in _WORDS else f" (there are {', '.join(_WORDS)})"
            )
            raise bad(f"{word!r} in its query is unknown, given twice or empty{hint}")
        said[word] = value
    return said


def _url(url: str, word: str, bad: Callable[[str], BadName]) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or not url.isascii():
        raise bad(f"{word} is a URL like https://objects.example.org, not {url!r}")
    return url.rstrip("/")


def _prefix(path: str, bad: Callable[[str], BadName]) -> str:
    prefix = unquote(path).strip("/")
    if not prefix:
        return ""
    if any(part in {"", ".", ".."} for part in prefix.split("/")) or not prefix.isprintable():
        raise bad(f"its prefix {prefix!r} has an empty, '.' or '..' part, or a control character")
    return prefix + "/"
