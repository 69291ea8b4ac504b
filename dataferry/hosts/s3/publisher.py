"""Publishing to a bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from ...errors import Conflict, DataferryError, PublishError
from ..base import HostedFile, Limits, Publisher, Upload
from .objects import common_start, held_of, held_of_many
from .parts import LARGEST_PART, MOST_PARTS, ONE_REQUEST, Parts
from .refusals import BotoCoreError, ClientError, code_of, error_of
from .rights import ask_for_rights
from .single import Single
from .store import Store
from .stream import watch

if TYPE_CHECKING:
    from ...config.settings import Settings
    from .host import S3Host

__all__ = ["S3Publisher"]

#: AWS since December 2025; what other stores take is not known, and what AWS took before is a fair guess.
_AWS_FILE, _OTHER_FILE = MOST_PARTS * LARGEST_PART, 5 << 40
_LONGEST_KEY = 1024
_UPLOADS = 32


class S3Publisher(Publisher):
    """Takes files to a bucket; large ones in parts, which go on where they were cut.

    Parameters
    ----------
    host : S3Host
        The bucket.
    settings : Settings
        The user's settings.
    about : mapping of str to object
        Not used: a bucket has no description.
    """

    parallel = _UPLOADS

    def __init__(self, host: S3Host, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self.place = host.place
        self.limits = Limits(file_bytes=_OTHER_FILE if self.place.endpoint else _AWS_FILE)
        self.versioned = bool(self.place.locator)  # it may be; `check_rights` asks the bucket
        self._region = ""

    @property
    def redacted(self) -> str:
        """The bucket as it may be printed."""
        return self.host.redacted

    @property
    def declared(self) -> str:
        """The declaration, with the region if the author left it out: strangers need it."""
        if not self._region:
            return self.host.spec
        parts = urlsplit(self.host.spec)
        query = f"region={self._region}" + (f"&{parts.query}" if parts.query else "")
        return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))

    @cached_property
    def _store(self) -> Store:
        store = Store(self.place, self.redacted, self.settings, connections=2 * _UPLOADS)
        watch(store.client)
        return store

    @cached_property
    def _single(self) -> Single:
        return Single(self._store, self.settings, _UPLOADS)

    @cached_property
    def _parts(self) -> Parts:
        return Parts(self._store)

    def check_rights(self) -> str:
        """Ask what the access key may do; nothing is written.

        Returns
        -------
        str
            Who it is, and where the key was found.

        Raises
        ------
        AccessDenied
            If there is no access key, or it may not list or put.
        PublishError
            If there is no such bucket, or strangers may not read from it.
        """
        told = ask_for_rights(self._store, self.settings)
        if told.region and not self.place.endpoint and told.region != self.place.region:
            if self.place.region:
                reason = f"the bucket is in {told.region}, and strangers would ask {self.place.region} for it"
                raise PublishError(self.redacted, reason, f"declare region={told.region}")
            self._region = told.region
            self.place = replace(self.place, region=told.region)
            self.__dict__.pop("_store").close()  # a signature names the region
        self.versioned = told.versioned and bool(self.place.locator)
        return told.who

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """The objects that are there; of those in one piece the list tells the md5, the others are asked.

        Parameters
        ----------
        uploads : sequence of Upload
            The files.

        Returns
        -------
        mapping of str to HostedFile
            Only objects; uploads that are not complete are none.

        Raises
        ------
        PublishError
            If the store does not say.
        """
        told = held_of_many(self._store, [upload.name for upload in uploads], self.versioned)
        return {name: self._plain(hosted) for name, hosted in told.items()}

    def _plain(self, hosted: HostedFile) -> HostedFile:
        # a version id is worth keeping only where the bucket keeps versions
        return hosted if self.versioned else replace(hosted, locators={})

    def problem(self, upload: Upload) -> str:
        """Why the bucket cannot take a file.

        Parameters
        ----------
        upload : Upload
            The file.

        Returns
        -------
        str
            A key has 1,024 bytes at most.
        """
        length = len((self.place.prefix + upload.name).encode())
        return f"its key would have {length} bytes, and {_LONGEST_KEY} are the most" if length > _LONGEST_KEY else ""

    def begin(self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]) -> None:
        """Look which uploads in parts were begun.

        Parameters
        ----------
        uploads : sequence of Upload
            The files that have to go.
        notes : mapping
            Not used: the store keeps what is needed.

        Raises
        ------
        PublishError
            If the store does not say.
        """
        large = [upload.name for upload in uploads if upload.size > ONE_REQUEST]
        if large:
            with self._store.asking("unfinished uploads"):
                self._parts.look(large, common_start(large))

    def upload(
        self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]
    ) -> Mapping[str, str | int]:
        """Put a file there, in one request or in parts.

        Parameters
        ----------
        upload : Upload
            The file.
        notes : mapping
            Keeps the id of an upload in parts.
        moved : callable
            Is told the bytes that went.

        Returns
        -------
        mapping of str to (str or int)
            The version's id, where the bucket keeps versions.

        Raises
        ------
        Conflict
            If there are other bytes under the name.
        PublishError
            If it did not arrive.
        """
        create = upload.name not in self.superseded
        try:
            if upload.size > ONE_REQUEST:
                version = self._parts.put(upload, notes, moved, lambda: self._free(upload, create), create=create)
            else:
                _, version = self._single.put(upload, moved, create=create)
        except (_Settled, ClientError) as exc:
            # another run, or a request whose answer was lost, may have been first
            if isinstance(exc, ClientError) and code_of(exc) not in _BEFORE_US:
                raise error_of(exc, self.redacted, upload.name) from exc
            there = self._same(upload)
            if there is None:
                raise PublishError(self.redacted, f"{upload.name}: the upload was ended by someone", _AGAIN) from exc
            return there.locators
        except BotoCoreError as exc:
            raise error_of(exc, self.redacted, upload.name) from exc
        except OSError as exc:
            if isinstance(exc, DataferryError):
                raise
            raise PublishError(str(upload.path), f"cannot be read: {exc.strerror or exc}") from exc
        keep = self.versioned and version not in {"", "null"}
        return {self.place.locator: version} if keep else {}

    def _free(self, upload: Upload, create: bool) -> None:
        """Not every store heeds the condition when it puts parts together."""
        if create and self._same(upload) is not None:
            raise _Settled

    def _same(self, upload: Upload) -> HostedFile | None:
        """What is there under the name, unless it has other bytes; None if nothing is."""
        hosted = held_of(self._store, upload.name)
        if hosted is None:
            return None
        if _may_be(upload, hosted):
            return self._plain(hosted)
        raise Conflict(f"{self.redacted} ({upload.name})", "there are other bytes under this name", _OTHER)

    def finish(
        self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]
    ) -> Mapping[str, Mapping[str, str | int]]:
        """Compare what is there now, since not every store keeps two authors apart; remove what is left of uploads.

        Parameters
        ----------
        uploads : sequence of Upload
            All files that the bucket is to have.
        notes : mapping
            Not used.

        Returns
        -------
        mapping
            Nothing.

        Raises
        ------
        Conflict
            If someone else put other bytes there meanwhile.
        PublishError
            If a file is not there.
        """
        if not self.versioned:  # there each author's bytes stay under their own version's id
            there = self.hosted(uploads)
            for upload in uploads:
                self._compare(upload, there.get(upload.name))
        large = [upload for upload in uploads if upload.size > ONE_REQUEST]
        if large:
            with self._store.asking("unfinished uploads"):
                self._parts.clean(large, common_start([upload.name for upload in large]))
        return {}

    def _compare(self, upload: Upload, hosted: HostedFile | None) -> None:
        place = f"{self.redacted} ({upload.name})"
        if hosted is None:
            raise PublishError(place, "it is not there any more", _AGAIN)
        if not _may_be(upload, hosted):
            raise Conflict(place, "someone else put other bytes under this name at the same time", _OTHER)


def _may_be(upload: Upload, hosted: HostedFile) -> bool:
    """Whether an object may hold a file; without a digest the fetch-back tells."""
    return hosted.size == upload.size and (hosted.sha256 or hosted.md5) in {upload.sha256, upload.md5, None}


class _Settled(Exception):
    """The object came there while its parts went up."""


#: The object is there, or was being made by someone else.
_BEFORE_US = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchUpload"}
_AGAIN = "run the same command again"
_OTHER = "a published name keeps its bytes: choose a new name, or publish a new version to a bucket that keeps versions"
