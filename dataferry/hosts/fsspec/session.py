"""One connection to a store through fsspec: made once, made again after it broke, its errors in one form."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ...config.settings import load_settings
from ...errors import DataferryError, MissingExtra
from ..publisher import HostedFile
from .beside_login import leading_elsewhere
from .known_hosts import sftp_to_known_hosts
from .libraries import LIBRARY

if TYPE_CHECKING:
    from .host import FsspecHost

__all__ = ["Session", "is_stranger"]

_BLOCK = 4 << 20
_AZURE = frozenset({"abfs", "abfss", "az"})


class Session:
    """File systems of fsspec and the folder in them. Threads may share it.

    Parameters
    ----------
    host : FsspecHost
        Whose it is.
    publishing : bool
        Whether the user named the store, with all that its options say. A package may name any.
    """

    def __init__(self, host: FsspecHost, *, publishing: bool = False) -> None:
        self._host = host
        self._publishing = publishing
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, str]] = []

    @contextmanager
    def using(self) -> Iterator[tuple[Any, str]]:
        """A file system and the folder in it, for this thread alone unless it can be shared.

        What goes wrong inside is an `OSError`, and the connection is not used again.
        """
        made = self._take()
        try:
            yield made
        except (FileNotFoundError, FileExistsError, DataferryError):
            self._give_back(made)
            raise
        except Exception as error:
            raise _as_os_error(error) from error
        else:
            self._give_back(made)

    def _take(self) -> tuple[Any, str]:
        with self._lock:
            made = self._idle.pop() if self._idle else None
            if made is not None and made[0].async_impl:
                self._idle.append(made)  # it is made for many at once
        if made is None:
            made = self._connect()
            if made[0].async_impl:
                self._give_back(made)
        made[0].invalidate_cache()  # listings that fsspec keeps go stale
        return made

    def _give_back(self, made: tuple[Any, str]) -> None:
        with self._lock:
            if made not in self._idle:
                self._idle.append(made)

    def _connect(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise MissingExtra("fsspec", "fsspec") from None
        host = self._host
        if not self._publishing and (option := leading_elsewhere(host.protocol, host.options)):
            raise PermissionError(_not_for_a_package(host, option))
        connect = sftp_to_known_hosts if host.protocol in {"sftp", "ssh"} else url_to_fs
        try:
            # fsspec would keep an instance for every thread, and a broken one for ever
            system, folder = connect(host.url, skip_instance_cache=True, **host.options, **self._login())
        except ImportError as error:
            name, package = LIBRARY.get(host.protocol, (error.name or host.protocol, error.name or ""))
            raise MissingExtra("fsspec", f"{name} for {host.protocol}://", package) from None
        except ValueError as error:
            raise OSError(f"fsspec does not take {host.redacted}: {error}") from error
        except Exception as error:
            raise _as_os_error(error) from error
        return system, str(folder).rstrip("/")

    def _login(self) -> dict[str, Any]:
        """For protocols with a login of their own: that of the settings."""
        if is_stranger(self._host.protocol):
            return {"anon": True} if self._host.protocol in _AZURE else {"token": "anon"}
        if self._host.protocol not in {"sftp", "ssh", "ftp", "smb"}:
            return {}
        from urllib.parse import urlsplit

        parts = urlsplit(self._host.url)
        said = load_settings().hosts
        mine: Mapping[str, Any] = said.get(parts.netloc.rpartition("@")[2]) or said.get(parts.hostname or "") or {}
        login = {key: mine[key] for key in ("password",) if mine.get(key)}
        if mine.get("user") and parts.username is None:
            login["username"] = mine["user"]
        return login

    def path(self, folder: str, name: str) -> str:
        """The path of a name below the folder."""
        return f"{folder}/{name}"

    def open(self, name: str, start: int) -> BinaryIO:
        """Open a file for reading from an offset; its connection is its own until it is closed."""
        ends = ExitStack()
        try:
            system, folder = ends.enter_context(self.using())
            file = ends.enter_context(system.open(self.path(folder, name), "rb", block_size=_BLOCK))
            if start:
                file.seek(start)
        except BaseException as error:
            if not ends.__exit__(type(error), error, error.__traceback__):
                raise
        return cast("BinaryIO", _Stream(file, ends))

    def listing(self) -> dict[str, HostedFile]:
        """All files below the folder."""
        with self.using() as (system, folder):
            found = system.find(folder, detail=True)
        return {
            path[len(folder) + 1 :]: HostedFile(info.get("size"), None, _md5(info))
            for path, info in found.items()
            if path.startswith(folder + "/") and not os.path.basename(path).startswith(".dataferry-")
        }


class _Stream:
    """An open file and what ends with it."""

    def __init__(self, file: Any, ends: ExitStack) -> None:
        self.read = file.read
        self.close = ends.close


def is_stranger(protocol: str) -> bool:
    """Whether there surely is no login for a store in the cloud.

    Its library would ask the machine's metadata service for one, for minutes where there is none.

    Parameters
    ----------
    protocol : str
        The protocol.

    Returns
    -------
    bool
        False where a variable or a folder of the provider's tool may hold one.
    """
    if protocol in _AZURE:
        variables, folder = "AZURE_", "~/.azure"
    elif protocol in {"gs", "gcs"}:
        variables, folder = "GOOGLE_", "~/.config/gcloud"
    else:
        return False
    return not (any(name.startswith(variables) for name in os.environ) or os.path.isdir(os.path.expanduser(folder)))


def _not_for_a_package(host: FsspecHost, option: str) -> str:
    return (
        f"{option} in its declaration could lead a login to another server, so nobody is asked; who knows the server "
        f'writes it into ~/.config/fsspec/conf.json, {{"{host.protocol}": {{"{option}": "..."}}}}, and the author '
        "leaves it out, or gives a public= URL"
    )


def _md5(info: Mapping[str, Any]) -> str | None:
    told = info.get("md5Hash") or (info.get("content_settings") or {}).get("content_md5")
    if isinstance(told, str):
        told = base64.b64decode(told)
    return bytes(told).hex() if told else None


def _as_os_error(error: BaseException) -> OSError:
    if isinstance(error, OSError):
        return error
    kind: Callable[[str], OSError] = OSError
    if getattr(error, "status_code", None) in {401, 403} or any(
        word in type(error).__name__ for word in ("Auth", "Permission", "Credential", "Forbidden")
    ):
        kind = PermissionError
    text = str(error).strip().partition("\n")[0]
    return kind(f"{type(error).__name__}: {text}" if text else type(error).__name__)
