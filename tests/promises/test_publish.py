"""The publish engine: plans, mirrors, the registry, and versions."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dataferry_test_servers.quay import FILES, QUAYS, C, Quay, QuayHost

from dataferry import hosts
from dataferry.errors import (
    BadName,
    CacheError,
    Conflict,
    NeedsNetwork,
    PublishError,
    PublishErrors,
    WrongBytes,
)
from dataferry.hosts.base import HostedFile, Limits
from dataferry.publish import Outcome, plan, publish
from dataferry.registry import Registry
from dataferry.testing import FlippedByte, PublishContract

# -- plans -------------------------------------------------------------------------------------------------------------


def test_who_publishes_alone_is_warned_of_nothing(case, quay, caplog):
    quay()
    case.publish()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


def test_all_problems_of_all_files_are_reported_together(case, quay):
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
        "hosted",
        lambda self, settings: {p.name: HostedFile(p.stat().st_size) for p in self.quay.public.iterdir()},
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


def test_what_another_host_registered_is_no_proof(case, quay):
    """A host that tells no digests gets a file, and strangers get other bytes there; the mirror has it registered."""
    here = quay("a")
    quay("b")
    here.tells = ()
    case.publish({"d.fits": b"d"}, ["quay:a", "quay:b"])
    here.server.fault("c.fits", FlippedByte())
    with pytest.raises(PublishError, match="quay:a: c.fits: it arrived, but users do not get it"):
        case.publish({"c.fits": C}, ["quay:a", "quay:b"])
    with pytest.raises(PublishError, match=r"quay:a: c\.fits"):
        case.publish({"c.fits": C, "d.fits": b"d"}, "quay:a")
    here.server.heal()
    outcome = case.publish({"c.fits": C, "d.fits": b"d"}, "quay:a")
    assert {file.name: file.action for file in outcome.files} == {"c.fits": "hosted", "d.fits": "published"}
    assert {file.action for file in case.publish({"c.fits": C}, "quay:a").files} == {"published"}


def test_the_size_alone_is_no_proof_for_another_machine(case, quay, monkeypatch, tmp_path):
    """The registry says that a host has a file, and the host tells nothing but its size."""
    here = quay("a")
    here.tells = ()
    case.publish({"c.fits": C}, "quay:a")
    here.server.forget()
    assert [file.action for file in case.publish({"c.fits": C}, "quay:a").files] == ["published"]
    assert not here.server.requests, "this machine has proven it, and noted that"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    (tmp_path / "another machine" / "astropy").mkdir(parents=True)
    (here.public / "c.fits").write_bytes(b"x" * len(C))
    with pytest.raises(Conflict, match="c.fits: the host has another file under this name"):
        case.publish({"c.fits": C}, "quay:a")
    (here.public / "c.fits").write_bytes(C)
    actions = [case.publish({"c.fits": C}, "quay:a").files[0] for _ in range(2)]
    assert [(file.action, file.proven, file.sent) for file in actions] == [
        ("hosted", True, False),
        ("published", True, False),
    ]


def test_a_plan_lists_what_would_be_done(case, quay):
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


def test_where_it_will_be_is_known_before_or_after_the_upload(case, quay):
    here = quay("a")
    here.going_wrong["upload"] = lambda name: setattr(here, "declares", here.server.url)
    assert plan(case.files(FILES), "quay:a", case.registry, progress=False).hosts[0].declared == "quay:a"
    assert case.publish().as_json()["hosts"][0]["declared"] == here.server.url


def refuse(name):
    raise PublishError("quay:a", "it is closed")


def test_problems_of_files_and_of_hosts_are_reported_together(case, quay):
    quay("a").going_wrong["rights"] = refuse
    planned = plan(case.files({"../up.fits": C, "c.fits": C}), "quay:a", case.registry, progress=False)
    with pytest.raises(PublishErrors, match="2 problems") as caught:
        planned.check()
    assert [type(error) for error in caught.value.exceptions] == [BadName, PublishError]
    assert Outcome(planned).as_json()["hosts"][0]["declared"] is None


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
    assert [file.action for file in outcome.files] == ["hosted"] * 3
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
    with pytest.raises(NeedsNetwork, match="publishing needs the network:\n  quay:a: not asked: DATAFERRY_OFFLINE=1"):
        case.publish()
    assert not here.done


@pytest.mark.parametrize(
    ("files", "to", "problem"),
    [
        ({}, "quay:a", "there is nothing to publish"),
        (FILES, [], "no host is given to publish to"),
        (FILES, "nosuch:x", "no host is installed for nosuch:"),
        (FILES, "nonsense", "no host is installed for 'nonsense'"),
    ],
)
def test_nothing_to_do_or_nowhere_to_go(case, quay, files, to, problem):
    quay()
    with pytest.raises(BadName, match=problem):
        case.publish(files, to)


def test_a_host_that_cannot_be_published_to(case):
    with pytest.raises(PublishError, match="but not publish to it"):
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
    for part in Path(os.environ["XDG_CACHE_HOME"], "astropy").iterdir():  # astropy 7 makes a link of the folder
        shutil.rmtree(part)
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
