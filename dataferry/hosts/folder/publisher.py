"""Takes files into a folder that a web server publishes."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from ...config.folders import expand_folder, folder_problem
from ...errors import Conflict, PublishError
from ...files import make_folders
from ...registry.checksum_lists import Listed
from ..base import HostedFile, Limits, Publisher, Upload
from .contents import file_in, files_in, is_ours, remember
from .copying import Changed, copy_in
from .lists import list_files
from .private import private_name, tidy
from .room import check_room, check_writable, failure

if TYPE_CHECKING:
    from ...config.settings import Settings
    from . import FolderHost
    from .repository import Repository

__all__ = ["FolderPublisher"]


class FolderPublisher(Publisher):
    """Copies files into a published folder; see `Publisher`.

    Parameters
    ----------
    host : FolderHost
        The folder and its URL.
    settings : Settings
        The user's settings.
    about : mapping of str to object
        The ``[about]`` table; the catalog takes the title.
    """

    limits = Limits()
    parallel = 2

    def __init__(self, host: FolderHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self._url = host.url
        self._wants_lfs, self._remote = host.lfs, host.remote
        self.root, self._problem = expand_folder(host.folder)
        self._repository: Repository | None = None

    @property
    def declared(self) -> str:
        """The URL: readers need not know the folder."""
        return self._url

    def check_rights(self) -> str:
        """Whether files may be put into the folder, and git may push where it is a repository."""
        import getpass

        problem = self._problem or folder_problem(self.root, self.settings.folder_timeout)
        if problem:
            remedy = f"make it (mkdir -p {self.root}), mount it, or run this on the machine that has it"
            raise PublishError(self.host.redacted, problem, remedy)
        check_writable(self.root)
        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            user = f"user {os.getuid()}"
        who = f"{user}, into {self.root} ({stat.filemode(os.stat(self.root).st_mode)})"
        repository = self._git()
        return f"{who}; {repository.check()}" if repository else who

    def _git(self) -> Repository | None:
        """The repository whose work tree this is, if git-lfs is wanted there."""
        if self._repository is None and self._wants_lfs is not False:
            from .repository import Repository, has_lfs

            if self._wants_lfs or has_lfs(self.root):
                self._repository = Repository(self.root, self._remote, self.host.redacted, self.settings)
        return self._repository

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What lies in the folder under the names; hashed where no stamp vouches for it."""
        found = {}
        for upload in uploads:
            with self._blaming(upload.name):
                there = file_in(self._path(upload.name), upload.size)
            if there is not None:
                found[upload.name] = there
        return found

    def problem(self, upload: Upload) -> str:
        """Why the folder cannot take a file."""
        if is_ours(upload.name):
            return "a name that dataferry or git uses in the folder for itself: choose another"
        return ""

    def begin(self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]) -> None:
        """Look before the first byte goes: rights in every folder, room on every file system, quotas."""
        needed: dict[str, int] = {}
        for upload in uploads:
            folder = self._nearest(upload.name)
            needed[folder] = needed.get(folder, 0) + upload.size
        systems: dict[int, tuple[str, int]] = {}
        for folder, size in needed.items():
            check_writable(folder)
            resumed = tidy(folder)
            first, so_far = systems.get(os.stat(folder).st_dev, (folder, 0))
            systems[os.stat(folder).st_dev] = first, so_far + size - resumed
        for folder, size in systems.values():
            check_room(folder, max(0, size))

    def upload(
        self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]
    ) -> Mapping[str, str | int]:
        """Copy one file; it becomes visible at once and whole."""
        target = self._path(upload.name)
        with self._blaming(upload.name, upload.size):
            make_folders(self.root, os.path.dirname(target), private_name())
            try:
                copy_in(upload, target, moved)
                remember(target, upload.sha256)
            except FileExistsError:
                self._compare(upload, target)
            except Changed:
                said = f"{upload.path} changed while it was published"
                raise PublishError(f"{self.host.redacted}/{upload.name}", said, "run this again") from None
        return {}

    def _compare(self, upload: Upload, target: str) -> None:
        there = file_in(target, upload.size)
        if there is None or there.sha256 != upload.sha256:
            said = "other bytes lie there already, and a published file is never overwritten"
            raise Conflict(f"{self.host.redacted}/{upload.name}", said, "choose a new name")

    def finish(
        self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]
    ) -> Mapping[str, Mapping[str, str | int]]:
        """List the files in ``SHA256SUMS`` and the catalog; commit and push them where git-lfs is in use."""
        files = {u.name: Listed(u.size, u.sha256) for u in uploads if os.path.isfile(self._path(u.name))}
        known = files_in(self.root)  # with what an earlier run placed, and could not list
        known_here = {name: Listed(h.size, h.sha256) for name, h in known.items() if h.size is not None and h.sha256}
        repository = self._git()
        if repository:
            files |= repository.publish(files)
        with self._blaming("SHA256SUMS"):
            list_files(self.root, known_here | files, str(self.about.get("title") or ""))
        for folder in {self.root, *(place for upload in uploads for place in self._folders(upload.name))}:
            tidy(folder)
        return {}

    def seconds_until_served(self) -> float:
        """A web server on another machine may remember for a minute that a name was not there."""
        return 90.0

    def _path(self, name: str) -> str:
        return os.path.join(self.root, *name.split("/"))

    def _folders(self, name: str) -> Iterator[str]:
        """The folders between the root and a file."""
        folder = os.path.dirname(self._path(name))
        while folder != self.root:
            yield folder
            folder = os.path.dirname(folder)

    def _nearest(self, name: str) -> str:
        """The folder nearest to a file that is there."""
        folder = os.path.dirname(self._path(name))
        while folder != self.root and not os.path.isdir(folder):
            if os.path.lexists(folder):
                said = f"{folder} is a file, so that nothing can lie below it"
                raise Conflict(f"{self.host.redacted}/{name}", said, "choose a new name")
            folder = os.path.dirname(folder)
        return folder

    @contextlib.contextmanager
    def _blaming(self, name: str, size: int = 0) -> Iterator[None]:
        try:
            yield
        except PublishError:
            raise
        except OSError as error:
            place = f"{self.host.redacted}/{name}"
            raise failure(place, error, size) from error
