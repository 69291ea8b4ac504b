"""The plain wrapper: predefined folders first, then `astropy.utils.data.get_pkg_data_filename`."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from . import log
from .cache.astropy_cache import drop_entry, entry_path
from .cache.layout import astropy_cache, url_key
from .config.folders import folder_list, folder_problem, make_folder
from .config.settings import load_settings
from .errors import BadName, Failure, FileUnavailable, Offline, Reason, RegistryError
from .portable import after_fork
from .registry.names import check_name, check_url, redact_url
from .registry.packages import package_folders, path_in, refuse_archived, scattered_data


def get_data_filename(
    name: str,
    *,
    package: str,
    dataurl: str,
    timeout: float | None = None,
    folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    mirror: str | None = None,
    show_progress: bool = True,
) -> str:
    """Get a data file from a predefined folder, the package, astropy's cache or a web server.

    This is `astropy.utils.data.get_pkg_data_filename` under ``conf.set_temp`` for ``dataurl``, ``dataurl_mirror`` and
    ``remote_timeout``, with folders in front. You declare nothing, and nothing is verified.

    Parameters
    ----------
    name : str
        The file's name, ``maps/dust_064.fits``: below each folder, below the package's ``data`` folder (or the package
        itself) and after ``dataurl``.
    package : str
        The package that the data belongs to.
    dataurl : str
        The base URL, with a slash at its end.
    timeout : float, optional
        Give up on the server after this many seconds without an answer; astropy's ``remote_timeout`` by default.
    folders : path-like or iterable of path-like
        Predefined folders, the nearest first; ``~``, ``$VAR`` and ``${VAR}`` are expanded. Missing ones are skipped.
    mirror : str, optional
        A second base URL. astropy's own data server is never asked.
    show_progress : bool
        Whether astropy shows a progress bar.

    Returns
    -------
    str
        The path. A cached file is called ``contents``, as astropy calls it.

    Raises
    ------
    BadName
        If ``name``, ``dataurl`` or ``mirror`` is not allowed.
    RegistryError
        If there is no such package, or it has the file inside an archive.
    FileUnavailable
        If the file is not available; the error lists every place with its reason.
    Offline
        If only the network has the file, and it is switched off.

    Notes
    -----
    astropy's settings belong to the whole process. One call of this function runs at a time, so two of them never mix,
    but another thread that uses `astropy.utils.data` sees the settings of the running call. `PackageData` changes no
    settings.

    Every call logs at level ``INFO`` of the logger ``dataferry`` which place answered.
    """
    check_name(name)
    check_url(dataurl)
    if mirror is not None:
        check_url(mirror, "mirror")
    tried: list[Failure] = []
    for written in folder_list(folders):
        folder = make_folder(written, "folders")
        problem = folder.problem or folder_problem(folder.path, 3.0)
        path = os.path.join(folder.path, name)
        if not problem and os.path.isfile(path):
            log.info("%s: found in the folder %s", name, folder.path)
            return path
        tried.append(Failure(f"folder {folder.path}", problem or "not there", "error" if problem else "absent"))
    bundled = [os.path.join(folder, "data") for folder in package_folders(package)]
    for path in [*(os.path.join(data, name) for data in bundled), path_in(scattered_data(package), name)]:
        if os.path.isfile(path):
            log.info("%s: bundled with %s", name, package)
            return path
    tried += [Failure(f"package {data}", "not there", "absent") for data in bundled]
    refuse_archived(package, name)
    return _ask_astropy(
        name,
        package,
        dataurl,
        dataurl if mirror is None else mirror,
        timeout,
        show_progress,
        tried,
    )


def _ask_astropy(
    name: str,
    package: str,
    dataurl: str,
    mirror: str,
    timeout: float | None,
    progress: bool,
    tried: list[Failure],
) -> str:
    from http.client import HTTPException

    from astropy.utils import data

    if name.startswith("hash/"):
        raise BadName(f"{name!r}: astropy uses names that start with 'hash/' for its own files; rename it")
    url = dataurl + name
    offline = load_settings().offline or ("" if data.conf.allow_internet else "astropy's allow_internet is False")
    if not url.isascii() or " " in url:
        raise BadName(
            f"astropy cannot ask for {name!r}: it quotes neither spaces nor other characters; register the file"
        )
    with _one_at_a_time.lock:
        cached = _is_cached(url)
        if not cached and offline:
            tried.append(Failure(redact_url(url), f"not asked: {offline}", Reason.OFFLINE))
            remedy = "get it once where there is a network, or name a folder that has it"
            raise Offline(name, tried, remedy)
        if not cached:
            log.warning("%s: nothing is registered for it, so nothing is verified", name)
        wait = data.conf.remote_timeout if timeout is None else timeout
        try:
            with _one_at_a_time.settings(dataurl=dataurl, dataurl_mirror=mirror, remote_timeout=wait):
                path = str(data.get_pkg_data_filename(name, package=package, show_progress=progress))
        except (OSError, HTTPException, ValueError) as error:
            _close_answers(error)
            tried += [Failure(redact_url(base + name), _reason(error)) for base in dict.fromkeys((dataurl, mirror))]
            remedy = "check the name and that the server is up, or name a folder"
            raise FileUnavailable(name, tried, remedy) from error
        except (ImportError, TypeError, RuntimeError) as error:
            raise RegistryError(f"astropy cannot use package {package!r}: {error}") from error
        if not cached and (wrong := _not_the_file(path, name)):
            drop_entry(path)
            tried.append(Failure(redact_url(url), wrong[1], wrong[0]))
            raise FileUnavailable(name, tried, "check the name and the URL, or name a folder")
    found = "found in astropy's cache" if cached else f"fetched from {redact_url(dataurl)}"
    log.info("%s: %s", name, found)
    return path


def _is_cached(url: str) -> bool:
    cache = astropy_cache()
    return cache is not None and os.path.isfile(entry_path(cache, url_key(url)))


def _not_the_file(path: str, name: str) -> tuple[Reason, str] | None:
    """What came in place of the file, as far as its first bytes show: a login page, a git-lfs pointer, nothing."""
    from .download.response import describe_body

    with open(path, "rb") as file:
        head = file.read(1024)
    return describe_body(head, None, name) if head else (Reason.EMPTY, "the server sent an empty body")


class _OneAtATime:
    """astropy's settings are of the whole process, so one call at a time changes them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._before: dict[str, Any] = {}

    @contextlib.contextmanager
    def settings(self, **values: Any) -> Iterator[None]:
        """Change settings of astropy for a while."""
        from astropy.utils.data import conf

        with contextlib.ExitStack() as stack:
            self._before = {name: getattr(conf, name) for name in values}
            for name, value in values.items():
                stack.enter_context(conf.set_temp(name, value))
            yield
        self._before = {}

    def after_fork(self) -> None:
        """A child has neither the thread that has the lock nor its changes."""
        self.lock = threading.Lock()
        if self._before:
            from astropy.utils.data import conf

            for name, value in self._before.items():
                setattr(conf, name, value)
            self._before = {}


_one_at_a_time = _OneAtATime()
after_fork(_one_at_a_time.after_fork)


def _close_answers(error: BaseException | None) -> None:
    """Close the answers that astropy's error holds: urllib leaves their sockets open."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        for answer in (error, getattr(error, "reason", None)):
            if callable(close := getattr(answer, "close", None)):
                close()
        error = error.__cause__ or error.__context__


def _reason(error: Exception) -> str:
    """What astropy's error says, without the URL, which may hold credentials."""
    reason = getattr(error, "reason", None) or error
    inner = (
        reason.__cause__
        if isinstance(reason, BaseException) and reason.__cause__ is not None
        else error.__cause__ or reason
    )
    text = str(getattr(inner, "reason", None) or inner) or type(inner).__name__
    return text.splitlines()[0] if "://" not in text else type(inner).__name__
