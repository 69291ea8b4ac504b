"""The publish engine: faults that authors met, each with its smallest input."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
from dataferry_test_servers.quay import FILES, C

from dataferry.errors import Conflict, PublishError, PublishErrors, WrongBytes
from dataferry.publish import plan, publish
from dataferry.registry import Registry
from dataferry.testing import RangeServer

# -- damaged copies of registered files --------------------------------------------------------------------------------


@pytest.mark.parametrize("tells", [(), ("sha256",)], ids=["size alone", "sha256"])
def test_a_damaged_copy_of_a_registered_file_is_repaired(case, quay, tells):
    here = quay()
    here.tells, here.repairs = tells, True
    case.publish()
    (here.public / "c.fits").write_bytes(C[:-1] + b"x")
    if tells:
        with pytest.raises(Conflict, match=r"c\.fits: the host has another file.*\n.*--repair replaces it") as caught:
            case.publish()
        assert "give the new ones another name" not in str(caught.value)
    dry = plan(case.files(FILES), "quay:a", case.registry, repair=True, progress=False)
    assert [step.action for _, step in dry if step.action not in {"published", "hosted"}] == ["repair"]
    assert not here.done["discard"]
    text = case.registry.read_text()
    outcome = case.publish(repair=True)
    assert [(file.name, file.proven) for file in outcome.files if file.action == "repair"] == [("c.fits", True)]
    assert here.stored()["c.fits"] == C
    assert here.done["stored"] == 4, "only the damaged one goes again"
    assert case.registry.read_text() == text


def test_what_a_host_cannot_replace_is_reported_before_any_upload(case, quay):
    here = quay()
    case.publish()
    (here.public / "c.fits").write_bytes(C[:-1] + b"x")
    with pytest.raises(Conflict, match="the host's copy is damaged or was changed, and this kind of host cannot"):
        case.publish(repair=True)
    assert here.done["stored"] == 3


def test_repair_never_gives_a_published_name_other_bytes(case, quay):
    here = quay()
    here.repairs = True
    case.publish()
    with pytest.raises(Conflict, match="is registered with other bytes"):
        case.publish({"c.fits": b"new"}, repair=True)
    (here.public / "d.fits").write_bytes(b"theirs")
    with pytest.raises(Conflict, match="d.fits: the host has another file under this name"):
        case.publish({"d.fits": b"mine"}, repair=True)
    assert here.stored()["d.fits"] == b"theirs"


# -- what is taken along -----------------------------------------------------------------------------------------------


def test_a_special_file_is_refused_and_not_waited_for(case, quay):
    quay()
    os.mkfifo(case.folder / "fifo")
    (case.folder / "folder").mkdir()
    files = {**case.files(FILES), "fifo.fits": case.folder / "fifo", "folder.fits": case.folder / "folder"}
    with pytest.raises(PublishErrors) as caught:
        publish(files, "quay:a", case.registry, progress=False, dry_run=True)
    assert {str(error) for error in caught.value.exceptions} == {
        f"{case.folder}/fifo: not a regular file",
        f"{case.folder}/folder: not a regular file",
    }
    assert all(isinstance(error, WrongBytes) for error in caught.value.exceptions)


@pytest.mark.parametrize("spec", ["quay://ann:s3cret@a", "quay://ann@a", "quay:a?token=s3cret"])
def test_a_secret_in_a_declaration_is_found_by_the_dry_run(case, quay, spec):
    here = quay()
    quay("a?token=s3cret")
    with pytest.raises(PublishError, match="holds a user or a password") as caught:
        case.publish(to=spec, dry_run=True)
    assert "config.toml" in str(caught.value), "where a login belongs"
    assert "s3cret" not in str(caught.value)
    assert not here.done


# -- waits and the log -------------------------------------------------------------------------------------------------


def late(here, tmp_path: Path):
    """Serve the files a second after they arrived."""
    away = tmp_path / "away"

    def serve(name: str) -> None:
        here.public.rename(away)
        here.public.mkdir()
        threading.Timer(1.0, lambda: (here.public.rmdir(), away.rename(here.public))).start()

    here.going_wrong["finish"], here.seconds = serve, 50.0


def test_a_long_wait_is_announced_with_its_reason_and_its_limit(case, quay, tmp_path, capsys):
    late(quay(), tmp_path)
    publish(case.files(FILES), "quay:a", case.registry)
    err = capsys.readouterr().err
    assert err.count("quay:a: waiting up to 50 s until users get 3 of 3 files") == 1


def test_without_progress_it_is_in_the_log(case, quay, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    late(quay(), tmp_path)
    case.publish()
    assert "quay:a: waiting up to 50 s until users get 3 of 3 files" in caplog.text
    assert capsys.readouterr().err == ""


def test_the_log_has_requests_and_decisions_and_no_secret(command, webdav, tmp_path, monkeypatch):
    monkeypatch.setenv("WEBDAV_TOKEN", "tok-5up3r53cr3t")
    (tmp_path / "mypkg" / "data").mkdir(parents=True)
    (tmp_path / "hosted").mkdir()
    (tmp_path / "hosted" / "a.fits").write_bytes(b"a" * 5000)
    with webdav() as dav:
        words = ["publish", tmp_path / "hosted", "--to", dav.spec, "--package", tmp_path / "mypkg" / "data"]
        done = command("-vv", *words)
        assert done.exit_code == 0
        again = command("-vv", *words)
        quiet = command("--quiet", *words)
    assert f"PUT {dav.server.url}" in done.stderr
    assert f"debug: {dav.spec}: a.fits: upload\n" in done.stderr
    assert f"debug: {dav.spec}: a.fits: uploading 5000 bytes\n" in done.stderr
    assert f"debug: {dav.spec}: a.fits: published\n" in again.stderr
    assert "5up3r" not in done.output + again.output + done.stderr + again.stderr
    assert (quiet.exit_code, quiet.stderr) == (0, "")


# -- versions ----------------------------------------------------------------------------------------------------------


def test_the_line_of_a_new_version_comes_before_those_of_old_ones(case, quay):
    """Users of the new registry would download the old bytes first, and refuse them."""
    for name in ("a", "b"):
        made = quay(name)
        made.versions, made.locator, made.series = True, "quay", "one repository"
    case.publish(to="quay:a")
    case.publish({"c.fits": b"new"}, "quay:b", new_version=True)
    assert Registry(case.registry).mirrors == ("quay:b", "quay:a")
    assert case.got()["c.fits"] == b"new"


def test_a_registered_file_that_is_bundled(command, make_package):
    """The seed of most packages: small files in the package, large ones at a host."""
    with RangeServer({"maps/large.fits": b"l" * 5000}) as server:
        package = make_package({"maps/large.fits": b"l" * 5000}, {"small.txt": b"s"}, f'dataurl = "{server.url}"\n')
        done = command("check", package, "--all")
        assert done.exit_code == 0
        assert "bundled    small.txt: part of the package" in done.stdout
        assert done.stderr == f"{server.url}: 1 proven, 1 bundled of 2\n"
        deep = command("check", package, "--deep", "--json")
        assert (deep.exit_code, '"state": "bundled"' in deep.stdout) == (0, True)


def test_each_release_has_its_own_files(case, quay, command):
    """Releases divide a data set among them: what another one has is not missing, what none has is."""
    made = {name: quay(name) for name in "ab"}
    for here in made.values():
        here.series = "one repository"
    case.publish({"c.fits": C}, "quay:a")
    case.publish({"maps/a.fits": FILES["maps/a.fits"]}, "quay:b")
    words = ["check", "mypkg", "--registry", case.registry, "--all"]
    done = command(*words)
    assert done.exit_code == 0, done.stdout
    assert "elsewhere  maps/a.fits: quay:b has it\n" in done.stdout
    assert "elsewhere  c.fits: quay:a has it\n" in done.stdout
    (made["b"].public / "maps" / "a.fits").unlink()
    done = command(*words)
    assert done.exit_code == 1
    assert done.stdout.count("bad        maps/a.fits: answered 404") == 2
