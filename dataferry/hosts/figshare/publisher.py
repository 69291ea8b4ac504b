"""Publishing: an article, its files, and a version that everybody sees."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, BadName, Conflict, PublishError
from ..base import HostedFile, Limits, Publisher, Upload
from .article import article_of_doi, as_held
from .asking import RIGHTS, asked
from .declared import read_declaration
from .draft import Draft, is_complete
from .flat import LONGEST, flat_name
from .interface import Interface, token_for
from .metadata import about_of, changes, lacking, metadata
from .room import MOST_BYTES, check_room
from .sending import Gone, send

if TYPE_CHECKING:
    from ...config.settings import Settings
    from . import FigshareHost

__all__ = ["FigsharePublisher"]

#: Bytes a second that Figshare sums up at the least.
_SUMMED_PER_SECOND = 30e6


class FigsharePublisher(Publisher):
    """Takes files to an article; see `Publisher`."""

    # what any account has; check_room() knows what this one has
    limits = Limits(file_bytes=MOST_BYTES, empty=False)
    parallel = 2
    versioned = True
    #: Seconds that Figshare may take to sum up files, and to show a version.
    patience = 600.0, 60.0

    def __init__(self, host: FigshareHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about_of(about))
        self.line = host.declared
        self._interface: Interface | None = None
        self._draft: Draft | None = None
        self._account: dict[str, Any] = {}
        self._notes: MutableMapping[str, Any] = {}
        self._lock = Lock()

    @property
    def declared(self) -> str:
        """The line with the article's id, once there is one."""
        if self.line.new and self._draft is not None:
            return self.line.line(self._draft.article)
        return self.host.spec

    @property
    def interface(self) -> Interface:
        """The interface, with the author's token."""
        if self._interface is None:
            token = token_for(self.line, self.settings, publishing=True)
            if token is None:
                raise AccessDenied(self.host.redacted, "no token for Figshare was found", RIGHTS)
            self._interface = Interface(self.settings, self.line, token)
        return self._interface

    @property
    def draft(self) -> Draft:
        """The article's draft."""
        if self._draft is None:
            raise PublishError(self.host.redacted, "there is no article yet")
        return self._draft

    def check_rights(self) -> str:
        """Whose token it is, and whether the article is theirs."""
        place, line = self.host.redacted, self.line
        if line.version is not None:
            remedy = "name the article without a version: what is published becomes its next one"
            raise PublishError(place, "a published version never changes", remedy)
        self._account = self._own_account()
        if not line.new:
            self._use(line.article or asked(place, lambda: article_of_doi(self.interface, line, place)))
            self._check_article()
        elif (made := self._made_before()) is not None:
            self._use(made)
        else:
            lacking(self.about, place)
        name = " ".join(filter(None, (self._account.get("first_name"), self._account.get("last_name"))))
        origin = self.interface.token.origin if self.interface.token else ""
        into = f", into {self.declared}, which was made before" if line.new and self._draft is not None else ""
        return f"{name or 'account'} ({self._account.get('id')}), by the token in {origin}{into}"

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """What cannot be undone."""
        return ["what is published gets a DOI and stays: a version cannot be taken back"]

    def _made_before(self) -> int | None:
        """The article of this account that the registry declares: the same command means the same article."""
        for declared in self.registered:
            with suppress(BadName):
                other = read_declaration(declared)
                same = other.api == self.line.api and other.version is None
                if same and (article := other.article) is not None and self._sees(article):
                    return article
        return None

    def _sees(self, article: int) -> bool:
        """Whether the account may change an article."""
        return asked(self.host.redacted, lambda: self.interface.find(f"account/articles/{article}")) is not None

    def _own_account(self) -> dict[str, Any]:
        for _ in range(2):
            account = asked(self.host.redacted, lambda: self.interface.find("account"))
            if account is not None:
                return dict(account)
            self.interface.other_form()
        origin = self.interface.token.origin if self.interface.token else ""
        raise AccessDenied(self.host.redacted, f"Figshare does not know the token in {origin}", RIGHTS)

    def _use(self, article: int) -> None:
        self._draft = Draft(self.interface, article, self.line.line(article) if self.line.new else self.host.redacted)

    def _check_article(self) -> dict[str, Any]:
        draft, details = self.draft, self.draft.details()
        if details is None:
            public = asked(draft.line, lambda: self.interface.find(f"articles/{draft.article}"))
            raise AccessDenied(
                draft.line,
                f"account {self._account.get('id')} may not change article {draft.article}: "
                + ("it is somebody else's" if public is not None else "this account sees none of that number"),
                "use the token of its owner, or of a collaborator of its project, or publish to figshare:new",
            )
        if details.get("is_embargoed"):
            raise PublishError(draft.line, "the article is under embargo, so nobody could fetch its files")
        if details.get("is_metadata_record") or details.get("has_linked_file"):
            raise PublishError(draft.line, "the article only describes or links data, so it takes no files")
        return details

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """The complete files of the article, of its draft too."""
        if self._draft is None:
            return {}
        self._draft.refresh()
        check_room(self._account, self._draft, uploads)
        found = {upload.name: self._draft.complete(upload) or self._draft.other(upload) for upload in uploads}
        return {name: as_held(item) for name, item in found.items() if item is not None}

    def problem(self, upload: Upload) -> str:
        """A name that Figshare has no room for."""
        flat = flat_name(upload.name)
        if len(flat) <= LONGEST:
            return ""
        return (
            f"Figshare has flat names of at most {LONGEST} characters, and this one becomes {len(flat)} there: "
            "give it a shorter name, or one with fewer characters beyond ASCII"
        )

    def begin(self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]) -> None:
        """Make or find the article, tell what it is, and see whether there is room."""
        self._notes = notes
        fields = asked(self.host.redacted, lambda: metadata(self.about, self.interface, self.host.redacted))
        if self._draft is None:
            self._use(self._noted() or self._create(fields))
        details = self._check_article()
        self.draft.refresh()
        check_room(self._account, self.draft, uploads)
        if new := changes(fields, details):
            self.draft.change(new)
        if self.about.get("reserve_doi") and not details.get("doi"):
            notes["doi"] = self.draft.reserve_doi()

    def _noted(self) -> int | None:
        """The article that an earlier run made; by its title where that was killed before it could note the id."""
        if article := self._notes.get("article"):
            return int(article) if self._sees(article) else None
        if mark := self._notes.get("mark"):
            for item in asked(self.host.redacted, lambda: self.interface.pages("account/articles")):
                if str(item.get("title", "")).endswith(mark):
                    self._notes["article"] = int(item["id"])
                    return int(item["id"])
        return None

    def _create(self, fields: Mapping[str, Any]) -> int:
        mark = self._notes.get("mark") or f"[dataferry {uuid.uuid4().hex[:12]}]"
        self._notes["mark"] = mark
        # the mark goes with the first change of the title, as soon as the id is noted
        new = {**fields, "title": f"{fields['title'][:960]} {mark}", "defined_type": self.about.get("type", "dataset")}
        told = asked(self.host.redacted, lambda: self.interface.call("POST", "account/articles", json=new)).json()
        article = int(told.get("entity_id") or str(told["location"]).rstrip("/").rpartition("/")[2])
        self._notes["article"] = article
        return article

    def upload(
        self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]
    ) -> Mapping[str, str | int]:
        """Send one file, or the rest of it."""
        draft = self.draft
        if (there := draft.complete(upload)) is not None:
            return {"figshare": int(there["id"])}
        other = draft.other(upload)
        if other is not None and not self._may_go(upload, other):
            raise Conflict(
                draft.at(upload),
                "the article has another file under this name",
                "A published name keeps its bytes: give the new ones another name, or publish with --new-version",
            )
        for _ in range(3):
            item = draft.begun(upload) or draft.begin(upload)
            number = int(item["id"])
            with self._lock:
                if number not in (started := self._notes.get("started", [])):
                    self._notes["started"] = [*started, number]
            try:
                send(self.interface, item, upload, moved)
            except Gone:
                draft.forget(item)
                continue
            draft.end(item, upload)
            return {"figshare": number}
        raise PublishError(draft.at(upload), "Figshare gave the upload up again and again", "run it again later")

    def _may_go(self, upload: Upload, item: Mapping[str, Any]) -> bool:
        """Whether a file may leave the draft for the one that is published: ours, the same, or meant to be replaced."""
        before = self.superseded.get(upload.name)
        meant = before is not None and before.locators.get("figshare") == int(item["id"])
        return meant or int(item["id"]) in self._notes.get("started", []) or is_complete(item, upload)

    def finish(
        self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]
    ) -> Mapping[str, Mapping[str, str | int]]:
        """Wait for the sums, drop what the new files replace, and publish if anything is not public yet."""
        self._notes = notes
        if self._draft is None:
            if (article := self._noted()) is None:
                return {}
            self._use(article)
        patience = self.patience[0] + sum(upload.size for upload in uploads) / _SUMMED_PER_SECOND
        ours = self.draft.sums({upload.name: upload for upload in uploads}, patience)
        new = {int(item["id"]) for item in ours.values()} - self.draft.public()
        if new:
            for upload in uploads:
                self._drop_others(upload, int(ours[upload.name]["id"]))
            self.draft.publish(new, self.patience[1])
        return {name: {"figshare": int(item["id"])} for name, item in ours.items()}

    def _drop_others(self, upload: Upload, ours: int) -> None:
        """A version has one file of a name, and no file goes that nobody asked to replace."""
        for item in self.draft.named(upload):
            if int(item["id"]) == ours:
                continue
            if not self._may_go(upload, item):
                raise Conflict(
                    self.draft.at(upload),
                    f"somebody else has put another file of this name into the draft of article {self.draft.article}",
                    "talk to each other; what is not wanted can be deleted on the article's page, then run it again",
                )
            self.draft.forget(item)

    def seconds_until_served(self) -> float:
        """Storage and caches need a moment."""
        return 60.0
