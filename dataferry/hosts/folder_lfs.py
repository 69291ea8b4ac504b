"""A published folder as the work tree of a git repository with git-lfs: track, commit, push, never with force."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..config.credentials import Token, find_token
from ..download.origin import host_option
from ..errors import Conflict, PublishError
from ..files import make_folders
from ..portable import link, lock_file
from ..registry.catalog import CATALOG, SUMS, Listed
from ..registry.names import is_name
from .folder_files import TEMPORARY, is_reserved, new_file, read_file, replace_file, temporary_name
from .git import Branch, Git

if TYPE_CHECKING:
    from ..config.settings import Settings

_ATTRIBUTES = ".gitattributes"
_TRACK = "filter=lfs diff=lfs merge=lfs -text"
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
#: Objects in one call of git-lfs; a command line may not be much longer.
_BATCH = 200
_REMEDY = (
    'git must be allowed to push: a token in GIT_TOKEN or in [hosts."HOST"] of config.toml, user and password in '
    ".netrc, git's own credential helper, or an ssh key"
)


def has_lfs(root: str) -> bool:
    """Whether a folder is the work tree of a repository that uses git-lfs."""
    return os.path.lexists(os.path.join(root, ".git")) and b"filter=lfs" in read_file(os.path.join(root, _ATTRIBUTES))


class Repository:
    """The repository around a published folder. Raises `PublishError` where that is none, or git-lfs is missing.

    Without a remote at all commits stay in the folder's repository, unless the declaration asked for git-lfs.
    """

    def __init__(self, root: str, remote: str, place: str, settings: Settings, *, required: bool) -> None:
        self.root, self.place = root, place
        git = Git(root, place, lfs=True)
        top = git.run("rev-parse", "--show-toplevel", check=False)
        if "dubious ownership" in top.errors:
            raise PublishError(place, top.reason, f"git config --global --add safe.directory {root}")
        if top.status or os.path.realpath(top.text) != os.path.realpath(root):
            remedy = f"in {root}: git init; git remote add {remote or 'origin'} URL; git lfs install --local"
            raise PublishError(place, "it is not the top of a git work tree", remedy)
        url = ""
        if remote or required or git.run("remote").text:
            remote = remote or "origin"
            asked = git.run("remote", "get-url", "--push", remote, check=False)
            if asked.status:
                remedy = f"git remote add {remote} URL" + (
                    "; without lfs=1 it is committed here only" if required else ""
                )
                raise PublishError(place, f"the repository has no remote {remote!r}", remedy)
            url = asked.text
        branch = git.run("symbolic-ref", "-q", "--short", "HEAD", check=False)
        if branch.status:
            raise PublishError(place, "the repository is on no branch", "git switch main")
        self.remote = remote
        user, token = _credentials(url, settings)
        self.git = Git(root, place, settings=settings, remote=url, token=token, user=user, remedy=_REMEDY, lfs=True)
        self.branch = Branch(self.git, remote, branch.text, shallow=False)

    def check(self) -> str:
        """Ask the remote whether this user may push, without changing anything; gives what goes where."""
        if not self.remote:
            return f"git-lfs commits on branch {self.branch.name}, pushed nowhere: the repository has no remote"
        tip = self.branch.fetch() or self._head() or self.branch.commit({}, "check", [], "")
        self.branch.push(tip, dry_run=True, to="dataferry-check")
        return f"git-lfs to {self.remote}, branch {self.branch.name}"

    def _head(self) -> str:
        return self.git.run("rev-parse", "-q", "--verify", f"refs/heads/{self.branch.name}", check=False).text

    def publish(self, files: Mapping[str, Listed]) -> dict[str, Listed]:
        """Commit files that lie in the folder, as git-lfs objects, and push them.

        Gives the files of other members that came from the remote.
        """
        came: dict[str, Listed] = {}
        with self._locked():
            self.branch.while_others_push(lambda: self._push_once(files, came))
        return came

    def _push_once(self, files: Mapping[str, Listed], came: dict[str, Listed]) -> bool:
        """Add what the newest tip lacks; whether nobody else was faster."""
        branch = self.branch
        tip, head = branch.fetch(), self._head()
        tip = tip if self.remote else head
        parents, base = self._merged(head, tip)
        lacking = {name: file for name, file in files.items() if not self._has(base, name, file)}
        commit = base
        if lacking or len(parents) > 1:
            before = branch.read(_ATTRIBUTES, base) or b""
            attributes = self._track(before, lacking)
            blobs = {name: branch.store(_pointer(file)) for name, file in lacking.items()}
            if attributes != before:
                blobs[_ATTRIBUTES] = branch.store(attributes)
            self._store_objects(lacking)
            noun = next(iter(files)) if len(files) == 1 else f"{len(files)} data files"
            commit = branch.commit(blobs, f"Add {noun}", parents, base)
        if self.remote and commit != tip:
            # with the commits that were made in the folder by hand
            self._push_objects(lacking, head if head in parents and head != tip else "")
            if not branch.push(commit):
                return False
        came |= self._catch_up(head, commit)
        return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(os.path.join(self.git.directory, "dataferry.lock"), "ab") as file:
            with contextlib.suppress(OSError):
                os.chmod(file.name, 0o664)
            with contextlib.suppress(OSError):  # without locks a lost race is found at the push
                lock_file(file.fileno(), wait=True)
            if os.name == "posix":
                self.git.inherited.append(file.fileno())  # a git that outlives its run keeps the lock
            try:
                yield
            finally:
                self.git.inherited.clear()

    def _has(self, tree: str, name: str, file: Listed) -> bool:
        there = self.branch.read(name, tree)
        if there is None:
            return False
        if there == _pointer(file) or _read_pointer(there) == file:
            return True
        reason = "the repository has other bytes under that name, and a published file keeps its bytes"
        raise Conflict(f"{self.place}/{name}", reason, "choose a new name")

    def _merged(self, head: str, tip: str) -> tuple[list[str], str]:
        """The parents of the next commit, and the commit or tree to which it adds."""
        if not tip or not head:
            there = tip or head
            return [there] if there else [], there
        common = self.git.run("merge-base", head, tip, check=False).text
        if common in {head, tip}:
            newer = tip if common == head else head
            return [newer], newer
        done = self.git.run("merge-tree", "--write-tree", head, tip, check=False)
        if done.status:
            reason = "the folder's own commits and those of the remote do not go together"
            raise PublishError(self.place, reason, f"merge them by hand in {self.root}, and run this again")
        return [head, tip], done.text.splitlines()[0]

    # -- git-lfs -------------------------------------------------------------------------------------------------------

    def _track(self, there: bytes, names: Collection[str]) -> bytes:
        """Have git-lfs track files: their suffixes, or the file alone where it has none.

        Gives what ``.gitattributes`` holds now, in the folder and for the next commit: all lines of both.
        """
        path = os.path.join(self.root, _ATTRIBUTES)
        lines = there.decode(errors="surrogateescape").splitlines()
        lines += [line for line in read_file(path).decode(errors="surrogateescape").splitlines() if line not in lines]
        for pattern in (lambda name: "", _by_suffix, _by_name):
            lines += dict.fromkeys(f"{pattern(n)} {_TRACK}" for n in self._not_tracked(names) if pattern(n))
            data = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
            if data != read_file(path):
                replace_file(path, data)
        missing = self._not_tracked(names)
        if missing:
            reason = f"a line of .gitattributes keeps git-lfs from tracking {missing[0]!r}"
            raise PublishError(self.place, reason, f"change {path} by hand, and run this again")
        return data

    def _not_tracked(self, names: Collection[str]) -> list[str]:
        asked = "".join(f"{name}\0" for name in names).encode()
        found = self.git.run("check-attr", "-z", "--stdin", "filter", stdin=asked).out.decode().split("\0")
        return [name for name, value in zip(found[::3], found[2::3], strict=False) if value != "lfs"]

    def _store_objects(self, files: Mapping[str, Listed]) -> None:
        """Give the files a second name among git-lfs's own objects, which is what ``git add`` would copy."""
        media = self._media()
        for name, file in files.items():
            path = os.path.join(media, file.sha256[:2], file.sha256[2:4], file.sha256)
            if not file.size or os.path.exists(path):
                continue
            make_folders(media, os.path.dirname(path), temporary_name())
            source = os.path.join(self.root, *name.split("/"))
            try:
                link(source, path)
            except OSError:  # a file of this file system has one name only, or another run was faster
                with contextlib.suppress(FileExistsError), open(source, "rb") as data, new_file(path) as copy:
                    shutil.copyfileobj(data, copy)

    def _media(self) -> str:
        """Where git-lfs keeps its objects."""
        found = re.search("^LocalMediaDir=(.+)$", self.git.run("lfs", "env").text, re.MULTILINE)
        if found is None:
            raise PublishError(self.place, "git-lfs does not say where it keeps its objects")
        os.makedirs(found[1], exist_ok=True)
        return found[1]

    def _push_objects(self, files: Mapping[str, Listed], unpushed: str) -> None:
        if unpushed:
            self.git.run("lfs", "push", self.remote, unpushed, again=True)
        oids = list(dict.fromkeys(file.sha256 for file in files.values() if file.size))
        for start in range(0, len(oids), _BATCH):
            self.git.run("lfs", "push", "--object-id", self.remote, *oids[start : start + _BATCH], again=True)

    # -- after a push: the folder's branch, its index, and the files that other members pushed from elsewhere ----------

    def _catch_up(self, before: str, now: str) -> dict[str, Listed]:
        """Let the folder's branch be what was pushed, with all its files.

        Nothing that lies in the folder is changed or taken away; a file that came is visible at once and whole.
        """
        git, branch = self.git, self.branch
        if before == now:
            return {}
        came = {}
        for name in branch.files(now):
            if is_name(name) and not is_reserved(name) and not os.path.lexists(os.path.join(self.root, name)):
                came[name] = self._bring(name, now)
        empty = git.run("hash-object", "-w", "-t", "tree", "--stdin", stdin=b"").text
        old = before or "0" * len(now)
        if git.run("update-ref", f"refs/heads/{branch.name}", now, old, check=False).status == 0:
            # a two-way merge of the index alone: what somebody had staged stays staged
            git.run("read-tree", "-i", "-m", before or empty, now, check=False)
        self._exclude()
        return came

    def _bring(self, name: str, commit: str) -> Listed:
        """One file of a commit, by git-lfs where it is a pointer."""
        data = self.branch.read(name, commit) or b""
        listed = _read_pointer(data) or Listed(len(data), hashlib.sha256(data).hexdigest())
        path = os.path.join(self.root, *name.split("/"))
        make_folders(self.root, os.path.dirname(path), temporary_name())
        with contextlib.suppress(FileExistsError), new_file(path) as file:
            # a file that is no pointer is passed on as it is
            self.git.run("lfs", "smudge", stdin=data, into=file, again=True)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if Listed(file.tell(), digest) != listed:
                raise PublishError(f"{self.place}/{name}", "git-lfs gave other bytes than the repository names")
        return listed

    def _exclude(self) -> None:
        """Keep the lists, which each folder makes for itself, out of git's sight."""
        path = os.path.join(self.root, self.git.run("rev-parse", "--git-path", "info/exclude").text)
        there = read_file(path).decode(errors="replace").splitlines()
        new = [line for line in (f"/{CATALOG}", f"/{SUMS}", f"{TEMPORARY}*") if line not in there]
        if new:
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "a", encoding="utf-8") as file:
                    file.write("".join(f"{line}\n" for line in new))


def _pointer(file: Listed) -> bytes:
    """What git-lfs keeps in git instead of a file; an empty file is its own."""
    if not file.size:
        return b""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{file.sha256}\nsize {file.size}\n".encode()


def _read_pointer(data: bytes) -> Listed | None:
    """What a pointer points to; None if it is none."""
    match = _POINTER.fullmatch(data) if len(data) < 1024 else None
    return Listed(int(match[2]), match[1].decode()) if match else None


def _by_suffix(name: str) -> str:
    """The pattern for all files with the suffix of a name; empty where it has none that a pattern can hold."""
    suffix = PurePosixPath(name).suffix
    return f"*{suffix}" if re.fullmatch(r"\.[A-Za-z0-9_+=@-]+", suffix) else ""


def _by_name(name: str) -> str:
    """The pattern for one file."""
    escaped = re.sub(r"([*?\[\\])", r"\\\1", name)
    return "/" + re.sub(r"\s", "[[:space:]]", escaped).replace('"', '["]')


def _credentials(url: str, settings: Settings) -> tuple[str, Token | None]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.username is not None:
        return "", None
    user, password = (host_option(settings, parts, option) for option in ("user", "password"))
    if user and password:
        return str(user), Token(str(password), "config.toml")
    return "x-access-token", find_token(parts.netloc, settings, variables=["GIT_TOKEN"])
