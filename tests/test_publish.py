"""The publish engine: plans, mirrors, proof, the registry, and what goes wrong; against a host in this process."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from dataferry import PackageData, hosts
from dataferry.errors import (
    BadName,
    CacheError,
    Conflict,
    DataferryError,
    PublishError,
    PublishErrors,
    TransferError,
    WrongBytes,
)
from dataferry.hosts.base import Host, Source
from dataferry.hosts.publisher import Held, Limits, Publisher
from dataferry.publish import plan, publish
from dataferry.registry import Registry
from dataferry.testing import PublishContract, RangeServer

A, B, C = b"a" * 5000, b"b" * 300, b"c" * 70_000
FILES = {"maps/a.fits": A, "maps/b.fits": B, "c.fits": C}


class Quay:
    """A host in this process: a folder behind a web server, what was done there, and what shall go wrong."""

    def __init__(self, folder: Path, **server: Any) -> None:
        self.public, self.draft = folder / "public", folder / "draft"
        self.public.mkdir(parents=True)
        self.server = RangeServer(self.public, **server)
        self.done: Counter[str] = Counter()
        self.going_wrong: dict[str, Callable[[str], object]] = {}
        self.drafts = False
        self.locator = ""
        self.tells = ("sha256",)
        self.limits = Limits()
        self.seconds = 0.0
        self.declares = ""
        self.versions = False

    def at(self, step: str, name: str = "") -> None:
        self.done[step] += 1
        self.going_wrong.get(step, lambda name: None)(name)

    def stored(self) -> dict[str, bytes]:
        root = self.public
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


QUAYS: dict[str, Quay] = {}


class QuayHost(Host):
    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.quay = QUAYS[spec.partition(":")[2].rpartition("@")[2]]
        self.locator = self.quay.locator

    def sources(self, name, entry):
        if self.locator:
            key = entry.locators.get(self.locator) if entry else None
            return [Source(self.quay.server.url + quote(str(key)), self.shown)] if key else []
        return [Source(self.quay.server.url + quote(name), self.shown)]

    def publisher(self, settings, about):
        return QuayPublisher(self, settings, about)


class QuayPublisher(Publisher):
    def __init__(self, host, settings, about):
        super().__init__(host, settings, about)
        self.quay = host.quay
        self.limits = self.quay.limits
        self.versioned = self.quay.versions

    @property
    def declared(self):
        return self.quay.declares or self.host.spec

    def check_rights(self):
        self.quay.at("rights")
        return "somebody"

    def held(self, uploads):
        self.quay.at("held")
        found = {}
        for upload in uploads if self.versioned else ():
            versions = sorted(
                self.quay.public.glob(f"*/{glob.escape(upload.name)}"), key=lambda p: p.stat().st_mtime_ns
            )
            if versions:
                data, key = versions[-1].read_bytes(), versions[-1].relative_to(self.quay.public).as_posix()
                found[upload.name] = Held(len(data), hashlib.sha256(data).hexdigest(), locators={"quay": key})
        for upload in uploads if not self.versioned else ():
            for root in (self.quay.public, self.quay.draft):
                path = root / upload.name
                if path.is_file():
                    data = path.read_bytes()
                    told = {kind: hashlib.new(kind, data).hexdigest() for kind in self.quay.tells}
                    found[upload.name] = Held(len(data), **told, locators=self.locators(upload.name))
        return found

    def locators(self, name):
        return {self.quay.locator: name} if self.quay.locator else {}

    def problem(self, upload):
        return "it has a plus sign" if "+" in upload.name else ""

    def begin(self, uploads, notes):
        self.quay.at("begin")
        notes["draft"] = notes.get("draft", 0) + 1

    def upload(self, upload, notes, moved):
        self.quay.at("upload", upload.name)
        if self.versioned:
            return self.upload_version(upload)
        target = (self.quay.draft if self.quay.drafts else self.quay.public) / upload.name
        target.parent.mkdir(parents=True, exist_ok=True)
        data = upload.path.read_bytes()
        for start in range(0, len(data), 1000):
            moved(min(1000, len(data) - start))
        if target.exists():
            raise Conflict(upload.name, "it is there")
        private = target.with_name(f".{target.name}.part")
        private.write_bytes(data)
        private.rename(target)
        self.quay.done["stored"] += 1
        return self.locators(upload.name)

    def upload_version(self, upload):
        if upload.name not in self.superseded and self.held([upload]):
            raise Conflict(upload.name, "it is there")
        key = f"{upload.sha256[:8]}/{upload.name}"
        (self.quay.public / key).parent.mkdir(parents=True, exist_ok=True)
        (self.quay.public / key).write_bytes(upload.path.read_bytes())
        self.quay.done["stored"] += 1
        return {"quay": key}

    def finish(self, uploads, notes):
        self.quay.at("finish")
        if self.quay.drafts:
            for upload in uploads:
                if (self.quay.draft / upload.name).exists():
                    (self.quay.public / upload.name).parent.mkdir(parents=True, exist_ok=True)
                    (self.quay.draft / upload.name).rename(self.quay.public / upload.name)
        return {}

    def seconds_until_served(self):
        return self.quay.seconds


@pytest.fixture
def quay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Quay]]:
    """``quay("a")`` opens the host ``quay:a``."""
    points = {**hosts._points(), "quay": SimpleNamespace(load=lambda: QuayHost)}
    monkeypatch.setattr(hosts, "_points", lambda: points)
    hosts.make_host.cache_clear()
    with contextlib.ExitStack() as stack:

        def make(name: str = "a", **server: Any) -> Quay:
            new = QUAYS[name] = Quay(tmp_path / f"quay-{name}", **server)
            stack.enter_context(new.server)
            return new

        yield make
    QUAYS.clear()
    hosts.make_host.cache_clear()


class Case:
    """An author's files and registry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = folder / "mypkg" / "data" / "dataferry.toml"
        self.paths: dict[str, Path] = {}

    def files(self, files: Mapping[str, bytes]) -> dict[str, Path]:
        paths = {}
        for name, data in files.items():
            paths[name] = self.folder / "files" / hashlib.md5(name.encode()).hexdigest()
            paths[name].parent.mkdir(exist_ok=True)
            paths[name].write_bytes(data)
        return paths

    def publish(self, files: Mapping[str, bytes] = FILES, to: Any = "quay:a", **options: Any) -> Any:
        return publish(self.files(files), to, self.registry, progress=False, **options)

    def got(self) -> dict[str, bytes]:
        """What users get of all that is registered."""
        data = PackageData("mypkg", registry=self.registry, show_progress=False)
        names = data.names()
        return {name: Path(path).read_bytes() for name, path in zip(names, data.fetch(names), strict=True)}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


# -- plans -------------------------------------------------------------------------------------------------------------


def test_all_problems_of_all_files_are_said_together(case, quay):
    here = quay()
    here.limits = Limits(file_bytes=1000, total_bytes=2000, files=3, empty=False)
    (here.public / "there.fits").write_bytes(b"other")
    case.registry.parent.mkdir(parents=True)
    case.registry.write_text(
        f'[files."known.fits"]\nsha256 = "{"0" * 64}"\n[files."Maps/x.fits"]\nsha256 = "{"1" * 64}"'
    )
    text = case.registry.read_text()
    files = case.files(
        {
            "large.fits": b"x" * 1001,
            "empty.fits": b"",
            "there.fits": b"mine",
            "known.fits": b"mine",
            "plus+.fits": b"x",
            "maps/x.fits": b"x",
            "../up.fits": b"x",
            "pointer.fits": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "b.fits": b"x" * 1000,
            "b.fits/b": b"x",
        }
    )
    files["away.fits"] = case.folder / "nowhere"
    before = here.stored()
    with pytest.raises(PublishErrors) as caught:
        publish(files, "quay:a", case.registry, progress=False)
    said = str(caught.value)
    for part in (
        "quay:a: large.fits: it has 1001 bytes, and the host takes 1000",
        "quay:a: empty.fits: it is empty",
        "quay:a: there.fits: the host has another file under this name (5 bytes)",
        "'known.fits' is registered with other bytes",
        "quay:a: plus+.fits: it has a plus sign",
        "'maps/x.fits' and 'Maps/x.fits' are one file on disks that ignore case",
        "'../up.fits' is not a legal name",
        "is a git-lfs pointer",
        "'b.fits' is a file and the folder of 'b.fits/b'",
        "nowhere: No such file",
        "quay:a: the files have 2008 bytes, and 2000 are the most it takes",
        "quay:a: these are 7 files, and it takes 3",
    ):
        assert part in said, said
    assert len(caught.value.exceptions) == 12
    assert (here.stored(), case.registry.read_text()) == (before, text)
    assert not here.done["begin"] and not here.done["upload"]


def test_what_a_host_has_counts_against_its_limits(case, quay, monkeypatch):
    here = quay()
    here.limits = Limits(total_bytes=1_000, files=3)
    (here.public / "theirs.fits").write_bytes(b"t" * 600)
    (here.public / "ours.fits").write_bytes(b"o" * 100)
    monkeypatch.setattr(
        QuayHost,
        "held",
        lambda self, settings: {p.name: Held(p.stat().st_size) for p in self.quay.public.iterdir()},
    )
    with pytest.raises(
        PublishError, match="the files have 1001 bytes, with the 1 that are there, and 1000 are the most"
    ):
        case.publish({"ours.fits": b"o" * 100, "new.fits": b"n" * 301})
    with pytest.raises(PublishError, match="these are 4 files, with the 2 that are there, and it takes 3") as caught:
        case.publish({"new.fits": b"n", "newer.fits": b"n"})
    assert "Pack small files together" in str(caught.value)
    assert here.done["stored"] == 0
    case.publish({"ours.fits": b"o" * 100, "new.fits": b"n" * 300})
    (here.public / "more.fits").write_bytes(b"m" * 600)
    outcome = case.publish({"ours.fits": b"o" * 100, "new.fits": b"n" * 300})
    assert all(file.proven for file in outcome.files), "what is there is proven, however full the host is"


def test_a_plan_says_what_would_be_done(case, quay):
    quay("a")
    quay("b")
    case.publish({"c.fits": C}, "quay:b")
    planned = plan(case.files(FILES), ["quay:a", "quay:b"], case.registry, progress=False)
    said = [(host.spec, step.upload.name, step.action) for host, step in planned]
    assert said == [
        ("quay:a", "maps/a.fits", "upload"),
        ("quay:a", "maps/b.fits", "upload"),
        ("quay:a", "c.fits", "upload"),
        ("quay:b", "maps/a.fits", "upload"),
        ("quay:b", "maps/b.fits", "upload"),
        ("quay:b", "c.fits", "published"),
    ]
    assert [host.bytes_to_go for host in planned.hosts] == [75_300, 5_300]
    assert planned.hosts[0].who == "somebody"


@pytest.mark.parametrize("tells", [(), ("md5",), ("sha256",)], ids=["size alone", "md5", "sha256"])
def test_what_is_there_is_compared_and_not_uploaded(case, quay, tells):
    here = quay()
    here.tells = tells
    for name, data in FILES.items():
        (here.public / name).parent.mkdir(exist_ok=True)
        (here.public / name).write_bytes(data)
    (here.public / "d.fits").write_bytes(b"other")
    with pytest.raises(Conflict, match="d.fits: the host has another file"):
        case.publish({**FILES, "d.fits": b"lines"})
    outcome = case.publish()
    assert [file.action for file in outcome.files] == ["held"] * 3
    assert all(file.proven and not file.sent for file in outcome.files)
    assert case.got() == FILES


def test_what_cannot_be_compared_is_not_touched(case, quay):
    here = quay(basic=("ann", "secret"))
    here.tells = ()
    (here.public / "c.fits").write_bytes(C)
    with pytest.raises(Conflict, match=r"c\.fits.*cannot be compared"):
        case.publish()
    assert not here.done["upload"]


def test_without_network_nothing_is_asked(case, quay, monkeypatch):
    here = quay()
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    with pytest.raises(PublishError, match="the network is not to be used"):
        case.publish()
    assert not here.done


@pytest.mark.parametrize(("files", "to"), [({}, "quay:a"), (FILES, []), (FILES, "nosuch:x"), (FILES, "nonsense")])
def test_nothing_to_do_or_nowhere_to_go(case, quay, files, to):
    quay()
    with pytest.raises(BadName):
        case.publish(files, to)


def test_a_host_that_cannot_be_published_to(case):
    with pytest.raises(PublishError, match="not published to it"):
        case.publish(to="https://h.example/x/")


# -- hosts and the registry --------------------------------------------------------------------------------------------


def test_several_hosts_are_mirrors_in_the_order_given(case, quay):
    slow, _ = quay("a"), quay("b")
    slow.going_wrong["upload"] = lambda name: time.sleep(0.2)
    case.publish(to=["quay:a", "quay:b"])
    registry = Registry(case.registry)
    assert (registry.dataurl, registry.mirrors) == ("", ("quay:a", "quay:b"))
    assert case.got() == FILES
    shutil.rmtree(QUAYS["a"].public)
    shutil.rmtree(os.environ["XDG_CACHE_HOME"] + "/astropy")
    assert case.got() == FILES


def test_a_plain_url_becomes_the_dataurl_of_a_new_registry(case, quay):
    here = quay()
    here.declares = here.server.url
    case.publish()
    assert Registry(case.registry).dataurl == here.server.url
    assert case.got() == FILES


def test_the_rest_of_the_registry_stays(case, quay):
    here = quay()
    case.registry.parent.mkdir(parents=True)
    head = '# ours\ndataurl = "https://h.example/x/"\nmirrors = [\n  "https://m.example/x/", # theirs\n]\n\n'
    case.registry.write_text(head + f'[files."z.fits"] # last\nsha256 = "{"0" * 64}"\n')
    case.publish()
    text = case.registry.read_text()
    assert 'dataurl = "https://h.example/x/"\nmirrors = [\n  "https://m.example/x/", # theirs\n  "quay:a",\n]' in text
    assert '[files."z.fits"] # last' in text
    assert here.done["stored"] == 3
    before = text
    case.publish()
    assert case.registry.read_text() == before


def test_locators_are_registered(case, quay):
    quay().locator = "quay"
    case.publish()
    assert {e.name: e.locators for e in Registry(case.registry).entries()} == {name: {"quay": name} for name in FILES}
    assert case.got() == FILES


def test_a_text_registry_holds_no_locators(case, quay):
    here = quay()
    case.registry.parent.mkdir(parents=True)
    case.registry.write_text('registry = "files.txt"\n')
    here.locator = "quay"
    with pytest.raises(PublishError, match=r"needs an id for each file \(quay\), and the text registry .*files.txt"):
        case.publish()
    assert not here.done["upload"]
    here.locator = ""
    hosts.make_host.cache_clear()
    case.publish()
    assert (case.registry.parent / "files.txt").read_text().count("\n") == 3
    assert case.got() == FILES


def test_a_password_in_the_declaration_is_refused(case, quay):
    quay()
    with pytest.raises(PublishError, match="holds a user or a password"):
        case.publish(to="quay://ann:secret@a")
    assert not case.registry.exists()


def test_what_others_register_meanwhile_stays(case, quay):
    here = quay()
    case.publish({"c.fits": C})
    extra = f'\n[files."extra.fits"]\nsha256 = "{"0" * 64}"\n'
    here.going_wrong["finish"] = lambda name: case.registry.write_text(case.registry.read_text() + extra)
    case.publish()
    assert Registry(case.registry).names() == ["c.fits", "extra.fits", "maps/a.fits", "maps/b.fits"]


def test_a_name_that_others_register_meanwhile_keeps_their_bytes(case, quay):
    here = quay()
    theirs = f'[files."maps/a.fits"]\nsha256 = "{"0" * 64}"\n'

    def register(name: str) -> None:
        case.registry.parent.mkdir(parents=True)
        case.registry.write_text(theirs)

    here.going_wrong["finish"] = register
    with pytest.raises(WrongBytes, match="registered with other bytes"):
        case.publish()
    assert case.registry.read_text() == theirs


def test_a_registry_that_cannot_be_written(case, quay, need):
    here = quay()
    folder = case.registry.parent
    folder.mkdir(parents=True)
    need.that("mount", os.geteuid() == 0, "only root mounts a folder read-only")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], capture_output=True)
    need.that("mount", done.returncode == 0, done.stderr.decode())
    try:
        with pytest.raises(CacheError, match="cannot be written"):
            case.publish()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert not here.done["upload"]


class TestPublishContract(PublishContract):
    """The contract holds for a host with versions, and for one that makes all public at once."""

    @pytest.fixture(autouse=True, params=["versions", "drafts"])
    def _quay(self, request: pytest.FixtureRequest, quay: Callable[..., Quay]) -> None:
        self.here = quay()
        self.here.versions = request.param == "versions"
        self.here.drafts = request.param == "drafts"
        self.here.locator = "quay" if request.param == "versions" else ""

    @contextlib.contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        yield "quay:a"

    def writes(self) -> int:
        return self.here.done["begin"] + self.here.done["stored"]


def test_a_new_version_at_a_host_that_keeps_one_is_refused(case, quay):
    with_versions = quay("a")
    with_versions.versions, with_versions.locator = True, "quay"
    quay("b")
    case.publish(to=["quay:a", "quay:b"])
    with pytest.raises(Conflict, match="quay:b keeps one version of a file only"):
        case.publish({"c.fits": b"new"}, ["quay:a", "quay:b"], new_version=True)
    case.publish({"c.fits": b"new"}, "quay:a", new_version=True)
    assert case.got() == {**FILES, "c.fits": b"new"}
    assert case.publish({**FILES, "c.fits": b"new"}, "quay:a").files[0].action == "published"


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def gone(name: str) -> None:
    raise TransferError("quay:a", "the connection was reset", kind="cut")


@pytest.mark.parametrize("step", ["rights", "held", "begin", "upload", "finish"])
def test_the_network_goes_at_a_step(case, quay, step):
    here = quay()
    here.drafts = True
    here.going_wrong[step] = gone
    with pytest.raises(DataferryError) as caught:
        case.publish()
    assert "the connection was reset" in str(caught.value)
    assert not case.registry.exists()
    assert not here.stored()
    del here.going_wrong[step]
    outcome = case.publish()
    assert here.done["stored"] == 3
    assert all(file.proven for file in outcome.files)
    assert case.got() == FILES


def test_the_network_goes_before_the_files_are_fetched_back(case, quay):
    here = quay()
    here.going_wrong["finish"] = lambda name: here.server.__exit__(None, None, None)
    with pytest.raises(PublishErrors) as caught:
        case.publish()
    assert "a stranger does not get it" in str(caught.value)
    assert not case.registry.exists()
    assert here.done["stored"] == 3


def test_one_file_that_fails_does_not_keep_the_others(case, quay):
    here = quay()
    here.going_wrong["upload"] = lambda name: gone(name) if name == "c.fits" else None
    with pytest.raises(TransferError):
        case.publish()
    assert sorted(Registry(case.registry).names()) == ["maps/a.fits", "maps/b.fits"]
    del here.going_wrong["upload"]
    case.publish()
    assert here.done["stored"] == 3
    assert case.got() == FILES


def test_nothing_of_a_draft_is_registered_before_all_of_it_is_there(case, quay):
    here = quay()
    here.drafts = True
    here.going_wrong["upload"] = lambda name: gone(name) if name == "c.fits" else None
    with pytest.raises(PublishErrors) as caught:
        case.publish()
    assert str(caught.value).startswith("0 of 3 files are published; the same command goes on from here")
    assert "it arrived and is not public before all files have" in str(caught.value)
    assert not case.registry.exists()
    assert not here.done["finish"]
    del here.going_wrong["upload"]
    case.publish()
    assert here.done["stored"] == 3


def test_one_host_that_fails_does_not_keep_the_others(case, quay):
    quay("a").going_wrong["begin"] = gone
    quay("b").going_wrong["held"] = gone
    quay("c")
    with pytest.raises(PublishErrors) as caught:
        case.publish(to=["quay:a", "quay:b", "quay:c"])
    assert "3 of 6 files are published" in str(caught.value)
    assert Registry(case.registry).mirrors == ("quay:c",)
    assert case.got() == FILES
    for here in QUAYS.values():
        here.going_wrong.clear()
    case.publish(to=["quay:a", "quay:b", "quay:c"])
    assert Registry(case.registry).mirrors == ("quay:a", "quay:b", "quay:c")
    assert [here.done["stored"] for here in QUAYS.values()] == [3, 3, 3]


def test_a_host_that_fails_is_not_asked_for_each_of_many_files(case, quay):
    here = quay()
    here.going_wrong["upload"] = gone
    with pytest.raises(PublishErrors) as caught:
        case.publish({f"{n}.fits": b"%d" % n for n in range(200)}, jobs=2)
    assert "further files were not tried" in str(caught.value)
    assert len(caught.value.exceptions) == here.done["upload"] + 1 < 10


def test_a_mistake_in_a_third_partys_host_is_an_error_like_others(case, quay):
    here = quay("a")
    quay("b")
    here.going_wrong["upload"] = lambda name: {}["nothing"]
    with pytest.raises(PublishErrors) as caught:
        case.publish(to=["quay:a", "quay:b"])
    assert "quay:a: maps/a.fits: KeyError: 'nothing'" in str(caught.value)
    assert Registry(case.registry).mirrors == ("quay:b",)


def test_a_file_that_changes_after_it_was_hashed(case, quay):
    here = quay()
    paths = case.files(FILES)
    here.going_wrong["begin"] = lambda name: paths["c.fits"].write_bytes(C + b"more")
    with pytest.raises(WrongBytes, match="has changed since it was read"):
        publish(paths, "quay:a", case.registry, progress=False)
    assert "c.fits" not in here.stored()
    assert "c.fits" not in Registry(case.registry).names()


def test_other_bytes_at_the_host_are_never_registered(case, quay):
    here = quay()
    here.going_wrong["finish"] = lambda name: (here.public / "c.fits").write_bytes(C[:-1] + b"x")
    with pytest.raises(PublishError, match=r"c\.fits.*a stranger does not get it"):
        case.publish()
    assert "c.fits" not in Registry(case.registry).names()


def test_the_author_is_a_stranger_when_files_are_fetched_back(case, quay, home):
    here = quay(basic=("ann", "secret"), bearer="tok-secret")
    host = here.server.url.split("/")[2]
    (home / ".netrc").write_text(f"machine {host.partition(':')[0]} login ann password secret\n")
    (home / ".config" / "dataferry").mkdir()
    (home / ".config" / "dataferry" / "config.toml").write_text(f'[hosts."{host}"]\ntoken = "tok-secret"\n')
    with pytest.raises(PublishErrors) as caught:
        case.publish()
    assert "a stranger does not get it" in str(caught.value)
    assert "401" in str(caught.value)
    assert not case.registry.exists()
    assert here.server.requests and {request.status for request in here.server.requests} == {401}


def test_a_host_that_serves_late_is_waited_for(case, quay, tmp_path):
    here = quay()
    away = tmp_path / "away"

    def serve_late(name: str) -> None:
        here.public.rename(away)
        here.public.mkdir()
        threading.Timer(0.7, lambda: (here.public.rmdir(), away.rename(here.public))).start()

    here.going_wrong["finish"] = serve_late
    here.seconds = 20.0
    case.publish()
    assert case.got() == FILES


def test_waiting_has_an_end(case, quay):
    here = quay()
    here.seconds = 1000.0
    here.going_wrong["finish"] = lambda name: (here.public / "c.fits").unlink()
    began = time.monotonic()
    with pytest.raises(PublishError, match="a stranger does not get it"):
        case.publish(wait=0.6)
    assert time.monotonic() - began < 60
    assert sorted(Registry(case.registry).names()) == ["maps/a.fits", "maps/b.fits"]


def test_two_runs_at_once_upload_each_file_once(case, quay, caplog):
    caplog.set_level(logging.WARNING)
    here = quay()
    started, held = threading.Event(), threading.Event()
    here.going_wrong["begin"] = lambda name: (started.set(), held.wait(20))
    paths, failed = case.files(FILES), []

    def run() -> None:
        try:
            publish(paths, "quay:a", case.registry, progress=False)
        except DataferryError as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert started.wait(20)
    threads[1].start()
    until = time.monotonic() + 20
    while "another run publishes to quay:a" not in caplog.text and time.monotonic() < until:
        time.sleep(0.02)
    held.set()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert here.done["stored"] == 3
    assert case.got() == FILES


def test_no_room_to_fetch_back(case, quay, need, monkeypatch, tmp_path):
    here = quay()
    need.that("mount", os.geteuid() == 0, "only root mounts")
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(small)], capture_output=True)
    need.that("mount", done.returncode == 0, done.stderr.decode())
    try:
        (small / "cache").mkdir()
        monkeypatch.setenv("ASTROPY_CACHE_DIR", str(small / "cache"))
        (small / "big.fits").write_bytes(os.urandom(2_000_000))
        with pytest.raises(DataferryError, match="cannot be fetched back") as caught:
            publish({"big.fits": small / "big.fits"}, "quay:a", case.registry, progress=False)
        assert "ASTROPY_CACHE_DIR" in str(caught.value)
        assert not case.registry.exists()
        monkeypatch.setenv("ASTROPY_CACHE_DIR", str(tmp_path))
        publish({"big.fits": small / "big.fits"}, "quay:a", case.registry, progress=False)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert here.done["stored"] == 1
    assert Registry(case.registry).names() == ["big.fits"]


def test_nothing_is_left_in_the_cache(case, quay, home):
    quay()
    case.publish()
    assert [path.name for path in home.rglob("publish/*")] in ([], ["locks"])
    assert list(case.folder.glob("files/*back*")) == []
