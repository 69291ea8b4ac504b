"""SIGKILL at every step of ``dataferry publish`` and at any moment: the next run finishes, nothing goes twice."""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataferry import PackageData

TOKEN = "tok-5up3r53cr3t"
SIZES = [0, 300, 70_000, 1_000_000, 3_000_000, 6_000_000]


class Harbour:
    """One author, one WebDAV server, and a new folder there for each kill."""

    def __init__(self, dav: Any, folder: Path, killer: Any) -> None:
        self.dav, self.folder, self.killer = dav, folder, killer
        self.number = 0
        source = folder / "hosted"
        source.mkdir()
        self.files = {}
        for number, size in enumerate(SIZES):
            name = f"deep/er/{number}.fits"
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(random.Random(number).randbytes(size))
            self.files[name] = (source / name).read_bytes()

    def new(self) -> Trip:
        self.number += 1
        return Trip(self, self.number)


class Trip:
    """What is published once, whatever happens on the way."""

    def __init__(self, harbour: Harbour, number: int) -> None:
        self.harbour, self.dav, self.files = harbour, harbour.dav, harbour.files
        self.path = f"/{number}/"
        (self.dav.folder / str(number)).mkdir()
        self.registry = harbour.folder / f"author{number}" / "mypkg" / "data" / "dataferry.toml"
        self.registry.parent.mkdir(parents=True)
        self.home = harbour.folder / f"author{number}"
        (self.home / ".cache").mkdir()
        self.skip = len(self.dav.server.log.read_bytes())
        spec = f"{self.dav.spec}{number}/"
        args = ["publish", harbour.folder / "hosted", "--to", spec, "--package", self.registry]
        env = {"HOME": self.home, "XDG_CACHE_HOME": self.home / ".cache", "WEBDAV_TOKEN": TOKEN}
        self.command = harbour.killer(args, {key: str(value) for key, value in env.items()}, harbour.folder)

    def asked(self) -> Counter[str]:
        """What the server did for this trip: method -> how often."""
        with open(self.dav.server.log, "rb") as log:
            log.seek(self.skip)
            whole, _, _ = log.read().decode().rpartition("\n")  # the last line may be half written
        fields = [line.split(" ") for line in whole.splitlines()]
        return Counter(f[0] for f in fields if f[1].startswith(self.path) and f[2][0] == "2")

    def kill(self, when: Any) -> bool:
        """Kill it; what it had sent completely the server may still do, before anybody comes again."""
        killed = bool(self.command.kill(when))
        self.dav.server.rest()
        return killed

    def notes(self) -> list[Path]:
        notes = self.home.glob(".cache/**/publish/*/*.json")
        return [path for path in notes if path.name != "proven.json"]  # that one spares later runs a download

    def check(self) -> None:
        """Finish, and count."""
        self.command.finish()
        folder = self.dav.folder / self.path.strip("/")
        there = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert there == self.files, "the host has other files than were published"
        self.dav.server.rest()
        asked = self.asked()
        assert asked["PUT"] == len(self.files), f"{asked['PUT']} uploads of {len(self.files)} files"
        assert asked["MOVE"] == len(self.files)
        data = PackageData("mypkg", registry=self.registry, show_progress=False)
        assert data.names() == sorted(self.files)
        got = dict(zip(data.names(), data.fetch(data.names()), strict=True))
        assert {name: Path(path).read_bytes() for name, path in got.items()} == self.files
        assert self.notes() == []
        text = self.registry.read_bytes()
        self.command.finish()
        assert self.registry.read_bytes() == text
        self.dav.server.rest()
        assert self.asked()["PUT"] == len(self.files)


@pytest.fixture(scope="module")
def dav(webdav: Callable[..., Any]) -> Iterator[Any]:
    with webdav() as running:
        yield running


@pytest.fixture
def harbour(dav: Any, tmp_path: Path, killer: Any) -> Harbour:
    for left in dav.folder.iterdir():
        left.rename(left.with_name(f"old-{time.monotonic_ns()}"))
    return Harbour(dav, tmp_path, killer)


STEPS: dict[str, Callable[[Trip], Callable[[], object]]] = {
    "as it starts": lambda trip: trip.home.exists,
    "rights are checked": lambda trip: lambda: trip.dav.server.log.stat().st_size > trip.skip,
    "the first note is written": lambda trip: trip.notes,
    "a body goes": lambda trip: lambda: any(p.is_file() for p in (trip.dav.server.home / "client_body").glob("*")),
    "the first file is uploaded": lambda trip: lambda: trip.asked()["PUT"],
    "a folder is made": lambda trip: lambda: trip.asked()["MKCOL"],
    "the first file has its name": lambda trip: lambda: trip.asked()["MOVE"],
    "half of the files have": lambda trip: lambda: trip.asked()["MOVE"] >= len(SIZES) // 2,
    "all have": lambda trip: lambda: trip.asked()["MOVE"] == len(SIZES),
    "a file is fetched back": lambda trip: lambda: trip.asked()["GET"],
    "all are fetched back": lambda trip: lambda: trip.asked()["GET"] >= len(SIZES) - 1,
    "the registry is written": lambda trip: trip.registry.exists,
}
QUICK = ["the first note is written", "a body goes", "all have", "a file is fetched back"]  # all of them nightly


@pytest.mark.parametrize("step", QUICK)
def test_killed_when(harbour: Harbour, step: str) -> None:
    trip = harbour.new()
    trip.kill(STEPS[step](trip))
    trip.check()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_hundred_kills(harbour: Harbour, capsys: pytest.CaptureFixture[str]) -> None:
    """Four at each step, the others at random times; every third trip is killed twice."""
    dice = random.Random(int(os.environ.get("DATAFERRY_SEED", "1")))
    began = time.monotonic()
    harbour.new().command.finish()
    usual = time.monotonic() - began
    whens = [step for step in STEPS for _ in range(4)]
    whens += [""] * (100 - len(whens))
    dice.shuffle(whens)
    tally: Counter[str] = Counter()
    uploads = 0
    for number, when in enumerate(whens):
        trip = harbour.new()
        for _ in range(2 if number % 3 == 0 else 1):
            killed = trip.kill(STEPS[when](trip) if when else dice.uniform(0.1, 1.05 * usual))
            tally[f"{when or 'at a random time'}: {'killed' if killed else 'had ended'}"] += 1
        trip.check()
        uploads += trip.asked()["PUT"]
    lines = [f"{len(whens)} trips, {sum(tally.values())} kills, {uploads} uploads of {len(whens) * len(SIZES)} files"]
    lines += [f"{count:4}  {line}" for line, count in sorted(tally.items())]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
