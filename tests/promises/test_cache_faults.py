"""Caches and folders as they are: kills, races, links, odd file systems, other people's programs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from astropy.utils import data as astropy_data

from dataferry import CacheError, FileUnavailable, PackageData, get_data_filename
from dataferry.testing import Empty, Fault, RangeServer

NAME, RIGHT, OTHER = "maps/a.fits", b"right bytes\n" * 100, b"wrong bytes\n" * 100

GET = "import sys, dataferry; print(dataferry.PackageData(sys.argv[1], show_progress=False).get(sys.argv[2]))"


@pytest.fixture
def server():
    with RangeServer({NAME: RIGHT, "maps/A.fits": OTHER, "b.txt": b"b"}) as running:
        yield running


@pytest.fixture
def package(make_package, server):
    return make_package({NAME: RIGHT}, head=f'dataurl = "{server.url}"\nenv = "MADE_DATA"\n')


def python(code, *args, timeout=60, before=(), **variables):
    """Run some code, or the command line, in a fresh process."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    command = [*before, sys.executable, *(["-c", code] if code else ["-m", "dataferry"]), *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=timeout)


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# -- stamps


@pytest.mark.parametrize("how", ["in place", "cp -p", "tar"])
def test_other_bytes_with_the_old_times_are_noticed(how, package, tmp_path, monkeypatch, server):
    """Size and mtime are those of the file that was verified."""
    own = put(tmp_path / "own", NAME, RIGHT)
    os.utime(own, (1_000_000_000, 1_000_000_000))
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    data = PackageData(package)
    assert data.get(NAME) == str(own)
    assert "verified earlier" in str(PackageData(package).where(NAME))
    other = put(tmp_path, "other", OTHER)
    os.utime(other, (1_000_000_000, 1_000_000_000))
    if how == "in place":
        own.write_bytes(OTHER)
        os.utime(own, (1_000_000_000, 1_000_000_000))
    elif how == "cp -p":
        subprocess.run(["cp", "-p", str(other), str(own)], check=True)
    else:
        put(tmp_path / "packed", NAME, OTHER)
        packed = ["tar", "-C", str(tmp_path / "packed"), "--mtime=@1000000000", "-cf", str(tmp_path / "t.tar"), NAME]
        subprocess.run(packed, check=True)
        subprocess.run(["tar", "-C", str(tmp_path / "own"), "-xf", str(tmp_path / "t.tar")], check=True)
    assert own.stat().st_mtime == 1_000_000_000
    for asked in (data, PackageData(package)):
        assert Path(asked.get(NAME)).read_bytes() == RIGHT


@pytest.mark.parametrize("what", ["fifo", "directory", "half a line", "a damaged line", "another line"])
def test_what_is_in_the_place_of_a_stamp_is_set_aside(what, package, home):
    assert python(GET, package, NAME).returncode == 0
    stamps = [path for path in home.rglob("stamps/**/*") if path.is_file()]
    assert stamps
    for path in stamps:
        text = path.read_bytes()
        path.unlink()
        if what == "fifo":
            os.mkfifo(path)
        elif what == "directory":
            path.mkdir()
        elif what == "a damaged line":  # the inode that it is for, say
            check, space, body = text.strip().partition(b" ")
            path.write_bytes(check + space + b"1" + body + b"\n")
        elif what == "another line":
            path.write_bytes(b"not-hex " + text.strip().partition(b" ")[2] + b"\n")
        else:
            path.write_bytes(text[:-20])
    for _ in range(2):
        done = python(GET, package, NAME, DATAFERRY_OFFLINE="1")
        assert done.returncode == 0, done.stderr
    code = "import sys, dataferry; print(dataferry.PackageData(sys.argv[1]).where(sys.argv[2]))"
    assert "verified earlier" in python(code, package, NAME).stdout


def test_a_damaged_line_proves_nothing_of_other_bytes(package, tmp_path, monkeypatch, home):
    """Its values may fit by chance; the checksum of the line does not."""
    own = put(tmp_path / "own", NAME, RIGHT)
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    os.utime(own, (1_000_000_000, 1_000_000_000))
    assert python(GET, package, NAME).stdout.strip() == str(own)
    before = own.stat()
    own.write_bytes(OTHER)
    os.utime(own, (1_000_000_000, 1_000_000_000))
    changed = 0
    for path in home.rglob("stamps/*"):
        text = path.read_bytes()
        other = text.replace(b"%d" % before.st_ctime_ns, b"%d" % own.stat().st_ctime_ns)
        changed += other != text
        path.write_bytes(other)
    assert changed
    path = Path(python(GET, package, NAME).stdout.strip())
    assert path != own
    assert path.read_bytes() == RIGHT


def test_what_another_process_verified_is_not_hashed_again(package, home):
    """Nor what this process has verified, whatever becomes of the stamps on the disk."""
    data = PackageData(package)
    contents = Path(data.get(NAME)).resolve()
    assert "verified earlier" in str(data.where(NAME))
    shutil.copy(contents, contents.with_name("copy"))
    os.replace(contents.with_name("copy"), contents)
    assert python(GET, package, NAME, DATAFERRY_OFFLINE="1").returncode == 0
    assert "verified earlier" in str(data.where(NAME))
    shutil.rmtree(home / ".cache/astropy/dataferry/stamps")
    assert "verified earlier" in str(data.where(NAME))


def test_a_file_that_can_be_put_nowhere_is_an_error(package, server, tmp_path, monkeypatch):
    """The folder of the package is a file: no path is given to what is not there."""
    chosen = tmp_path / "chosen"
    monkeypatch.setenv("DATAFERRY_CACHE", str(chosen))
    folder = Path(PackageData(package).get(NAME)).parent
    shutil.rmtree(folder)
    folder.write_bytes(b"")
    with pytest.raises(CacheError, match=re.escape(str(chosen))):
        PackageData(package).get(NAME)


def test_no_fifo_in_a_cache_lets_a_command_hang(package, home):
    """Whoever may write to a cache that several people use can put one into the place of any small file."""
    path = Path(python(GET, package, NAME).stdout.strip())
    entry = path.resolve().parent
    (entry / "url").unlink()
    os.mkfifo(entry / "url")
    other = put(path.parent, "other/contents", OTHER)
    os.mkfifo(other.parent / "url")
    path.unlink()
    path.symlink_to(other)
    done = python(GET, package, NAME, DATAFERRY_OFFLINE="1")
    assert Path(done.stdout.strip()).read_bytes() == RIGHT, done.stderr
    done = python("", "cache", "clear", package, "-y")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["contents", "nowhere"])
def test_an_entry_that_is_a_link_to_nothing_is_cleared(target, package, home):
    entry = Path(python(GET, package, NAME).stdout.strip()).resolve()
    entry.unlink()
    entry.symlink_to(target)
    done = python("", "cache", "clear", package, "-y")
    assert done.returncode == 0, done.stderr
    assert Path(python(GET, package, NAME).stdout.strip()).read_bytes() == RIGHT


# -- kills and races


def positions(package, home, code, *args):
    """How many calls change the file system."""
    shutil.rmtree(home / ".cache", ignore_errors=True)
    (home / ".cache").mkdir()
    trace = home / "trace"
    calls = "mkdir,mkdirat,rename,renameat,renameat2,symlink,symlinkat,unlink,unlinkat,rmdir"
    before = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(trace)]
    done = python(code, package, *args, before=before)
    assert done.returncode == 0, done.stderr
    return calls, sum("cache" in line or "fd" in line for line in trace.read_text().splitlines())


def astropy_can_list():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a cache that is not there yet
        astropy_data.cache_contents()
        astropy_data.get_cached_urls()
        astropy_data.check_download_cache()


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.nightly) for part in range(1, 6))])
def test_a_kill_leaves_nothing_that_astropy_stumbles_over(part, need, package, home):
    need("strace")
    calls, count = positions(package, home, GET, NAME)
    for number in range(1 + part, count + 1, 6):
        shutil.rmtree(home / ".cache")
        (home / ".cache").mkdir()
        killed = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={calls}:signal=KILL:when={number}"]
        python(GET, package, NAME, before=killed)
        astropy_can_list()
        assert Path(PackageData(package).get(NAME)).read_bytes() == RIGHT


def test_a_killed_clear_leaves_nothing_that_astropy_stumbles_over(need, package, home):
    need("strace")
    clear = ("", "cache", "clear", "-y")
    calls = "rename,renameat,renameat2,unlink,unlinkat,rmdir"
    for number in range(1, 9):
        PackageData(package).get(NAME)
        killed = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={calls}:signal=KILL:when={number}"]
        python(*clear, before=killed)
        astropy_can_list()
    assert python(*clear).returncode == 0
    assert astropy_data.get_cached_urls() == []


def test_another_process_clears_the_cache_meanwhile(package, server):
    stop, wrong = threading.Event(), []

    def clear():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    astropy_data.clear_download_cache(server.url + NAME)

    thread = threading.Thread(target=clear)
    thread.start()
    try:
        for _ in range(150):
            try:
                PackageData(package, show_progress=False).get(NAME)
            except Exception as error:  # noqa: BLE001
                wrong.append(error)
    finally:
        stop.set()
        thread.join()
    assert wrong == []


def test_a_newer_version_takes_the_place_of_the_old_one_in_one_step(make_package):
    files = {"news.txt": b"0"}
    with RangeServer(files) as server:
        data = PackageData(make_package(head=f'dataurl = "{server.url}"'), show_progress=False)
        data.get("news.txt", refresh=True)
        url, stop, missed = server.url + "news.txt", threading.Event(), []

        def read():
            while not stop.is_set():
                if not astropy_data.is_url_in_cache(url):
                    missed.append(url)

        thread = threading.Thread(target=read)
        thread.start()
        for number in range(1, 30):
            files["news.txt"] = b"%d" % number
            assert Path(data.get("news.txt", refresh=True)).read_bytes() == files["news.txt"]
        stop.set()
        thread.join()
    assert missed == []


def test_clear_and_prune_beside_each_other_end_well(make_package, server):
    files = {f"{i}.bin": b"%d" % i for i in range(60)}
    with RangeServer(files) as many:
        package = make_package(files, head=f'dataurl = "{many.url}"')
        for _ in range(3):
            PackageData(package, show_progress=False).fetch()
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            clear = [sys.executable, "-m", "dataferry", "cache", "clear", "-y"]
            running = [subprocess.Popen(clear, env=env, stdout=subprocess.DEVNULL) for _ in range(3)]
            assert [process.wait() for process in running] == [0, 0, 0]


def test_prune_removes_only_what_dataferry_made(make_package, command):
    files = {"run.1234.abcdef01": b"a result", "d/link-0123456789ab": b"another"}
    with RangeServer(files) as server:
        package = make_package(files, head=f'dataurl = "{server.url}"')
        paths = PackageData(package, show_progress=False).fetch()
        assert command("cache", "prune", "-y").stdout == "nothing to remove\n"
    assert [Path(path).read_bytes() for path in paths] == list(files.values())


def test_what_a_killed_process_left_is_removed(command, package, home):
    path = Path(PackageData(package).get(NAME))
    cache = path.parents[3]
    left = [cache / "download/dataferry-0123456789ab", cache / "dataferry/incoming/link-0123456789ab"]
    left[0].mkdir()
    (left[0] / "contents").write_bytes(bytes(1000))
    left[1].symlink_to("nowhere")
    assert command("cache", "prune", "-y").stdout == "nothing to remove\n", "all of it is young"
    for item in left:
        os.utime(item, (1e9, 1e9), follow_symlinks=False)
    assert "2 left by stopped runs" in command("cache", "prune", "-y").stdout
    assert not any(os.path.lexists(item) for item in left)
    assert path.read_bytes() == RIGHT


# -- which cache


@pytest.mark.parametrize("imported", ["", "import astropy.config\n"])
def test_one_rule_says_which_cache_is_meant(imported, package, home, tmp_path):
    """XDG_CACHE_HOME names a folder that is there, and the file lies in ~/.cache: astropy does not look there."""
    env = {"XDG_CACHE_HOME": "", "HOME": str(home)}
    assert python(GET, package, NAME, **env).returncode == 0
    (tmp_path / "xdg").mkdir()
    done = python(imported + GET, package, NAME, XDG_CACHE_HOME=str(tmp_path / "xdg"), DATAFERRY_OFFLINE="1")
    assert done.returncode != 0 and "Offline" in done.stderr


def test_a_cache_home_that_is_not_there_is_one_warning(package, home, tmp_path):
    variables = {"XDG_CACHE_HOME": str(tmp_path / "gone"), "HOME": str(home)}
    done = python("", "get", package, NAME, **variables)
    assert done.returncode == 0
    assert done.stderr.count("XDG_CACHE_HOME") <= 1, done.stderr


# -- what the user named


def test_an_override_that_is_not_there_is_an_error(package, tmp_path, server):
    with pytest.raises(FileUnavailable, match="the call .* this path") as caught:
        PackageData(package, overrides={NAME: tmp_path / "gone.fits"}).get(NAME)
    assert str(tmp_path / "gone.fits") in str(caught.value)
    assert PackageData(package, overrides={NAME: tmp_path / "gone.fits"}).where(NAME).path is None
    assert not server.requests


def test_relative_paths_mean_the_current_folder_of_the_call(package, tmp_path, monkeypatch, server):
    put(tmp_path / "here", NAME, RIGHT)
    put(tmp_path / "here", "mine.fits", OTHER)
    monkeypatch.chdir(tmp_path / "here")
    toml = PackageData(package).registry.path
    first = PackageData(package, folders=["."])
    single = PackageData(package, folders=".")
    second = PackageData(package, overrides={NAME: "mine.fits"})
    third = PackageData("apart", registry=os.path.relpath(toml))
    bundled = put(toml.parent, NAME, RIGHT)
    monkeypatch.chdir(tmp_path)
    assert first.get(NAME) == single.get(NAME) == str(tmp_path / "here" / NAME)
    assert get_data_filename(NAME, package=package, dataurl=server.url, folders=tmp_path / "here") == first.get(NAME)
    assert second.get(NAME) == str(tmp_path / "here/mine.fits")
    assert third.get(NAME) == str(bundled)
    assert not server.requests


# -- file systems


def test_dataferrys_part_of_the_cache_is_a_link(package, home, tmp_path):
    (tmp_path / "scratch").mkdir()
    (home / ".cache/astropy").mkdir()
    (home / ".cache/astropy/dataferry").symlink_to(tmp_path / "scratch")
    done = [python(GET, package, NAME) for _ in range(2)]
    for one in done:
        assert one.returncode == 0, one.stderr
        assert Path(one.stdout.strip()).read_bytes() == RIGHT
    assert done[0].stdout == done[1].stdout


def test_dataferrys_part_of_the_cache_is_on_another_file_system(need, package, home, tmp_path):
    need.that("mount", os.geteuid() == 0, "only root mounts")
    (tmp_path / "scratch").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path / "scratch")], check=True)
    try:
        (home / ".cache/astropy").mkdir()
        (home / ".cache/astropy/dataferry").symlink_to(tmp_path / "scratch")
        path = Path(PackageData(package).get(NAME))
        assert path.read_bytes() == RIGHT and path.resolve().is_relative_to(home / ".cache/astropy/download/url")
        assert "verified earlier" in str(PackageData(package).where(NAME))
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "scratch")], check=True)


NO_LINKS = """
import errno, os

def refused(*args, **options):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

os.symlink = os.link = refused
"""


def test_a_file_system_without_links(package, home, server):
    """exFAT: as fast, and named, as elsewhere."""
    first = python(NO_LINKS + GET, package, NAME)
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip().endswith(f"/{NAME}")
    look = (
        "import sys, dataferry; print(dataferry.PackageData(sys.argv[1]).where(sys.argv[2]).steps);"
        "print('astropy.utils.data' in sys.modules)"
    )
    again = python(NO_LINKS + look, package, NAME, DATAFERRY_OFFLINE="1")
    assert "verified earlier" in again.stdout and again.stdout.splitlines()[-1] == "False"
    listed = python("", "cache", "list", "--json")
    assert [file["name"] for file in json.loads(listed.stdout)["files"]] == [NAME]
    assert len(server.requests) == 1


NO_CHMOD = """
import errno, os

def refused(*args, **options):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

os.chmod = os.fchmod = refused
"""


def test_a_file_that_cannot_be_made_readable_is_kept(package, server):
    first = python(NO_CHMOD + GET, package, NAME)
    assert first.returncode == 0, first.stderr
    assert Path(first.stdout.strip()).read_bytes() == RIGHT
    assert python(GET, package, NAME, DATAFERRY_OFFLINE="1").stdout == first.stdout


def test_names_as_long_as_a_file_system_takes(make_package):
    name = "d/" + "n" * 245 + ".fits"
    with RangeServer({name: RIGHT}) as server:
        package = make_package({name: RIGHT}, head=f'dataurl = "{server.url}"')
        path = PackageData(package, show_progress=False).get(name)
        assert path.endswith(f"/{name}") and Path(path).read_bytes() == RIGHT
        assert "verified earlier" in str(PackageData(package).where(name))


@pytest.fixture
def folding(need, tmp_path, monkeypatch):
    """A cache that takes capitals for small letters."""
    need.that("mount", os.geteuid() == 0, "only root mounts")
    image, place = tmp_path / "folding.img", tmp_path / "folding"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "casefold", str(image)], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("this kernel has no file system that folds case")
    try:
        (place / "cache").mkdir()
        subprocess.run(["chattr", "+F", str(place / "cache")], check=True)
        monkeypatch.setenv("ASTROPY_CACHE_DIR", str(place / "cache"))
        yield place / "cache"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_names_that_differ_in_case(folding, make_package, server):
    (folding / "x").touch()
    assert (folding / "X").exists()
    files = {NAME: RIGHT, "maps/A.fits": OTHER}
    package = make_package(files, head=f'dataurl = "{server.url}"')
    for _ in range(3):
        paths = PackageData(package, show_progress=False).fetch()
        assert [Path(path).read_bytes() for path in paths] == [RIGHT, OTHER]
    assert len(server.requests) == 2


# -- forks, pickles, warnings


FORK = """
import os, signal, sys, threading, time, dataferry
package, url, name = sys.argv[1:]
dataferry.get_data_filename("b.txt", package=package, dataurl=url, show_progress=False)
threading.Thread(
    target=lambda: dataferry.get_data_filename("never", package=package, dataurl=url, timeout=20), daemon=True
).start()
while "never" not in open(os.environ["SEEN"]).read():
    time.sleep(0.01)
if os.fork() == 0:
    signal.alarm(8)
    from astropy.utils.data import conf
    dataferry.get_data_filename("b.txt", package=package, dataurl=url, show_progress=False)
    os._exit(0 if conf.dataurl != url else 3)
os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.usefixtures("astropy_leaks")
def test_a_fork_while_another_thread_is_in_the_plain_wrapper(make_package, tmp_path):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    seen, over = tmp_path / "seen", threading.Event()
    seen.touch()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with open(seen, "a") as file:
                file.write(self.path + "\n")
            if self.path.endswith("never"):
                over.wait(30)
                return
            self.send_response(200)
            self.send_header("Content-Length", "1")
            self.end_headers()
            self.wfile.write(b"b")

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{httpd.server_port}/"
        done = python(FORK, make_package(), url, "b.txt", SEEN=str(seen))
        assert done.returncode == 0, (done.returncode, done.stderr)
    finally:
        over.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


FORK_EXITS = """
import os, sys, dataferry
path = dataferry.PackageData(sys.argv[1], show_progress=False).get(sys.argv[2])
if os.fork() == 0:
    sys.exit(0)
os.wait()
print(len(open(path, "rb").read()))
"""


def test_a_child_that_exits_leaves_its_parent_the_files(need, package, tmp_path):
    need("setpriv")
    need.that("another user", os.geteuid() == 0, "only root becomes a user without a home")
    env = {"HOME": "", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o777)
    nobody = ["env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "-u", "XDG_CONFIG_HOME"]
    nobody += ["setpriv", "--reuid=54321", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    done = python(
        "import warnings; warnings.simplefilter('ignore')\n" + FORK_EXITS, package, NAME, before=nobody, **env
    )
    assert done.stdout.strip() == str(len(RIGHT)), done.stderr


def test_arguments_travel_in_a_pickle(package, tmp_path, server):
    import copy
    import pickle

    put(tmp_path / "own", NAME, RIGHT)
    data = PackageData(package, folders=[tmp_path / "own"], show_progress=False)
    data.get(NAME)
    for other in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data), copy.copy(data)):
        assert repr(other) == repr(data)
        assert other.get(NAME) == data.get(NAME)
    get = pickle.loads(pickle.dumps(data.get))
    assert get(NAME) == data.get(NAME)
    assert not server.requests


def test_warnings_as_errors(package):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", GET, package, NAME],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- texts


def test_a_byte_order_mark_is_no_mistake(make_package, server):
    package = make_package({NAME: RIGHT}, head=f'dataurl = "{server.url}"')
    path = PackageData(package).registry.path
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert PackageData(package).names() == [NAME]


def test_other_line_ends_are_named(make_package, tmp_path, monkeypatch):
    text = b"one\ntwo\n" * 50
    package = make_package({"t.txt": text}, head='env = "MADE_DATA"')
    put(tmp_path / "own", "t.txt", text.replace(b"\n", b"\r\n"))
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    with pytest.raises(FileUnavailable, match="line ends of Windows"):
        PackageData(package).get("t.txt")


def test_a_parent_package_that_raises(make_package, tmp_path):
    package = make_package(bundled={"a.txt": b"a"})
    parent = tmp_path / "packages" / "raising"
    parent.mkdir()
    (parent / "__init__.py").write_text("raise RuntimeError('no licence')")
    shutil.copytree(tmp_path / "packages" / package, parent / "child")
    assert PackageData("raising.child").contents("a.txt") == b"a"


def test_a_page_in_place_of_an_unregistered_file_is_no_file(make_package, caplog):
    page = b"<!DOCTYPE html><html><body>log in</body></html>"
    with RangeServer({"typo.fits": page}) as server:
        package = make_package({NAME: RIGHT}, head=f'dataurl = "{server.url}"')
        with pytest.raises(FileUnavailable, match="HTML"):
            PackageData(package, show_progress=False).get("typo.fits")
        assert not astropy_data.is_url_in_cache(server.url + "typo.fits")
    assert "nothing is verified" in caplog.text


@pytest.mark.parametrize("fault", [Fault(), Empty()], ids=["200", "202"])
def test_an_empty_answer_in_place_of_an_unregistered_file_is_no_file(fault, make_package):
    with RangeServer({NAME: RIGHT, "typo.fits": b""}) as server:
        server.fault("typo.fits", fault)
        package = make_package({NAME: RIGHT}, head=f'dataurl = "{server.url}"')
        with pytest.raises(FileUnavailable, match="empty body"):
            PackageData(package, show_progress=False).get("typo.fits")
        assert not astropy_data.is_url_in_cache(server.url + "typo.fits")
