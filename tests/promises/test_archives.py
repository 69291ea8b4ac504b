"""`PackageData.unpack`, `folder` and `copy`: archives and folders of files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from dataferry import PackageData
from dataferry.errors import ArchiveError, CacheError, MissingExtra, UnknownFile
from dataferry.testing import RangeServer

FILES = {"a/one.fits": b"1" * 5000, "two.txt": b"2" * 10}


def zipped(files=FILES, mode=0) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                info = zipfile.ZipInfo(name)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, mode << 16
                archive.writestr(info, data)
        return file.getvalue()


def tarred(files=FILES, mode="w", **facts) -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                for key, value in facts.items():
                    setattr(info, key, value)
                archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
        return file.getvalue()


@pytest.fixture
def made(make_package):
    """Make a package of archives that are bundled with it."""

    def make(**files: bytes) -> PackageData:
        return PackageData(make_package(bundled={name.replace("__", "."): data for name, data in files.items()}))

    return make


def tree(folder: str) -> dict[str, bytes]:
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_every_kind(made, mode):
    data = made(x__bin=zipped() if mode == "zip" else tarred(mode=mode))
    folder = data.unpack("x.bin")
    assert tree(folder) == FILES
    assert data.unpack("x.bin") == folder
    assert tree(data.unpack("x.bin", "a")) == {"a/one.fits": FILES["a/one.fits"]}
    assert tree(data.unpack("x.bin", ["*.txt"])) == {"two.txt": FILES["two.txt"]}
    with pytest.raises(ArchiveError, match="no member 'two.text'.*'two.txt'"):
        data.unpack("x.bin", "two.text")


TAR = tarred()
BOTH = len(TAR.rstrip(b"\0")) // 512 * 512 + 512  # where the last member ends
DAMAGED = {
    "in a member": TAR[:2000],
    "in a header": TAR[: 512 + 5120 + 200],
    "no header": TAR[: 512 + 5120] + b"garbage " * 256,
    "before the check sum": gzip.compress(TAR)[:-8],
    "a wrong check sum": gzip.compress(TAR)[:-8] + b"12345678",
    "xz": tarred(mode="w:xz")[:-12],
}


@pytest.mark.parametrize("archive", DAMAGED.values(), ids=DAMAGED)
def test_a_tar_that_is_cut_or_damaged(made, archive):
    data = made(x__tar=archive)
    for _ in range(2):
        with pytest.raises(ArchiveError, match="is damaged or incomplete"):
            data.unpack("x.tar")


@pytest.mark.parametrize("archive", [TAR[: 512 + 5120], gzip.compress(TAR[: 512 + 5120])], ids=["tar", "gz"])
def test_a_tar_that_is_cut_between_members(make_package, archive):
    """GNU tar reads it, so it is right where these are the registered bytes, and else may be half of an answer."""
    assert tree(PackageData(make_package(bundled={"x.tar": archive})).unpack("x.tar")) == {"a/one.fits": b"1" * 5000}
    package = make_package(bundled={"x.tar": archive}, register_bundled=False)
    with pytest.raises(ArchiveError, match="the end of the archive is missing"):
        PackageData(package).unpack("x.tar")


@pytest.mark.parametrize("end", [0, 512, 1024, 10240, 30720])
def test_ends_of_tars(made, end):
    assert tree(made(x__tar=TAR[:BOTH] + bytes(end)).unpack("x.tar")) == FILES


@pytest.mark.parametrize("content", [FILES["a/one.fits"], bytes(1000) + b"1" * 5000], ids=["text", "zeros first"])
@pytest.mark.parametrize("library", [gzip, bz2, lzma])
def test_a_single_packed_file(made, library, content):
    data = made(map__fits__gz=library.compress(content))
    assert tree(data.unpack("map.fits.gz")) == {"map.fits": content}


def test_folders_of_an_archive(made, tmp_path):
    """`tar -c .` begins all names with "./"; a folder without a file is made as well."""
    (tmp_path / "set/empty").mkdir(parents=True)
    (tmp_path / "set/two.txt").write_bytes(FILES["two.txt"])
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "set", ".")
    data = made(x__tar=(tmp_path / "x.tar").read_bytes(), y__zip=zipped({"empty/": b"", "two.txt": FILES["two.txt"]}))
    for name in ("x.tar", "y.zip"):
        assert sorted(os.listdir(data.unpack(name))) == ["empty", "two.txt"]
        assert os.listdir(data.unpack(name, "two.txt")) == ["two.txt"]


def test_an_empty_tar(made):
    assert os.listdir(made(x__tar__gz=gzip.compress(bytes(10240))).unpack("x.tar.gz")) == []


def test_a_zip_of_more_files_than_its_old_form_counts(made):
    data = made(x__zip=zipped(dict.fromkeys(map(str, range(65_600)), b"")))
    assert os.listdir(data.unpack("x.zip", "65599")) == ["65599"]


def test_an_archive_that_was_replaced_is_unpacked_again(made, tmp_path):
    (tmp_path / "mine.zip").write_bytes(zipped())
    registered = made(x__zip=zipped({"registered.txt": b"1"}))
    assert tree(registered.unpack("x.zip")) == {"registered.txt": b"1"}
    data = PackageData(registered.package, overrides={"x.zip": tmp_path / "mine.zip"})
    assert tree(data.unpack("x.zip")) == FILES
    (tmp_path / "mine.zip").write_bytes(zipped({"new.txt": b"new"}))
    assert tree(data.unpack("x.zip")) == {"new.txt": b"new"}


def test_what_cannot_be_written_is_an_error_of_the_cache(made):
    resource = pytest.importorskip("resource")
    data = made(x__zip=zipped({"zeros": bytes(300_000)}))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CacheError, match="an unpacked archive needs more space"):
            data.unpack("x.zip")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(data.unpack("x.zip")) == {"zeros": bytes(300_000)}


def test_zstandard_names_its_extra(made, monkeypatch):
    for library in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"pip install 'dataferry\[zstd\]'"):
        made(x__zst=b"\x28\xb5\x2f\xfd" + bytes(100)).unpack("x.zst")


def bomb() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as member:
            for _ in range(257):
                member.write(bytes(1 << 20))
        return file.getvalue()


def encrypted() -> bytes:
    data = bytearray(zipped({"a": b"secret"}))
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(sign) + at] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (tarred({"/etc/x": b"1"}), "absolute name"),
        (tarred({"C:/x": b"1"}), "absolute name"),
        (tarred({"a/../../x": b"1"}), "out of its folder"),
        (zipped({"..\\x": b"1"}), "out of its folder"),
        (tarred({"a\nb": b"1"}), "no file can have"),
        (tarred({"a\x9b31m": b"1"}), "no file can have"),
        (tarred({"a" * 300: b"1"}), "no file can have"),
        (tarred({"\u00e9": b"1", "e\u0301": b"2"}), "folds case"),
        (tarred({"l": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "link or a special file"),
        (tarred({"l": b""}, type=tarfile.LNKTYPE, linkname="two.txt"), "link or a special file"),
        (tarred({"l": b""}, type=tarfile.FIFOTYPE), "link or a special file"),
        (tarred({"l": b""}, type=tarfile.CHRTYPE), "link or a special file"),
        (zipped({"l": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777), "link or a special file"),
        (zipped({"A": b"1", "a": b"2"}), "folds case"),
        (zipped({"a": b"1", "a/b": b"2"}), "a file and a folder"),
        (zipped()[:-40], "damaged or incomplete"),
        (tarred(mode="w:gz")[:-20], "damaged or incomplete"),
        (tarred({"x": bytes(3000)})[:1500], "damaged or incomplete"),
        (b"no archive" * 100, "is no zip"),
        (b"", "is no zip"),
        (encrypted(), "encrypted"),
        (bomb, "decompression bomb"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_is_refused_leaves_nothing(made, archive, words):
    data = made(x__bin=archive() if callable(archive) else archive)
    with pytest.raises(ArchiveError, match=words) as caught:
        data.unpack("x.bin")
    assert "x.bin" in str(caught.value)
    unpacked = [path for path in Path(os.environ["HOME"]).rglob("*") if "unpacked" in path.parts and path.is_file()]
    assert [path for path in unpacked if path.suffix != ".lock"] == []


@pytest.mark.parametrize("content", [b"1" * 100_000, tarred({"a": b""}) + bytes(9_000_000)], ids=["a file", "a tar"])
def test_a_packed_stream_ends_at_the_limit(made, content):
    data = made(x__gz=gzip.compress(content))
    with pytest.raises(ArchiveError, match="decompression bomb"):
        data.unpack("x.gz", max_bytes=50_000)


def test_a_user_may_allow_more(made):
    archive = bomb()
    data = made(x__zip=archive)
    assert os.path.getsize(data.unpack("x.zip", max_bytes=1 << 30) + "/zeros") == 257 << 20


def test_eight_processes_unpack_once(made):
    data = made(x__zip=zipped({f"{i}.bin": os.urandom(20_000) for i in range(300)}))
    code = (
        "import os, sys; from dataferry import PackageData;"
        "data = PackageData('x', registry=sys.argv[1]);"
        "folder = data.unpack('x.zip'); print(os.stat(folder).st_ino, len(os.listdir(folder)))"
    )
    words = [sys.executable, "-c", code, str(data.registry.path)]
    runs = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    assert len({run.communicate()[0] for run in runs}) == 1
    assert [run.returncode for run in runs] == [0] * 8


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_header_that_asks_for_more_memory_than_there_is(made):
    packed = bytearray(lzma.compress(FILES["a/one.fits"]))
    assert packed[14:17] == b"\x21\x01\x16"  # LZMA2, and a dictionary of 8 MiB
    packed[16] = 40  # 4 GiB
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    code = (
        "import resource, sys; from dataferry import PackageData, errors\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "try: PackageData('x', registry=sys.argv[1]).unpack('map.fits.xz')\n"
        "except errors.ArchiveError as error: print(error)"
    )
    words = [sys.executable, "-c", code, str(made(map__fits__xz=bytes(packed)).registry.path)]
    run = subprocess.run(words, capture_output=True, text=True)
    assert "map.fits.xz asks for more memory than there is; " in run.stdout, run.stderr


def test_a_folder_of_files(make_package, tmp_path):
    files = {f"cube.zarr/{i}/0.0": bytes([i]) * 100 for i in range(20)}
    files |= {"cube.zarr/.zattrs": b"{}", "other.txt": b"x"}
    with RangeServer(files) as server:
        data = PackageData(make_package(files, head=f'dataurl = "{server.url}"'), show_progress=False)
        folder = data.folder("cube.zarr/")
        expected = {name.removeprefix("cube.zarr/"): value for name, value in files.items() if "zarr" in name}
        assert tree(folder) == expected
        with pytest.raises(UnknownFile, match="cube"):
            data.folder("cube.zar")
        copied = data.copy("cube.zarr/*", tmp_path / "mine")
        assert not any(os.path.islink(path) for path in copied)
        assert tree(str(tmp_path / "mine/cube.zarr")) == expected
        assert data.url("other.txt") == server.url + "other.txt"
        assert not data.is_available("other.txt")
        data.get("other.txt")
        assert data.is_available("other.txt")


def test_a_folder_whose_files_lie_apart(make_package, tmp_path):
    (tmp_path / "shared/t.zarr").mkdir(parents=True)
    (tmp_path / "shared/t.zarr/a").write_bytes(b"a")
    package = make_package({"t.zarr/a": b"a"}, {"t.zarr/b": b"b"})
    data = PackageData(package, folders=[tmp_path / "shared"])
    assert tree(data.folder("t.zarr")) == {"a": b"a", "b": b"b"}


def test_no_name_of_a_member_is_dataferrys(made):
    """What says that all is unpacked lies beside the members."""
    files = {".dataferry-unpacked": b"1", "stamp.json": b"{}", "members/a": b"2"}
    assert tree(made(x__zip=zipped(files)).unpack("x.zip")) == files
