"""Commits files to the branch of a site and pushes it, without a work tree and without force."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import Conflict, PublishError
from ...files import hash_file
from ...registry.checksum_lists import CATALOG, Listed, catalog_bytes, read_catalog
from ..base import HostedFile, Limits, Publisher, Upload
from ..git import Branch
from .access import WorkFolder, open_branch, token_of
from .reading import is_ours, jekyll_drops, made_by_jekyll
from .serving import wait_until_served
from .site import MARK, blob_of, front_matter, index_page, sizes_in_tree

if TYPE_CHECKING:
    from ...config.credentials import Token
    from ...config.settings import Settings
    from . import GitHubPagesHost

__all__ = ["GitHubPagesPublisher"]

MIB = 1 << 20
#: GitHub refuses larger files, and warns of those above half of it.
FILE_BYTES = 100 * MIB
#: A published site may be no larger.
SITE_BYTES = 10**9
#: What is pushed at once: a push that is cut begins again.
PUSH_BYTES = 200 * MIB
_GITS_OWN = re.compile(r"\.git[ .]*|git~\d+[ .]*", re.IGNORECASE)


class GitHubPagesPublisher(Publisher):
    """Takes files to the branch that a site is made from; see `Publisher`.

    Parameters
    ----------
    host : GitHubPagesHost
        The host.
    settings : Settings
        The user's settings.
    about : mapping of str to object
        The ``[about]`` table; page and catalog take the title.
    """

    limits = Limits(file_bytes=FILE_BYTES, total_bytes=SITE_BYTES)
    parallel = 2
    host: GitHubPagesHost

    def __init__(self, host: GitHubPagesHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self._lock = threading.Lock()
        self._folder: WorkFolder | None = None
        self._opened: Branch | None = None
        self._token: Token | None = None
        self._staged: dict[str, tuple[Upload, str]] = {}
        self._waiting = 0
        self._jekyll = False
        self._site: Mapping[str, int] = {}

    @property
    def _branch(self) -> Branch:
        if self._opened is None:
            self._token = token_of(self.host, self.settings, publishing=True)
            self._folder = WorkFolder(self.host.git)
            self._opened = open_branch(self.host, self.settings, self._token, self._folder)
        return self._opened

    def check_rights(self) -> str:
        """Ask for the branch, and whether a push would be taken, without pushing."""
        branch = self._branch
        tip = branch.fetch() or branch.commit({}, "check", [], "")
        branch.push(tip, dry_run=True, to="dataferry-check")
        found = f"the token of {self._token.origin}" if self._token else "git's own credentials"
        return f"{found}, to the branch {branch.name} of {self.host.git}"

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What the branch has under the names, told by git's own ids, without fetching files."""
        branch = self._branch
        branch.fetch()
        files = branch.files()
        self._jekyll = made_by_jekyll(self.host, files)
        found = {}
        for upload in uploads:
            blob = files.get(self.host.prefix + upload.name)
            if blob == (blob_of(upload, len(blob)) if blob else ""):
                found[upload.name] = HostedFile(upload.size, upload.sha256, upload.md5)
            elif blob:
                data = branch.git.run("cat-file", "blob", blob, again=True).out
                found[upload.name] = HostedFile(len(data), hashlib.sha256(data).hexdigest())
        new = [upload for upload in uploads if upload.name not in found]
        self._site = self._sizes(branch)
        self._check_site(new)
        return found

    def _check_site(self, new: Sequence[Upload]) -> None:
        """What only the site as it is can tell of files that are to go there."""
        for upload in new:
            below = self.host.path + upload.name
            if self._jekyll and (jekyll_drops(below) or front_matter(upload)):
                said = "the site is made by Jekyll, which leaves such a file out or changes it"
                remedy = "add an empty file .nojekyll to the site, or choose another name"
                raise PublishError(f"{self.host.redacted}/{upload.name}", said, remedy)

    def occupied(self) -> Mapping[str, int]:
        """All files of the site, by their names for this host."""
        return {path.removeprefix(self.host.prefix): size for path, size in self._site.items()}

    def _sizes(self, branch: Branch) -> dict[str, int]:
        """The bytes of each file of the site, as far as they can be known without fetching it."""
        known = {self.host.prefix + name: said.size for name, said in self._listed(branch).items()}
        inside = [path for path in branch.files() if path.startswith(self.host.folder)]
        if branch.tip and any(
            path not in known for path in inside if path.rpartition("/")[2] not in {CATALOG, "index.html", ".nojekyll"}
        ):
            known |= sizes_in_tree(self.host, self.settings, self._token, branch.tip)
        return {path: known.get(path, 0) for path in inside}

    def _listed(self, branch: Branch) -> dict[str, Listed]:
        try:
            return read_catalog(branch.read(self.host.prefix + CATALOG) or b"{}")
        except ValueError:
            return {}

    def problem(self, upload: Upload) -> str:
        """Why the branch cannot take a file."""
        path = self.host.prefix + upload.name
        if any(_GITS_OWN.fullmatch(part) for part in path.split("/")):
            return "git keeps no file of that name: choose another"
        if is_ours(upload.name) or is_ours(path.removeprefix(self.host.folder)):
            return "at the top of a site this name has a meaning of its own: choose another"
        return ""

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """What is near a limit."""
        large = [upload.name for upload in uploads if upload.size > FILE_BYTES // 2]
        said = (
            [f"{len(large)} files are larger than 50 MiB, of which GitHub warns: {', '.join(large[:5])}"]
            if large
            else []
        )
        total = sum({**self.occupied(), **{upload.name: upload.size for upload in uploads}}.values())
        if total > SITE_BYTES // 2:
            said.append(f"the site will have {total / 1e9:.2f} GB, and 1 GB is the most")
        if self._jekyll:
            said.append("the site is made by Jekyll; .nojekyll is not added to it")
        return said

    def upload(
        self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]
    ) -> Mapping[str, str | int]:
        """Put one file into the work folder's repository; it is pushed with others, at the latest by `finish`."""
        branch = self._branch
        blob = branch.git.run("hash-object", "-w", "--no-filters", "--", os.path.abspath(upload.path)).text
        if hash_file(upload.path).sha256 != upload.sha256 or blob != blob_of(upload, len(blob)):
            raise PublishError(
                f"{self.host.redacted}/{upload.name}", f"{upload.path} changed while it was published", "run this again"
            )
        with self._lock:
            self._staged[upload.name] = upload, blob
            self._waiting += upload.size
            if self._waiting > PUSH_BYTES:
                self._push()
        moved(upload.size)
        return {}

    def finish(
        self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]
    ) -> Mapping[str, Mapping[str, str | int]]:
        """Push what was not pushed yet, and wait until the site serves it."""
        with self._lock:
            for upload in uploads:
                if upload.name not in self._staged:
                    blob = self._branch.files().get(self.host.prefix + upload.name, "")
                    self._staged[upload.name] = upload, blob_of(upload, len(blob) or 40)
            self._push()
        if self._folder is not None:
            self._folder.drop()
            self._folder = self._opened = None
        files = {upload.name: Listed(upload.size, upload.sha256) for upload in uploads}
        wait_until_served(self.host, self.settings, files)
        return {}

    def _push(self) -> None:
        names = list(self._staged)
        noun = names[0] if len(names) == 1 else f"{len(names)} data files"
        self._branch.add(self._changes, f"Add {noun}")
        self._waiting = 0

    def _changes(self) -> dict[str, str]:
        """What the newest tip lacks."""
        branch, prefix = self._branch, self.host.prefix
        files = branch.files()
        folders = {path[:at] for path in files for at, c in enumerate(path) if c == "/"}
        blobs: dict[str, str] = {}
        for name, (_, blob) in self._staged.items():
            path = prefix + name
            above = [path[:at] for at, c in enumerate(path) if c == "/"]
            if files.get(path, blob) != blob or path in folders or any(part in files for part in above):
                said = "the branch has other bytes under that name, and a published file keeps its bytes"
                raise Conflict(f"{self.host.redacted}/{name}", said, "choose a new name")
            if path not in files:
                blobs[path] = blob
        listed = self._listed(branch)
        merged = listed | {name: Listed(u.size, u.sha256) for name, (u, _) in self._staged.items()}
        if not blobs and merged == listed:
            return {}
        title = str(self.about.get("title") or "")
        page, nojekyll = branch.read(f"{prefix}index.html"), f"{self.host.folder}.nojekyll"
        blobs[prefix + CATALOG] = branch.keep(catalog_bytes(merged, title))
        jekyll = made_by_jekyll(self.host, files)
        if (page is None and not jekyll) or (page is not None and MARK in page):
            blobs[f"{prefix}index.html"] = branch.keep(index_page(merged, title))
        if nojekyll not in files and not jekyll:
            blobs[nojekyll] = branch.keep(b"")
        return blobs

    def seconds_until_served(self) -> float:
        """What is left after `finish` has waited: the caches of the site."""
        return 60.0
