"""Releases that strangers do not see yet: made, published, removed where they are needless."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from ...errors import HostRefused, PublishError
from . import LATEST
from .comparing import next_tag
from .notes_text import release_text
from .releases import Release, find_release, find_series
from .rights import too_weak

if TYPE_CHECKING:
    from ...config.credentials import Token
    from . import GitHubReleaseHost
    from .api import Api

__all__ = ["Drafts"]


class Drafts:
    """The drafts of one release's data.

    Parameters
    ----------
    host : GitHubReleaseHost
        The host.
    api : Api
        The API, with a token that may.
    token : Token or None
        That token.
    tag : str
        The tag of the first release.
    about : mapping of str to object
        The ``[about]`` of the registry.
    """

    def __init__(
        self, host: GitHubReleaseHost, api: Api, token: Token | None, tag: str, about: Mapping[str, Any]
    ) -> None:
        self._host, self._api, self._token, self._tag, self._about = host, api, token, tag, about

    def make(self, tag: str, notes: MutableMapping[str, Any]) -> Release:
        """Make the draft of a release, and note it.

        Parameters
        ----------
        tag : str
            Its tag.
        notes : mapping
            The notes for this host.

        Returns
        -------
        Release
            It, or the one that another author made at the same moment.

        Raises
        ------
        PublishError
            If GitHub does not take it.
        """
        title, body = release_text(self._about, tag, further=tag != self._tag)
        wanted = {"tag_name": tag, "name": title, "body": body, "draft": True}
        try:
            told = self._api.call("POST", f"{self._api.repository}/releases", json=wanted).json()
        except HostRefused as error:
            raise self._refused(error, tag) from error
        made = Release.told(told)
        notes["drafts"] = {**notes.get("drafts", {}), tag: made.id}
        # another author may have made one at the same moment: both take the older
        older = [r for r in find_series(self._api, self._tag) if r.tag == tag and r.id < made.id]
        if older:
            self._api.call("DELETE", f"{self._api.repository}/releases/{made.id}", accept={404})
            notes["drafts"] = {key: number for key, number in notes["drafts"].items() if key != tag}
            return older[0]
        return made

    def still(self, release: Release) -> bool:
        """Whether it still is one: another author may have published it meanwhile."""
        if release.draft:
            reply = self._api.call("GET", f"{self._api.repository}/releases/{release.id}")
            release.draft = Release.told(reply.json()).draft
        return release.draft

    def publish(self, release: Release) -> None:
        """Make a draft public.

        Raises
        ------
        PublishError
            If GitHub does not take it.
        """
        wanted: dict[str, Any] = {"draft": False, "make_latest": "true" if self._is_latest(release.tag) else "false"}
        path = f"{self._api.repository}/releases/{release.id}"
        try:
            self._api.call("PATCH", path, json=wanted, again=True)
        except HostRefused as error:
            raise self._refused(error, release.tag) from error
        release.draft = False

    def _is_latest(self, tag: str) -> bool:
        """A release of data takes the place of the latest one from older data only, not from the code."""
        if tag != self._tag:
            return False
        latest = find_release(self._api, LATEST)
        return latest is None or _family(latest.tag) == _family(tag)

    def drop_needless(self, series: Mapping[str, Release], notes: MutableMapping[str, Any]) -> None:
        """Remove drafts that an earlier run made and that another release of the tag has made needless."""
        left = dict(notes.get("drafts", {}))
        for tag, number in notes.get("drafts", {}).items():
            release = series.get(tag)
            if release is not None and not release.draft:
                if release.id != number:
                    path = f"{self._api.repository}/releases/{number}"
                    reply = self._api.call("GET", path, accept={404})
                    if reply.status != 404 and reply.json()["draft"]:
                        self._api.call("DELETE", path, accept={404})
                del left[tag]
        if notes.get("drafts"):
            notes["drafts"] = left

    def _refused(self, error: HostRefused, tag: str) -> PublishError:
        if error.status in {401, 403, 404}:
            return too_weak(self._host, self._token, error.said)
        if "immutable release" in error.said:
            reason = f"an immutable release had the tag {tag} once, and GitHub never gives it again"
            return PublishError(self._host.redacted, reason, f"Publish to @{next_tag(self._tag)}")
        if "already_exists" in error.said:
            reason = f"somebody published another release {tag} at the same time"
            return PublishError(self._host.redacted, reason, "Run the same command again: the files go to that release")
        return PublishError(self._host.redacted, f"GitHub does not take the release {tag}: {error.said}")


def _family(tag: str) -> str:
    """What the tags of several versions have in common."""
    return re.sub(r"[0-9][0-9.]*\Z", "", tag)
