"""nginx as a WebDAV server: everybody reads, and who has the token writes."""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from .running import Running

TOKEN = "tok-5up3r53cr3t"
READER = "tok-r34d3r"


@dataclass
class Dav:
    """A WebDAV server with a folder."""

    server: Running
    folder: Path

    @property
    def spec(self) -> str:
        return f"webdav:{self.server.url}"

    def requests(self, *methods: str) -> list[tuple[str, str, int]]:
        """Method, path and status of what was asked, in order."""
        found = []
        for line in self.server.log.read_text().splitlines():
            method, uri, status, *_ = line.split(" ")
            if method in methods or not methods:
                found.append((method, uri, int(status)))
        return found

    def stored(self) -> int:
        """How many bodies the server has taken."""
        return sum(1 for _, _, status in self.requests("PUT") if status < 300)

    def files(self) -> dict[str, bytes]:
        """All files that are there, private ones too."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture(scope="session")
def webdav_installed(need: Any, repository: Path, once: Callable[..., Path], real_environ: dict[str, str]) -> Path:
    """Install the example ``dataferry_webdav`` into a folder, as a third party's package; once for a run."""

    def make(folder: Path) -> None:
        source = folder / "source"
        source.mkdir()
        for file in ("pyproject.toml", "dataferry_webdav.py", "README.rst"):
            (source / file).write_bytes((repository / "examples/dataferry_webdav" / file).read_bytes())
        # without isolation where setuptools is new enough, so that no index is needed
        isolated = not _has_setuptools(77)
        how = [] if isolated else ["--no-build-isolation"]
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", *how, "--target", folder / "site", source]
        done = subprocess.run(pip, env=real_environ, capture_output=True, text=True)
        unreachable = isolated and "No matching distribution" in done.stderr
        need.that("index", not unreachable, "the package index gives no setuptools to build with")
        if done.returncode:
            pytest.fail(done.stderr, pytrace=False)

    return once("example-webdav", make) / "site"


@pytest.fixture(scope="module")
def webdav_module(webdav_installed: Path) -> Iterator[Path]:
    """The folder where `webdav_installed` is; it is on the path."""
    hosts = importlib.import_module("dataferry.hosts")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(webdav_installed))
        old = os.environ.get("PYTHONPATH")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(webdav_installed), *([old] if old else [])]))
        _forget(hosts)
        yield webdav_installed
    sys.modules.pop("dataferry_webdav", None)
    _forget(hosts)


def _has_setuptools(major: int) -> bool:
    try:
        return int(metadata.version("setuptools").partition(".")[0]) >= major
    except metadata.PackageNotFoundError:
        return False


def _forget(hosts: Any) -> None:
    hosts._points.cache_clear()
    hosts.make_host.cache_clear()


@pytest.fixture(scope="module")
def webdav(
    nginx: Callable[..., Running], webdav_module: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """``with webdav(limit_rate="") as dav``: a WebDAV server on an empty folder."""

    @contextlib.contextmanager
    def serve(limit_rate: str = "", extra: str = "") -> Iterator[Dav]:
        folder = tmp_path_factory.mktemp("dav")
        folder.chmod(0o755)
        server = nginx(
            folder,
            limit_rate=limit_rate,
            extra=f"""
                client_max_body_size 0; dav_methods PUT DELETE MKCOL MOVE; dav_access user:rw all:r;
                set $may "w";
                if ($request_method ~ ^(GET|HEAD)$) {{ set $may "r"; }}
                if ($http_authorization = "Bearer {TOKEN}") {{ set $may "r"; }}
                if ($http_authorization = "") {{ set $may "${{may}}-"; }}
                if ($may = "w-") {{ return 401; }}
                if ($may = "w") {{ return 403; }}
                {extra}
            """,
        )
        try:
            yield Dav(server, folder)
        finally:
            server.stop()

    return serve
