"""Stamps on disk: which files were verified, so that the next process need not hash them again.

A ledger is a text file to which lines are appended: 2,000 stamps are one write, and none is lost to another process.
A line counts only with its checksum, so one that was cut by a full disk or a power cut is no line. A ledger most of
whose lines are of the past is written again; what another process appends meanwhile may be lost, and is hashed again.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from binascii import crc32
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..files import Stamp, put_atomically, sync_files
from ..portable import REGULAR, read_at

#: A file changed less than this before it was hashed may change again without its mtime showing it.
_SETTLED_NS = 2_000_000_000
#: The times of a file system stand still for so long: what changes a file twice within it cannot be seen.
_TICK_NS = 20_000_000
#: What lies in the place of a ledger and is none is set aside under this.
ODD = ".odd-"
#: Bytes of a ledger that are no trouble, whatever is in them.
_SHORT = 1 << 20


class _Table(NamedTuple):
    inode: int
    size: int
    lines: dict[bytes, bytes]


_EMPTY = _Table(0, 0, {})


class Stamps:
    """The stamps in one folder, in 16 ledgers, so that one file needs only a part of them read."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._tables: dict[str, _Table] = {}

    def read(self, key: str) -> Stamp | None:
        """The stamp of a key, or None where there is none or it cannot be read."""
        return _parse(self._table(self._ledger(key)).lines.get(os.fsencode(key), b""))

    def holds(self, key: str, now: os.stat_result, sha256: str) -> bool:
        """Whether a file was verified; what is known of it already is not read again from the disk."""
        known = self._tables.get(self._ledger(key), _EMPTY)
        stamp = _parse(known.lines.get(os.fsencode(key), b""))
        if stamp is None or not stamp.holds(now):
            stamp = self.read(key)
        return stamp is not None and stamp.sha256 == sha256 and stamp.holds(now)

    def keep(self, stamps: Mapping[str, Stamp]) -> bool:
        """Append stamps of files whose bytes are on the disk; whether that was possible."""
        return self._append({key: _line(key, stamp) for key, stamp in stamps.items()})

    def forget(self, keys: Iterable[str]) -> None:
        """Let no stamp of these keys count."""
        self._append({key: _line(key, None) for key in keys if self.read(key) is not None})

    def _ledger(self, key: str) -> str:
        return f"{self.root}/{crc32(os.fsencode(key)) & 15:x}"

    def _table(self, ledger: str) -> _Table:
        """All lines of a ledger, the last one of each key; only what was appended since is read."""
        known = self._tables.get(ledger, _EMPTY)
        try:
            # a FIFO in its place would let the reader hang
            handle = os.open(ledger, os.O_RDONLY | REGULAR)
        except OSError:
            return _EMPTY
        try:
            now = os.fstat(handle)
            if known.inode != now.st_ino or known.size > now.st_size:
                known = _EMPTY
            if known.size == now.st_size or not stat.S_ISREG(now.st_mode):
                return known
            data = read_at(handle, now.st_size - known.size, known.size)
        except OSError:
            return _EMPTY
        finally:
            os.close(handle)
        lines = dict(known.lines)
        end = data.rfind(b"\n") + 1
        for line in data[:end].split(b"\n"):
            key = line.split(b" ", 6)[-1]
            if key:
                lines[key] = line
        self._tables[ledger] = table = _Table(now.st_ino, known.size + end, lines)
        return table

    def _append(self, lines: Mapping[str, bytes]) -> bool:
        batches: dict[str, list[bytes]] = {}
        for key, line in lines.items():
            if "\n" not in key:
                batches.setdefault(self._ledger(key), []).append(line)
        try:
            for ledger, batch in batches.items():
                # a line that was cut before this one has no end
                if self._write(ledger, b"\n" + b"".join(batch)) > _SHORT:
                    self._compact(ledger)
        except OSError:
            return False
        return True

    def _compact(self, ledger: str) -> None:
        """Write a ledger again if less than half of it counts."""
        table = self._table(ledger)
        if table.size > 2 * sum(map(len, table.lines.values())):
            lines = [line for line in table.lines.values() if _parse(line) is not None]
            with contextlib.suppress(OSError):  # a full disk, or a folder in which others may only append
                put_atomically(ledger, b"\n".join([*lines, b""]), like=os.stat(ledger))

    def _write(self, ledger: str, data: bytes) -> int:
        """Append to a ledger; the bytes that it has now."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | REGULAR
        try:
            handle = os.open(ledger, flags, 0o666)
        except OSError as error:
            os.makedirs(self.root, exist_ok=True)
            if os.path.lexists(ledger) and not os.path.isfile(ledger):  # a directory or a FIFO: it is set aside
                os.rename(ledger, f"{ledger}{ODD}{os.urandom(4).hex()}")
            elif not isinstance(error, FileNotFoundError):
                raise
            handle = os.open(ledger, flags, 0o666)
        try:
            os.write(handle, data)
            return os.fstat(handle).st_size
        finally:
            os.close(handle)


def _line(key: str, stamp: Stamp | None) -> bytes:
    values = "0 0 0 0 -" if stamp is None else " ".join(map(str, stamp[:5]))
    body = values.encode() + b" " + os.fsencode(key)
    return b"%08x %s\n" % (crc32(body), body)


def _parse(line: bytes) -> Stamp | None:
    check, _, body = line.partition(b" ")
    try:
        if int(check, 16) != crc32(body):
            return None
        size, mtime_ns, ctime_ns, inode, sha256, _ = body.split(b" ", 5)
        return None if sha256 == b"-" else Stamp(int(size), int(mtime_ns), int(ctime_ns), int(inode), sha256.decode())
    except ValueError:
        return None


def stamp_files(stamps: Stamps, files: Mapping[str, tuple[str, Stamp]], *, settled: bool = False) -> bool:
    """Flush files that were just verified and keep their stamps, key -> (path, stamp); whether that was possible.

    ``settled`` is True where nobody but dataferry writes the files. Elsewhere one that changed within the last two
    seconds gets no stamp: it could change again within the resolution of its times.
    """
    now = time.time_ns()
    if not settled:
        files = {key: (path, stamp) for key, (path, stamp) in files.items() if now - stamp.mtime_ns >= _SETTLED_NS}
        if any(0 <= now - stamp.ctime_ns < _TICK_NS for _, stamp in files.values()):
            time.sleep(_TICK_NS / 1e9)
    durable = sync_files(path for path, _ in files.values())
    kept = {}
    for key, (path, stamp) in files.items():
        with contextlib.suppress(OSError):
            if path in durable and stamp.holds(os.stat(path)):
                kept[key] = stamp
    return stamps.keep(kept) if kept else False
