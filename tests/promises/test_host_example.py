"""A third party's host: ``examples/dataferry_webdav``, installed as anybody's package, against nginx."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import astropy
import pytest
from astropy.io import fits

from dataferry import PackageData
from dataferry.hosts import host_names, make_host
from dataferry.hosts.base import Host
from dataferry.testing import HostContract, PublishContract, RangeServer

TOKEN = "tok-5up3r53cr3t"


def test_it_is_known_once_it_is_installed(webdav_module: Path) -> None:
    assert "webdav" in host_names()
    assert type(make_host("webdav:https://h.example/x/")).__module__ == "dataferry_webdav"


class TestWebdavHost(HostContract):
    secrets: ClassVar = [("webdav:https://ann:s3cret@host.example/data/", "s3cret")]

    @pytest.fixture(autouse=True)
    def _installed(self, webdav_module: Path) -> None:
        pass

    def host_at(self, url: str) -> Host:
        return make_host(url if url.startswith("webdav:") else f"webdav:{url}")

    @contextmanager
    def serving(self, files: Mapping[str, bytes]) -> Iterator[Host]:
        with RangeServer(files) as server:
            yield self.host_at(server.url)


class TestPublishWebdav(PublishContract):
    secret = TOKEN

    @pytest.fixture(autouse=True)
    def _installed(self, webdav: Callable[..., Any]) -> None:
        self.webdav = webdav

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        with self.webdav() as self.dav, pytest.MonkeyPatch.context() as patch:
            patch.setenv("WEBDAV_TOKEN", TOKEN)
            yield self.dav.spec

    def writes(self) -> int:
        return sum(1 for _, _, status in self.dav.requests("PUT", "MOVE", "MKCOL", "DELETE") if status < 300)

    @contextmanager
    def without_rights(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WEBDAV_TOKEN", "tok-r34d3r")
            yield


def test_real_files_go_there_and_come_back(
    webdav: Callable[..., Any], command: Any, tmp_path: Path, monkeypatch
) -> None:
    """An author on an empty machine publishes three FITS files; a user with an empty cache gets them."""
    found = sorted(Path(astropy.__file__).parent.rglob("*.fits"))[:3]
    assert len(found) == 3
    registry = tmp_path / "mypkg" / "data" / "dataferry.toml"
    registry.parent.mkdir(parents=True)
    with webdav() as dav:
        with monkeypatch.context() as author:
            author.setenv("WEBDAV_TOKEN", TOKEN)
            result = command("publish", *found, "--prefix", "real", "--to", dav.spec, "--package", registry)
        assert result.exit_code == 0, result.stderr
        data = PackageData("mypkg", registry=registry, show_progress=False)
        for original in found:
            path = data.get(f"real/{original.name}")
            assert Path(path).read_bytes() == original.read_bytes()
            with fits.open(path) as hdus:
                assert len(hdus) > 0
