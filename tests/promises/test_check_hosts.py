"""``dataferry check`` and hosts that are not a base URL: asked, in parts, streams, drafts, signatures, versions."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataferry import PackageData
from dataferry.hosts.base import Host, Source
from dataferry.publish import Finding, State, check, publish
from dataferry.registry import Registry
from dataferry.testing import RangeServer, Status

SMALL, LARGE = os.urandom(5000), os.urandom(700_000)
FILES = {"beam.fits": SMALL, "maps/dust.fits": LARGE}


class Shed:
    """A host in this process: what it opens, and what it says when it is asked."""

    def __init__(self) -> None:
        self.opened: dict[str, bytes | Exception] = {}
        self.told: dict[str, str] = {}
        self.declared: dict[str, str] = {}
        self.asked: list[list[str]] = []


SHED = Shed()


class ShedHost(Host):
    locator = "shed"

    def sources(self, name: str, entry: Any) -> list[Source]:
        if name in SHED.opened:

            def opener(start: int) -> io.BytesIO:
                data = SHED.opened[name]
                if isinstance(data, Exception):
                    raise data
                return io.BytesIO(data[start:])

            return [Source(f"shed://{name}", self.redacted, opener=opener)]
        return [Source(SHED.declared[name], self.redacted)] if name in SHED.declared else []

    def look_up(self, wanted: Mapping[str, Any], settings: Any) -> Mapping[str, list[Source]]:
        SHED.asked.append(sorted(wanted))
        return {name: [Source(SHED.told[name], self.redacted)] for name in wanted if name in SHED.told}


@pytest.fixture
def shed(install_host: Callable[[str, str, str], Any]) -> Shed:
    install_host("shed", "ShedHost", "").ShedHost = ShedHost
    SHED.__init__()  # type: ignore[misc]
    return SHED


def found(package: str, registry: Path | None = None, **options: bool) -> dict[str, Finding]:
    return {f.name: f for f in check(PackageData(package, registry=registry, show_progress=False), **options)}


def test_streams_of_a_library(shed: Shed, make_package: Callable[..., str]) -> None:
    package = make_package(FILES, head='mirrors = ["shed:a"]\n')
    shed.opened = dict(FILES)
    said = found(package)
    assert said["beam.fits"].state is State.PROVEN
    assert (said["maps/dust.fits"].state, said["maps/dust.fits"].note) == (State.SIZE_ONLY, "size")
    assert {f.state for f in found(package, deep=True).values()} == {State.PROVEN}
    PackageData(package, show_progress=False).get("maps/dust.fits")
    assert found(package)["maps/dust.fits"].state is State.LIKELY
    for data, note in (
        (LARGE[:-1], "it has 699999 instead of 700000 bytes"),
        (LARGE + b"x", "it has more than 700000 bytes"),
        (LARGE[:-1] + bytes([LARGE[-1] ^ 1]), "other bytes than the verified file here, from byte 695904"),
        (FileNotFoundError("maps/dust.fits"), "not there"),
        (PermissionError("key"), "not allowed"),
        (RuntimeError("boom"), "RuntimeError: boom"),
    ):
        shed.opened["maps/dust.fits"] = data
        finding = found(package)["maps/dust.fits"]
        assert finding.state is State.BAD
        assert note in finding.note


def test_what_only_asking_finds(shed: Shed, make_package: Callable[..., str]) -> None:
    """All files are asked for at once; what the declaration leads to wrongly is asked for as well, as for a user."""
    with RangeServer({**FILES, "moved/beam.fits": SMALL}) as server:
        package = make_package(FILES, head='mirrors = ["shed:a"]\n')
        shed.told = {name: server.url_of(name) for name in FILES}
        said = found(package)
        assert [said[name].state for name in FILES] == [State.PROVEN, State.SIZE_ONLY]
        assert shed.asked == [sorted(FILES)]
        del shed.told["beam.fits"]
        finding = found(package)["beam.fits"]
        assert (finding.state, finding.note) == (State.BAD, "the host does not know the file")
        shed.declared["beam.fits"] = server.url_of("gone.fits")
        assert "404" in found(package)["beam.fits"].note
        shed.told["beam.fits"] = server.url_of("moved/beam.fits")
        for deep in (False, True):
            assert found(package, deep=deep)["beam.fits"].state is State.PROVEN
        path = PackageData(package, show_progress=False).get("beam.fits")
        assert Path(path).read_bytes() == SMALL, "a user gets it so, too"


def test_a_signature_that_has_expired(
    shed: Shed, make_package: Callable[..., str], command: Callable[..., Result]
) -> None:
    with RangeServer(FILES) as server:
        package = make_package(FILES, head='mirrors = ["shed:a"]\n')
        shed.declared = {name: f"{server.url_of(name)}?X-Amz-Signature=s3cret&X-Amz-Expires=60" for name in FILES}
        assert command("check", package).exit_code == 0
        server.fault("*", Status(403))
        done = command("check", package)
        assert done.exit_code == 1
        assert "bad        beam.fits: answered 403" in done.stdout
        assert "s3cret" not in done.output


def test_a_git_lfs_server(
    need: Any, giftless: Callable[..., Any], make_package: Callable[..., str], tmp_path: Path
) -> None:
    """Its files are found by their sha256 alone."""
    need("git-lfs")
    store = tmp_path / "store"
    lfs = giftless(store)
    package = make_package(FILES, head=f'mirrors = ["git-lfs:{lfs.url}team/data.git"]\n')
    assert {f.state for f in found(package).values()} == {State.BAD}
    for data in FILES.values():
        path = store / "team" / "data" / hashlib.sha256(data).hexdigest()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert {f.state for f in found(package).values()} == {State.PROVEN}, "without a length or ranges all of it is read"
    assert {f.state for f in found(package, deep=True).values()} == {State.PROVEN}


@pytest.fixture
def release(github: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Finding]]:
    """Two files on GitHub, one of them in three parts, the other small and in two; gives what a check finds."""
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "ghp_ann")
    registry = tmp_path / "mypkg" / "data" / "dataferry.toml"
    for name, data in FILES.items():
        (tmp_path / Path(name).name).write_bytes(data)
    paths = {name: tmp_path / Path(name).name for name in FILES}
    publish({"maps/dust.fits": paths["maps/dust.fits"]}, github.spec(part=250_000), registry, progress=False)
    publish({"beam.fits": paths["beam.fits"]}, github.spec("v2", part=3000), registry, progress=False)

    def look(host: str = "@v1", **options: bool) -> dict[str, Finding]:
        every = check(PackageData("mypkg", registry=registry, show_progress=False), **options)
        return {f.name: f for f in every if host in f.host}

    return look


def test_a_file_in_parts(github: Any, release: Callable[..., dict[str, Finding]]) -> None:
    assert release()["maps/dust.fits"].state in {State.SIZE_ONLY, State.LIKELY}
    assert release(deep=True)["maps/dust.fits"].state is State.PROVEN
    small = release("@v2")["beam.fits"]
    assert (small.state, small.note) == (State.PROVEN, "sha256 of all bytes")
    first, second = (
        next(r for r in github.repositories["ann/data"].releases.values() if r.tag == t) for t in ["v1", "v2"]
    )
    assets = sorted(first.assets.values(), key=lambda asset: asset.name)
    assert len(assets) == 3
    other = sorted(second.assets.values(), key=lambda asset: asset.name)[1]
    other.data = bytes([other.data[0] ^ 1]) + other.data[1:]
    assert "other bytes: sha256 is" in release("@v2")["beam.fits"].note
    whole, assets[2].data = assets[2].data, assets[2].data[:-1]
    finding = release()["maps/dust.fits"]
    assert finding.state is State.BAD
    assert "199999" in finding.note
    assets[2].data = whole
    del first.assets[assets[1].name.lower()]
    assert "404" in release()["maps/dust.fits"].note


def test_a_release_that_became_a_draft(github: Any, release: Callable[..., dict[str, Finding]]) -> None:
    """The author sees it, with a token; users do not."""
    (first,) = (r for r in github.repositories["ann/data"].releases.values() if r.tag == "v1")
    first.draft, first.published = True, None
    for deep in (False, True):
        finding = release(deep=deep)["maps/dust.fits"]
        assert finding.state is State.BAD
        assert "404" in finding.note
    assert release("@v2")["beam.fits"].state is State.PROVEN


ABOUT = """
[about]
title = "Maps of the dust"
description = "Made for a test."
authors = ["Ann Author"]
keywords = ["dust"]
categories = ["Cosmology and extragalactic astronomy"]
license = "CC-BY-4.0"
"""


def test_two_releases_after_a_new_version(
    figshare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Result]
) -> None:
    """The old registry still finds the old bytes and the new one the new bytes, from one cache too."""
    monkeypatch.setenv("FIGSHARE_TOKEN", "token-1")
    new, old = tmp_path / "mypkg/data/dataferry.toml", tmp_path / "old/dataferry.toml"
    new.parent.mkdir(parents=True)
    old.parent.mkdir()
    new.write_text(ABOUT)
    source = tmp_path / "beam.fits"
    source.write_bytes(SMALL)
    words = ["publish", source, "--to", figshare.spec(), "--package", new]
    assert command(*words).exit_code == 0
    old.write_bytes(new.read_bytes())
    source.write_bytes(SMALL[::-1])
    refused = command(*words)
    assert (refused.exit_code, "--new-version" in refused.stderr) == (7, True)
    new.write_text(new.read_text().replace("mirrors = [", 'mirrors = ["https://other.example/x/", '))
    old.write_bytes(new.read_bytes())
    dry = command(*words, "--new-version", "--dry-run").stderr
    assert "  note: a publication gets a DOI and is permanent" in dry
    assert "\nnote: beam.fits: https://other.example/x/ keep the old bytes, which users of the new" in dry
    assert command(*words, "--new-version").exit_code == 0
    for registry in (new, old):
        registry.write_text(registry.read_text().replace('"https://other.example/x/", ', ""))
    assert Registry(old).find("beam.fits") != Registry(new).find("beam.fits")
    for registry, data in ((old, SMALL), (new, SMALL[::-1]), (old, SMALL)):
        told = json.loads(command("check", "mypkg", "--registry", registry, "--json").stdout)
        assert [(f["state"], f["note"]) for f in told["files"]] == [("proven", "sha256 of all bytes")]
        got = command("get", "mypkg", "beam.fits", "--registry", registry)
        assert Path(got.stdout.strip()).read_bytes() == data


# -- damaged copies and missing files: the command that helps ----------------------------------------------------------


def test_a_damaged_file_of_a_web_server(make_package: Callable[..., str], command: Callable[..., Result]) -> None:
    with RangeServer({"beam.fits": SMALL[::-1]}) as server:
        package = make_package(FILES, head=f'dataurl = "{server.url}"')
        found = {finding.name: finding for finding in check(PackageData(package))}
        done = command("check", package)
    folder = f"on the machine that has the folder of this server: --to 'folder:/path/to/it?url={server.url}'"
    assert found["beam.fits"].remedy == f"publish it again with --repair, {folder}"
    assert found["maps/dust.fits"].remedy == f"publish it again, {folder}"
    assert done.stderr.count("--repair") == 1


def test_a_damaged_asset_of_a_release(github: Any, release: Callable[..., dict[str, Finding]], tmp_path: Path) -> None:
    second = next(r for r in github.repositories["ann/data"].releases.values() if r.tag == "v2")
    asset = next(iter(second.assets.values()))
    asset.data = asset.data[::-1]
    finding = release("@v2")["beam.fits"]
    assert finding.kind == "sha256"
    registry = tmp_path / "mypkg" / "data" / "dataferry.toml"
    command = f"dataferry publish --to '{github.spec('v2', part=3000)}' --package {registry} --repair"
    assert finding.remedy == f"with the file on this machine, run: {command}"


def test_a_file_that_an_archive_has_damaged_goes_into_the_next_version(
    dataverse: Any, make_package: Callable[..., str]
) -> None:
    dataset = dataverse.put({"beam.fits": SMALL})
    [number] = dataset.versions[0]
    dataverse.bytes[number] = SMALL[::-1]
    package = make_package({"beam.fits": SMALL}, head=f'mirrors = ["{dataverse.spec(dataset.pid)}"]')
    [finding] = check(PackageData(package))
    assert finding.kind == "sha256"
    assert finding.remedy.endswith(f"--package {package} --new-version")


def test_large_files_that_could_not_be_compared_are_counted(
    make_package: Callable[..., str], command: Callable[..., Result]
) -> None:
    with RangeServer(FILES) as server:
        package = make_package(FILES, head=f'dataurl = "{server.url}"')
        assert "the bytes of 1 file were not compared with anything; --deep" in command("check", package).stderr
        assert "--deep" not in command("check", package, "--deep").stderr


@pytest.mark.parametrize("right", [True, False])
def test_the_digest_that_a_host_gives(make_package: Callable[..., str], tmp_path: Path, right: bool) -> None:
    """A folder that is on another machine publishes a catalog with sizes and sha256."""
    sha256 = hashlib.sha256(LARGE).hexdigest() if right else "0" * 64
    listed = {"maps/dust.fits": {"size": len(LARGE), "sha256": sha256}}
    catalog = json.dumps({"format": "dataferry-catalog/1", "files": listed}).encode()
    with RangeServer({**FILES, "dataferry-catalog.json": catalog}) as server:
        package = make_package(FILES, head=f'mirrors = ["folder:{tmp_path}/elsewhere?url={server.url}"]\n')
        finding = found(package)["maps/dust.fits"]
    if right:
        assert (finding.state, finding.note) == (State.LIKELY, "size and the sha256 that the host gives")
    else:
        assert (finding.state, finding.kind) == (State.BAD, "sha256")
        assert finding.note.startswith("the host gives another sha256: 000000000000... instead of ")


def test_a_mirror_has_the_files_whose_id_there_is_registered(shed: Shed, make_package: Callable[..., str]) -> None:
    with RangeServer(FILES) as server:
        package = make_package(FILES, head=f'dataurl = "{server.url}"\nmirrors = ["shed:a"]\n')
        data = PackageData(package, show_progress=False)
        states = [f.state for f in check(data) if f.host == "shed:a"]
        assert states == [State.MISSING, State.MISSING]
        registry = Path(data.registry.path or "")
        registry.write_text(registry.read_text().replace('[files."beam.fits"]', '[files."beam.fits"]\nshed = 7'))
        shed_host = {f.name: f.state for f in check(PackageData(package, show_progress=False)) if f.host == "shed:a"}
        assert shed_host == {"beam.fits": State.BAD, "maps/dust.fits": State.MISSING}
