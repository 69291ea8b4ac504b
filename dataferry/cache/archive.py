"""Unpack an archive into a folder: bounded, verified member by member, and visible only when it is whole."""

from __future__ import annotations

import bz2
import contextlib
import fnmatch
import gzip
import json
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from ..errors import ArchiveError, CacheError, MissingExtra
from ..files import read_regular, sync_files
from ..portable import too_long
from ..registry.names import LONGEST_PART, close_names

_BLOCK = 1 << 20
#: Seconds to wait for another process that unpacks the same archive.
_LOCK_TIMEOUT = 600.0
#: The end of the name of a folder that is not whole yet.
UNPACKING = ".unpacking"
#: In the folder of an archive: what was unpacked, and the folder of the members, which has nothing else in it.
_STAMP, _MEMBERS = "stamp.json", "members"
_TAR_NAME = re.compile(r"\.(tar\.\w+|t[bgxz]\w+)$", re.IGNORECASE).search
#: What zipfile, tarfile and the libraries below them raise for a damaged archive.
BROKEN = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may unpack to. A DEFLATE stream grows by at most 1:1032, and data sets by far less."""

    total_bytes: int | None = None
    ratio: int = 200
    least_bytes: int = 1 << 28
    members: int = 1_000_000

    def bytes_for(self, packed: int) -> int:
        """The most bytes that an archive of `packed` bytes may unpack to."""
        return self.total_bytes if self.total_bytes is not None else max(self.least_bytes, self.ratio * packed)


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int | None  # a single compressed file does not know it
    is_folder: bool
    open: Callable[[], Any]


def unpack(
    archive: str, folder: str, *, members: Sequence[str] | None = None, sha256: str = "", limits: Limits = Limits()
) -> str:
    """Unpack an archive below a folder that becomes visible by one rename, and give the folder of its members.

    A folder that an earlier call made of the same archive and members is used again. Processes wait for each other, so
    that one of them does the work; where locks do not work each does it, and one result stays.
    """
    stamp = {"archive": sha256 or _identity(archive), "members": members and list(members)}
    if _stamp_of(folder) == stamp:
        return os.path.join(folder, _MEMBERS)
    from filelock import FileLock, Timeout

    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        lock = FileLock(f"{folder}.lock", timeout=_LOCK_TIMEOUT)
        with contextlib.suppress(Timeout, OSError, NotImplementedError):
            lock.acquire()
        try:
            if _stamp_of(folder) != stamp:
                _unpack(archive, folder, stamp, members, limits, bool(sha256))
        finally:
            lock.release()
    except OSError as error:
        space = f"{error.strerror or error}; an unpacked archive needs more space"
        raise CacheError(f"{folder}: {too_long(str(error.filename or '')) or space}") from error
    return os.path.join(folder, _MEMBERS)


def _unpack(
    archive: str, folder: str, stamp: dict[str, Any], members: Sequence[str] | None, limits: Limits, verified: bool
) -> None:
    private = f"{folder}.{os.getpid()}.{os.urandom(4).hex()}{UNPACKING}"
    inside = os.path.join(private, _MEMBERS)
    os.makedirs(inside)
    try:
        try:
            _extract(archive, inside, members, limits, verified)
        except ArchiveError:
            raise
        except MemoryError as error:  # lzma takes as much as the header of a stream asks for
            remedy = "get the file again, or unpack it on a machine with more"
            raise ArchiveError(archive, "asks for more memory than there is", remedy) from error
        except BROKEN as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            remedy = "get the file again, or ask its author"
            raise ArchiveError(archive, f"is damaged or incomplete: {error}", remedy) from error
        with open(os.path.join(private, _STAMP), "w", encoding="utf-8") as file:
            json.dump(stamp, file)
        sync_files(path for path, folders, files in os.walk(private) for path in [os.path.join(path, f) for f in files])
        _publish(private, folder, stamp)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _publish(private: str, folder: str, stamp: dict[str, Any]) -> None:
    while True:
        try:
            os.rename(private, folder)
        except OSError:
            if _stamp_of(folder) == stamp:  # another process was first, with the same bytes
                return
            if not os.path.lexists(folder):
                raise
            old = f"{private}.old"
            os.rename(folder, old)
            shutil.rmtree(old, ignore_errors=True)
        else:
            return


def _extract(archive: str, private: str, wanted: Sequence[str] | None, limits: Limits, verified: bool) -> None:
    allowed = limits.bytes_for(os.path.getsize(archive))
    names: list[str] = []
    seen: set[str] = set()
    done: set[str] = set()
    with _opened(archive, limits, verified) as members:
        for number, member in enumerate(members):
            if number >= limits.members:
                raise _too_many(archive, limits)
            name = _checked(archive, member.name)
            if _folded(name) in seen and not member.is_folder:
                raise ArchiveError(archive, f"has two members called {name!r} where a file system folds case")
            seen.add(_folded(name))
            if member.is_folder:
                if wanted is None and name:
                    os.makedirs(os.path.join(private, name), exist_ok=True)
                continue
            names.append(name)
            matched = [pattern for pattern in wanted or () if _matches(name, pattern)]
            if wanted is not None and not matched:
                continue
            done.update(matched)
            allowed = _copy(archive, member, os.path.join(private, name), allowed)
    missing = [w for w in wanted or () if w not in done]
    if missing:
        close = close_names(missing[0], names)
        hint = f"; it has {' and '.join(map(repr, close))}" if close else ""
        raise ArchiveError(archive, f"has no member {missing[0]!r}{hint}")


def _folded(name: str) -> str:
    """What names have in common that are one on some disks: APFS also folds composed and decomposed letters."""
    return unicodedata.normalize("NFC", name).casefold()


def _matches(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(f"{wanted.rstrip('/')}/") or fnmatch.fnmatchcase(name, wanted)


def _copy(archive: str, member: _Member, path: str, allowed: int) -> int:
    if member.size is not None and member.size > allowed:
        raise _bomb(archive)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        target = open(path, "xb")  # noqa: SIM115
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise ArchiveError(archive, f"has a file and a folder called {member.name!r}") from error
    with target, member.open() as source:
        while block := source.read(_BLOCK):
            allowed -= len(block)
            if allowed < 0:
                raise _bomb(archive)
            target.write(block)
    return allowed


def _bomb(archive: str) -> ArchiveError:
    return ArchiveError(
        archive,
        "unpacks to far more bytes than its size suggests, as a decompression bomb does",
        "if you trust it, call unpack with max_bytes=",
    )


def _checked(archive: str, name: str) -> str:
    """A member's name, relative and without `..`; also as Windows reads it."""
    plain = name.replace("\\", "/")
    parts = plain.rstrip("/").split("/")
    while parts and parts[0] == ".":  # tar -c . begins names with ./
        del parts[0]
    if plain.startswith("/") or ":" in (parts[0] if parts else "")[1:2]:
        raise ArchiveError(archive, f"has an absolute name, {name!r}")
    if ".." in parts:
        raise ArchiveError(archive, f"has a name that leads out of its folder, {name!r}")
    unprintable = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in plain)
    if any(part in {"", "."} or len(os.fsencode(part)) > LONGEST_PART for part in parts) or unprintable:
        raise ArchiveError(archive, f"has a name that no file can have, {name!r}")
    return "/".join(parts)


@contextlib.contextmanager
def _opened(archive: str, limits: Limits, verified: bool) -> Iterator[Iterator[_Member]]:
    """The members of an archive, whatever its kind; its first bytes tell, not its name."""
    with open(archive, "rb") as file:
        head = file.read(8)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        if _zip_directory_bytes(archive) > 256 * limits.members:  # zipfile reads all of it into memory
            raise _too_many(archive, limits)
        with zipfile.ZipFile(archive) as packed:
            yield _zip_members(archive, packed)
        return
    opener = _decompressor(archive, head)
    with opener(archive) if opener else open(archive, "rb") as stream:
        try:
            bounded: Any = _Bounded(archive, stream, limits)
            # a stream: each member once, in its order
            tar = tarfile.open(fileobj=bounded, mode="r|")  # noqa: SIM115
            if tar.next() is None and opener and not _TAR_NAME(archive):
                raise tarfile.ReadError("an empty tar is zeros, and so may be the beginning of raw numbers")
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError):
            if opener is None:
                raise ArchiveError(archive, "is no zip, tar, gz, bz2, xz or zst file") from None
            name = os.path.splitext(os.path.basename(archive))[0]
            members = iter([_Member(name, None, False, partial(opener, archive))])
        else:
            members = _tar_members(archive, tar, bounded, verified)
        yield members


def _too_many(archive: str, limits: Limits) -> ArchiveError:
    return ArchiveError(archive, f"has more than {limits.members} members")


class _Bounded:
    """A stream that ends with an error behind the limit: tarfile reads a PAX header of any size into memory.

    It keeps what was read last: tarfile takes whatever is no header for the end.
    """

    def __init__(self, archive: str, stream: IO[bytes], limits: Limits) -> None:
        self._archive, self._stream = archive, stream
        self._left = limits.bytes_for(os.path.getsize(archive)) + (1 << 20) + 1536 * 1024  # headers and padding
        self._start, self._last = 0, b""

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise _bomb(self._archive)
        if block:
            self._start, self._last = self._start + len(self._last), block
        return block

    def block_at(self, offset: int) -> bytes:
        """A block of the tar, of those that were read last; shorter where the stream ends."""
        return self._last[offset - self._start :][: tarfile.BLOCKSIZE]


def _zip_directory_bytes(archive: str) -> int:
    """The size of a zip's central directory, as its end record says (APPNOTE.TXT 4.3.14 and 4.3.16)."""
    with open(archive, "rb") as file:
        file.seek(max(0, os.path.getsize(archive) - 66_000))
        tail = file.read()
    wide = tail.rfind(b"PK\x06\x06")
    if wide >= 0:
        return int.from_bytes(tail[wide + 40 : wide + 48], "little")
    end = tail.rfind(b"PK\x05\x06")
    return int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0  # zipfile says what is missing


def _zip_members(archive: str, file: zipfile.ZipFile) -> Iterator[_Member]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind and not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise ArchiveError(archive, f"has a link or a special file, {info.filename!r}")
        if info.flag_bits & 1:
            raise ArchiveError(archive, "is encrypted", "unpack it yourself: dataferry cannot enter a password")
        yield _Member(info.filename, info.file_size, info.filename.endswith("/"), partial(file.open, info))


def _tar_members(archive: str, file: tarfile.TarFile, stream: _Bounded, verified: bool) -> Iterator[_Member]:
    for info in file:
        if not info.isreg() and not info.isdir():
            raise ArchiveError(archive, f"has a link or a special file, {info.name!r}")
        yield _Member(info.name, info.size, info.isdir(), partial(file.extractfile, info))
    # POSIX ends a tar with blocks of zeros. GNU tar reads one without, which may as well be cut between two members.
    end = stream.block_at(file.offset)
    if end != bytes(tarfile.BLOCKSIZE) and (end or not verified):
        raise tarfile.ReadError("the end of the archive is missing")
    while stream.read(_BLOCK):  # the check sum of gzip is behind the end of the tar
        pass


def _decompressor(archive: str, head: bytes) -> Callable[[str], Any] | None:
    for magic, opener in ((b"\x1f\x8b", gzip.GzipFile), (b"BZh", bz2.BZ2File), (b"\xfd7zXZ\x00", lzma.LZMAFile)):
        if head.startswith(magic):
            return opener
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        try:
            from compression import zstd  # Python 3.14
        except ImportError:
            try:
                from backports import zstd
            except ImportError:
                raise MissingExtra("zstd", "backports.zstd") from None
        return zstd.ZstdFile  # type: ignore[no-any-return]
    return None


def _stamp_of(folder: str) -> Any:
    try:
        return json.loads(read_regular(os.path.join(folder, _STAMP)))
    except (OSError, ValueError, RecursionError):  # a text of many brackets
        return None


def _identity(archive: str) -> str:
    info = os.stat(archive)
    return f"{info.st_size} {info.st_mtime_ns} {info.st_ino}"
