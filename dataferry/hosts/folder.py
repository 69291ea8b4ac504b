"""A folder of one's own that a web server publishes: a team's server, a supercomputer's web space."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ..config.folders import expand_folder, folder_problem
from ..download.source import Source
from ..errors import BadName, Conflict, DataferryError, PublishError, TransferError
from ..files import make_folders
from ..portable import MOVES_OPEN_FILES, get_user_id
from ..registry.catalog import CATALOG, SUMS, Listed, read_catalog
from ..registry.names import check_url, quoted_name, redact_url, split_options
from . import folder_files
from .base import Host, HostedFile, Locators, Moved, Notes, Publisher, Upload

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.entry import Entry
    from .folder_lfs import Repository


_OPTIONS = {"url", "lfs", "remote"}


class FolderHost(Host):
    """Files below a URL, and the folder that a web server publishes there.

    It is declared as ``folder:/srv/www/mypkg-data?url=https://host/mypkg-data/``; ``&lfs=1`` where the folder is
    the work tree of a git repository with git-lfs, ``&lfs=0`` where it is one and git is to be left alone,
    ``&remote=`` the remote that is pushed to, by default ``origin``.
    """

    schemes = ("folder",)

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.folder, options = split_options(spec)
        unknown = ", ".join(sorted(options.keys() - _OPTIONS))
        url, lfs = options.get("url", ""), options.get("lfs", "")
        for wrong, reason in (
            (self.folder[:1] not in {"/", "~", "$"}, "the path must be absolute: folder:/path?url=https://host/"),
            (unknown, f"unknown option {unknown!r}; there are {', '.join(sorted(_OPTIONS))}"),
            (not url, "it does not say at which URL the folder is published: add ?url=https://host/path/"),
            (lfs not in {"", "0", "1"}, f"lfs is 1 or 0, not {lfs!r}"),
            (re.match("[^/]*//[^/]*@", url), "everybody reads the URL; a login belongs in config.toml"),
        ):
            if wrong:
                raise BadName(f"{self.redacted}: {reason}")
        self.url = check_url(url, "the folder's URL")
        self.lfs = {"1": True, "0": False}.get(lfs)
        self.remote = options.get("remote", "")

    @property
    def redacted(self) -> str:
        """The host as it may be printed."""
        return self.spec.partition("?")[0]

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """One URL: that of the folder and the quoted name."""
        return [Source(self.url + quoted_name(name), redact_url(self.url))]

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """The files in the folder, where this machine has it; else what the catalog at the URL lists.

        sha256 where a stamp vouches for it, or where only the catalog is at hand.
        """
        path, problem = expand_folder(self.folder)
        problem = problem or folder_problem(path, settings.folder_timeout)
        if not problem:
            return dict(folder_files.files_in(path))
        from .api_client import ApiClient

        client = ApiClient(settings, self.url)
        try:
            listed = read_catalog(client.call("GET", CATALOG).body)
        except ValueError as error:
            reason = f"the folder is not on this machine ({problem}), and {CATALOG} there cannot be read: {error}"
            raise TransferError(redact_url(self.url + CATALOG), reason, kind="list", final=True) from None
        return {name: HostedFile(file.size, file.sha256) for name, file in listed.items()}

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """See `Publisher`; for this machine only: the folder must be mounted here."""
        return FolderPublisher(self, settings, about)


class FolderPublisher(Publisher):
    """Copies files into a published folder; lists them there, and commits them where git-lfs is in use."""

    parallel = 2
    repairs = True
    host: FolderHost

    def __init__(self, host: FolderHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self.root, self._problem = expand_folder(host.folder)
        self._repository: Repository | None = None
        self._serves_git = self._is_missing = False

    @property
    def declared(self) -> str:
        """The URL: readers need not know the folder."""
        return self.host.url

    def check_rights(self) -> str:
        """Whether files may be put into the folder, git may commit and push, and the URL serves the folder."""
        if not MOVES_OPEN_FILES:
            remedy = "publish from Linux or macOS, or to another kind of host"
            raise PublishError(self.host.redacted, "Windows lacks the rights that a shared folder needs", remedy)
        problem = self._problem or folder_problem(self.root, self.settings.folder_timeout)
        if problem:
            remedy = f"make it (mkdir -p {self.root}), mount it, or run this on the machine that has it"
            raise PublishError(self.host.redacted, problem, remedy)
        folder_files.check_writable(self.root)
        who = f"{folder_files.user_name(get_user_id())}, into {self.root} ({stat.filemode(os.stat(self.root).st_mode)})"
        from .folder_lfs import Repository, has_lfs

        lfs = self.host.lfs
        if lfs or (lfs is None and has_lfs(self.root)):
            place, settings = self.host.redacted, self.settings
            self._repository = Repository(self.root, self.host.remote, place, settings, required=bool(lfs))
            who += f"; {self._repository.check()}"
        self._check_url()
        return who

    def _check_url(self) -> None:
        """Ask the URL for a file of the folder: a mistyped one shows before anything is copied."""
        from .api_client import ApiClient

        lists = (name for name in (CATALOG, SUMS) if os.path.isfile(self._path(name)))
        name = next(lists, "") or next((name for name, _ in folder_files.files_in(self.root)), "")
        url = self.host.url + quoted_name(name)
        client = ApiClient(self.settings.as_anonymous(), self.host.url)
        try:
            # of an empty folder NGINX and Apache answer 403, Caddy 404
            answer = client.call("HEAD", url, accept=() if name else range(300, 500))
            self._is_missing = answer.status == 404
            if os.path.lexists(os.path.join(self.root, ".git")):
                self._serves_git = client.call("HEAD", ".git/HEAD", accept=range(300, 500)).status == 200
        except TransferError as error:
            there = f"{name} lies in the folder, and " if name else ""
            remedy = "compare ?url= with the address of the web server, and with the folder that it publishes"
            raise PublishError(self.host.redacted, f"{there}{redact_url(url)}: {error.reason}", remedy) from error

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """What the answers of the web server mean that are no reason to stop."""
        url, found = redact_url(self.host.url), []
        if self._is_missing:
            found.append(f"{url} answers 404; if the web server does not publish {self.root} there, correct ?url=")
        if self._serves_git:
            refusal = "nginx: location ~ /\\.git { return 404; }  Apache: RedirectMatch 404 /\\.git"
            found.append(f"{url}.git/ is served to everybody: let the web server refuse it ({refusal})")
        return found

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What lies in the folder under the names; hashed where no stamp vouches for it."""
        found = {}
        for upload in uploads:
            with self._naming_errors(upload.name):
                if there := folder_files.file_in(self._path(upload.name), upload.size):
                    found[upload.name] = there
        self._check_space([upload for upload in uploads if upload.name not in found])
        return found

    def problem(self, upload: Upload) -> str:
        """Why the folder cannot take a file."""
        if folder_files.is_reserved(upload.name):
            return "a name that dataferry or git uses in the folder for itself: choose another"
        return ""

    def _check_space(self, uploads: Sequence[Upload]) -> None:
        """Look before the first byte goes: rights in every folder, space on every file system."""
        needed: Counter[str] = Counter()
        for upload in uploads:
            needed[self._nearest(upload.name)] += upload.size
        systems: dict[int, str] = {}  # a folder of each file system
        total: Counter[str] = Counter()
        for folder, size in needed.items():
            folder_files.check_writable(folder)
            first = systems.setdefault(os.stat(folder).st_dev, folder)
            total[first] += size - folder_files.remove_temporary(folder, remove=False)
        for folder, size in total.items():
            folder_files.check_space(folder, size)

    def discard(self, names: Sequence[str]) -> None:
        """Remove damaged copies."""
        for name in names:
            with self._naming_errors(name), contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(name))

    def upload(self, upload: Upload, notes: Notes, moved: Moved) -> Locators:
        """Copy one file; it becomes visible at once and whole."""
        target = self._path(upload.name)
        with self._naming_errors(upload.name, upload.size):
            make_folders(self.root, os.path.dirname(target), folder_files.temporary_name())
            try:
                folder_files.copy_file(upload, target, moved)
                folder_files.remember(target, upload.sha256)
            except FileExistsError:
                there = folder_files.file_in(target, upload.size)
                if there is None or there.sha256 != upload.sha256:
                    reason = "there are other bytes already, and a published file is never overwritten"
                    raise Conflict(f"{self.host.redacted}/{upload.name}", reason, "choose a new name") from None
            except folder_files.ChangedError:
                reason = f"{upload.path} changed while it was published"
                raise PublishError(f"{self.host.redacted}/{upload.name}", reason, "run this again") from None
        return {}

    def finish(self, uploads: Sequence[Upload], notes: Notes) -> Mapping[str, Locators]:
        """List the files in ``SHA256SUMS`` and the catalog; commit and push them where git-lfs is in use."""
        files = {u.name: Listed(u.size, u.sha256) for u in uploads if os.path.isfile(self._path(u.name))}
        known = folder_files.files_in(self.root)  # with what an earlier run placed, and could not list
        files = {n: Listed(h.size, h.sha256) for n, h in known if h.size is not None and h.sha256} | files
        if self._repository is not None:
            published = {upload.name: files[upload.name] for upload in uploads if upload.name in files}
            files |= self._repository.publish(published)
        with self._naming_errors(SUMS):
            folder_files.list_files(self.root, files, str(self.about.get("title") or ""))
        for folder in {self.root, *(place for upload in uploads for place in self._folders(upload.name))}:
            folder_files.remove_temporary(folder)
        return {}

    def seconds_until_served(self) -> float:
        """A web server on another machine may remember for a minute that a name was not there."""
        return 90.0

    def _path(self, name: str) -> str:
        return os.path.join(self.root, *name.split("/"))

    def _folders(self, name: str) -> list[str]:
        """The folders between a file and the root, the innermost first."""
        return [self._path(str(path)) for path in PurePosixPath(name).parents][:-1]

    def _nearest(self, name: str) -> str:
        """The folder nearest to a file that is there."""
        for folder in self._folders(name):
            if os.path.isdir(folder):
                return folder
            if os.path.lexists(folder):
                reason = f"{folder} is a file, so it cannot contain files"
                raise Conflict(f"{self.host.redacted}/{name}", reason, "choose a new name")
        return self.root

    @contextlib.contextmanager
    def _naming_errors(self, name: str, size: int = 0) -> Iterator[None]:
        try:
            yield
        except DataferryError:
            raise
        except OSError as error:
            raise folder_files.failure(f"{self.host.redacted}/{name}", error, size) from error
