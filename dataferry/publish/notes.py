"""What a run notes for the next one: small JSON files in dataferry's folder of the cache, written at every change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from ..cache import layout as cache_home
from ..download.lease import Lease

__all__ = ["BACK", "LOOK", "Notebook", "Notes", "rates"]

#: How the folders begin into which a run fetches files back.
BACK = "back-"
#: Those into which a plan fetches what it has to compare.
LOOK = "look-"
#: The only key in the notes of what is proven.
_FILES = "files"
#: Seconds after which such a folder is nobody's.
_OVER = 86400.0


class Notes(MutableMapping[str, Any]):
    """A mapping that is kept in a file.

    Parameters
    ----------
    path : Path
        The file; one that is not there, or cannot be read, is an empty mapping.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._values: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            values = json.loads(path.read_text(encoding="utf-8"))
            self._values = values if isinstance(values, dict) else {}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        with self._lock:
            self._values[key] = value
            self._write()

    def __delitem__(self, key: str) -> None:
        with self._lock:
            del self._values[key]
            self._write()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def _write(self) -> None:
        private = self._path.with_name(f"{self._path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        text = json.dumps(self._values)
        with contextlib.suppress(OSError):  # without notes the host itself is asked what it has
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(private, self._path)
            finally:
                with contextlib.suppress(OSError):
                    private.unlink()


class Notebook:
    """The notes of one registry for one host, and the right to publish there from here.

    Parameters
    ----------
    registry : Path
        The ``dataferry.toml``.
    spec : str
        The host as it was given.
    """

    def __init__(self, registry: Path, spec: str) -> None:
        key = f"{os.path.realpath(registry)}\0{spec}"
        self.home = _home()
        self.folder = self.home / hashlib.sha256(key.encode()).hexdigest()[:16]
        self._lease = Lease(self.home, self.folder.name)
        self.host = Notes(self.folder / "host.json")
        self._proven = self.folder / "proven.json"

    def file(self, name: str, sha256: str) -> Notes:
        """The notes of one file with these bytes."""
        return Notes(self._path(name, sha256))

    def _path(self, name: str, sha256: str) -> Path:
        return self.folder / f"{hashlib.sha256(f'{name}/{sha256}'.encode()).hexdigest()[:32]}.json"

    def forget(self, name: str, sha256: str) -> None:
        """Drop the notes of one file, which is proven."""
        with contextlib.suppress(OSError):
            self._path(name, sha256).unlink()

    def forget_host(self) -> None:
        """Drop the notes of the host, where all is proven."""
        with contextlib.suppress(OSError):
            (self.folder / "host.json").unlink()
        self.close()

    @property
    def proven(self) -> dict[str, str]:
        """Name -> sha256 of what was fetched back from a host that tells no digests; it need not be fetched again."""
        told = Notes(self._proven).get(_FILES)
        return told if isinstance(told, dict) else {}

    @proven.setter
    def proven(self, files: dict[str, str]) -> None:
        if files:
            Notes(self._proven)[_FILES] = files
        else:
            with contextlib.suppress(OSError):
                self._proven.unlink()

    def close(self) -> None:
        """Leave nothing where nothing is noted."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def take(self, *, force: bool = False) -> bool:
        """Try to become the one run that publishes there; True as well where nobody can know."""
        with contextlib.suppress(OSError):
            self.home.mkdir(parents=True, exist_ok=True)
        if not self._lease.take(force=force):
            return False
        self.host = Notes(self.folder / "host.json")  # the run before may have written it
        for left in self.folder.glob(f"{BACK}*"):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        for left in self.folder.glob(f"{LOOK}*"):
            with contextlib.suppress(OSError):  # a plan holds no lease, so only time tells that it is over
                if time.time() - left.stat().st_mtime > _OVER:
                    shutil.rmtree(left, ignore_errors=True)
        return True

    def work_folders(self, paths: Iterable[Path]) -> list[Path]:
        """Where files may lie for a moment: in the cache, else beside the author's files."""
        return [self.folder, *dict.fromkeys(path.absolute().parent for path in paths)]

    def give_back(self) -> None:
        """Let other runs have it."""
        self._lease.give_back()


def _home() -> Path:
    home = cache_home.writable_home()
    return Path(home or os.path.join(tempfile.gettempdir(), f"dataferry-{os.getuid()}"), "publish")


def rates() -> Notes:
    """How fast earlier uploads were: host as declared -> bytes a second."""
    return Notes(_home() / "rates.json")
