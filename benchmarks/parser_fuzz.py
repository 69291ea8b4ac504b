"""Random input for every parser: ``python benchmarks/parser_fuzz.py [--cases 10000] [--seed 0] [NAME ...]``.

Each parser gets valid input with a few random changes: other values, lines twice, missing, torn or nested thousands of
times, numbers of thousands of digits, control characters, other encodings, bytes that are wrong, an end too early. The
oracle: a result or an error of dataferry, within two seconds and 600 MB above what the process had before. A parser
runs in a process of its own; printed are the cases, the outcomes, the seconds and the peak of its memory.
"""

from __future__ import annotations

import argparse
import bz2
import collections
import contextlib
import gzip
import io
import json
import logging
import lzma
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from dataferry import PackageData, maps
from dataferry.cache.archive import unpack
from dataferry.cache.stamps import Stamps
from dataferry.config.credentials import find_token, netrc_login
from dataferry.config.settings import Settings, load_settings
from dataferry.download.fetch import fetch
from dataferry.download.partial_file import PartialFile
from dataferry.download.response import check_body, check_head, decoded, parse_head, retry_after, validator
from dataferry.download.source import Source, Wanted
from dataferry.errors import BadName, DataferryError, TransferError
from dataferry.files import put_content
from dataferry.hosts import host_names, make_host
from dataferry.hosts.api_client import ApiClient, Headers, Response, error_message
from dataferry.hosts.base import checked_files, guarded
from dataferry.registry.catalog import read_catalog, read_sums, sums_with
from dataferry.registry.checksum_lists import read_rows
from dataferry.registry.editor import RegistryEditor
from dataferry.registry.entry import Entry
from dataferry.registry.names import check_public, check_url, redact_url
from dataferry.registry.registry import Registry

SECONDS, MEMORY = 2.0, 600 << 20
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
NAMES = ("maps/dust_064.fits", "a.bin", "other.dat")
Dice = random.Random

# -- what is changed ---------------------------------------------------------------------------------------------------

ODD_TEXTS = (
    *("", " ", "\0", "\x1b]52;c;eA==\x07", "\ufeff", "\u202e", "\ud800", "é", "e\u0301", "²", "٣", "\\", '"', "'", "#"),
    *(
        "..",
        "../x",
        "/etc/passwd",
        "C:\\x",
        "x" * 300,
        "x/" * 600,
        "%2e%2e",
        "http://[",
        "http://a:99999/",
        "file:///x",
    ),
    *("http://u:p@h/", "https://127.0.0.1:9/x", "null", "nan", "inf", "-inf", "true", "1e400", "-1", "0", "1" * 5000),
    *("0x" + "f" * 6000, "9" * 30, "1979-05-27T07:32:00Z", "-0000", "Thu, 01 Jan 0001 00:00:00 -0000", "bytes */*"),
    *("bytes 0-5/6", f"bytes 0-{'9' * 5000}/*", "bytes ²-³/4", "soon", "=", ":", ",", ";", "\r", "\n", "\r\n\r\n"),
)
ODD_TOML = (
    *ODD_TEXTS,
    *(
        "[" * 3000,
        "[[" * 500,
        "{a=" * 2000,
        "[1,2]",
        "{}",
        '{a = "b"}',
        "[" * 90 + "1" + "]" * 90,
        '"""',
        "'''",
        "0xff",
    ),
    *("[" + "0x" + "f" * 6000 + "]", "{size = 0x" + "f" * 6000 + "}", '"\\ud800"', '"\\u0000"', "07:32:00", "[[[]]]"),
)


def odd_json(dice: Dice) -> Any:
    """Something that JSON can hold and that nobody expects."""
    deep: Any = 1
    for _ in range(dice.choice([3, 300, 900])):
        deep = [deep] if dice.random() < 0.5 else {"a": deep}
    values = [None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 10**30, 10**4000, [], {}, [1], {"a": 1}]
    return dice.choice([*values, deep, dice.choice(ODD_TEXTS), dice.choice(ODD_TEXTS)])


def changed_text(dice: Dice, text: str, odd: tuple[str, ...] = ODD_TEXTS) -> bytes:
    """A text with one to four changes, in some encoding."""
    for _ in range(dice.choice([0, 1, 1, 2, 4])):
        lines = text.split("\n")
        at, (left, right) = dice.randrange(len(lines)), sorted(dice.randrange(len(text) + 1) for _ in range(2))
        word = dice.choice(odd)
        key, equals, _ = lines[at].partition("=")
        row = {
            "value": f"{key}{equals} {word}" if equals else word,
            "string": f'{key}{equals} "{word}"',
            "column": " ".join(word if dice.random() < 0.3 else column for column in lines[at].split(" ")),
            "deep key": f"{key.strip() or 'a'}{'.a' * dice.choice([1, 50, 2000])} = 1",
            "line": word,
            "twice": f"{lines[at]}\n{dice.choice(lines)}",
        }
        how = dice.choice([*row, "insert", "cut", "end", "repeat", "swap"])
        if how in row:
            lines[at] = row[how]
            text = "\n".join(lines)
        elif how == "insert":
            text = text[:left] + word + text[left:]
        elif how == "cut":
            text = text[:left] + text[right:]
        elif how == "end":
            text = text[:left]
        elif how == "repeat":
            text = text[:left] + text[left : left + 20] * dice.choice([2, 100, 3000]) + text[left:]
        else:
            dice.shuffle(lines)
            text = "\n".join(lines)
    encoding = dice.choice(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "latin-1"])
    text = text.replace("\n", "\r\n") if dice.random() < 0.05 else text
    return changed_bytes(dice, text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace"), 0.1)


def changed_bytes(dice: Dice, data: bytes, chance: float = 1.0) -> bytes:
    """Some bytes that are others, missing or there twice."""
    if dice.random() > chance or not data:
        return data
    found = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 5])):
        at = dice.randrange(len(found) + 1)
        how = dice.randrange(6)
        if how < 3:
            found[at : at + dice.choice([1, 1, 2, 4, 8])] = dice.choice(
                [b"\0", b"\xff", b"\xff" * 4, b"\xff" * 8, b"\0" * 8, bytes([dice.randrange(256)]), b"\x7f\xff\xff\xff"]
            )
        elif how == 3:
            del found[at:]
        elif how == 4:
            del found[at : at + dice.choice([1, 7, 80, 512])]
        else:
            found[at:at] = found[dice.randrange(len(found) + 1) :][:512]
    return bytes(found)


def changed_json(dice: Dice, value: Any) -> Any:
    """A structure with some values that are others, and members that are missing or more."""
    if dice.random() < 0.08:
        return odd_json(dice)
    if isinstance(value, dict):
        kept = {key: changed_json(dice, item) for key, item in value.items() if dice.random() > 0.04}
        return kept | ({dice.choice(ODD_TEXTS): odd_json(dice)} if dice.random() < 0.05 else {})
    if isinstance(value, list):
        return [changed_json(dice, item) for item in value for _ in range(dice.choice([1] * 20 + [0, 2]))]
    return value


def json_bytes(dice: Dice, value: Any) -> bytes:
    with contextlib.suppress(RecursionError, ValueError):
        return changed_bytes(dice, json.dumps(changed_json(dice, value)).encode(), 0.1)
    return b"[" * 100_000


# -- parsers: each takes dice and a folder of its own ------------------------------------------------------------------

TABLE = f"""# a comment
dataurl = "https://h.example/data/"
mirrors = ["github-release:o/r@v1", "zenodo:4924875", "https://m.example/"]
timeout = 30
env = "MYPKG_DATA"
cache_env = "MYPKG_CACHE"
strict = true

[folders]
nersc = "/global/cfs/data"
any = ["/shared/data", "${{WORK}}/data"]

[about]
title = "Maps"
authors = ["A. Author"]

[files."maps/dust_064.fits"]
size = 596160
sha256 = "{SHA256}"
figshare = 30123456

[files."a.bin"]
size = 0
sha256 = "{SHA256}"
url = ["https://h.example/a.bin"]
"""
LISTS = (
    f"{SHA256}  596160  maps/dust_064.fits\n{SHA256}  0  a.bin  https://h.example/a.bin\n# c\n{SHA256}  7  other.dat\n",
    f"{SHA256}  maps/dust_064.fits\n{SHA256} *a.bin\n{SHA256}  ./other.dat\n",
    f"SHA256 (maps/dust_064.fits) = {SHA256}\nMD5 (a.bin) = {SHA256[:32]}\nSHA512(other.dat)= {SHA256 * 2}\n",
    f'maps/dust_064.fits sha256:{SHA256}\n"a b.bin" {SHA256} https://h.example/a\nother.dat md5:{SHA256[:32]}\n',
)


def use(registry: Registry) -> None:
    """Ask a registry all that it can be asked."""
    registry.base, registry.package, registry.mirrors, registry.timeout, registry._repr_html_()
    for name in NAMES:
        registry.find(name)
    for entry in registry.entries():
        entry.urls, repr(entry)


def registry_toml(dice: Dice, folder: Path) -> None:
    text = TABLE
    if dice.random() < 0.05:  # long ones have a reader of their own
        text += "".join(f'\n[files."{i}.bin"]\nsize = {i}\nsha256 = "{SHA256}"\n' for i in range(1000))
    (folder / "dataferry.toml").write_bytes(changed_text(dice, text, ODD_TOML))
    use(Registry(folder / "dataferry.toml"))


def registry_editor(dice: Dice, folder: Path) -> None:
    path = folder / "dataferry.toml"
    path.write_bytes(changed_text(dice, TABLE, ODD_TOML))
    editor = RegistryEditor(path)
    editor.set_dataurl("https://h.example/")
    editor.add_mirror("https://m.example/")
    editor.put([Entry("new.bin", SHA256, 5), Entry("a.bin", SHA256, 0)], replace=True)
    editor.save()
    use(Registry(path))  # what was written can be read


def registry_text(dice: Dice, folder: Path) -> None:
    (folder / "dataferry.toml").write_text('dataurl = "https://h.example/data/"\nregistry = "files.txt"\n')
    (folder / "files.txt").write_bytes(changed_text(dice, dice.choice(LISTS)))
    registry = Registry(folder / "dataferry.toml")
    with contextlib.suppress(DataferryError):
        registry.find(dice.choice(NAMES))
    use(registry)


def registry_in_python(dice: Dice, folder: Path) -> None:
    files = {name: {"size": 5, "sha256": SHA256, "url": "https://h.example/a"} for name in NAMES}
    declared = {"dataurl": "https://h.example/", "mirrors": ["zenodo:1"], "files": files}
    values = changed_json(dice, declared)
    if isinstance(values, dict) and all(isinstance(values.get(key, {}), dict) for key in ("files",)):
        use(Registry.from_files("mypkg", values.pop("files", {}), **{str(key): item for key, item in values.items()}))


def checksum_lists(dice: Dice, folder: Path) -> None:
    data = changed_text(dice, dice.choice(LISTS))
    with contextlib.suppress(UnicodeDecodeError):  # the caller names the file
        for row in read_rows(data.decode(), "SHA256SUMS"):
            with contextlib.suppress(DataferryError):
                repr(row.entry)


def catalogs(dice: Dice, folder: Path) -> None:
    files = {name: {"size": 5, "sha256": SHA256} for name in NAMES}
    with contextlib.suppress(ValueError):  # documented: it is no catalog
        read_catalog(json_bytes(dice, {"format": "dataferry-catalog/1", "title": "t", "files": files}))
    data = changed_text(dice, dice.choice(LISTS))
    read_sums(data)
    read_sums(sums_with(data, {"a.bin": SHA256}))


CONFIG = """offline = false
verify = "always"
site = "nersc"
folder_timeout = 0.5
cache = "/var/cache"
fsspec_protocols = ["dask"]
folders = ["/shared", "~/data"]

[packages.mypkg]
folders = { any = "/x", nersc = ["/y"] }
mirrors = ["https://m.example/"]
strict = true
[packages.mypkg.files."a.bin"]
path = "/data/a.bin"

[sites.mine]
env = { MY_SITE = "here" }
hostname = [".mine.example"]

[hosts."h.example"]
token = "secret"
connections = 3
rate = 1e6
client_cert = ["c.pem", "k.pem"]
"""
NETRC = (
    "machine h.example login me password secret\nmachine api.github.com\n  login x\n  password y\n"
    'default login d password "q w"\nmacdef init\ncd /\n\nmachine 127.0.0.1 login a account b password c # d\n'
)


def config(dice: Dice, folder: Path) -> None:
    (folder / "dataferry").mkdir()
    (folder / "dataferry" / "config.toml").write_bytes(changed_text(dice, CONFIG, ODD_TOML))
    os.environ["XDG_CONFIG_HOME"] = str(folder)
    settings = load_settings()
    settings.as_anonymous(), settings.package("mypkg"), find_token("h.example", settings)
    files = {"a.bin": SHA256}
    str(PackageData("mypkg", files=files, dataurl="https://h.example/", show_progress=False).where("a.bin"))


def netrc(dice: Dice, folder: Path) -> None:
    (folder / "netrc").write_bytes(changed_text(dice, NETRC))
    os.environ["NETRC"] = str(folder / "netrc")
    for host in ("h.example", "api.github.com", "127.0.0.1", ""):
        netrc_login("https", host), netrc_login("http", host)
    find_token("h.example", Settings())


HEADS = (
    'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n',
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Encoding: gzip\r\nContent-Type: text/html\r\nDate: "
        "Thu, 28 Nov 2030 10:00:00 GMT\r\nLast-Modified: Thu, 28 Nov 2024 10:00:00 GMT\r\n\r\n"
    ),
    "HTTP/1.1 429 Too Many\r\nRetry-After: 120\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1900000000\r\n\r\n",
    "HTTP/1.1 403 Forbidden\r\nRetry-After: Thu, 28 Nov 2030 10:00:00 GMT\r\nx-ratelimit-remaining: 0\r\n\r\n",
    "HTTP/1.1 302 Found\r\nLocation: https://h.example/a\r\nTransfer-Encoding: chunked\r\n\r\n",
)


def http_headers(dice: Dice, folder: Path) -> None:
    text = dice.choice(HEADS)
    rows = text.split("\r\n")
    for _ in range(dice.choice([1, 1, 2])):
        at, word = dice.randrange(len(rows)), dice.choice(ODD_TEXTS)
        rows[at] = f"{rows[at].partition(': ')[0]}: {word}" if dice.random() < 0.7 else f"HTTP/1.1 {word} {word}"
    data = changed_bytes(dice, "\r\n".join(rows).encode("utf-8", "surrogatepass"), 0.3)
    head = parse_head(data.splitlines(keepends=True))
    retry_after(head.headers, head.status), validator(head.headers)
    body = changed_bytes(dice, dice.choice([b"<html>x", gzip.compress(b"x" * 5000), b"", b"{}", b"version https://"]))
    for check in (
        lambda: check_head(head, "place", dice.choice([0, 5]), dice.choice([None, 10]), dice.choice([None, 10])),
        lambda: check_body(head.headers, "place", "a.bin", body, len(body), dice.choice([None, 10])),
        lambda: decoded(body, head.headers.get("content-encoding", "gzip"), 1000, "place"),
    ):
        with contextlib.suppress(TransferError):
            check()


ASSET = {"id": 7, "name": "a.bin", "url": "https://h.example/a", "state": "uploaded", "size": 5, "digest": None}
RELEASE = {"id": 5, "tag_name": "v1", "draft": False, "upload_url": "https://h/{?n}", "html_url": "h"}
RECORD = {"id": "abc", "access": {"files": "public"}, "versions": {"index": 1}, "links": {}}
ENTRY = {"key": "a.bin", "size": 5, "checksum": "md5:" + "a" * 32, "status": "completed"}
DATAFILE = {"id": 7, "filesize": 5, "checksum": {"type": "MD5", "value": "a" * 32}}
BATCH = {"oid": SHA256, "size": 5, "actions": {"download": {"href": "https://127.0.0.1:9/o", "header": {"A": "b"}}}}
FIGURE = {"id": 7, "name": "a.bin", "size": 5, "computed_md5": "a" * 32, "download_url": "https://h/7"}
#: A declaration, and what its interface answers at the paths that end so; the first fitting one counts.
INTERFACES: dict[str, dict[str, Any]] = {
    "github-release:o/r@v1": {"assets": [ASSET], "more2": None, "": RELEASE},
    "inveniordm:https://h.example/abc": {"files": {"entries": [ENTRY]}, "": RECORD},
    "zenodo:4924875": {"files": {"entries": [ENTRY]}, "": RECORD},
    "dataverse:doi:10.7910/DVN/ABCDEF": {"": {"data": [{"label": "a.bin", "dataFile": DATAFILE}]}},
    "figshare:14763051": {"files": [FIGURE], "": {"id": 1, "version": 2, "files": [FIGURE], "folder_structure": {}}},
    "figshare:10.6084/x.y": {"files": [FIGURE], "articles": [{"id": 1, "doi": "10.6084/x.y"}], "": {"id": 1}},
    "git-lfs:https://h.example/o/r.git": {"": {"objects": [BATCH]}},
    "folder:/none?url=https://h.example/": {
        "": {"format": "dataferry-catalog/1", "files": {"a.bin": {"size": 5, "sha256": SHA256}}}
    },
}


def api_answers(dice: Dice, folder: Path) -> None:
    """What hosts make of the answers of their interfaces, and what a download makes of where these lead."""
    spec = dice.choice(list(INTERFACES))
    answers, calls = INTERFACES[spec], 0

    def call(self: ApiClient, method: str, path: str, **how: Any) -> Response:
        nonlocal calls
        calls += 1
        found = next(value for end, value in answers.items() if path.partition("?")[0].endswith(end))
        status = 404 if found is None and dice.random() < 0.9 else dice.choice([200] * 20 + [404, 403])
        headers = Headers({"Link": dice.choice(['<https://h.example/x>; rel="next"', *ODD_TEXTS])} if calls < 5 else {})
        response = Response(status, headers, json_bytes(dice, found), f"{method} {path}")
        if status != 200 and status not in how.get("accept", ()):
            raise TransferError(response.place, error_message(response), kind="status", final=True)
        return response

    ApiClient.call = call  # type: ignore[method-assign]
    os.environ["GH_TOKEN"] = "token"
    make_host.cache_clear()
    entry = Registry.from_files("mypkg", {"a.bin": {"sha256": SHA256, "size": 5}})["a.bin"]
    with contextlib.suppress(TransferError), guarded(spec):
        checked_files(spec, make_host(spec).hosted(Settings()))
    with guarded(spec):
        found = make_host(spec).look_up({"a.bin": entry}, Settings())
    for sources in found.values():
        odd = tuple(source for source in sources if not source.url.startswith("https://h.example/"))[:1]
        if odd and all(isinstance(source, Source) for source in odd) and "zenodo.org" not in odd[0].url:
            wanted = [Wanted("a.bin", odd[0].url, 5, SHA256, odd)]
            store = lambda item, content: put_content(content, folder / item.name)  # noqa: E731
            fetch(
                wanted,
                find=lambda _: None,
                store=store,
                workdir=folder / "w",
                settings=Settings(timeout=0.2),
                deadline=0.2,
                progress=False,
            )


def host_lines(dice: Dice, folder: Path) -> None:
    """Declarations of hosts, and URLs."""
    specs = [
        *INTERFACES,
        "s3://bucket/v1/?region=us-west-1",
        "github-pages:o/r",
        "fsspec:sftp://h/x",
        "webdav:https://h/",
    ]
    line = changed_text(dice, dice.choice(specs)).decode(errors="replace")
    scheme = dice.choice(host_names())
    line = f"{scheme}:{line.partition(':')[2]}" if dice.random() < 0.3 else line
    redact_url(line)
    for check in (check_url, check_public):
        with contextlib.suppress(BadName):
            check(line)
    host = make_host(line)
    str(host.redacted), list(host.sources("a.bin", None))


def journals(dice: Dice, folder: Path) -> None:
    """What another process or another user left in the cache."""
    size = dice.choice([5, None])
    partial = PartialFile.open(folder, "id", size, "a.bin")
    partial.describe(etag='"a"', source="https://h.example/", name="a.bin")
    partial.write(0, [b"abc"])
    partial.close() if hasattr(partial, "close") else None
    for path in folder.rglob("ranges"):
        lines = path.read_bytes().split(b"\n")
        at = dice.randrange(len(lines))
        odd = b"#" + json_bytes(dice, {"size": 5, "boot": "b", "since": 5, "etag": '"a"'})
        lines[at] = dice.choice([odd, changed_bytes(dice, lines[at])])
        path.write_bytes(b"\n".join(lines))
    again = PartialFile.open(folder, "id", size, "a.bin")
    again.older_claim(), again.discard()


def stamps(dice: Dice, folder: Path) -> None:
    key, file = "0" * 32, folder / "file"
    file.write_bytes(b"x")
    from dataferry.files import Stamp

    now = os.stat(file)
    made = Stamps(str(folder / "stamps"))
    made.keep({key: Stamp(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, SHA256)})
    for path in (folder / "stamps").iterdir():
        path.write_bytes(changed_bytes(dice, path.read_bytes()))
    again = Stamps(str(folder / "stamps"))
    again.read(key), again.holds(key, now, SHA256), again.forget([key])


def archives() -> list[bytes]:
    """Archives of each kind, small ones."""
    files = {"a/b.dat": b"b" * 3000, "c.dat": random.Random(1).randbytes(500), "é" * 60 + ".txt": b""}
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(packed := io.BytesIO(), "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        made.append(packed.getvalue())
    for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(fileobj=(packed := io.BytesIO()), mode="w", format=form) as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name.replace("é", "e") if form == tarfile.USTAR_FORMAT else name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        made.append(packed.getvalue())
    return made


MADE = archives()


def archive_files(dice: Dice, folder: Path) -> None:
    data = dice.choice(MADE)
    inside = data[:2] != b"PK" and dice.random() < 0.6
    if inside and dice.random() < 0.7:  # a header of tar counts only with its checksum
        data = with_checksums(changed_bytes(dice, data))
    data = data if inside else changed_bytes(dice, data)
    if inside:
        data = dice.choice([gzip.compress, bz2.compress, lzma.compress, bytes])(data)
        data = changed_bytes(dice, data, 0.3)
    (folder / "archive").write_bytes(data)
    unpack(str(folder / "archive"), str(folder / "out"), members=dice.choice([None, None, ["c.dat"]]))


def with_checksums(data: bytes) -> bytes:
    found = bytearray(data)
    for at in range(0, len(found) - 511, 512):
        if found[at + 257 : at + 262] == b"ustar":
            found[at + 148 : at + 156] = b" " * 8
            found[at + 148 : at + 156] = b"%06o\0 " % sum(found[at : at + 512])
    return bytes(found)


CARDS = ("0", "-1", "1", "7", "16", "99999999999", "T", "F", "''", "'NESTED'", "'3E'", "'K'", "1.5", "NaN", "(1,2)")
CARDS += (
    "",
    "'MAP",
    "= 5",
    "'1PE(3)'",
    "'HEALPIX'",
    "'EXPLICIT'",
    "1E400",
    "'8X'",
    "'0E'",
    "9" * 60,
    "'1QE(9)'",
    "2880",
)


def fits_originals() -> list[bytes]:
    from astropy.io import fits

    sky = np.arange(2 * 12 * 4**2, dtype="f4").reshape(2, -1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maps.write_map(folder / "whole.fits", sky, unit="mK", order="NESTED")
        maps.write_map(folder / "partial.fits", sky[0, :9], pixels=np.arange(9), nside=4)
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(sky.reshape(16, 24), name="SCI")]).writeto(folder / "image.fits")
        packed = fits.CompImageHDU(sky.astype("i4").reshape(16, 24), compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(folder / "packed.fits")
        return [path.read_bytes() for path in sorted(folder.glob("*.fits"))]


FITS: list[bytes] = []


def fits_files(dice: Dice, folder: Path) -> None:
    FITS.extend([] if FITS else fits_originals())
    data = bytearray(dice.choice(FITS))
    cards = [at for at in range(0, min(len(data), 5 * 2880), 80) if data[at + 8 : at + 10] == b"= "]
    for _ in range(dice.randrange(1, 5)):
        at, how = dice.choice(cards), dice.randrange(5)
        if how == 0:
            data[at + 10 : at + 80] = dice.choice(CARDS).rjust(20).ljust(70)[:70].encode()
        elif how == 1:
            data[at : at + 80] = b" " * 80
        elif how == 2:
            data[at : at + 80] = data[(other := dice.choice(cards)) : other + 80]
        elif how == 3:
            data[at + dice.randrange(80)] = dice.randrange(256)
        else:
            data[at : at + 8] = bytes(data[at : at + 8]).lower()
    whole = changed_bytes(dice, bytes(data), 0.1)
    path = folder / "a.fits"
    path.write_bytes(gzip.compress(whole, 1) if dice.random() < 0.1 else whole)
    readers: list[Callable[[], Any]] = [
        lambda: maps.read_map(path),
        lambda: maps.read_map(path, None, unit="K", order="NESTED", nside=2),
        lambda: maps.read_map(path, 0, pixels=[5, 3], dtype="i4", fill=0),
        lambda: maps.read_partial(path),
        lambda: maps.header(path),
        lambda: maps.cutout(path, (slice(0, 2),)),
        lambda: maps.info(path),
    ]
    dice.choice(readers)()


PARSERS: dict[str, Callable[[Dice, Path], None]] = {
    "dataferry.toml": registry_toml,
    "dataferry.toml, edited": registry_editor,
    "text registry": registry_text,
    "files in Python": registry_in_python,
    "checksum lists": checksum_lists,
    "catalogs": catalogs,
    "config.toml": config,
    "netrc": netrc,
    "HTTP headers": http_headers,
    "API answers": api_answers,
    "declarations of hosts": host_lines,
    "journals": journals,
    "stamps": stamps,
    "archives": archive_files,
    "FITS files": fits_files,
}

# -- the run -----------------------------------------------------------------------------------------------------------


class TooLong(BaseException):
    """A case that does not come to an end; no handler of a parser catches it."""


def stop(number: int, frame: FrameType | None) -> None:
    raise TooLong


@contextlib.contextmanager
def limited() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)  # of the processor, whatever else the machine does
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def outcome(parser: Callable[[Dice, Path], None], seed: str, folder: Path) -> str:
    folder.mkdir()
    try:
        with limited():
            parser(random.Random(seed), folder)
    except DataferryError as error:
        try:
            str(error).encode()
        except Exception as odd:  # noqa: BLE001 - an error that cannot be printed
            return f"CANNOT BE PRINTED {type(odd).__name__}"
        return "error"
    except (Exception, TooLong) as error:  # noqa: BLE001 - what no user should see
        where = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in where if "/dataferry/" in frame.filename] or where
        return f"FOREIGN {type(error).__name__} at {ours[-1].filename}:{ours[-1].lineno}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return "result"


def run(name: str, seed: int, cases: int) -> bool:
    """Whether all cases of a parser came out well."""
    logging.disable()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGVTALRM, stop)
    parser, counts, bad = PARSERS[name], collections.Counter[str](), collections.Counter[str]()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home:
        os.environ |= {"HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home, "DATAFERRY_REQUIRE": ""}
        outcome(parser, f"{name}:first", Path(home, "case"))  # what is imported and kept
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
        began, used = time.monotonic(), time.process_time()
        for number in range(seed, seed + cases):
            word = outcome(parser, f"{name}:{number}", Path(home, "case"))
            counts[word.split()[0]] += 1
            if word not in ("result", "error"):
                bad[word] += 1
                if bad[word] == 1:
                    print(f"  seed {number}: {word}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    said = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    spent = f"{time.process_time() - used:.0f} s of CPU, {time.monotonic() - began:.0f} s"
    print(f"{name:22} {cases} cases: {said}; {spent}; at most {peak} MB", flush=True)
    for word, count in bad.most_common():
        print(f"  {count} x {word}", flush=True)
    return not bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(PARSERS)}")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; a case is repeated with its seed")
    options = parser.parse_args()
    names = options.names or list(PARSERS)
    if unknown := set(names) - set(PARSERS):
        parser.error(f"there is no {', '.join(unknown)}")
    if len(names) == 1:
        raise SystemExit(not run(names[0], options.seed, options.cases))
    words = [sys.executable, __file__, "--cases", str(options.cases), "--seed", str(options.seed)]
    failed = [name for name in names if subprocess.run([*words, name], check=False).returncode]
    raise SystemExit(", ".join(failed) or None)


if __name__ == "__main__":
    main()
