"""One URL, verified: a file without a package and without a registry."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from . import log
from .cache.layout import RETRIEVED
from .cache.store import Store, incoming
from .download.source import Arrived
from .errors import BadName, Failure, FileUnavailable, Offline, Reason, WrongBytes
from .files import put_content
from .lookup.configured_hosts import download_from_hosts
from .lookup.file_url import FileHost, check_file_url, split_url
from .lookup.options import FetchOptions, engine_settings, in_terminal, offline_reason
from .registry.checksum_lists import DIGITS
from .registry.entry import Entry
from .registry.names import check_name, redact_url

if TYPE_CHECKING:
    from .config.settings import Settings
    from .download.progress import Progress


#: These show damage, and not an attack.
_WEAK = frozenset({"md5", "sha1"})
_LONGEST_TIMEOUT = 1e6  # seconds
_WITHOUT_NETWORK = "where there is a network, run the same call once"
_warned: set[str] = set()


def retrieve(
    url: str,
    known_hash: str | None = None,
    *,
    name: str | None = None,
    cache_key: str | None = None,
    mirrors: Sequence[str] = (),
    folder: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    deadline: float | None = None,
    progress: bool | Callable[[Progress], None] | None = True,
    opener: Callable[[str], BinaryIO] | None = None,
) -> str:
    """Get one file from its URL, verified and cached.

    Parameters
    ----------
    url : str
        An ``https://`` URL; or a host as in ``dataferry.toml``, a slash and the name of the file there:
        ``zenodo:4924875/map.fits``, ``figshare:14763051/map.fits``, ``doi:10.5281/zenodo.4924875/map.fits``,
        ``github-release:owner/repo@v1/map.fits``, ``s3://bucket/v1/map.fits?region=us-west-1``.
    known_hash : str, optional
        ``"sha256:..."``, or ``sha512``, ``sha1`` or ``md5``. Without it nothing is verified, and a warning in the log
        has the hash that you can write down.
    name : str, optional
        The name of the local file; the last part of the URL by default.
    cache_key : str, optional
        The key in astropy's cache; ``url`` by default. Give one if the URL changes and the file does not.
    mirrors : sequence of str
        Further URLs of the same file, asked in this order after ``url``.
    folder : path-like, optional
        Keep a plain file in this folder and not in astropy's cache.
    timeout : float, optional
        Give up on a server after this many seconds without progress; 30 by default, or astropy's ``remote_timeout``.
    deadline : float, optional
        A limit in seconds for the whole call.
    progress : bool, callable or None
        Whether to show a progress bar; None is "only in a terminal". Or a function that is called with a `Progress`.
    opener : callable, optional
        As for `PackageData.get`.

    Returns
    -------
    str
        An absolute path that ends in the file's name.

    Raises
    ------
    BadName
        If the URL, the hash, the name or the timeout is not legal.
    FileUnavailable
        If the file is not available; the error names each URL with its reason.
    Offline
        If the network is needed, and is switched off or not reachable.
    CacheError
        If the file cannot be stored.
    """
    urls = [check_file_url(each) for each in (url, *mirrors)]
    algorithm, digest = _hash(known_hash)
    if timeout is not None and not 0 < timeout < _LONGEST_TIMEOUT:
        raise BadName(f"timeout is a number of seconds above 0, not {timeout!r}")
    name = check_name(name) if name is not None else _name_of(urls[0])
    key = cache_key or url
    place = _Place(key, name, folder, algorithm, digest)
    found = place.find()
    if found is not None:
        return found
    if offline := offline_reason():
        tried = [Failure(redact_url(each), f"not asked: {offline}", Reason.OFFLINE) for each in urls]
        raise Offline(name, tried, _WITHOUT_NETWORK)
    if progress is None:
        progress = in_terminal()
    options = FetchOptions.from_now(None, progress, deadline)._replace(opener=opener)
    return _download(urls, place, engine_settings(timeout), options)


def _hash(known_hash: str | None) -> tuple[str, str]:
    if known_hash is None:
        return "", ""
    algorithm, colon, digest = known_hash.partition(":")
    algorithm, digest = algorithm.strip().lower(), digest.strip().lower()
    known = ", ".join(f"{each}:" for each in DIGITS)
    if not colon or algorithm not in DIGITS:
        raise BadName(f"known_hash {known_hash!r} does not say which hash it is: it starts with one of {known}")
    digits = DIGITS[algorithm]
    if len(digest) != digits or set(digest) - set("0123456789abcdef"):
        raise BadName(f"known_hash: a {algorithm} has {digits} hexadecimal digits, and {known_hash!r} does not")
    return algorithm, digest


def _name_of(url: str) -> str:
    if url.startswith(("http://", "https://")):
        name = unquote(urlsplit(url).path).rpartition("/")[2]
    else:
        name = split_url(url)[1].rpartition("/")[2]
    try:
        return check_name(name)
    except BadName as error:
        raise BadName(
            f"{redact_url(url)!r} gives no name for the local file ({error}): end it with one, or in Python say name="
        ) from error


class _Place:
    """Where the file is kept, and whether what is there is the right one."""

    def __init__(self, key: str, name: str, folder: str | os.PathLike[str] | None, algorithm: str, digest: str) -> None:
        self.key, self.name, self.algorithm, self.digest = key, name, algorithm, digest
        self.path = None if folder is None else os.path.join(os.path.abspath(os.path.expanduser(folder)), name)
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = Store(RETRIEVED, self.key, url=self.key)
        return self._store

    def find(self) -> str | None:
        if self.path is not None:
            return self.path if os.path.isfile(self.path) and self.problem(self.path) is None else None
        if self.algorithm == "sha256":
            return self.store.find(self.name, Entry(self.name, self.digest))[0]
        path = self.store.find(self.name, None)[0]
        return path if path is not None and self.problem(path) is None else None

    def problem(self, path: str) -> str | None:
        """Why a file is not the right one; None where it is, or where nothing is known of it."""
        if not self.algorithm:
            return None
        found = _digest(path, self.algorithm)
        return None if found == self.digest else self.mismatch(found)

    def mismatch(self, found: str) -> str:
        """The reason where a whole file has another hash."""
        return f"its {self.algorithm} is {found}; the hash that you gave is {self.digest}"

    def keep(self, content: Path | bytes) -> str:
        # the engine has compared the sha256 of bytes
        if not isinstance(content, bytes) and (problem := self.problem(str(content))):
            raise WrongBytes(problem)
        if self.path is None:
            file = content if isinstance(content, bytes) else str(content)
            return self.store.put(self.name, file, self.digest if self.algorithm == "sha256" else "")
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        put_content(content, self.path)
        return self.path

    def flush(self) -> None:
        if self._store is not None:
            self._store.flush()
        if self.path is not None:
            with contextlib.suppress(OSError):  # a partial file is there, or another run
                (self.workdir() / "locks").unlink(missing_ok=True)
                self.workdir().rmdir()

    def workdir(self) -> Path:
        if self.path is None:
            return Path(incoming())
        return Path(os.path.dirname(self.path), ".dataferry-incoming")


def _download(urls: Sequence[str], place: _Place, settings: Settings, options: FetchOptions) -> str:
    verified = place.algorithm == "sha256"
    tried: list[Failure] = []
    offline = True
    # where the engine cannot compare the hash, one URL at a time is asked
    for group in [urls] if verified else [[each] for each in urls]:
        try:
            result = download_from_hosts(
                lambda _: [FileHost(each) for each in group],  # noqa: B023 - it is called in this turn
                [Entry(place.name, place.digest if verified else "")],
                settings=settings,
                workdir=place.workdir(),
                store=lambda item, content: Path(place.keep(content)),
                find=lambda _: Path(path) if (path := place.find()) is not None else None,  # another process had it
                compare=verified,
                options=options,
            )[place.name]
        except WrongBytes as error:
            tried.append(Failure(redact_url(group[0]), str(error), Reason.SHA256))
            offline = False
            continue
        finally:
            place.flush()
        if isinstance(result, Arrived):
            _report_hash(place, str(result.path))
            return str(result.path)
        tried += [  # the engine calls each hash the registered one
            failure._replace(reason=place.mismatch(failure.sha256)) if failure.sha256 else failure
            for failure in result.failures
        ]
        offline = offline and isinstance(result, Offline)
    if offline:
        raise Offline(place.name, tried, _WITHOUT_NETWORK)
    wrong = any(failure.kind is Reason.SHA256 for failure in tried)
    remedy = "check the hash: a file that was changed on purpose has a new one" if wrong else "check the URL"
    arrived = {failure.sha256 for failure in tried if failure.sha256}
    if len(arrived) == 1:
        remedy += f"; the file that arrived has sha256:{arrived.pop()}"
    raise FileUnavailable(place.name, tried, remedy)


def _report_hash(place: _Place, path: str) -> None:
    if place.algorithm in _WEAK:
        log.info("%s: verified by its %s, which shows damage but no attack", place.name, place.algorithm)
    elif not place.algorithm and place.key not in _warned:
        _warned.add(place.key)
        sha256 = _digest(path, "sha256")
        log.warning('%s was not verified; call retrieve with known_hash="sha256:%s"', redact_url(place.key), sha256)


def _digest(path: str, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
