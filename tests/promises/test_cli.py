"""get, where, list, verify: what a user sees, what a script reads, how each command ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataferry.testing import NeverAnswers, RangeServer, Status

A, B, SMALL = b"a" * 5000, b"b" * 300, b"small\n"


@pytest.fixture
def server():
    with RangeServer({"maps/a.fits": A, "maps/b.fits": B}) as running:
        yield running


@pytest.fixture
def package(make_package, server):
    return make_package({"maps/a.fits": A, "maps/b.fits": B}, {"small.txt": SMALL}, f'dataurl = "{server.url}"\n')


def data_of(package: str, tmp_path: Path) -> Path:
    return tmp_path / "packages" / package / "data"


def script(*args: str, **options) -> subprocess.Popen[str]:
    """Start the installed command."""
    program = str(Path(sys.executable).with_name("dataferry"))
    return subprocess.Popen([program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


# -- get ---------------------------------------------------------------------------------------------------------------


def test_get_prints_paths_in_the_order_of_the_names(command, package, tmp_path):
    result = command("get", package, "small.txt", "maps/*")
    assert result.exit_code == 0
    small, *maps = result.stdout.splitlines()
    assert small == str(data_of(package, tmp_path) / "small.txt")
    assert [Path(path).read_bytes() for path in maps] == [A, B]
    assert [Path(path).name for path in maps] == ["a.fits", "b.fits"]
    assert result.stderr == ""


def test_a_name_may_look_like_a_glob(command, make_package):
    package = make_package({}, {"x[1].fits": b"x", "x1.fits": b"1"})
    assert command("get", package, "x[1].fits").stdout.endswith("/x[1].fits\n")
    assert command("get", package, "x[0-9].fits").stdout.endswith("/x1.fits\n")


def test_what_arrived_is_printed_and_the_rest_is_an_error(command, package, server):
    server.fault("maps/b.fits", Status(404))
    result = command("get", package, "maps/*")
    assert result.exit_code == 1
    assert [Path(path).name for path in result.stdout.splitlines()] == ["a.fits"]
    assert result.stderr.startswith("error: 1 of 2 files are not available\n'maps/b.fits' is not available")
    assert f"{server.url}maps/b.fits: answered 404" in result.stderr
    assert f"dataferry where {package} maps/b.fits" in result.stderr


def test_get_as_json(command, package, server):
    server.fault("maps/b.fits", Status(404))
    result = command("get", "--json", package, "maps/a.fits", "maps/b.fits")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["package"] == package
    first, second = answer["files"]
    assert first["name"] == "maps/a.fits"
    assert Path(first["path"]).read_bytes() == A
    assert first["error"] is None
    assert (second["name"], second["path"]) == ("maps/b.fits", None)
    assert "404" in second["error"]


@pytest.mark.parametrize("args", [["--offline", "get"], ["get", "--offline"]], ids=" ".join)
def test_offline_stands_before_or_after_the_command(command, package, server, args):
    result = command(*args, package, "maps/a.fits")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: 'maps/a.fits' is not here and the network is not available:")
    assert f"where there is a network, run: dataferry get {package} maps/a.fits" in result.stderr
    assert server.requests == []
    assert "DATAFERRY_OFFLINE" not in os.environ
    assert command("get", package, "maps/a.fits").exit_code == 0


def test_a_registry_of_ones_own(command, package, tmp_path, server):
    other = tmp_path / "other.toml"
    other.write_text((data_of(package, tmp_path) / "dataferry.toml").read_text())
    result = command("get", "anything", "maps/a.fits", "--registry", other)
    assert Path(result.stdout.strip()).read_bytes() == A


def test_a_skipped_file_is_named(command, package, tmp_path, monkeypatch):
    (tmp_path / "folder" / package).mkdir(parents=True)
    (tmp_path / "folder" / package / "small.txt").write_bytes(b"other\n")
    monkeypatch.setenv("DATAFERRY_DATA", str(tmp_path / "folder"))
    result = command("get", package, "small.txt")
    assert result.stdout.strip() == str(data_of(package, tmp_path) / "small.txt")
    assert result.stderr.startswith("warning: small.txt: folder ")
    assert "sha256 is" in result.stderr


def test_ctrl_c_prints_how_to_continue(package, server, tmp_path):
    server.fault("maps/a.fits", NeverAnswers())
    run = script("get", package, "maps/a.fits", env=os.environ | {"PYTHONPATH": str(tmp_path / "packages")})
    try:
        deadline = time.monotonic() + 30
        while not server.requests and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.requests
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "The same command goes on" in err


def test_a_deadline_for_all_of_it(command, package, server):
    server.fault("maps/a.fits", NeverAnswers())
    result = command("get", package, "maps/a.fits", "--deadline", "1")
    assert result.exit_code == 1
    assert "the deadline of 1 s has passed" in result.stderr
    assert command("get", package, "maps/a.fits", "--deadline", "0").exit_code == 2


# -- where, list, verify -----------------------------------------------------------------------------------------------


def test_where_explains_each_file_and_fetches_nothing(command, package, server):
    result = command("where", package, "small.txt", "maps/a.fits")
    assert result.exit_code == 0
    first, second = result.stdout.split("\n\n")
    assert first.startswith("small.txt")
    assert "package" in first
    assert second.startswith("maps/a.fits")
    assert "would be asked" in second
    assert server.requests == []


def test_where_as_json(command, package):
    answer = json.loads(command("where", "--json", package, "small.txt", "maps/a.fits").stdout)
    small, far = answer["files"]
    assert small["path"].endswith("small.txt")
    assert far["path"] is None
    assert far["size"] == 5000
    assert set(far["steps"][0]) == {"kind", "place", "origin", "found", "note", "problem"}


def test_list_says_what_is_here(command, package):
    command("get", package, "maps/b.fits")
    result = command("list", package)
    assert result.stdout == (
        "    SIZE  HERE      NAME\n"
        "  5.0 kB  -         maps/a.fits\n"
        "   300 B  cache     maps/b.fits\n"
        "     6 B  package   small.txt\n"
    )
    assert result.stderr == "3 files, 5.3 kB; 2 of them here\n"
    assert command("list", package, "maps/*").stdout.count("maps/") == 2
    files = json.loads(command("list", "--json", package, "maps/*").stdout)["files"]
    assert [(f["name"], f["size"], f["here"]) for f in files] == [
        ("maps/a.fits", 5000, None),
        ("maps/b.fits", 300, "cache"),
    ]
    assert Path(files[1]["path"]).read_bytes() == B


def test_list_sees_what_plain_astropy_cached(command, package, server):
    from astropy.utils.data import download_file

    download_file(server.url_of("maps/a.fits"), cache=True, show_progress=False)
    assert "cache     maps/a.fits" in command("list", package).stdout


def test_verify_hashes_again(command, package, tmp_path):
    command("get", package, "*")
    result = command("verify", package)
    assert result.exit_code == 0
    assert result.stderr == "3 ok, 0 wrong, 0 not here\n"
    small = data_of(package, tmp_path) / "small.txt"
    small.write_bytes(b"smell\n")
    result = command("verify", package)
    assert result.exit_code == 1
    assert "WRONG  package   small.txt: sha256 is " in result.stdout
    assert str(small) in result.stdout
    assert result.stderr == "2 ok, 1 wrong, 0 not here\n"
    answer = json.loads(command("verify", "--json", package, "small.txt").stdout)
    assert (answer["wrong"], answer["not_here"]) == (1, 0)
    assert [(f["name"], f["kind"], f["ok"]) for f in answer["files"]] == [("small.txt", "package", False)]


# -- the whole ---------------------------------------------------------------------------------------------------------


def test_help_names_commands_and_exit_codes(command):
    result = command("--help")
    assert result.exit_code == 0
    for word in ("demo", "get", "where", "list", "verify", "add", "cache", "doctor", "Exit codes:", "130"):
        assert word in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    for name in ("demo", "get", "where", "list", "verify", "add", "cache", "doctor"):
        assert command(name, "--help").exit_code == 0


def test_version(command):
    import dataferry

    assert command("--version").stdout == f"dataferry {dataferry.__version__}\n"


@pytest.mark.parametrize("args", [["get"], ["fetch", "x"], ["get", "--what", "x"], ["get", "pkg"]], ids=" ".join)
def test_wrong_usage_is_exit_code_2(command, args):
    result = command(*args)
    assert result.exit_code == 2
    assert "--help" in result.stderr


@pytest.mark.parametrize("args", ["--help", "get --help", "where --help", "cache --help", "nothing"])
def test_help_is_light(args):
    code = (
        "import sys; sys.argv = ['dataferry', *sys.argv[1:]]\n"
        "from dataferry.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('astropy', 'numpy', 'urllib3', 'ssl', 'tqdm', 'tomlkit') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code, *args.split()], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_a_hit_on_this_machine_loads_no_astropy(package, tmp_path):
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dataferry", "get", package, "small.txt"],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "packages")},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "click" in loaded
    assert not loaded & {"astropy", "numpy", "urllib3", "ssl"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["wh"], ["where"]),
        (["get", "made_"], ["{package}"]),
        (["get", "{package}", "maps/"], ["maps/a.fits", "maps/b.fits"]),
        (["list", "{package}", "sm"], ["small.txt"]),
        (["get", "no_such_package", ""], []),
    ],
)
def test_tab_completion(package, tmp_path, words, offered):
    words = [word.format(package=package) for word in words]
    env = {"_DATAFERRY_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["dataferry", *words])}
    env |= {"COMP_CWORD": str(len(words)), "PYTHONPATH": str(tmp_path / "packages")}
    run = script(env=os.environ | env)
    out, err = run.communicate(timeout=60)
    assert [line.partition(",")[2] for line in out.splitlines() if line] == [
        word.format(package=package) for word in offered
    ]
    assert err == ""
