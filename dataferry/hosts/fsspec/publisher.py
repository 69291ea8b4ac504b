"""Publishing through fsspec: to a private name first where the store can rename, and never onto other bytes."""

from __future__ import annotations

import inspect
import posixpath
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, Conflict, MissingExtra, PublishError
from ..publisher import HostedFile, Publisher, Upload
from .libraries import lacking
from .session import is_stranger

if TYPE_CHECKING:
    from ...config.settings import Settings
    from .host import FsspecHost

__all__ = ["FsspecPublisher"]

#: Protocols of file systems, where a file is visible while it grows, so that it must grow under another name.
_GROWING = frozenset({"sftp", "ssh", "ftp", "smb", "file", "local", "webdav", "hdfs", "webhdfs"})
#: Of these those that continue a file.
_APPENDING = frozenset({"sftp", "ssh", "file", "local"})
#: Stores that tell an md5 of each object.
_DIGESTS = frozenset({"abfs", "abfss", "az", "gcs", "gs"})
_BLOCK = 1 << 20


class FsspecPublisher(Publisher):
    """Takes files to a store that fsspec speaks to.

    Parameters
    ----------
    host : FsspecHost
        The host.
    settings : Settings
        The user's settings.
    about : mapping of str to object
        Not used.
    """

    host: FsspecHost

    def __init__(self, host: FsspecHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self._session = host.session(publishing=True)
        self.parallel = 4 if host.protocol in _GROWING else 16
        self.tells_digests = host.protocol in _DIGESTS

    @property
    def declared(self) -> str:
        """The ``public`` URL where one is given: readers need neither fsspec nor a login then."""
        return self.host.stated or self.host.spec

    def check_rights(self) -> str:
        """Connect and look at the folder; whether it may be written shows only when it is."""
        library, package = lacking(self.host.protocol)
        if library:
            raise MissingExtra("fsspec", f"{library} for {self.host.protocol}://", package)
        if is_stranger(self.host.protocol):
            raise self._denied(PermissionError("no login was found for this store"))
        try:
            with self._session.using() as (system, folder), suppress(FileNotFoundError):
                system.ls(folder)
        except PermissionError as error:
            raise self._denied(error) from error
        except OSError as error:
            raise PublishError(self.host.redacted, str(error)) from error
        return f"through {type(system).__name__} with its own login"

    def _denied(self, error: OSError) -> AccessDenied:
        remedy = (
            f"the login is that of fsspec's {self.host.protocol}:// (its environment variables or "
            "~/.config/fsspec/*.json); it must be able to write there"
        )
        return AccessDenied(self.host.redacted, str(error), remedy)

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What lies there under the names."""
        names = {upload.name for upload in uploads}
        try:
            return {name: hosted for name, hosted in self._session.listing().items() if name in names}
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise self._denied(error) from error
        except OSError as error:
            raise PublishError(self.host.redacted, str(error)) from error

    def upload(
        self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]
    ) -> Mapping[str, str | int]:
        """Copy it there."""
        place = f"{self.host.redacted.partition('?')[0].rstrip('/')}/{upload.name}"
        try:
            with self._session.using() as (system, folder):
                path = self._session.path(folder, upload.name)
                if system.exists(path):
                    raise Conflict(place, "somebody has put a file there meanwhile; run this again to compare it")
                _make_folder(system, posixpath.dirname(path))
                if self.host.protocol in _GROWING:
                    self._grow(system, path, upload, moved)
                else:
                    _put(system, path, upload)
                    moved(upload.size)
                size = system.info(path).get("size")
        except FileExistsError as error:
            raise Conflict(place, "somebody has put a file there meanwhile; run this again to compare it") from error
        except PermissionError as error:
            raise self._denied(error) from error
        except OSError as error:
            raise PublishError(place, str(error), "run this again: it goes on from there") from error
        if size not in {None, upload.size}:
            raise PublishError(place, f"{size} bytes are there instead of {upload.size}")
        return {}

    def _grow(self, system: Any, path: str, upload: Upload, moved: Callable[[int], None]) -> None:
        # the private name holds the hash, so that what is there of it belongs to these bytes
        folder, base = posixpath.split(path)
        private = f"{folder}/.dataferry-{upload.sha256[:16]}-{base}"[: 250 + len(folder)]
        there = 0
        if self.host.protocol in _APPENDING:
            with suppress(FileNotFoundError):
                there = int(system.info(private)["size"])
        if there > upload.size:
            there = 0
        moved(there)
        with open(upload.path, "rb") as source, system.open(private, "ab" if there else "wb") as target:
            source.seek(there)
            while block := source.read(_BLOCK):
                target.write(block)
                moved(len(block))
        if system.exists(path):
            raise FileExistsError(path)
        system.mv(private, path)


def _make_folder(system: Any, path: str) -> None:
    """Make a folder and those above it, also while other uploads make the same."""
    for left in reversed(range(path.count("/") + 1)):
        try:
            system.makedirs(path, exist_ok=True)
            return
        except PermissionError:
            raise
        except OSError:  # SFTP has no word for a folder that somebody else has made just now
            if not left and not system.isdir(path):
                raise


def _put(system: Any, path: str, upload: Upload) -> None:
    """One object by one request or one commit: it is not there before it is whole."""
    create = {"mode": "create"} if "mode" in inspect.signature(system.put_file).parameters else {}
    system.put_file(str(upload.path), path, **create)
