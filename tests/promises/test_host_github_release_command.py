"""``dataferry publish --to github-release:...`` as a command: real files, real users, and SIGKILL at every step."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from astropy.utils.data import get_pkg_data_path

FILES = {"a.fits": 300, "maps/b.fits": 70_000, "maps/c.fits": 2_000_000}
PART = 1_500_000
STEPS = ["POST .*/releases$", "POST .*a.fits", "POST .*b.fits", "POST .*part01", "POST .*part02", "PATCH"]
ALWAYS = {("POST .*/releases$", "after"), ("POST .*b.fits", "half"), ("POST .*part01", "after"), ("PATCH", "after")}
KILLS = [
    pytest.param(step, when, marks=() if (step, when) in ALWAYS else pytest.mark.nightly)
    for step in STEPS
    for when in ("before", "half", "after")
]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the command line, with a home for each person."""

    def run(person: str, *args: object, **variables: str) -> subprocess.Popen[str]:
        home = tmp_path / person
        home.mkdir(exist_ok=True)
        mine = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_CONFIG_HOME": str(home / "config")}
        (home / "cache").mkdir(exist_ok=True)
        words = [sys.executable, "-m", "dataferry", *map(str, args)]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(words, cwd=home, env=os.environ | mine | variables, **pipes)

    return run


def done(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert "ghp_ann" not in out + err
    return out


def test_an_author_publishes_real_maps_and_a_user_gets_them(
    github: Any, run: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    folder = Path(get_pkg_data_path("data", package="astropy.io.fits.tests"))
    real = ["arange.fits", "scale.fits", "tb.fits"]
    package = tmp_path / "author" / "mypkg" / "data"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    told = ["--to", github.spec("data-v1"), "--prefix", "maps", "--package", package]
    dry = done(run("author", "publish", *(folder / n for n in real), *told, "--dry-run", GH_ENTERPRISE_TOKEN="ghp_ann"))
    assert "maps/arange.fits" in dry
    assert github.count("POST .*/(releases|assets)$") == 0
    done(run("author", "publish", *(folder / n for n in real), *told, GH_ENTERPRISE_TOKEN="ghp_ann"))
    declared = (package / "dataferry.toml").read_text()
    assert github.spec("data-v1") in declared
    users = {"PYTHONPATH": str(tmp_path / "author")}
    names = [f"maps/{name}" for name in real]
    paths = done(run("user", "get", "mypkg", *names, **users)).split()
    assert [Path(path).read_bytes() for path in paths] == [(folder / name).read_bytes() for name in real]
    for path in paths:
        with fits.open(path) as hdus:
            hdus.verify("exception")
    done(run("stranger", "check", "mypkg", **users))


@pytest.mark.parametrize(("step", "when"), KILLS)
def test_killed_at_a_step_the_next_run_finishes(
    github: Any, run: Callable[..., subprocess.Popen[str]], tmp_path: Path, step: str, when: str
) -> None:
    package = tmp_path / "author" / "mypkg" / "data"
    package.mkdir(parents=True)
    hosted = tmp_path / "hosted"
    for number, (name, size) in enumerate(FILES.items()):
        (hosted / name).parent.mkdir(parents=True, exist_ok=True)
        (hosted / name).write_bytes(random.Random(number).randbytes(size))

    def publish() -> subprocess.Popen[str]:
        spec = github.spec(part=PART)
        return run("author", "publish", hosted, "--to", spec, "--package", package, GH_ENTERPRISE_TOKEN="ghp_ann")

    github.when(step, killer(when, lambda: killed.send_signal(signal.SIGKILL)))
    killed = publish()
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    done(publish())
    repository = github.repositories["ann/data"]
    [release] = repository.releases.values()
    assert not release.draft
    wanted = {name.replace("/", "+-"): (hosted / name).read_bytes() for name in FILES}
    large = wanted.pop("maps+-c.fits")
    wanted |= {"maps+-c.fits.part01-of-02": large[:PART], "maps+-c.fits.part02-of-02": large[PART:]}
    assert {asset.name: asset.data for asset in release.assets.values()} == wanted
    assert sorted(github.arrived) == sorted(wanted), "something was uploaded twice"
    paths = done(run("user", "get", "mypkg", *FILES, "--registry", package / "dataferry.toml")).split()
    assert [Path(path).read_bytes() for path in paths] == [(hosted / name).read_bytes() for name in FILES]


@pytest.mark.parametrize(
    ("step", "when"),
    [
        ("POST .*assets", "half"),
        ("DELETE", "after"),
        pytest.param("DELETE", "before", marks=pytest.mark.nightly),
        pytest.param("PATCH", "after", marks=pytest.mark.nightly),
    ],
)
def test_a_repair_that_is_killed_does_not_lose_the_file(
    github: Any, run: Callable[..., subprocess.Popen[str]], tmp_path: Path, step: str, when: str
) -> None:
    package, data = tmp_path / "author" / "mypkg" / "data", random.Random(64).randbytes(70_000)
    package.mkdir(parents=True)
    (tmp_path / "a.fits").write_bytes(data)

    def publish(*options: str) -> subprocess.Popen[str]:
        told = ["--to", github.spec(), "--package", package, *options]
        return run("author", "publish", tmp_path / "a.fits", *told, GH_ENTERPRISE_TOKEN="ghp_ann")

    done(publish())
    [release] = github.repositories["ann/data"].releases.values()
    bad = github.put("v1", "a.fits", data[:-1] + b"?")
    github.when(step, killer(when, lambda: killed.send_signal(signal.SIGKILL)))
    killed = publish("--repair")
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    left = list(release.assets.values())
    assert bad in left or any(asset.state == "uploaded" and asset.data == data for asset in left)
    done(publish("--repair"))
    assert {asset.name: asset.data for asset in release.assets.values()} == {"a.fits": data}
    assert len(github.arrived) == 2, "the right bytes go once more, and no further time"
    [path] = done(run("user", "get", "mypkg", "a.fits", "--registry", package / "dataferry.toml")).split()
    assert Path(path).read_bytes() == data


def killer(when: str, kill: Callable[[], None]) -> Callable[[Any], bool]:
    """Kill a process before, in the middle of or after a request of it."""

    def act(handler: Any) -> bool:
        real, handler.wfile = handler.wfile, Nowhere()  # nobody gets the answer
        if when == "half":
            handler.left = handler.length // 2
            handler.read = lambda most=0, real=handler.read: real() and cut()
        if when != "before":
            with contextlib.suppress(ConnectionError):
                handler.route()
        handler.wfile = real
        kill()
        handler.reset()
        return True

    return act


def cut() -> bytes:
    raise ConnectionError("cut")


class Nowhere:
    """Takes all that is written to it."""

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        pass
