"""Files of a site on GitHub Pages: ``github-pages:owner/repo@branch``, committed and pushed without force."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ..cache.layout import writable_home
from ..download.backoff import tries
from ..download.source import Source
from ..errors import BadName, Conflict, HostRefused, PublishError, TransferError
from ..registry.catalog import CATALOG, SUMS, Listed, catalog_bytes, read_catalog
from ..registry.names import check_prefix, check_url, is_name, quoted_name, split_options
from .api_client import ApiClient
from .base import Credential, Host, HostedFile, Limits, Locators, Moved, Notes, Publisher, Upload
from .folder_files import is_of_dead_run, temporary_name
from .git import Branch, Git
from .github import GitHubApi, github_credentials, is_ref, is_repository

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings
    from ..registry.entry import Entry


_OPTIONS = {"folder", "git", "path", "raw", "url"}
_MIB = 1 << 20
#: GitHub refuses larger files, and warns of those above half of it.
FILE_BYTES = 100 * _MIB
#: A published site may be no larger.
SITE_BYTES = 10**9
#: What is pushed at once: a push that is cut begins again.
PUSH_BYTES = 200 * _MIB
#: Seconds that a deployment of Pages may take.
SERVED_WITHIN = 600.0
_GITS_OWN = re.compile(r"\.git[ .]*|git~\d+[ .]*", re.IGNORECASE)
#: What a site has for itself.
_RESERVED = {".nojekyll", "CNAME", "_config.yml", "index.html", "404.html", CATALOG, SUMS}
_NO_PAGES = {"README.md", "LICENSE.md"}
#: By this a page is known as one that may be rewritten.
_MARK = b'<meta name="generator" content="dataferry">'
_REMEDY = (
    "publishing there takes a token in GH_TOKEN, from `gh auth login`, in config.toml or the keyring: a fine-grained "
    "one with Contents: read and write for this repository (https://github.com/settings/personal-access-tokens/new), "
    "or a classic one with the scope repo"
)


class GitHubPagesHost(Host):
    """The files of a branch that GitHub Pages serves.

    It is declared as ``github-pages:owner/repo@branch``; without a branch it is ``gh-pages``, and for
    ``owner/owner.github.io`` the default branch. Behind it may stand, after a ``?`` and with ``&`` between:
    ``url=https://data.example.org/`` for a custom domain, ``path=v1`` for files below that path, ``folder=docs``
    where Pages serves that folder of the branch, and for servers other than github.com ``git=`` (URL of the
    repository) and ``raw=`` (base URL of the branch's files).
    """

    schemes = ("github-pages",)

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        rest, options = split_options(spec)
        self.repository, at, self.branch = rest.partition("@")
        owner, _, repo = self.repository.partition("/")
        unknown = ", ".join(sorted(options.keys() - _OPTIONS))
        logins = [url for url in options.values() if re.match("https?://[^/]*@", url)]
        for wrong, reason in (
            (not is_repository(self.repository), f"{self.repository!r} is not an owner and a repository"),
            (at and not is_ref(self.branch), f"{self.branch!r} is not a branch"),
            (unknown, f"{unknown!r} is not known (there are: {', '.join(sorted(_OPTIONS))})"),
            ("git" in options and "url" not in options, "a declaration with git= also says url=, the URL of the site"),
            (logins, "everybody reads this; credentials belong in the environment or config.toml"),
        ):
            if wrong:
                raise BadName(f"{self.redacted}: {reason}")
        at_root = repo.lower() == f"{owner}.github.io".lower()
        self.branch = self.branch or ("" if at_root else "gh-pages")
        self.folder, path = (check_prefix(options.get(key, "")) for key in ("folder", "path"))
        #: Where the files lie in the repository.
        self.prefix = self.folder + path
        self.git = options.get("git") or f"https://github.com/{self.repository}.git"
        site = options.get("url") or f"https://{owner.lower()}.github.io/" + ("" if at_root else f"{repo}/")
        raw = options.get("raw", "")
        if not raw and "git" not in options:
            ref = f"refs/heads/{quote(self.branch, safe='/')}" if self.branch else "HEAD"
            raw = f"https://raw.githubusercontent.com/{self.repository}/{ref}/"
        self.site = check_url(site, "the site's URL") + quoted_name(path)
        self.raw = check_url(raw, "raw") + quoted_name(self.prefix) if raw else ""

    @classmethod
    def missing(cls, scheme: str) -> str:
        """The program that publishes."""
        return "" if shutil.which("git") else "git, to publish: apt install git, or conda install git"

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """The user's token for the server of the repository; without one git's own credential helpers decide."""
        parts = urlsplit(self.git)
        return github_credentials(f"{parts.scheme}://{parts.netloc}") if parts.scheme in {"http", "https"} else ()

    @property
    def redacted(self) -> str:
        """The host as it may be printed."""
        return self.spec.partition("?")[0]

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The site, then the repository."""
        bases = (self.site, self.raw) if self.raw else (self.site,)
        return [Source(base + quoted_name(name), self.redacted) for base in bases]

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """The files that the site's catalog lists, with sizes and sha256; without one, those of the branch."""
        client = ApiClient(settings, self.site)
        try:
            listed = read_catalog(client.call("GET", CATALOG).body)
            return {name: HostedFile(file.size, file.sha256) for name, file in listed.items()}
        except ValueError:
            pass
        except HostRefused as error:
            if error.status != 404:
                raise
        try:
            with contextlib.closing(Clone(self, settings, self.token(settings))) as clone:
                clone.branch.fetch()
                files = clone.branch.files()
        except (PublishError, OSError) as error:
            reason = f"the site has no {CATALOG}, and its branch cannot be read: {error}"
            raise TransferError(self.redacted, reason) from error
        plain = f"{self.folder}.nojekyll" in files
        names = [path.removeprefix(self.prefix) for path in files if path.startswith(self.prefix)]
        legal = [name for name in names if is_name(name) and name not in _RESERVED]
        return {name: HostedFile() for name in legal if plain or not _jekyll_drops(name)}

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """What commits files and pushes them."""
        return GitHubPagesPublisher(self, settings, about)

    def is_made_by_jekyll(self, files: Collection[str]) -> bool:
        """Whether somebody has pages there that Jekyll makes, which a ``.nojekyll`` would break; a README is none."""
        inside = [path.removeprefix(self.folder) for path in files if path.startswith(self.folder)]
        pages = [path for path in inside if path.endswith((".md", ".markdown")) and path not in _NO_PAGES]
        return ".nojekyll" not in inside and bool(pages or {"_config.yml", "_config.yaml"} & set(inside))


class Clone:
    """A bare repository in the cache for one run; the clones of killed runs are removed."""

    def __init__(self, host: GitHubPagesHost, settings: Settings, token: Token | None) -> None:
        home = Path(writable_home() or tempfile.gettempdir(), "git")
        home.mkdir(parents=True, exist_ok=True)
        for other in home.glob("*.git"):
            if is_of_dead_run(other.stem):
                shutil.rmtree(other, ignore_errors=True)
        self.path = home / f"{temporary_name()}.git"
        self.path.mkdir()
        #: Takes it away; so does the end of this object.
        self.close = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        config = {
            "remote.origin.url": host.git,
            "remote.origin.promisor": "true",
            "remote.origin.partialclonefilter": "blob:none",
            # data do not compress against each other, and reading them once is enough
            "core.bigFileThreshold": "1m",
            "core.looseCompression": "1",
        }
        git = Git(
            self.path, host.redacted, settings=settings, remote=host.git, token=token, remedy=_REMEDY, config=config
        )
        git.run("init", "-q", "--bare", ".")
        self.branch = Branch(git, "origin", host.branch or _default_branch(git), shallow=True)


def _default_branch(git: Git) -> str:
    head = git.run("ls-remote", "--symref", "origin", "HEAD", again=True).text
    found = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", head, re.MULTILINE)
    return found[1] if found else "main"


class GitHubPagesPublisher(Publisher):
    """Takes files to the branch that a site is made from; see `Publisher`."""

    limits = Limits(file_bytes=FILE_BYTES, total_bytes=SITE_BYTES)
    parallel = 2
    host: GitHubPagesHost

    def __init__(self, host: GitHubPagesHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self._lock = threading.Lock()
        self._staged: dict[str, tuple[Upload, str]] = {}
        self._waiting = 0

    @property
    def declared(self) -> str:
        """The site alone where the repository is a path of this machine, or needs the author's ssh key."""
        local = urlsplit(self.host.git).scheme not in {"http", "https"}
        return self.host.site if local else self.host.spec

    def check_rights(self) -> str:
        """Ask for the branch, and whether a push would be taken, without pushing."""
        self._token = token = self.host.token(self.settings, publishing=True)
        self._clone = Clone(self.host, self.settings, token)
        self._branch = branch = self._clone.branch
        tip = branch.fetch() or branch.commit({}, "check", [], "")
        branch.push(tip, dry_run=True, to="dataferry-check")
        found = f"the token of {token.origin}" if token else "git's own credentials"
        return f"{found}, to the branch {branch.name} of {self.host.git}"

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What the branch has under the names, by git's own ids, without fetching files."""
        branch = self._branch
        files = branch.files()
        self._jekyll = self.host.is_made_by_jekyll(files)
        there = [upload for upload in uploads if self.host.prefix + upload.name in files]
        found = {}
        for upload, blob in zip(there, self._blobs(there), strict=True):
            found[upload.name] = HostedFile(upload.size, upload.sha256, upload.md5)
            if (other := files[self.host.prefix + upload.name]) != blob:
                data = branch.git.run("cat-file", "blob", other, again=True).out
                found[upload.name] = HostedFile(len(data), hashlib.sha256(data).hexdigest())
        for upload in uploads:
            if self._jekyll and upload.name not in found:
                self._check_jekyll(upload)
        return found

    def _blobs(self, uploads: Sequence[Upload]) -> list[str]:
        """Git's own ids of files."""
        paths = "".join(f"{os.path.abspath(upload.path)}\n" for upload in uploads).encode()
        return self._branch.git.run("hash-object", "--no-filters", "--stdin-paths", stdin=paths).text.split()

    def _check_jekyll(self, upload: Upload) -> None:
        with open(upload.path, "rb") as file:
            front_matter = file.read(4) in {b"---\n", b"---\r"}
        page = front_matter or upload.name.endswith((".md", ".markdown", ".scss", ".sass"))
        if page or _jekyll_drops((self.host.prefix + upload.name).removeprefix(self.host.folder)):
            reason = "the site is made by Jekyll, which leaves such a file out or changes it"
            remedy = "add an empty file .nojekyll to the site, or choose another name"
            raise PublishError(f"{self.host.redacted}/{upload.name}", reason, remedy)

    def occupied(self) -> Mapping[str, int]:
        """All files of the site, by their names for this host."""
        return self._sizes

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """The bytes of each file of the site, as far as they can be known without fetching it."""
        host, inside = self.host, [path for path in self._branch.files() if path.startswith(self.host.folder)]
        known = {host.prefix + name: file.size for name, file in self._listed().items()}
        own = {f"{host.folder}.nojekyll", *(host.prefix + name for name in _RESERVED)}
        if not set(inside) <= known.keys() | own:
            known |= self._sizes_in_tree()
        return {path.removeprefix(host.prefix): known.get(path, 0) for path in inside}

    def _sizes_in_tree(self) -> dict[str, int]:
        """The sizes of all files of the branch, from the API: git itself would fetch the files to know them."""
        parts = urlsplit(self.host.git)
        if parts.scheme not in {"http", "https"}:
            return {}
        api = GitHubApi(self.settings, f"{parts.scheme}://{parts.netloc}", self.host.repository, self._token)
        path = f"{api.repository}/git/trees/{self._branch.tip}"
        try:
            tree = api.json("GET", path, query={"recursive": "1"})["tree"]
            return {str(item["path"]): int(item["size"]) for item in tree if item["type"] == "blob"}
        except (TransferError, LookupError, TypeError, ValueError):  # another server, which has no such API
            return {}

    def _listed(self) -> dict[str, Listed]:
        try:
            return read_catalog(self._branch.read(self.host.prefix + CATALOG) or b"{}")
        except ValueError:
            return {}

    def problem(self, upload: Upload) -> str:
        """Why the branch cannot take a file."""
        path = self.host.prefix + upload.name
        if any(_GITS_OWN.fullmatch(part) for part in path.split("/")):
            return "git keeps no file of that name: choose another"
        if upload.name in _RESERVED or path.removeprefix(self.host.folder) in _RESERVED:
            return "at the top of a site this name has a special meaning: choose another"
        return ""

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """What is near a limit."""
        remarks = []
        if large := [upload.name for upload in uploads if upload.size > FILE_BYTES // 2]:
            remarks.append(f"{len(large)} files are larger than 50 MiB, of which GitHub warns: {', '.join(large[:5])}")
        total = sum({**self.occupied(), **{upload.name: upload.size for upload in uploads}}.values())
        if total > SITE_BYTES // 2:
            remarks.append(f"the site will have {total / 1e9:.2f} GB, and 1 GB is the most")
        if self._jekyll:
            remarks.append("the site is made by Jekyll; .nojekyll is not added to it")
        return remarks

    def upload(self, upload: Upload, notes: Notes, moved: Moved) -> Locators:
        """Put one file into the clone; it is pushed with others, at the latest by `finish`."""
        words = "hash-object", "-w", "--no-filters", "--", os.path.abspath(upload.path)
        blob = self._branch.git.run(*words).text
        with self._lock:
            self._staged[upload.name] = upload, blob
            self._waiting += upload.size
            if self._waiting > PUSH_BYTES:
                self._push()
        moved(upload.size)
        return {}

    def finish(self, uploads: Sequence[Upload], notes: Notes) -> Mapping[str, Locators]:
        """Push what was not pushed yet, and wait until the site serves it."""
        before = [upload for upload in uploads if upload.name not in self._staged]
        for upload, blob in zip(before, self._blobs(before), strict=True):
            self._staged[upload.name] = upload, blob
        self._push()
        self._clone.close()
        self._wait_until_served({upload.name: Listed(upload.size, upload.sha256) for upload in uploads})
        return {}

    def _push(self) -> None:
        self._branch.while_others_push(self._push_once)
        self._waiting = 0

    def _push_once(self) -> bool:
        """Add what the newest tip lacks; whether nobody else was faster."""
        tip, blobs = self._branch.fetch(), self._changes()
        if not blobs:
            return True
        names = list(self._staged)
        noun = names[0] if len(names) == 1 else f"{len(names)} data files"
        commit = self._branch.commit(blobs, f"Add {noun}", [tip] if tip else [], tip)
        return self._branch.push(commit)

    def _changes(self) -> dict[str, str]:
        """What the newest tip lacks."""
        branch, host = self._branch, self.host
        files = branch.files()
        folders = {path[:at] for path in files for at, c in enumerate(path) if c == "/"}
        blobs: dict[str, str] = {}
        for name, (_, blob) in self._staged.items():
            path = host.prefix + name
            above = [path[:at] for at, c in enumerate(path) if c == "/"]
            if files.get(path, blob) != blob or path in folders or any(part in files for part in above):
                reason = "the branch has other bytes under that name, and a published file keeps its bytes"
                raise Conflict(f"{host.redacted}/{name}", reason, "choose a new name")
            if path not in files:
                blobs[path] = blob
        listed = self._listed()
        merged = listed | {name: Listed(upload.size, upload.sha256) for name, (upload, _) in self._staged.items()}
        if not blobs and merged == listed:
            return {}
        title = str(self.about.get("title") or "")
        page, jekyll = branch.read(f"{host.prefix}index.html"), host.is_made_by_jekyll(files)
        blobs[host.prefix + CATALOG] = branch.store(catalog_bytes(merged, title))
        if (page is None and not jekyll) or (page is not None and _MARK in page):
            blobs[f"{host.prefix}index.html"] = branch.store(_index_page(merged, title))
        if f"{host.folder}.nojekyll" not in files and not jekyll:
            blobs[f"{host.folder}.nojekyll"] = branch.store(b"")
        return blobs

    def _wait_until_served(self, files: Mapping[str, Listed]) -> None:
        """Wait until the site's own catalog lists files: then this build of the site is the one that is served."""
        client = ApiClient(self.settings.as_anonymous(), self.host.site)
        reason, announced = "", False
        seconds = SERVED_WITHIN if self.wait is None else self.wait
        for _ in tries(seconds, 0.2):
            if reason and not announced:
                self.notify(f"{self.host.site}: waiting up to {seconds:.0f} s until the site has the files")
                announced = True
            try:
                # another query each time: caches keep an answer for minutes
                answer = client.call("GET", CATALOG, query={"at": time.time_ns()}).body
                if files.items() <= read_catalog(answer).items():
                    return
                reason = "it still serves an older state"
            except ValueError:
                reason = f"it serves something else as {CATALOG}"
            except TransferError as error:
                reason = f"it does not serve {CATALOG}: {error.reason}"
        branch = f"the branch {self.host.branch}" if self.host.branch else "the default branch"
        remedy = (
            f"in the repository's settings, Pages must publish {branch}; then run the same command again: what was "
            "pushed stays"
        )
        raise PublishError(self.host.site, f"pushed, but after {seconds:.0f} s {reason}", remedy)

    def seconds_until_served(self) -> float:
        """What is left after `finish` has waited: the caches of the site."""
        return 60.0


def _jekyll_drops(name: str) -> bool:
    """Whether Jekyll leaves a file out of the site, as it does where there is no ``.nojekyll``."""
    return any(part[0] in "_.#" or part[-1] == "~" for part in name.split("/"))


def _index_page(files: Mapping[str, Listed], title: str) -> bytes:
    """A page that lists files."""
    rows = []
    for name, (size, sha256) in sorted(files.items()):
        link = f'<a href="./{escape(quote(name), quote=True)}">{escape(name)}</a>'
        rows.append(f"<tr><td>{link}</td><td>{size:,}</td><td><code>{sha256}</code></td></tr>\n")
    style = "body{font:16px/1.5 system-ui,sans-serif;margin:2em}td,th{padding:.1em 1em .1em 0;text-align:left}"
    head = f'<meta charset="utf-8">\n{_MARK.decode()}\n<meta name="viewport" content="width=device-width">\n'
    caption = escape(title or "Data files")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}<title>{caption}</title>\n<style>{style}</style>\n</head>\n'
        f"<body>\n<h1>{caption}</h1>\n<table>\n<tr><th>file</th><th>bytes</th><th>sha256</th></tr>\n{''.join(rows)}"
        "</table>\n</body>\n</html>\n"
    ).encode()
