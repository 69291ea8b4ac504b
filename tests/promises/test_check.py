"""``dataferry check``: what strangers get from every host, against real and lying servers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result

from dataferry import PackageData
from dataferry.errors import Offline, UnknownFile
from dataferry.publish import State, check
from dataferry.testing import (
    Empty,
    Fault,
    FlippedByte,
    GzipEncoding,
    IgnoresRange,
    LfsPointer,
    LoginPage,
    OtherFile,
    RangeServer,
    Status,
    Truncated,
)

SMALL = {"beam.fits": os.urandom(5000), "empty.txt": b""}
LARGE = {"maps/dust.fits": os.urandom(700_000)}
FILES = SMALL | LARGE


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with RangeServer(FILES) as server:
        yield server


def test_without_a_host_there_is_nothing_to_check(
    make_package: Callable[..., str], command: Callable[..., Result]
) -> None:
    done = command("check", make_package(FILES))
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no host is declared" in done.stderr


def states(package: str, **options: bool) -> dict[str, tuple[State, str]]:
    return {f.name: (f.state, f.note) for f in check(PackageData(package, show_progress=False), **options)}


def test_small_files_are_hashed_and_large_ones_sampled(make_package: Callable[..., str], server: RangeServer) -> None:
    package = make_package(FILES, head=f'dataurl = "{server.url}"')
    found = states(package)
    assert found["beam.fits"][0] is State.PROVEN
    assert found["empty.txt"][0] is State.PROVEN
    assert found["maps/dust.fits"][0] is State.SIZE_ONLY
    moved = sum(request.sent for request in server.requests if "dust" in request.path)
    assert moved < 20_000
    PackageData(package, show_progress=False).get("maps/dust.fits")
    state, note = states(package)["maps/dust.fits"]
    assert state is State.LIKELY
    assert "3 samples" in note


def test_deep_hashes_every_byte_and_keeps_nothing(
    make_package: Callable[..., str], server: RangeServer, home: Path
) -> None:
    package = make_package(FILES, head=f'dataurl = "{server.url}"')
    assert {state for state, _ in states(package, deep=True).values()} == {State.PROVEN}
    assert not [path for path in home.rglob("*") if path.is_file() and path.stat().st_size == 700_000]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (LoginPage(), "HTML page"),
        (LfsPointer(), "git-lfs pointer"),
        (GzipEncoding(), "encoded"),
        (Empty(), "empty body"),
        (Status(403), "403"),
        (Status(404), "404"),
        (OtherFile(), ""),
        (FlippedByte(100), "other bytes"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else "",
)
@pytest.mark.parametrize("name", ["beam.fits", "maps/dust.fits"])
def test_what_a_user_would_not_get_is_found(
    make_package: Callable[..., str], server: RangeServer, fault: Fault, reason: str, name: str
) -> None:
    package = make_package(FILES, head=f'dataurl = "{server.url}"')
    PackageData(package, show_progress=False).fetch(["beam.fits", "maps/dust.fits"])  # something to compare with
    server.fault(name, fault)
    found = states(package)
    assert found[name][0] is State.BAD
    assert reason in found[name][1]
    assert found["empty.txt"][0] is State.PROVEN


def test_a_server_without_ranges_is_fine(make_package: Callable[..., str], server: RangeServer) -> None:
    server.fault("*", IgnoresRange())
    package = make_package(FILES, head=f'dataurl = "{server.url}"')
    PackageData(package, show_progress=False).get("maps/dust.fits")
    assert states(package)["maps/dust.fits"][0] is State.LIKELY


@pytest.fixture
def unsized() -> Iterator[Callable[..., str]]:
    """A server that sends no ranges and no length: chunked, or until it closes."""
    answers: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = answers.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            chunked = self.path.startswith("/chunked/")
            self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever has enough closes
                for start in range(0, len(body), 60_000):
                    piece = body[start : start + 60_000]
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                self.wfile.write(b"0\r\n\r\n" if chunked else b"")

        def log_message(self, *_: object) -> None:
            pass

    def serve(how: str, files: Mapping[str, bytes]) -> str:
        answers.update({f"/{how}/{name}": data for name, data in files.items()})
        return f"http://127.0.0.1:{server.server_port}/{how}/"

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield serve
        server.shutdown()


@pytest.mark.parametrize("how", ["chunked", "closed"])
def test_a_length_that_is_not_reported_is_found_by_reading(
    make_package: Callable[..., str], unsized: Callable[..., str], how: str
) -> None:
    right = LARGE["maps/dust.fits"]
    package = make_package(LARGE, head=f'dataurl = "{unsized(how, LARGE)}"')
    assert states(package)["maps/dust.fits"] == (State.PROVEN, "sha256 of all bytes")
    for other, reason in (
        (right[:-1], "699999 bytes came, 700000 are registered"),
        (right + b"x", "more than 700000 bytes came, 700000 are registered"),
        (right[:-1] + bytes([right[-1] ^ 1]), "other bytes"),
    ):
        unsized(how, {"maps/dust.fits": other})
        state, note = states(package)["maps/dust.fits"]
        assert state is State.BAD
        assert reason in note


def test_an_unknown_size_is_not_reported_as_right(
    make_package: Callable[..., str],
    server: RangeServer,
    unsized: Callable[..., str],
    tmp_path: Path,
) -> None:
    package = make_package(FILES, head=f'dataurl = "{server.url}"\nmirrors = ["{unsized("chunked", FILES)}"]')
    toml = tmp_path / "packages" / package / "data" / "dataferry.toml"
    toml.write_text(re.sub("size = .*", "", toml.read_text()))
    found = list(check(PackageData(package), "*"))
    assert [(f.name, f.state) for f in found[:3]] == [
        ("beam.fits", State.PROVEN),
        ("empty.txt", State.PROVEN),
        ("maps/dust.fits", State.THERE),
    ]
    assert [f.state for f in found[3:]] == [State.THERE, State.PROVEN, State.THERE]
    assert "not registered" in found[2].note
    path = PackageData(package, show_progress=False).get("maps/dust.fits")
    assert Path(path).read_bytes() == LARGE["maps/dust.fits"]
    first, second = check(PackageData(package), "maps/*")
    assert (first.state, first.note) == (State.LIKELY, "size and 3 samples")
    assert (second.state, second.note) == (State.PROVEN, "sha256 of all bytes")


def test_every_mirror_is_checked_without_the_users_login(
    make_package: Callable[..., str], server: RangeServer, nginx: Callable[..., object], tmp_path: Path, home: Path
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "beam.fits").write_bytes(SMALL["beam.fits"])
    private = nginx(tmp_path / "www", basic=("ann", "s3cret"))
    (home / ".netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
    (home / ".netrc").chmod(0o600)
    head = f'dataurl = "{server.url}"\nmirrors = ["{private.url}"]'  # type: ignore[attr-defined]
    package = make_package({"beam.fits": SMALL["beam.fits"]}, head=head)
    first, second = check(PackageData(package, show_progress=False))
    assert first.state is State.PROVEN
    assert second.state is State.BAD
    assert "login is needed" in second.note
    server.fault("*", Status(404))
    path = PackageData(package, show_progress=False).get("beam.fits")
    assert Path(path).read_bytes() == SMALL["beam.fits"], "the user's login opens it for the user"


def test_a_mirror_may_have_a_part_of_the_files(
    make_package: Callable[..., str], server: RangeServer, command: Callable[..., Result]
) -> None:
    with RangeServer(SMALL) as mirror:
        package = make_package(FILES, head=f'dataurl = "{server.url}"\nmirrors = ["{mirror.url}"]')
        done = command("check", package)
        assert done.exit_code == 0
        assert done.stdout.startswith("missing    maps/dust.fits: ")
        assert f"not there; {server.url} has it" in done.stdout
        assert f"{mirror.url}: 2 proven, 1 missing of 3" in done.stderr
        assert command("check", package, "--deep").exit_code == 0
        told = json.loads(command("check", package, "--json").stdout)
        assert told["bad"] == 0
        assert [file["kind"] for file in told["files"] if file["state"] == "missing"] == ["absent"]
        server.fault("maps/*", Status(503))
        done = command("check", package)
        assert done.exit_code == 1, "no host has it now"
        assert done.stdout.count("bad        maps/dust.fits") == 2


def test_the_first_host_has_all_files(make_package: Callable[..., str], server: RangeServer) -> None:
    with RangeServer(SMALL) as portal:
        package = make_package(FILES, head=f'dataurl = "{portal.url}"\nmirrors = ["{server.url}"]\ntimeout = 2')
        found = [(f.host, f.name) for f in check(PackageData(package, show_progress=False)) if f.state is State.BAD]
    assert found == [(portal.url, "maps/dust.fits")]


def test_command_and_exit_codes(
    make_package: Callable[..., str], server: RangeServer, command: Callable[..., Result]
) -> None:
    package = make_package(FILES, head=f'dataurl = "{server.url}"\ntimeout = 2')  # and so short pauses
    done = command("check", package)
    assert done.exit_code == 0
    assert "2 proven, 1 size only of 3" in done.stderr
    assert done.stdout == ""
    server.fault("maps/*", Truncated())
    done = command("check", package, "--all")
    assert done.exit_code == 1, done.stderr
    assert "bad        maps/dust.fits" in done.stdout
    assert "proven     beam.fits" in done.stdout
    told = json.loads(command("check", package, "maps/*", "--json", "--deep").stdout)
    assert told["bad"] == 1
    assert told["files"][0]["state"] == "bad"
    assert command("check", package, "nothing*").exit_code == 2
    assert command("--offline", "check", package).exit_code == 3


def test_a_host_that_does_not_answer_is_not_asked_for_every_file(
    make_package: Callable[..., str], server: RangeServer, command: Callable[..., Result]
) -> None:
    files = {f"{number}.fits": b"%d" % number for number in range(40)}
    package = make_package(files, head=f'dataurl = "http://127.0.0.1:9/"\nmirrors = ["{server.url}"]')
    done = command("check", package, "--json", "--jobs", "2")
    assert done.exit_code == 1
    dead, live = (json.loads(done.stdout)["files"][part] for part in (slice(40), slice(40, None)))
    assert {finding["state"] for finding in dead} == {"bad"}
    assert len([finding for finding in dead if finding["kind"] == "connect"]) <= 4
    assert {f["note"][:34] for f in dead if f["kind"] != "connect"} == {"not asked: the host did not answer"}
    assert {finding["kind"] for finding in live} == {"absent"}, "a host that answers is asked for each"


def test_errors(make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    package = make_package(SMALL, head='dataurl = "http://127.0.0.1:9/"')
    (finding, *_) = check(PackageData(package))
    assert finding.state is State.BAD
    assert finding.kind == "connect"
    with pytest.raises(UnknownFile, match=r"other\*"):
        list(check(PackageData(package), "other*"))
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    with pytest.raises(Offline, match="DATAFERRY_OFFLINE"):
        list(check(PackageData(package)))
