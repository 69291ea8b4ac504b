"""Caches that containers and other users share, and settings that cannot be read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import DATA, MB, NAME, Make, cache, on_disk, package_at, sent, start, until
from dataferry_test_servers.gate import Gate

from dataferry import PackageData
from dataferry.errors import FetchErrors, FileUnavailable
from dataferry.testing import Cut, OtherFile, RangeServer, Status


def test_two_containers_share_a_cache(make_package: Make, need: Any) -> None:
    """Both have the same process numbers and host name: neither says who is alive."""
    need("unshare")
    need.that("namespaces", os.geteuid() == 0, "only root makes a namespace of processes")
    container = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    with RangeServer({NAME: DATA}) as server:
        gate = Gate(8 * MB)
        server.fault("*", gate)
        package = package_at(make_package, server)
        first = start(package, *container)
        until(lambda: gate.passed >= 7 * MB and on_disk() >= 6 * MB, first)
        second, third = start(package, *container), start(package, *container)
        gate.open()
        for process in (first, second, third):
            out, err = process.communicate(timeout=100)
            assert process.returncode == 0, err
            assert Path(out.decode().strip()).read_bytes() == DATA
        assert sent(server) < 1.5 * len(DATA)
    assert not list(cache().rglob("incoming/*/bytes"))


@pytest.fixture
def open_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache home to which the folders above let other users through, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        yield


@pytest.mark.usefixtures("open_cache")
def test_what_somebody_elses_process_left_is_not_in_the_way(make_package: Make, need: Any) -> None:
    """Somebody was cut as root; the partial file belongs to root, the cache to the user who comes next."""
    need("setpriv")
    need.that("another user", os.geteuid() == 0, "only root becomes another user")
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", Status(404))
        server.fault("*", Cut(after=3 * MB), first=1)
        package = package_at(make_package, server)
        with pytest.raises(FileUnavailable, match="are kept"):
            PackageData(package, show_progress=False).get(NAME)
        [left] = [path.parent for path in cache().rglob("incoming/*/bytes")]
        for path in (cache(), *cache().rglob("*")):
            if left not in (path, *path.parents):
                os.chown(path, 54321, 54321)
        server.heal()
        # who may read this interpreter wherever it lies, and write nothing of root's
        read = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        user = ("setpriv", "--reuid=54321", "--clear-groups", *read)
        for _ in range(2):
            process = start(package, *user)
            out, err = process.communicate(timeout=100)
            assert process.returncode == 0, err
            assert Path(out.decode().strip()).read_bytes() == DATA
    assert left.stat().st_uid == 0


def test_each_wrong_file_has_its_own_reason(make_package: Make) -> None:
    files = {f"{number}.bin": bytes([number]) * 1000 for number in range(12)}
    with RangeServer(files) as server:
        server.fault("*", OtherFile())
        data = PackageData(make_package(files, head=f'dataurl = "{server.url}"'), show_progress=False)
        for name in files:
            with pytest.raises(FileUnavailable, match="sha256 is not the registered one") as caught:
                data.get(name)
            assert name in caught.value.failures[-1].place
        with pytest.raises(FetchErrors) as several:
            data.fetch()
        reasons = {failure.reason for error in several.value.exceptions for failure in error.failures[-1:]}
        assert len(reasons) == 1 and "sha256" in reasons.pop()


def test_a_netrc_that_cannot_be_parsed_is_named(home: Path, make_package: Make) -> None:
    (home / ".netrc").write_text("machine 127.0.0.1 login ann password s3cret\nmachin typo.example login x\n")
    (home / ".netrc").chmod(0o600)
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", Status(401))
        process = start(package_at(make_package, server))
        _, err = process.communicate(timeout=100)
        assert process.returncode == 1, err
        assert f"{home}/.netrc: line 2" in err.decode() and "no login in this file is used" in err.decode()
        assert b"s3cret" not in err
