"""A published folder: read through real web servers, published to by several members, killed at any time."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dataferry import PackageData
from dataferry.config import Settings
from dataferry.errors import BadName, Conflict, DataferryError, PublishError, TransferError
from dataferry.hosts import make_host
from dataferry.hosts.base import Upload
from dataferry.hosts.folder import FolderHost
from dataferry.publish import publish
from dataferry.testing import HostContract, PublishContract, RangeServer

SERVERS = "nginx", "apache", "caddy"


@contextmanager
def mask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


def a_file(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def upload_of(name: str, path: Path) -> Upload:
    data = path.read_bytes()
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Upload(name, path, len(data), hashlib.sha256(data).hexdigest(), md5)


def contents(folder: Path) -> dict[str, bytes]:
    """All files, private ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def checked_sums(folder: Path) -> list[str]:
    """The names in SHA256SUMS, which `sha256sum` proves."""
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    return [line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]


class TestFolderHost(HostContract):
    secrets: ClassVar = []

    def host_at(self, url: str) -> FolderHost:
        return FolderHost(f"folder:/srv/www/data?url={url}")


class TestPublishToFolder(PublishContract):
    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        self.folder = folder
        with RangeServer(folder) as server:
            yield f"folder:{folder}?url={server.url}"

    def writes(self) -> int:
        # a file that came, went or changed has another time or inode
        seen = [p.lstat() for p in sorted(self.folder.rglob("*"))]
        return hash(tuple((s.st_ino, s.st_mtime_ns, s.st_size) for s in seen))


@pytest.mark.parametrize("server", SERVERS)
def test_real_files_through_real_servers(
    server: str, request: pytest.FixtureRequest, tmp_path: Path, command: Callable[..., Any], need: Any
) -> None:
    astropy = Path(need.module("astropy").__file__).parent
    fits = sorted(astropy.glob("io/fits/tests/data/*.fits"), key=lambda p: p.stat().st_size)[-3:]
    assert len(fits) == 3
    www = tmp_path / "www"
    www.mkdir()
    running = request.getfixturevalue(server)(www)
    registry = tmp_path / "mypkg" / "data" / "dataferry.toml"
    names = {f"maps/{path.name}": path for path in fits}
    outcome = publish(names, f"folder:{www}?url={running.url}", registry, progress=False)
    assert all(file.proven for file in outcome.files)
    assert f'dataurl = "{running.url}"' in registry.read_text()
    assert checked_sums(www) == sorted(names)
    data = PackageData("mypkg", registry=registry, show_progress=False)
    for name, path in names.items():
        assert Path(data.get(name)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("folder:/srv/www", "does not say at which URL"),
        ("folder:www?url=https://a.example/", "absolute"),
        ("folder:/srv/www?url=https://a.example/x", "slash"),
        ("folder:/srv/www?url=https://a.example/&mode=3", "unknown option 'mode'"),
        ("folder:/srv/www?url=https://a.example/&lfs=yes", "lfs is 1 or 0"),
        ("folder:/srv/www?url=https://ann:s3cret@a.example/", "everybody reads"),
    ],
)
def test_declarations_that_are_wrong(spec: str, said: str) -> None:
    with pytest.raises(BadName, match=said) as caught:
        make_host(spec)
    assert "s3cret" not in str(caught.value)


def test_modes_and_groups(tmp_path: Path, need: Any) -> None:
    """Readable for the web server, not writable even for the owner; folders as the one above, whatever the umask."""
    need.that("root", os.geteuid() == 0, "only root gives files to another group")
    www = tmp_path / "www"
    www.mkdir()
    os.chown(www, -1, 54321)
    www.chmod(0o2775)
    source = a_file(tmp_path / "a.fits", b"a" * 5000)
    with mask(0o077), RangeServer(www) as server:
        publish({"deep/er/a.fits": source}, f"folder:{www}?url={server.url}", tmp_path / "r.toml", progress=False)
    for folder in ("deep", "deep/er"):
        seen = (www / folder).stat()
        assert (stat.S_IMODE(seen.st_mode), seen.st_gid) == (0o2775, 54321)
    seen = (www / "deep/er/a.fits").stat()
    assert (stat.S_IMODE(seen.st_mode), seen.st_gid, seen.st_nlink) == (0o444, 54321, 1)
    for name in ("SHA256SUMS", "dataferry-catalog.json"):
        assert stat.S_IMODE((www / name).stat().st_mode) == 0o664
        assert (www / name).stat().st_gid == 54321
    assert not [name for name in contents(www) if "/." in f"/{name}"]


def test_lists_keep_what_is_there(tmp_path: Path) -> None:
    www = tmp_path / "www"
    old = hashlib.sha256(b"old").hexdigest()
    a_file(www / "old name.dat", b"old")
    lines = f"# by hand\n{old} *./old name.dat\n{old[:32]}  the md5 of another tool.dat\n{old}  ../up.dat\n"
    a_file(www / "SHA256SUMS", lines.encode())
    source = a_file(tmp_path / "new.fits", b"new")
    registry = a_file(tmp_path / "r.toml", b'[about]\ntitle = "Dust \\"maps\\""\n')
    with RangeServer(www) as server:
        publish({"Überblick neu.fits": source}, f"folder:{www}?url={server.url}", registry, progress=False)
    new = hashlib.sha256(b"new").hexdigest()
    assert (www / "SHA256SUMS").read_text() == f"{lines}{new}  Überblick neu.fits\n"
    catalog = json.loads((www / "dataferry-catalog.json").read_text())
    assert catalog["title"] == 'Dust "maps"'
    assert catalog["files"]["Überblick neu.fits"] == {"size": 3, "sha256": new}


def test_what_the_folder_holds(tmp_path: Path) -> None:
    """From the folder itself where it is; from the catalog at the URL elsewhere; an error where there is neither."""
    www = tmp_path / "www"
    a_file(www / "by/hand.dat", b"hand")
    source = a_file(tmp_path / "a.fits", b"a" * 100)
    with RangeServer(www) as server:
        publish({"a.fits": source}, f"folder:{www}?url={server.url}", tmp_path / "r.toml", progress=False)
        hosted = make_host(f"folder:{www}?url={server.url}").hosted(Settings())
        assert {n: (h.size, h.sha256) for n, h in hosted.items()} == {
            "a.fits": (100, hashlib.sha256(b"a" * 100).hexdigest()),
            "by/hand.dat": (4, None),
        }
        away = make_host(f"folder:{tmp_path}/gone?url={server.url}").hosted(Settings())
        assert list(away) == ["a.fits"]
        with pytest.raises(TransferError):
            make_host(f"folder:{tmp_path}/gone?url={server.url}none/").hosted(Settings())


def test_a_cut_copy_goes_on(tmp_path: Path) -> None:
    """A partial of a killed run is continued, unless it was damaged; a published file is never written to."""
    www, data = tmp_path / "www", os.urandom(3_000_000)
    www.mkdir()
    upload = upload_of("big.fits", a_file(tmp_path / "big.fits", data))
    publisher = make_host(f"folder:{www}?url=http://127.0.0.1:1/").publisher(Settings(), {})

    class KilledError(Exception):
        pass

    def kill(count: int) -> None:
        nonlocal went
        went += count
        if went > 500_000:
            raise KilledError

    for damage in (False, True):
        went = 0
        with pytest.raises(KilledError):
            publisher.upload(upload, {}, kill)
        [partial] = www.iterdir()
        assert 500_000 < partial.stat().st_size < 3_000_000
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        if damage:
            with open(partial, "r+b") as file:
                file.write(b"damage")
        told: list[int] = []
        publisher.upload(upload, {}, told.append)
        assert sum(told) == len(data)
        assert (min(told) < 0) is damage
        assert contents(www) == {"big.fits": data}
        (www / "big.fits").unlink()
    # a run that was killed between giving the file its name and dropping the private one
    publisher.upload(upload, {}, lambda _: None)
    leftover = www / partial.name
    os.link(www / "big.fits", leftover)
    publisher.upload(Upload("again.fits", upload.path, upload.size, upload.sha256, upload.md5), {}, lambda _: None)
    assert contents(www) == {"again.fits": data, "big.fits": data}
    assert (www / "big.fits").stat().st_nlink == 1


@pytest.mark.parametrize("way", ["exclusive rename", "link", "locked rename"])
@pytest.mark.parametrize("kernel", [True, False])
def test_without_what_the_file_system_lacks(tmp_path: Path, way: str, kernel: bool) -> None:
    """No exclusive rename, no hard links, no copy by the kernel."""
    import errno

    from dataferry import files

    def unable(*args: object) -> None:
        raise OSError(errno.EINVAL, "not here")

    www, data = tmp_path / "www", os.urandom(100_000)
    www.mkdir()
    upload = upload_of("deep/a.fits", a_file(tmp_path / "a", data))
    publisher = make_host(f"folder:{www}?url=http://127.0.0.1:1/").publisher(Settings(), {})
    with pytest.MonkeyPatch.context() as patch:
        if way != "exclusive rename":
            patch.setattr(files, "_exclusive_rename", unable)
        if way == "locked rename":
            patch.setattr(files, "_link", unable)
        if not kernel:
            patch.setattr(os, "copy_file_range", unable)
        publisher.upload(upload, {}, lambda _: None)
        publisher.upload(upload, {}, lambda _: None)
        other = upload_of("deep/a.fits", a_file(tmp_path / "b", data + b"more"))
        with pytest.raises(Conflict, match="never overwritten"):
            publisher.upload(other, {}, lambda _: None)
    assert contents(www) == {"deep/a.fits": data}


def test_two_members_publish_one_name(tmp_path: Path) -> None:
    """One wins, the other is told; nothing of the loser stays."""
    www = tmp_path / "www"
    www.mkdir()
    members = [upload_of("deep/a.fits", a_file(tmp_path / f"{n}", bytes([n]) * 2_000_000)) for n in range(6)]
    publisher = make_host(f"folder:{www}?url=http://127.0.0.1:1/").publisher(Settings(), {})
    barrier, errors = threading.Barrier(6), []

    def member(upload: Upload) -> None:
        barrier.wait()
        try:
            publisher.upload(upload, {}, lambda _: None)
        except Conflict as error:
            errors.append(error)

    threads = [threading.Thread(target=member, args=(upload,)) for upload in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 5
    [(name, data)] = contents(www).items()
    assert name == "deep/a.fits" and data in [u.path.read_bytes() for u in members]


def test_several_members_lose_no_line(tmp_path: Path) -> None:
    """Processes that publish other files into one folder at the same time: all lines, all files."""
    www = tmp_path / "www"
    www.mkdir()
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from dataferry.publish import publish
        member, www, url, home = sys.argv[1:]
        files = {}
        for n in range(8):
            path = Path(home, f"{member}-{n}"); path.write_text(f"{member} {n}"); files[f"{member}/{n}.dat"] = path
        for name, path in files.items():
            publish({name: path}, f"folder:{www}?url={url}", Path(home, f"{member}.toml"), progress=False)
    """)
    with RangeServer(www) as server:
        words = [sys.executable, "-c", script]
        running = [
            subprocess.Popen([*words, f"member{n}", www, server.url, tmp_path], stderr=subprocess.PIPE, text=True)
            for n in range(4)
        ]
        for process in running:
            said = process.communicate()[1]
            assert process.returncode == 0, said
    names = sorted(f"member{m}/{n}.dat" for m in range(4) for n in range(8))
    assert sorted(checked_sums(www)) == names
    assert sorted(json.loads((www / "dataferry-catalog.json").read_text())["files"]) == names
    assert not list(www.rglob(".*"))


def test_what_a_dead_run_left_goes_with_the_next_run(tmp_path: Path) -> None:
    """Lists, folders and copies that nobody can continue go; those of a run that goes on, and half copies, stay."""
    www = tmp_path / "www"
    (www / "maps").mkdir(parents=True)
    script = "from dataferry.hosts.folder_files import temporary_name; print(temporary_name())"
    dead = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip()] * 2
    for folder, name in zip((www, www / "maps"), dead, strict=True):
        (folder / name).write_bytes(b"half")
    with subprocess.Popen([sys.executable, "-c", f"{script}; input()"], stdin=-1, stdout=-1, text=True) as alive:
        going_on = alive.stdout.readline().strip()
        (www / going_on).write_bytes(b"half")
        half_copy = www / f".dataferry-{'ab' * 16}-{'cd' * 6}"
        half_copy.write_bytes(b"half")
        with RangeServer(www) as server:
            paths = {"maps/a.fits": a_file(tmp_path / "a", b"SIMPLE")}
            publish(paths, f"folder:{www}?url={server.url}", tmp_path / "r.toml", progress=False)
        there = {path.name for path in www.rglob(".dataferry-*") if path.is_file()}
        alive.communicate("\n")
    assert there == {going_on, half_copy.name}


def test_a_lock_of_a_dead_run_holds_nobody(tmp_path: Path) -> None:
    from dataferry.hosts.folder_files import locked

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lock = tmp_path / ".dataferry-lock"
    lock.write_text(f"{dead.pid} {os.uname().nodename} abc")
    began = time.monotonic()
    with locked(str(tmp_path), wait=20):
        assert lock.read_text().startswith(f"{os.getpid()} ")
        with pytest.raises(TimeoutError, match="locked by another run"), locked(str(tmp_path), wait=0.1):
            pass
    assert time.monotonic() - began < 10
    assert list(tmp_path.iterdir()) == []
    # of a run on another machine
    lock.write_text("1 elsewhere abc")
    os.utime(lock, (time.time() - 100, time.time() - 100))
    with locked(str(tmp_path), wait=20):
        pass
    assert list(tmp_path.iterdir()) == []


def test_no_reader_ever_sees_a_half_file(tmp_path: Path, nginx: Callable[..., Any]) -> None:
    """Readers ask without a pause while runs are killed with SIGKILL; in the end all is there once."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    www = tmp_path / "www"
    www.mkdir()
    server = nginx(www)
    files = {f"maps/{n}.fits": os.urandom(4_000_000 + n) for n in range(4)}
    paths = {name: str(a_file(tmp_path / name.replace("/", "-"), data)) for name, data in files.items()}
    script = textwrap.dedent(f"""
        from dataferry.hosts import folder_files
        folder_files._BLOCK = 1 << 16
        from dataferry.publish import publish
        publish({paths!r}, "folder:{www}?url={server.url}", {str(tmp_path / "r.toml")!r}, progress=False)
    """)
    wrong: list[str] = []
    seen: set[str] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for name, data in files.items():
                was_there = name in seen  # before this request: the other reader may see it meanwhile
                try:
                    with urlopen(f"{server.url}{name}") as answer:
                        got = answer.read()
                except HTTPError as error:
                    if error.code != 404:
                        wrong.append(f"{name}: {error}")
                    error.close()
                    if was_there:
                        wrong.append(f"{name} was there and is not")
                    continue
                seen.add(name)
                if got != data:
                    wrong.append(f"{name}: {len(got)} bytes")
            for list_ in ("SHA256SUMS", "dataferry-catalog.json"):
                text = (www / list_).read_text() if (www / list_).exists() else ""
                if text and not text.endswith("\n"):
                    wrong.append(f"half of {list_}")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for kill in range(9):
            process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, start_new_session=True)
            # the start of Python takes a while: killed after the first sign of life in the folder, and a bit
            before = sorted(p.name for p in www.rglob("*"))
            until = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < until:
                try:
                    now = sorted(p.name for p in www.rglob("*"))
                except FileNotFoundError:  # a private folder just became a public one
                    break
                if now != before or (kill and any(name.startswith(".dataferry-") for name in now)):
                    break
            time.sleep(0.004 * kill * kill)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert {n: d for n, d in contents(www).items() if n.startswith("maps")} == files
    assert sorted(checked_sums(www)) == sorted(files)
    assert not list(www.rglob(".*"))


def test_a_damaged_copy_is_replaced_on_demand(tmp_path: Path) -> None:
    www, data = tmp_path / "www", b"data" * 1000
    www.mkdir()
    source = a_file(tmp_path / "a", data)
    with RangeServer(www) as server:
        to, registry = f"folder:{www}?url={server.url}", tmp_path / "r.toml"
        publish({"maps/a.fits": source}, to, registry, progress=False)
        (www / "maps/a.fits").chmod(0o644)
        a_file(www / "maps/a.fits", b"half")
        with pytest.raises(Conflict, match="--repair"):
            publish({"maps/a.fits": source}, to, registry, progress=False)
        publish({"maps/a.fits": source}, to, registry, progress=False, repair=True)
    assert (www / "maps/a.fits").read_bytes() == data
    checked_sums(www)


def test_the_path_of_a_folder_is_nobodys_business(tmp_path: Path, command: Callable[..., Any]) -> None:
    """``add --from folder:...`` writes the URL into the registry, once, and not where the author keeps the files."""
    www, package = tmp_path / "a private place", tmp_path / "pkg"
    a_file(www / "a.fits", b"a" * 100)
    a_file(package / "__init__.py", b"")
    with RangeServer(www) as server:
        for _ in range(2):
            done = command("add", package, "--from", f"folder:{www}?url={server.url}")
            assert done.exit_code == 0, done.stderr
        text = (package / "data" / "dataferry.toml").read_text()
        assert text.count(server.url) == 1
        assert "a private place" not in text


def test_a_mistyped_url_is_found_before_anything_is_copied(tmp_path: Path) -> None:
    www = tmp_path / "www"
    a_file(www / "there" / "old.fits", b"old")
    source = a_file(tmp_path / "a", b"a" * 1000)
    with RangeServer(www) as server:
        wrong = {f"{server.url}their/": "old.fits lies in the folder, and .*: HTTP 404"}
        wrong |= {"http://127.0.0.1:1/there/": "127.0.0.1:1"}
        for url, reason in wrong.items():
            with pytest.raises(PublishError, match=reason) as caught:
                publish({"a.fits": source}, f"folder:{www}/there?url={url}", tmp_path / "r.toml", progress=False)
            assert "compare ?url=" in caught.value.remedy
            assert list(contents(www)) == ["there/old.fits"]
        publish({"a.fits": source}, f"folder:{www}/there?url={server.url}there/", tmp_path / "r.toml", progress=False)


def test_a_remark_names_the_url_of_an_empty_folder_that_answers_404(
    tmp_path: Path, nginx: Callable[..., Any], command: Callable[..., Any]
) -> None:
    (tmp_path / "www" / "there").mkdir(parents=True)
    source = a_file(tmp_path / "a.fits", b"a")
    (tmp_path / "dataferry.toml").touch()
    url = nginx(tmp_path / "www").url
    words = ["publish", str(source), "--dry-run", "--package", str(tmp_path / "dataferry.toml"), "--to"]
    wrong = command(*words, f"folder:{tmp_path}/www/there?url={url}their/")
    assert wrong.exit_code == 0
    assert f"note: {url}their/ answers 404" in wrong.stderr and "correct ?url=" in wrong.stderr
    right = command(*words, f"folder:{tmp_path}/www/there?url={url}there/")
    assert right.exit_code == 0 and "404" not in right.stderr


def test_the_dry_run_finds_a_full_disk(tmp_path: Path, need: Any, command: Callable[..., Any]) -> None:
    need.that("mount", os.geteuid() == 0, "only root mounts")
    www = tmp_path / "www"
    www.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", www], capture_output=True, text=True)
    need.that("mount", mounted.returncode == 0, mounted.stderr)
    try:
        big = a_file(tmp_path / "big.fits", os.urandom(2_000_000))
        (tmp_path / "dataferry.toml").touch()
        with RangeServer(www) as server:
            to = f"folder:{www}?url={server.url}"
            done = command("publish", big, "--to", to, "--package", tmp_path / "dataferry.toml", "--dry-run")
        assert done.exit_code != 0
        assert "2000000 bytes are needed" in done.stderr and "free some space" in done.stderr
        assert contents(www) == {}
    finally:
        subprocess.run(["umount", "-l", www], check=True)


def test_a_full_disk(tmp_path: Path, need: Any) -> None:
    """A full file system is an error before the first byte, and nothing of it stays."""
    need.that("mount", os.geteuid() == 0, "only root mounts")
    www = tmp_path / "www"
    www.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", www], capture_output=True, text=True)
    need.that("mount", mounted.returncode == 0, mounted.stderr)
    try:
        big, small = (a_file(tmp_path / f"{n}", os.urandom(n)) for n in (4_000_000, 1_000_000))
        with RangeServer(www) as server:
            to, registry = f"folder:{www}?url={server.url}", tmp_path / "r.toml"
            with pytest.raises(PublishError, match=r"4000000 bytes are needed, and \d+ are free"):
                publish({"big.fits": big}, to, registry, progress=False)
            assert contents(www) == {}
            assert not registry.exists()
            publish({"small.fits": small}, to, registry, progress=False)
            # somebody else fills it while a file is copied
            upload = upload_of("more.fits", a_file(tmp_path / "more", os.urandom(1_500_000)))
            a_file(www / "other", bytes(1_200_000))
            with pytest.raises(PublishError, match="no space for 1500000 bytes"):
                make_host(to).publisher(Settings(), {}).upload(upload, {}, lambda _: None)
            assert not list(www.rglob(".dataferry-*"))
    finally:
        subprocess.run(["umount", "-l", www], check=True)


def test_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file system says of a quota, as a quota says it: at the reservation, before a byte is written."""
    import errno

    from dataferry.hosts import folder_files

    def over(handle: int, size: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(folder_files, "_reserve", over)
    source = a_file(tmp_path / "a", b"a" * 1000)
    www = tmp_path / "www"
    www.mkdir()
    with RangeServer(www) as server, pytest.raises(PublishError, match="quota leaves no space for 1000 bytes"):
        publish({"a.fits": source}, f"folder:{www}?url={server.url}", tmp_path / "r.toml", progress=False)
    assert contents(www) == {}


def test_without_rights(need: Any) -> None:
    """Not writable, not there: said before anything is copied."""
    need.that("root", os.geteuid() == 0, "only root can be somebody else")
    with tempfile.TemporaryDirectory() as place:
        www = Path(place, "www")
        www.mkdir()
        www.chmod(0o2755)
        Path(place).chmod(0o755)
        script = f"""
            import os
            from dataferry.errors import DataferryError
            from dataferry.hosts import make_host
            from dataferry.config import Settings
            def rights(folder):
                host = make_host(f"folder:{{folder}}?url=http://127.0.0.1:1/")
                try:
                    return host.publisher(Settings(), {{}}).check_rights()
                except DataferryError as error:
                    return f"{{type(error).__name__}} {{error}}"
            rights("/")  # all is imported: nobody may not be allowed to
            os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
            print(rights("{www}"), rights("{www}/none"), sep="\\n")
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, remedy, second, third = done.stdout.splitlines()
    assert first.startswith(f"AccessDenied {www}: you may not write there: drwxr-sr-x root root")
    assert "chmod g+ws" in remedy
    assert second.startswith("PublishError") and "no such file" in second
    assert "mkdir -p" in third


def test_names_in_the_way(tmp_path: Path) -> None:
    www = tmp_path / "www"
    a_file(www / "maps", b"a file")
    (www / "dangling.fits").symlink_to(tmp_path / "none")
    source = a_file(tmp_path / "a", b"a")
    with RangeServer(www) as server:
        to, registry = f"folder:{www}?url={server.url}", tmp_path / "r.toml"
        for name, said in {
            "maps/a.fits": "maps is a file",
            "dangling.fits": "link to a file that is not there",
            "SHA256SUMS": "choose another",
            ".git/config": "choose another",
            "x/.dataferry-y": "choose another",
        }.items():
            with pytest.raises(DataferryError, match=said):
                publish({name: source}, to, registry, progress=False)
    assert contents(www) == {"maps": b"a file"}


def test_a_file_that_changes_is_not_published(tmp_path: Path) -> None:
    www = tmp_path / "www"
    www.mkdir()
    path = a_file(tmp_path / "a", b"a" * 1000)
    upload = upload_of("a.fits", path)
    publisher = make_host(f"folder:{www}?url=http://127.0.0.1:1/").publisher(Settings(), {})
    for data in (b"b" * 1000, b"a" * 999):
        path.write_bytes(data)
        with pytest.raises(PublishError, match="changed while it was published"):
            publisher.upload(upload, {}, lambda _: None)
    assert contents(www) == {}


def test_folders_on_another_file_system(tmp_path: Path, need: Any) -> None:
    """A link in the published folder leads to another disk, as on many supercomputers."""
    need.that("mount", os.geteuid() == 0, "only root mounts")
    www, disk = tmp_path / "www", tmp_path / "disk"
    www.mkdir()
    disk.mkdir()
    (www / "maps").symlink_to(disk)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk], capture_output=True, text=True)
    need.that("mount", mounted.returncode == 0, mounted.stderr)
    try:
        source = a_file(tmp_path / "a", b"a" * 100_000)
        with RangeServer(www) as server:
            publish({"maps/deep/a.fits": source}, f"folder:{www}?url={server.url}", tmp_path / "r.toml", progress=False)
        assert (disk / "deep/a.fits").read_bytes() == b"a" * 100_000
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
