"""The checkpoint of an upload: small JSON files in dataferry's folder of the cache, written at every change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections import UserDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cache import layout
from ..download.file_lock import FileLock
from ..files import put_atomically, read_regular
from ..portable import get_user_id
from ..registry.registry import Registry

#: How the folders begin into which a run fetches files back.
PROOF = "back-"


class Notes(UserDict[str, Any]):
    """A mapping that is kept in a file; one that is missing or cannot be read is empty."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._lock = threading.Lock()
        with contextlib.suppress(OSError, ValueError, RecursionError):  # a text of many brackets
            values = json.loads(read_regular(path))
            self.data = values if isinstance(values, dict) else {}

    def __setitem__(self, key: str, value: Any) -> None:
        with self._lock:
            self.data[key] = value
            self._write()

    def __delitem__(self, key: str) -> None:
        with self._lock:
            del self.data[key]
            self._write()

    def replace(self, values: Mapping[str, Any]) -> None:
        """Keep these values instead."""
        with self._lock:
            self.data = dict(values)
            self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # without notes the host itself is asked what it has
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # they may have the address of an upload
            put_atomically(self._path, json.dumps(self.data).encode())


class Checkpoint:
    """What one registry has uploaded to one host, and the lock of the run that publishes there."""

    def __init__(self, registry: Path, spec: str) -> None:
        key = f"{os.path.realpath(registry)}\0{spec}"
        self.home = _home()
        self.folder = self.home / hashlib.sha256(key.encode()).hexdigest()[:16]
        self._lock = FileLock(self.home, self.folder.name)
        self.host = Notes(self.folder / "host.json")
        #: Name -> sha256 of files fetched back from a host that gives no digests; they need not be fetched again.
        self.proven = Notes(self.folder / "proven.json")

    def file(self, name: str, sha256: str) -> Notes:
        """The notes of one file with these bytes."""
        return Notes(self._path(name, sha256))

    def _path(self, name: str, sha256: str) -> Path:
        return self.folder / f"{hashlib.sha256(f'{name}/{sha256}'.encode()).hexdigest()[:32]}.json"

    def forget_file(self, name: str, sha256: str) -> None:
        """Drop the notes of one file, which is proven."""
        with contextlib.suppress(OSError):
            self._path(name, sha256).unlink()

    def forget_host(self) -> None:
        """Drop the notes of the host, where everything is proven."""
        with contextlib.suppress(OSError):
            (self.folder / "host.json").unlink(missing_ok=True)
            self.folder.rmdir()

    def acquire(self, *, force: bool = False) -> bool:
        """Try to become the only run that publishes there; True as well where locks do not work."""
        with contextlib.suppress(OSError):
            self.home.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire(force=force):
            return False
        self.host = Notes(self.folder / "host.json")  # the run before may have written it
        for left in self.folder.glob(f"{PROOF}*"):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        return True

    def release(self) -> None:
        """Let other runs publish there."""
        self._lock.release()


def _home() -> Path:
    home = layout.writable_home()
    return Path(home or os.path.join(tempfile.gettempdir(), f"dataferry-{get_user_id()}"), "publish")


def rates() -> Notes:
    """How fast earlier transfers were: direction and host -> bytes a second."""
    return Notes(_home() / "rates.json")


def rates_of(place: str) -> tuple[int | None, int | None]:
    """How fast earlier uploads to a host and their proofs were; None where nobody knows."""
    known = rates()
    up, back = (known.get(f"{direction} {place}") for direction in ("up", "back"))
    return _rate(up), _rate(back)


def _rate(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 60 else None  # another user may write to a shared cache


def read_known(path: Path) -> Registry:
    """The registry as it is now, whose text file need not be there yet; an empty one if there is none."""
    return Registry(path, new_list=True) if os.path.lexists(path) else Registry.from_files("", {})
