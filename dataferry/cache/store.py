"""Find a file in the caches, keep one that was verified, and give it a path with its own name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import product

from ..config.folders import Folder
from ..config.settings import CACHE_VARIABLE
from ..errors import CacheError
from ..files import Stamp, hash_file, put_content
from ..portable import file_name, too_long
from ..registry.entry import Entry
from ..registry.names import redact_url
from . import layout
from .astropy_cache import STAGED, entry_path, put_entry, replace_entry
from .links import leads_to, link_maker, put_link
from .stamps import Stamps, stamp_files
from .verify import ABSENT, Verdict, examine


def incoming() -> str:
    """The folder for private, unfinished files: on the file system of the cache that will keep them."""
    return Store("", "").incoming()


def _for_this_process() -> str:
    import warnings

    # each time, for who makes it an error; shown once
    warnings.warn(
        f"no cache can be written here, so files stay for this process only; set ASTROPY_CACHE_DIR or {CACHE_VARIABLE}",
        RuntimeWarning,
        stacklevel=1,
    )
    return _temporary_folder()


@lru_cache(maxsize=1)
def _temporary_folder() -> str:
    import atexit
    import shutil
    import tempfile

    folder, process = tempfile.mkdtemp(prefix="dataferry-"), os.getpid()

    def remove() -> None:
        if os.getpid() == process:  # a forked child that ends takes nothing from its parent
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


class Store:
    """The caches as one package sees them. Where they are is looked up once.

    A cache that somebody chose has plain files alone: astropy does not look there.
    """

    def __init__(self, package: str, base: str, *, url: str = "", cache: Folder | None = None) -> None:
        self.package, self.base = package, base
        self._url = url  # of the only file, where it is not base and name
        self._folder = layout.view_folder(package, base) + "/"
        self.chosen = cache or layout.chosen_cache()
        self.cache = None if self.chosen else layout.astropy_cache()
        self.homes = [self.chosen.path] if self.chosen else layout.cache_folders(self.cache)
        self._pending: dict[str, dict[str, tuple[str, Stamp]]] = {}
        #: astropy's entry lies beside its view, unless dataferry's part of the cache is a link to elsewhere.
        self._beside: str | None = None
        self._stamps = [layout.stamps_of(home) for home in self.homes]
        #: Where files of this package may lie that are in no entry of astropy's.
        self._apart = [home for home in self.homes if os.path.isdir(f"{home}/{self._folder}")]
        if self.cache is not None:
            home = os.path.join(self.cache, layout.CACHE_FOLDER)
            if os.path.realpath(home) == os.path.join(os.path.realpath(self.cache), layout.CACHE_FOLDER):
                self._beside = home

    @property
    def origin(self) -> str:
        """What says where the cache is."""
        return self.chosen.origin if self.chosen is not None else "astropy's cache"

    def _url_of(self, name: str) -> str:
        return self._url or self.base + name

    # -- find

    def find(self, name: str, entry: Entry | None, *, rehash: bool = False) -> tuple[str | None, Verdict]:
        """The path of a file for readers, or None, and what was found."""
        verdict = ABSENT
        if self.cache is not None:
            if entry is not None and not rehash and (path := self._stamped_view(self.cache, name, entry)):
                return path, Verdict(True, "verified earlier")
            verdict, contents = self._find_entry(self.cache, name, entry, rehash)
            if verdict.accepted:
                return self.readable(name, contents), verdict
        homes = self._apart if entry is not None or self.chosen else ()
        second = layout.second_view_name(self.package, self.base, name) if homes else ""
        for home, view in product(homes, (self._folder + file_name(name), second)):
            path = f"{home}/{view}"
            with contextlib.suppress(OSError, ValueError):
                if os.path.basename(os.readlink(path)) == "contents":
                    continue  # a view of an entry
            found = examine(path, entry, [layout.stamps_of(home)], view, settled=True, rehash=rehash)
            if found.accepted:
                return path, found
            verdict = verdict if verdict.wrong else found
        return None, verdict

    def _stamped_view(self, cache: str, name: str, entry: Entry) -> str | None:
        """The readable path of a verified entry, found without its md5: the first hit of a process needs no OpenSSL."""
        view = self._folder + file_name(name)
        for home in self.homes:
            path, entries = f"{home}/{view}", self._target(home, view, f"{cache}/download/url/")
            with contextlib.suppress(OSError, ValueError):
                target = os.readlink(path)
                key = target.removeprefix(entries).removesuffix("/contents")
                if target != f"{entries}{key}/contents" or not os.access(path, os.R_OK):
                    continue
                now = os.stat(path)
                stamped = any(stamps.holds(key, now, entry.sha256) for stamps in self._stamps)
                if stamped and entry.size in {None, now.st_size}:
                    return path
        return None

    def _find_entry(self, cache: str, name: str, entry: Entry | None, rehash: bool) -> tuple[Verdict, str]:
        key = layout.url_key(self._url_of(name))
        contents = entry_path(cache, key)
        return examine(contents, entry, self._stamps, key, settled=True, rehash=rehash), contents

    def readable(self, name: str, contents: str) -> str:
        """A path with the file's own name for an entry of astropy's cache; the entry itself where none can be made."""
        view = self._folder + file_name(name)
        for home in self.homes:
            if f"{home}/{view}" == contents:
                return contents
            with contextlib.suppress(OSError, ValueError):
                if leads_to(f"{home}/{view}", self._target(home, view, contents), contents):
                    return f"{home}/{view}"
        return self._view(name, contents)

    def _view(self, name: str, contents: str) -> str:
        view = self._folder + file_name(name)
        for home in dict.fromkeys([self.writable, *self.homes[1:]]):
            if home is not None and link_maker(home) is not None:
                with contextlib.suppress(OSError, ValueError):
                    for each in (view, layout.second_view_name(self.package, self.base, name)):
                        if put_link(home, each, self._target(home, each, contents), contents, self._url_of(name)):
                            return f"{home}/{each}"
                if problem := too_long(f"{home}/{view}"):
                    raise CacheError(f"{home}/{view}: {problem}; set {CACHE_VARIABLE} to a folder with a shorter name")
        return contents

    def _target(self, home: str, view: str, contents: str) -> str:
        # relative, so that it holds wherever the cache is mounted
        if home == self._beside and self.cache is not None and contents.startswith(f"{self.cache}/"):
            return "../" * (view.count("/") + 1) + contents[len(self.cache) + 1 :]
        return contents

    @cached_property
    def writable(self) -> str | None:
        """Dataferry's folder that can be written; None where there is none."""
        home = layout.writable_home(self.homes)
        if home is None and self.chosen is not None:
            raise CacheError(f"the cache {self.chosen.path} ({self.chosen.origin}) cannot be written")
        return home

    @property
    def folder(self) -> str:
        """The folder with the readable paths of the package's files."""
        return f"{self.writable or _for_this_process()}/{self._folder}".rstrip("/")

    def unpacked(self, name: str, members: Sequence[str] | None) -> str:
        """The folder for an archive's members, on the file system of the cache."""
        import hashlib

        # the name is in it for file systems that fold case
        digest = hashlib.sha256("\n".join([name, *(members or ())]).encode()).hexdigest()[:16]
        selection = f"{'all' if members is None else 'part'}-{digest}"
        home = self.writable or _for_this_process()
        return f"{home}/unpacked/{self._folder}{file_name(name)}/{selection}"

    # -- keep

    def incoming(self) -> str:
        """See `incoming`."""
        home = self.writable or _for_this_process()
        folder = os.path.join(home, "incoming")
        if self.cache is not None and home != self._beside and home == os.path.join(self.cache, layout.CACHE_FOLDER):
            # dataferry's part of the cache is a link, perhaps to another file system
            folder = f"{self.cache}/download/{STAGED}incoming"
        os.makedirs(folder, exist_ok=True)
        return folder

    def put(self, name: str, content: str | bytes, sha256: str = "") -> str:
        """Move a private file, or bytes, to their place, and give the path for readers; `flush` stamps verified ones.

        Raises `CacheError` if it can be kept nowhere.
        """
        url, home = self._url_of(name), self.writable
        key = layout.url_key(url)
        reason = "astropy finds no cache folder: set ASTROPY_CACHE_DIR and ASTROPY_CONFIG_DIR"
        named = home is not None and any(map(link_maker, (home, *self.homes[1:])))
        if self.cache is not None and (named or not sha256):
            try:
                contents = put_entry(self.cache, key, url, content)
                if contents is None:
                    contents = entry_path(self.cache, key)
                    if sha256 and self._find_entry(self.cache, name, Entry(name, sha256), False)[0].accepted:
                        if isinstance(content, str):
                            os.unlink(content)  # somebody else was first, with the same bytes
                    else:
                        replace_entry(contents, content)
                path = self._view(name, contents)
                if sha256:  # after a hard link, which changes the ctime
                    self._verified(self.homes[0], key, contents, sha256)
                return path
            except OSError as error:
                reason = f"astropy's cache {self.cache}, {redact_url(url)}: {error.strerror or error}"
        if not sha256 and self.chosen is None:  # unverified, it would not be found again
            raise CacheError(f"{name!r} could not be kept: {reason}; 'dataferry doctor' shows the caches")
        return self._keep_apart(name, sha256, content, reason)

    def _keep_apart(self, name: str, sha256: str, content: str | bytes, reason: str) -> str:
        tried = [] if self.chosen else [reason]
        for home in dict.fromkeys([self.writable or _for_this_process(), *self.homes[1:]]):
            view = self._folder + file_name(name)
            try:
                if sha256 and self._is_of_another(home, view, sha256):
                    view = layout.second_view_name(self.package, self.base, name)
                path = f"{home}/{view}"
                os.makedirs(os.path.dirname(path), exist_ok=True)
                put_content(content, path)
            except OSError as error:
                tried.append(f"{home}: {too_long(str(error.filename or '')) or error.strerror or error}")
                continue
            self._apart = list(dict.fromkeys([*self._apart, home]))
            if sha256:
                self._verified(home, view, path, sha256)
            return path
        raise CacheError(f"{'; '.join(tried)}; set {CACHE_VARIABLE} to a folder with space")

    def _is_of_another(self, home: str, view: str, sha256: str) -> bool:
        """Whether another file has the name, spelt with other capitals; what this one had before has its stamp."""
        path = f"{home}/{view}"
        if view in self._pending.get(home, ()) or os.path.islink(path) or not os.path.isfile(path):
            return False
        return layout.stamps_of(home).read(view) is None and hash_file(path).sha256 != sha256

    def cached(self, name: str) -> str | None:
        """The path of a file in the cache, whatever its bytes, if it is there."""
        if self.chosen is not None:
            path = f"{self.chosen.path}/{self._folder}{file_name(name)}"
        elif self.cache is not None:
            path = entry_path(self.cache, layout.url_key(self._url_of(name)))
        else:
            return None
        return path if os.path.isfile(path) else None

    def etag(self, name: str) -> str | None:
        """The ETag of a file that is not registered, if what is cached still is the version it was given for."""
        stamp, contents = self._etags.read(layout.url_key(self._url_of(name))), self.cached(name)
        return bytes.fromhex(stamp.sha256).decode() if stamp and contents and stamp.holds(os.stat(contents)) else None

    def keep_etag(self, name: str, etag: str | None) -> None:
        """Keep an ETag as the hash of a stamp; without one the next refresh fetches the file again."""
        key, contents = layout.url_key(self._url_of(name)), self.cached(name)
        if etag and contents:
            self._etags.keep({key: Stamp.of(os.stat(contents), etag.encode().hex())})
        else:
            self._etags.forget([key])

    @property
    def _etags(self) -> Stamps:
        return Stamps(os.path.join(self.writable or _for_this_process(), "etags"))

    def _verified(self, home: str, key: str, path: str, sha256: str) -> None:
        with contextlib.suppress(OSError):  # without a stamp the next process hashes it once more
            self._pending.setdefault(home, {})[key] = path, Stamp.of(os.stat(path), sha256)

    def flush(self) -> None:
        """Have what was put on the disk, and only then stamp it: a power cut leaves no stamp of bytes that are gone."""
        pending, self._pending = self._pending, {}
        for home, files in pending.items():
            own = layout.own_home()
            both = dict.fromkeys([home, *([own] if own else [])])
            any(stamp_files(layout.stamps_of(each), files, settled=True) for each in both)
