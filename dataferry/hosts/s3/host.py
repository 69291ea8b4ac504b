"""Reading from a bucket: as a stranger where it is public, signed where it is not."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...download.source import Source
from ..base import Host, HostStatus
from .place import parse_place

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...registry.registry import Entry
    from ..base import HostedFile, Publisher

__all__ = ["S3Host"]

#: Seconds that a signed URL holds; long, since a large file is asked for in many pieces.
SIGNED_FOR = 24 * 3600


class S3Host(Host):
    """A bucket of Amazon S3, or of a store that speaks its language.

    Parameters
    ----------
    spec : str
        ``s3://bucket/prefix/?region=us-west-2``; all words are in the docstring of this package.

    Raises
    ------
    BadName
        If it does not describe a bucket, or holds credentials.
    """

    schemes = ("s3",)
    example = "s3://bucket/"

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.place = parse_place(spec)
        self.locator = self.place.locator  # each bucket may have a key of its own

    @property
    def redacted(self) -> str:
        """The declaration; there are no secrets in it."""
        return self.spec

    @classmethod
    def missing(cls, scheme: str) -> str:
        """The library that publishes."""
        if importlib.util.find_spec("boto3") is None:
            return "boto3, to publish and for private buckets: pip install 'dataferry[s3]'"
        return ""

    def status(self, settings: Settings) -> HostStatus:
        """What boto3 would find first, without it: loading it is slow, and it may ask the network."""
        first = "AWS_ACCESS_KEY_ID"
        for variable in (first, "AWS_PROFILE"):
            if os.environ.get(variable):
                return HostStatus("Amazon S3", first, f"the variable {variable}")
        for variable, path in (
            ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
            ("AWS_CONFIG_FILE", "~/.aws/config"),
        ):
            place = os.path.expanduser(os.environ.get(variable) or path)
            if os.path.isfile(place):
                return HostStatus("Amazon S3", first, place)
        return HostStatus("Amazon S3", first, "")

    def version(self, entry: Entry | None) -> str:
        """The version of a file that the registry names; empty for the newest.

        Parameters
        ----------
        entry : Entry or None
            What the registry knows.

        Returns
        -------
        str
            The version's id.
        """
        return str(entry.locators.get(self.locator, "")) if entry is not None and self.locator else ""

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The object's URL for strangers; none where readers pay, because they have to sign."""
        if self.place.reader_pays:
            return []
        return [Source(self.place.url(name, self.version(entry)), self.redacted)]

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Signed URLs, for what strangers did not get.

        Parameters
        ----------
        wanted : mapping of str to Entry or None
            The files.
        settings : Settings
            The user's settings.

        Returns
        -------
        mapping of str to sequence of Source
            One URL for each file, that holds for a day or as long as the credentials do.

        Raises
        ------
        TransferError
            If there are no credentials, or boto3 is not installed, or whoever reads has to agree to pay.
        """
        from .reading import signed_urls

        headers = {"x-amz-request-payer": "requester"} if self.place.reader_pays else {}
        keys: dict[str, Any] = {name: self.version(entry) for name, entry in wanted.items()}
        urls = signed_urls(self.place, self.redacted, keys, settings, SIGNED_FOR)
        return {name: [Source(url, self.redacted, headers)] for name, url in urls.items()}

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """All objects below the prefix, asked for as a stranger first, then signed.

        Parameters
        ----------
        settings : Settings
            The user's settings.

        Returns
        -------
        mapping of str to HostedFile
            With md5 where an object went up in one piece, and sha256 where its author kept it in the object's metadata.

        Raises
        ------
        TransferError
            If the bucket gives no list.
        """
        from .reading import whole_list

        return whole_list(self.place, self.redacted, settings)

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """What takes files to the bucket.

        Parameters
        ----------
        settings : Settings
            The user's settings.
        about : mapping of str to object
            Not used: a bucket has no description.

        Returns
        -------
        Publisher
            For this bucket.

        Raises
        ------
        MissingExtra
            If boto3 is not installed.
        """
        from .publisher import S3Publisher

        return S3Publisher(self, settings, about)
