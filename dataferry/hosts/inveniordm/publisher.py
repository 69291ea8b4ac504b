"""Publishing: a draft with files, proven by their md5, and then a version that stays for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import AccessDenied, Conflict, HostRefused, PublishError, TransferError
from ..base import HostedFile, Limits, Publisher, Upload
from .drafts import Draft, open_draft
from .filling import Filling
from .metadata import about_of, lacking
from .reading import as_held, locator, public_record
from .records import Records, md5_of, token_for

if TYPE_CHECKING:
    from ...config.settings import Settings
    from . import InvenioHost

__all__ = ["InvenioPublisher"]

_GB = 10**9
T = TypeVar("T")


def _family(record: Mapping[str, Any] | None) -> str:
    return str(((record or {}).get("parent") or {}).get("id") or "")


class InvenioPublisher(Publisher):
    """Takes files to a record; see `Publisher`."""

    parallel = 2
    versioned = True
    #: Seconds after a publish that was not answered until it is taken for failed.
    patience = 60.0

    def __init__(self, host: InvenioHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about_of(about, "zenodo" if host.own_token else "inveniordm"))
        self.rdm = host
        if host.own_token:
            # a record may get 150 GB more once it is there
            most = 200 * _GB if host.declared.record else 50 * _GB
            self.limits = Limits(file_bytes=most, total_bytes=most, files=100)
        self._records: Records | None = None
        self._newest: dict[str, Any] | None = None
        self._draft: Draft | None = None
        self._filling: Filling | None = None

    @property
    def declared(self) -> str:
        """The line with the id of all versions together, for a record that was new."""
        if self.rdm.declared.record:
            return self.rdm.spec
        family = self._draft.family if self._draft is not None else _family(self._newest)
        return self.rdm.line(family) if family else self.rdm.spec

    @property
    def records(self) -> Records:
        """The server, with the author's token."""
        if self._records is None:
            self.check_rights()
        if self._records is None:
            raise PublishError(self.rdm.redacted, "its rights were not checked")
        return self._records

    # -- only reading ------------------------------------------------------------------------------------------------

    def check_rights(self) -> str:
        """Whether there is a token, and whether it may make versions of the record."""
        host, server = self.rdm, self.rdm.declared.server
        token = token_for(host, self.settings, publishing=True)
        if token is None:
            why = "no token was found" if server.startswith("https") else "no token goes over unencrypted http"
            raise AccessDenied(host.redacted, why, self._remedy)
        records = self._records = Records(self.settings, server, token)
        try:
            records.call("GET", "user/records", query={"size": 1})
        except HostRefused as error:
            if error.status in {401, 403}:
                raise AccessDenied(
                    host.redacted, f"it does not take the token in {token.origin}", self._remedy
                ) from error
            raise
        if not host.declared.record:
            lacking(self.about, host.redacted)
            same = records.own(str(self.about["title"]).strip(), published=True)
            self._newest = (records.newest(same[0]["id"]) or same[0]) if same else None
        else:
            self._newest = self._own_record(records)
        return f"the owner of the token in {token.origin}"

    def _own_record(self, records: Records) -> dict[str, Any] | None:
        """The newest version of the record; None for a draft that was never published."""
        host, record = self.rdm, self.rdm.declared.record
        other = f"name another, or {host.line('new')}"
        try:
            found = records.record(record)
            draft = records.draft(record) if found is None else None
        except HostRefused as error:
            if error.status in {401, 403}:
                raise AccessDenied(
                    host.redacted, f"the record {record} is not yours to change", self._remedy
                ) from error
            if error.status == 410:
                raise PublishError(host.redacted, f"the record {record} was deleted", other) from error
            raise
        if found is None:
            if draft is None:
                raise PublishError(host.redacted, f"there is no record {record}", other)
            return None
        newest = records.newest(record) or public_record(host, records, record)
        # only who may make a version is told of drafts
        if "is_latest_draft" not in (newest.get("versions") or {}):
            raise AccessDenied(
                host.redacted,
                f"the record {record} is somebody else's: its files can be read and added to a registry "
                f"(dataferry add --from), and not changed",
                f"{self._remedy}. Or ask its owner to share it with you: Share, Can edit",
            )
        if (newest.get("access") or {}).get("files") == "restricted":
            raise PublishError(host.redacted, "the files of this record are restricted, so users could not fetch them")
        return newest

    @property
    def _remedy(self) -> str:
        host, server = self.rdm, self.rdm.declared.server
        scopes = " with the scopes deposit:write and deposit:actions" if host.own_token else ""
        return (
            f"make a token at {server}account/settings/applications/{scopes} and put it into {host.variables[0]}, "
            f"or into the keyring: keyring set dataferry {server.split('/')[2].partition(':')[0]}"
        )

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What the newest version has; what is in a draft is found when the files are to go."""
        newest = self._newest
        if newest is None:
            return {}
        there = as_held(self.rdm, newest["id"], self.records.files(newest["id"]))
        if not self.rdm.declared.record and any(
            upload.name not in there or there[upload.name].md5 != upload.md5 for upload in uploads
        ):
            raise Conflict(
                self.rdm.redacted,
                f"you have published a record with this title, and it has other files: {self.declared}",
                "publish to that one, or give the new one another title in [about]",
            )
        return {upload.name: there[upload.name] for upload in uploads if upload.name in there}

    def problem(self, upload: Upload) -> str:
        """A folder ``container`` hides what is in it: the interface takes it for a look into an archive."""
        if "container" in upload.name.split("/")[1:]:
            return "InvenioRDM gives no file with '/container' in its name; choose another name"
        return ""

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """What cannot be undone, and what goes with a new version."""
        told = ["what is published gets a DOI and stays: neither a version nor its files can be taken back"]
        if self._newest is not None and uploads:
            told.append("the next version also has all files of the one before, which are not sent again")
        return told

    # -- publishing --------------------------------------------------------------------------------------------------

    def begin(self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]) -> None:
        """Find or make the draft, and announce the files that it has not."""
        draft = self._draft = self._asked(
            lambda: open_draft(self.rdm, self.records, self.about, self._newest, uploads, notes)
        )
        if draft.published:
            return
        most, names = self.limits.files, draft.entries.keys() | {upload.name for upload in uploads}
        if most is not None and len(names) > most:
            raise PublishError(
                self.rdm.redacted,
                f"the next version would have {len(names)} files, and it takes {most} at the most",
                f"pack small files together, or publish to {self.rdm.line('new')}",
            )
        filling = self._filling = Filling(self.rdm, self.records, draft, notes)
        if fresh := [upload.name for upload in uploads if upload.name not in draft.entries]:
            self._asked(lambda: filling.announce(fresh))

    def upload(
        self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]
    ) -> Mapping[str, str | int]:
        """Send a file into the draft, unless it is complete there."""
        draft, filling = self._draft, self._filling
        if draft is None:
            raise PublishError(self.rdm.redacted, "there is no draft")
        if filling is not None and not draft.has(upload):
            self._asked(lambda: filling.send(upload, notes, moved), upload.name)
        return {self.rdm.locator: locator(draft.record)}

    def finish(
        self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]
    ) -> Mapping[str, Mapping[str, str | int]]:
        """Compare the draft's list of files, publish it, and compare again."""
        draft, filling = self._draft, self._filling
        if draft is None:  # nothing had to go
            return {}
        if filling is not None and not draft.published:
            self._asked(lambda: filling.tidy(uploads))
            filling.check(uploads, "the draft")
            if all(draft.before.get(name) == md5_of(entry) for name, entry in draft.entries.items()) and draft.before:
                return self._nothing_new(draft, uploads)
            self._asked(lambda: self._publish(draft))
            draft.entries = self._asked(lambda: self.records.files(draft.record))
            filling.check(uploads, "the published version")
        pin = {self.rdm.locator: locator(draft.record)}
        return {upload.name: pin for upload in uploads if draft.has(upload)}

    def _nothing_new(self, draft: Draft, uploads: Sequence[Upload]) -> dict[str, dict[str, str | int]]:
        """Somebody else has published the same meanwhile: no version is made for that."""
        newest = self._asked(lambda: self.records.newest(draft.record) or self._newest)
        self._asked(lambda: self.records.discard(draft.record))
        pin = {self.rdm.locator: locator(str((newest or {}).get("id")))}
        return {upload.name: pin for upload in uploads}

    def _publish(self, draft: Draft) -> bool:
        try:
            draft.told = self.records.publish(draft.record)
        except TransferError as error:
            if isinstance(error, HostRefused) and error.status < 500:
                raise
            # it may have been done all the same
            until = time.monotonic() + self.patience
            while (found := self.records.record(draft.record)) is None or found["id"] != draft.record:
                if time.monotonic() > until:
                    raise
                time.sleep(2)
            draft.told = found
        draft.published = True
        return True

    def seconds_until_served(self) -> float:
        """A published version is there at once, but for what is cached on the way."""
        return 60.0

    def _asked(self, ask: Callable[[], T], name: str = "") -> T:
        """Ask the server; what it refuses is an error of publishing."""
        place = f"{self.rdm.redacted}: {name}" if name else self.rdm.redacted
        try:
            return ask()
        except HostRefused as error:
            if error.status in {401, 403}:
                raise AccessDenied(place, f"the token has not the right to do this: {error}", self._remedy) from error
            if error.status == 404 and name and "/" in name:
                raise PublishError(
                    place, f"it takes no folders in names, as InvenioRDM before version 13 does not ({error})"
                ) from error
            if error.status in {400, 404, 409, 413}:
                raise PublishError(place, str(error), "run the same command again once that is corrected") from error
            raise
