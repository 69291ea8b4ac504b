"""The publish engine: what goes wrong on the way, at the hosts and here."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from importlib.metadata import version

import pytest
from dataferry_test_servers.quay import FILES, QUAYS, C

from dataferry.errors import (
    DataferryError,
    PublishError,
    PublishErrors,
    TransferError,
    WrongBytes,
)
from dataferry.publish import publish
from dataferry.registry import Registry


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
    assert "users do not get it" in str(caught.value)
    assert not case.registry.exists()
    assert here.done["stored"] == 3


def test_one_file_that_fails_does_not_keep_the_others(case, quay):
    here = quay()
    here.going_wrong["upload"] = lambda name: gone(name) if name == "c.fits" else None
    with pytest.raises(TransferError, match="the connection was reset"):
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
    with pytest.raises(PublishError, match=r"c\.fits.*users do not get it"):
        case.publish()
    assert "c.fits" not in Registry(case.registry).names()


def test_files_are_fetched_back_without_the_login_of_the_author(case, quay, home):
    here = quay(basic=("ann", "secret"), bearer="tok-secret")
    host = here.server.url.split("/")[2]
    (home / ".netrc").write_text(f"machine {host.partition(':')[0]} login ann password secret\n")
    (home / ".config" / "dataferry").mkdir()
    (home / ".config" / "dataferry" / "config.toml").write_text(f'[hosts."{host}"]\ntoken = "tok-secret"\n')
    with pytest.raises(PublishErrors) as caught:
        case.publish()
    assert "users do not get it" in str(caught.value)
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
    with pytest.raises(PublishError, match=r"users do not get it: http://\S+/c\.fits: .*404") as caught:
        case.publish(wait=0.6)
    assert "Once everybody may read it, the same command proves and registers it" in str(caught.value)
    assert time.monotonic() - began < 60
    assert sorted(Registry(case.registry).names()) == ["maps/a.fits", "maps/b.fits"]


def test_two_runs_at_once_upload_each_file_once(case, quay, caplog):
    caplog.set_level(logging.WARNING)
    here = quay()
    started, hosted = threading.Event(), threading.Event()
    here.going_wrong["begin"] = lambda name: (started.set(), hosted.wait(20))
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
    hosted.set()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert here.done["stored"] == 3
    assert case.got() == FILES


@pytest.mark.skipif(version("astropy").startswith("7."), reason="astropy 7 does not know ASTROPY_CACHE_DIR")
def test_no_space_to_fetch_back(case, quay, need, monkeypatch, tmp_path):
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
