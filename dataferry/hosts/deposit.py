"""The deposit protocol of archives: find or make a draft, add files, verify their digests, publish; each step once.

An archive's module says how to call its API (the methods that raise `NotImplementedError`). What all archives share is
here: a draft of a killed run is found again, no file is sent twice, nobody's file is replaced by mistake, nothing
becomes public before the archive has the right digest of every file, and a lost answer is no failure.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from abc import abstractmethod
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlsplit

from ..config.credentials import Token
from ..download.backoff import tries
from ..errors import AccessDenied, BadName, Conflict, HostRefused, PublishError, TransferError
from ..registry.names import redact_url
from .about import about_for, as_list, plain_license, require
from .api_client import SILENT, ApiClient, Response
from .base import Host, HostedFile, Locators, Moved, Notes, Publisher, Source, Upload

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.entry import Entry


_log = logging.getLogger("dataferry")
#: Bytes a second at which an archive computes digests at the least.
_DIGESTS_PER_SECOND = 30e6
#: Seconds in which a publication shows of which only the answer was lost.
_LOST_ANSWER = 30.0
_AGAIN = "run the same command again"


def read_options(spec: str, *known: str) -> tuple[str, dict[str, str]]:
    """What stands before the ``?`` of a line, and its options; ``server`` and ``downloads`` are base URLs."""
    rest, _, query = spec.partition(":")[2].partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := options.keys() - set(known):
        raise BadName(f"{redact_url(spec)!r}: {min(unknown)!r} is not known (there are: {', '.join(known)})")
    for key in options.keys() & {"server", "downloads"}:
        parts = urlsplit(options[key])
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or parts.query:
            raise BadName(f"{redact_url(spec)!r}: {key}= is an http or https URL without user, password and query")
        options[key] = options[key].rstrip("/") + "/"
    return rest, options


#: Pages of a list, and bytes of each, that are read: GitHub itself shows 10,000 releases, 100 a page.
MOST_PAGES, PAGE_BYTES = 100, 4 << 20


def endless_list(place: str) -> TransferError:
    """The error for a list that has a further page each time."""
    return TransferError(place, f"its list has more than {MOST_PAGES} pages", kind="list", final=True)


def is_status(error: BaseException, *statuses: int) -> bool:
    """Whether a host answered with one of these statuses."""
    return isinstance(error, HostRefused) and error.status in statuses


@dataclass(frozen=True, slots=True)
class DraftFile(HostedFile):
    """A file of a draft or a version; ``announced`` is the md5 that it is to have.

    ``data`` is what the archive says of it, ``login`` the header with which a private one is asked for.
    """

    name: str = ""
    key: str = ""
    complete: bool = True
    announced: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict, compare=False)
    login: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def bytes_of(self) -> tuple[str, int | None, str | None, str | None]:
        """What two versions have in common if they have the same file."""
        return self.name, self.size, self.md5, self.sha256


class ArchiveApi(ApiClient):
    """Asks an archive, as somebody or anonymously; threads may share it."""

    #: The requests that an archive takes in a minute, and the methods that it counts.
    a_minute = 0
    counted: Collection[str] = ("GET", "POST", "PUT", "PATCH", "DELETE")

    #: The header that says who asks; statuses that mean: there is none, or not for whoever asks.
    login_header, login_form = "Authorization", "Bearer {}"
    absent: Collection[int] = (404,)

    def __init__(self, settings: Settings, base: str, token: Token | None = None, **options: Any) -> None:
        super().__init__(settings, base, **options)
        self.token, self.lock = token, Lock()
        self.log_in(self.login_form)
        self._counted: deque[float] = deque(maxlen=self.a_minute)

    def call(self, method: str, path: str, **options: Any) -> Response:
        """Send a request within the limits of the archive; see `ApiClient.call`."""
        if self.a_minute and method in self.counted:
            with self.lock:
                now = time.monotonic()
                due = max(now, self._counted[0] + 60) if len(self._counted) == self.a_minute else now
                self._counted.append(due)
            if due - now > SILENT:
                _log.warning("%s takes %d requests a minute; waiting %.0f s", self.base, self.a_minute, due - now)
            time.sleep(due - now)
        return super().call(method, path, **options)

    def log_in(self, form: str) -> None:
        """Send the token, if there is one, in this form."""
        # people copy it from examples with the word before it
        secret = re.sub("^(token|bearer) +", "", self.token.secret if self.token else "", flags=re.IGNORECASE)
        self.login = {self.login_header: form.format(secret)} if secret else {}
        self.headers |= self.login

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON that is answered."""
        return self.call(method, path, **options).json()

    def find(self, path: str, absent: Collection[int] = (), **options: Any) -> Any:
        """The JSON at a path; None if there is none."""
        absent = absent or self.absent
        response = self.call("GET", path, accept=absent, **options)
        return None if response.status in absent else response.json()

    def files(self, record: str, *, draft: bool) -> list[DraftFile] | None:
        """The files of a record's draft, or of its newest public version, the newest last; None if there is none."""
        raise NotImplementedError


_Api = TypeVar("_Api", bound=ArchiveApi)


class DepositHost(Host, Generic[_Api]):
    """One record of an archive, as a line of ``dataferry.toml`` declares it."""

    #: The record's id, empty where the line asks for a new one; and what this archive calls a record.
    record: str = ""
    record_noun = "record"

    @abstractmethod
    def connect(self, settings: Settings, token: Token | None) -> _Api:
        """The interface of the archive."""

    def line(self, record: str) -> str:
        """The declaration of a record at this server."""
        query = "".join(self.spec.partition("?")[1:])
        return f"{self.schemes[0]}:{record}{query}"

    def public_files(self, settings: Settings) -> list[DraftFile]:
        """The files that this user can read, the newest last."""
        files = self.connect(settings, self.token(settings)).files(self.record, draft=False)
        if files is None:
            reason = f"there is no public {self.record_noun} {self.record}"
            raise TransferError(self.redacted, reason, kind="list", final=True)
        return files

    def unpublished(self) -> TransferError:
        """The error of a line that asks for a new record."""
        return TransferError(self.redacted, "it is yet to be made: publish to it first", kind="list", final=True)

    def _listed(self, settings: Settings) -> list[DraftFile]:
        if not self.record:
            raise self.unpublished()
        return self.public_files(settings)

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """All files of the record."""
        files = self._listed(settings)
        return {file.name: HostedFile(file.size, file.sha256, file.md5, file.locators) for file in files}

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Find files in the list of the record; of several with one name the newest comes first."""
        found: dict[str, list[Source]] = {}
        for file in reversed(self._listed(settings)):
            for name in wanted.keys() & {file.name, self.id_in_doi(file)}:
                entry = wanted[name]
                if entry is None or file.sha256 in {None, entry.sha256}:
                    found.setdefault(name, []).extend(self.places(file))
        return found

    def id_in_doi(self, file: DraftFile) -> str:
        """What follows the DOI of the record in the file's own DOI; empty if it has none."""
        return ""

    def places(self, file: DraftFile) -> Sequence[Source]:
        """Where a file of the list is."""
        return self.downloads(file.key)

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The file's number; none where the registry holds no number, see `look_up`."""
        number = str(entry.locators.get(self.locator, "")) if entry is not None else ""
        return self.downloads(number) if number.isascii() and number.isdigit() else []

    def downloads(self, number: str) -> Sequence[Source]:
        """Where the file with a number is."""
        raise NotImplementedError


class DepositPublisher(Publisher, Generic[_Api]):
    """Publishes through a draft; see the module, and `Publisher` for the order of calls."""

    parallel = 2
    versioned = True
    #: Whether a draft keeps one file of a name, so that the old one has to go before the new one comes.
    one_of_a_name = False
    #: The keys of ``[about]`` that a new record needs; ``[about.<table>]`` is for this archive alone.
    needed: Sequence[str] = ("title", "authors")
    table = ""
    #: Seconds until the archive has computed the digest of an empty file, and until what was published is public.
    patience = 600.0, 60.0
    #: Where the author sees the draft.
    draft_page = "its page"

    host: DepositHost[_Api]

    def __init__(self, host: DepositHost[_Api], settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about_for(about, self.table))
        self.record = host.record
        self.files: list[DraftFile] = []
        self.verified: dict[str, DraftFile] = {}
        self.notes: Notes = {}
        self.lock = Lock()

    # -- the calls of an archive's API, in the order of a run ---------------------------------------------------------

    def account_name(self) -> str:
        """Whose token it is."""
        raise NotImplementedError

    def check_record(self) -> None:
        """Raise `AccessDenied` or `PublishError` if the account may not publish to the record."""
        if not self.may_edit(self.record):
            raise AccessDenied(self.at(), f"this account sees no such {self.host.record_noun}", self.remedy)

    def may_edit(self, draft: str) -> bool:
        """Whether the author may change a draft or record."""
        return self.api.files(draft, draft=True) is not None

    def own_drafts(self) -> Iterable[tuple[str, str]]:
        """Ids and titles of the author's newest drafts."""
        raise NotImplementedError

    def make_draft(self, title: str) -> str:
        """Make a draft with a title, and return its id."""
        raise NotImplementedError

    def send_metadata(self, *, new: bool) -> None:
        """Send ``[about]``: the title of a new record has a mark until then, and an old one needs no ``[about]``."""
        raise NotImplementedError

    def list_files(self) -> list[DraftFile]:
        """All files of the draft."""
        files = self.api.files(self.record, draft=True)
        if files is None:  # it was there a moment ago
            reason = f"the token no longer gives access to this {self.host.record_noun}"
            raise AccessDenied(self.at(), reason, self.remedy)
        return files

    @abstractmethod
    def send_file(self, upload: Upload, begun: DraftFile | None, notes: Notes, moved: Moved) -> DraftFile:
        """Send a file, or the rest of one that was begun."""

    @abstractmethod
    def delete_file(self, file: DraftFile) -> None:
        """Take a file out of the draft; versions that are public keep theirs."""

    @abstractmethod
    def publish(self) -> None:
        """Make the draft public."""

    def public_files(self) -> list[DraftFile]:
        """All files of the newest public version."""
        return self.api.files(self.record, draft=False) or []

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """What cannot be undone."""
        return ["a publication gets a DOI and is permanent: neither a version nor its files can be removed"]

    # -- errors -------------------------------------------------------------------------------------------------------

    @cached_property
    def api(self) -> _Api:
        """The interface of the archive, with the author's token. Raises `AccessDenied` if there is none."""
        if token := self.host.token(self.settings, publishing=True):
            return self.host.connect(self.settings, token)
        raise AccessDenied(self.host.redacted, f"no token for {self.provider} was found", self.remedy)

    @property
    def origin(self) -> str:
        """Where the author's token was found."""
        return self.api.token.origin if self.api.token else ""

    @property
    def provider(self) -> str:
        """The archive, for people."""
        return self.host.credentials[0].provider

    @property
    def remedy(self) -> str:
        """Which rights a token needs, and where it belongs."""
        return self.host.credentials[0].remedy

    @property
    def declared(self) -> str:
        """The line for readers: with the record's id, once there is one."""
        return self.host.spec if self.host.record or not self.record else self.host.line(self.record)

    def at(self, name: str = "") -> str:
        """A file at the archive, or the archive, for errors."""
        return f"{self.declared}: {name}" if name else self.declared

    def error(self, reason: str, remedy: str = "") -> PublishError:
        """An error of the archive as a whole."""
        return PublishError(self.at(), reason, remedy)

    def license_among(self, offered: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The license of ``[about]`` among those of the archive, by its name with or without the version."""
        given = str(as_list(self.about["license"])[0])
        named = {plain_license(str(item["name"])): item for item in offered}
        for wanted in (plain_license(given), re.sub(r"\d+$", "", plain_license(given))):
            if wanted in named:
                return named[wanted]
        names = ", ".join(str(item["name"]) for item in named.values())
        raise self.error(f"{self.provider} does not offer the license {given!r} to you", f"there are: {names}")

    @contextmanager
    def translated_errors(self, name: str = "") -> Iterator[None]:
        """Turn what the archive refuses into an error of publishing, with what helps."""
        try:
            yield
        except HostRefused as error:
            if is_status(error, 401, 403):
                raise AccessDenied(self.at(name), f"the token does not allow this: {error}", self.remedy) from error
            if error.final:
                raise PublishError(self.at(name), str(error), f"{_AGAIN} once that is corrected") from error
            raise

    # -- the record and its draft -------------------------------------------------------------------------------------

    def check_rights(self) -> str:
        """Whose token it is, and whether the record is theirs."""
        with self.translated_errors():
            who = self.account_name()
            if not self.record:
                require(self.about, self.needed, self.provider, self.at())
                self.record = self.earlier_record()
                who += f", into {self.declared}, which was made before" if self.record else ""
            if self.record:
                self.check_record()
        return f"{who}, with the token of {self.origin}"

    def earlier_record(self) -> str:
        """The author's record that the registry declares: the same command means the same record."""
        lines = [spec for spec in self.registered if spec.partition(":")[0] in self.host.schemes]
        records = [(spec, type(self.host)(spec).record) for spec in lines]
        return next((r for spec, r in records if r and spec == self.host.line(r) and self.may_edit(r)), "")

    def open_draft(self, uploads: Sequence[Upload]) -> None:
        """Find or make the draft, and describe it."""
        new = not self.record
        if new:
            self.record = self.find_or_make_draft(str(self.about["title"]).strip())
        self.send_metadata(new=new)
        self.refresh()

    def find_or_make_draft(self, title: str) -> str:
        """The draft that an earlier run made, or a new one. A mark in its title finds one that could not be noted."""
        noted, mark = str(self.notes.get("draft") or ""), self.notes.get("mark")
        if not noted and mark:
            noted = next((draft for draft, name in self.own_drafts() if name.endswith(mark)), "")
        if not noted or not self.may_edit(noted):
            mark = self.notes["mark"] = mark or f"[dataferry {uuid.uuid4().hex[:12]}]"
            noted = self.make_draft(f"{title[:200]} {mark}")
        self.notes["draft"] = noted
        return noted

    def refresh(self) -> None:
        """List the files of the draft again."""
        with self.translated_errors():
            files = self.list_files()
        with self.lock:
            self.files = files

    def files_named(self, upload: Upload) -> list[DraftFile]:
        """The files under the name of one of ours, in the order of the archive; some archives keep several."""
        with self.lock:
            return [file for file in self.files if file.name == upload.name]

    def complete_file(self, upload: Upload) -> DraftFile | None:
        """The file that has arrived with these bytes, as far as the archive reports digests.

        Of several it is the first one, so that two runs mean the same.
        """
        same = (file for file in self.files_named(upload) if file.complete and file.matches(upload) is not False)
        return next(same, None)

    def conflicting_file(self, upload: Upload) -> DraftFile | None:
        """The newest file that has arrived under this name with other bytes."""
        other = (file for file in reversed(self.files_named(upload)) if file.complete and file.matches(upload) is False)
        return next(other, None)

    def begun_file(self, upload: Upload) -> DraftFile | None:
        """The file that was announced with this name and these bytes, and of which something is missing."""
        announced = {None, upload.md5}
        return next(
            (file for file in self.files_named(upload) if not file.complete and file.announced in announced), None
        )

    def add(self, file: DraftFile) -> DraftFile:
        """Note that a file of the draft is this command's, and what is known of it now."""
        with self.lock:
            self.files = [*(other for other in self.files if other.key != file.key), file]
        self.claim([file.key])
        return file

    def claim(self, keys: Iterable[str]) -> None:
        """Note that files of the draft are this command's."""
        with self.lock:
            if new := set(keys).difference(known := self.notes.get("begun", ())):
                self.notes["begun"] = sorted({*known, *new})

    def remove(self, file: DraftFile) -> None:
        """Take a file out of the draft."""
        with self.translated_errors(file.name):
            self.delete_file(file)
        with self.lock:
            self.files = [other for other in self.files if other.key != file.key]

    def may_replace(self, upload: Upload, file: DraftFile) -> bool:
        """Whether a file may leave the draft for another one: this command added it, or it is the version before."""
        before = self.superseded.get(upload.name)
        same = before is not None and (before.size, before.md5, before.sha256) == (file.size, file.md5, file.sha256)
        return same or file.key in self.notes.get("begun", ())

    # -- the run ------------------------------------------------------------------------------------------------------

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """The complete files of the draft, or of the newest version."""
        if not self.record:
            return {}
        self.refresh()
        found = {upload.name: self.complete_file(upload) or self.conflicting_file(upload) for upload in uploads}
        return {name: file for name, file in found.items() if file is not None}

    def begin(self, uploads: Sequence[Upload], notes: Notes) -> None:
        """Find or make the draft."""
        self.notes = notes
        with self.translated_errors():
            self.open_draft(uploads)

    def upload(self, upload: Upload, notes: Notes, moved: Moved) -> Locators:
        """Send one file, or the rest of it."""
        if (there := self.complete_file(upload)) is not None:
            return there.locators
        other = self.conflicting_file(upload)
        if other is not None and not self.may_replace(upload, other):
            raise self.conflict(upload)
        if other is not None and self.one_of_a_name:
            self.remove(other)
        with self.translated_errors(upload.name):
            return self.send_file(upload, self.begun_file(upload), notes, moved).locators

    def conflict(self, upload: Upload) -> Conflict:
        """The error where the draft has a file that nobody asked to replace."""
        return Conflict(
            self.at(upload.name),
            "the draft has another file under this name, which this command did not upload",
            "A published name keeps its bytes: give the new ones another name, or publish with --new-version; "
            f"if somebody else put the file into the draft, delete it on {self.draft_page}",
        )

    def finish(self, uploads: Sequence[Upload], notes: Notes) -> Mapping[str, Locators]:
        """Verify the digests, take out what the new files replace, and publish if anything is not public yet."""
        self.notes = notes
        files = self.verified = self.verify(uploads)
        public = self._public()
        if {file.bytes_of for file in files.values()} <= public.keys():  # by an earlier run, or somebody else
            return {name: public[file.bytes_of].locators for name, file in files.items()}
        self._tidy(uploads, files, public)
        self._publish(files)
        return {name: file.locators for name, file in files.items()}

    def _public(self) -> dict[Any, DraftFile]:
        with self.translated_errors():
            return {file.bytes_of: file for file in self.public_files()}

    def waiting(self, seconds: float, what: str) -> Iterator[None]:
        """Try again and again as `tries` does, and say once what is waited for."""
        began, silent = time.monotonic(), True
        for _ in tries(seconds):
            if silent and time.monotonic() - began > SILENT:
                self.notify(f"{self.at()}: waiting up to {seconds:.0f} s until {what}")
                silent = False
            yield

    def verify(self, uploads: Sequence[Upload]) -> dict[str, DraftFile]:
        """Wait for the archive's digests. Raises `PublishError` where it has other bytes, or none."""
        seconds = self.patience[0] + sum(upload.size for upload in uploads) / _DIGESTS_PER_SECOND
        for _ in self.waiting(seconds, f"{self.provider} has computed the digests"):
            self.refresh()
            found = {upload.name: file for upload in uploads if (file := self.complete_file(upload)) is not None}
            waiting = [upload for upload in uploads if upload.name not in found]
            if not waiting:
                return found
            for upload in waiting:
                self._refuse_lost(upload)
        reason = f"{self.provider} has not computed its digest after {seconds:.0f} s"
        raise PublishError(self.at(waiting[0].name), reason, f"the file is uploaded: {_AGAIN} later to publish it")

    def _refuse_lost(self, upload: Upload) -> None:
        """Raise an error for what no waiting will make right."""
        if self.begun_file(upload) is not None:
            return
        if spoiled := [file for file in self.files_named(upload) if file.complete and file.announced == upload.md5]:
            raise self.other_bytes(upload, spoiled[0])
        reason = "the draft does not have these bytes; perhaps somebody else publishes to it at the same time"
        raise Conflict(self.at(upload.name), reason, _AGAIN)

    def other_bytes(self, upload: Upload, file: DraftFile) -> PublishError:
        """Take out a file that did not arrive as it was sent, and return the error."""
        self.remove(file)
        return PublishError(
            self.at(upload.name),
            f"other bytes arrived (md5 {file.md5} there, {upload.md5} here); they are deleted there, and nothing was "
            "published",
            f"{_AGAIN}; if a program still writes the file, let it finish first",
        )

    def _tidy(self, uploads: Sequence[Upload], ours: Mapping[str, DraftFile], public: Collection[Any]) -> None:
        """A version has one file of a name, and none that only an earlier run wanted."""
        keys = {file.key for file in ours.values()}
        for upload in uploads:
            for file in self.files_named(upload):
                if file.key in keys:
                    continue
                if file.complete and not (file.matches(upload) or self.may_replace(upload, file)):
                    raise self.conflict(upload)
                self.remove(file)
        begun = self.notes.get("begun", ())
        for file in [file for file in self.files if file.key in begun]:
            if file.key not in keys and file.bytes_of not in public:
                self.remove(file)

    def _publish(self, files: Mapping[str, DraftFile]) -> None:
        """Publish, and wait until it shows; an answer may be all that was lost."""
        failed: TransferError | None = None
        with self.translated_errors():
            try:
                self.publish()
            except TransferError as error:
                if error.final:
                    raise
                failed = error
            seconds = self.patience[1] if self.wait is None else self.wait
            seconds = seconds if failed is None else min(seconds, _LOST_ANSWER)
            for _ in self.waiting(seconds, "the publication is public"):
                if {file.bytes_of for file in files.values()} <= self._public().keys():
                    return
            if failed is not None:
                raise failed
        raise self.error(
            "it was submitted and is not public yet: perhaps a curator has to approve it first",
            f"{_AGAIN} once it is public; nothing will be uploaded twice",
        )

    def seconds_until_served(self) -> float:
        """Storage and caches need a moment."""
        return 60.0
