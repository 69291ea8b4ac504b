"""``docs/troubleshooting.rst`` shows the errors as they are: each is made here as a user meets it, and compared."""

from __future__ import annotations

import re
import socket
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataferry import PackageData, maps
from dataferry.testing import (
    Fault,
    FlippedByte,
    GzipEncoding,
    LfsPointer,
    LoginPage,
    NeverAnswers,
    RangeServer,
    Status,
    Trickle,
)

NAME = "maps/dust_064.fits"
CONTENT = b"SIMPLE  =" + bytes(5751)
SECTION = re.compile(r"^\.\. _error-([\w-]+):\n", re.MULTILINE)
TEXT = re.compile(r"^\.\. code-block:: text\n\n((?:    .*\n|\n)+)", re.MULTILINE)


class Scene:
    """A package, a server, a home, and the ways to ask for the file."""

    def __init__(
        self, server: RangeServer, make_package: Any, command: Any, home: Path, patch: Any, folder: Path
    ) -> None:
        self.server, self.make_package, self.command = server, make_package, command
        self.home, self.patch, self.folder = home, patch, folder

    def package(self, head: str = "", files: dict[str, bytes] | None = None, **options: Any) -> str:
        head = head or f'dataurl = "{self.server.url}"\ntimeout = 1\nstrict = true\n'
        return self.make_package(files or {NAME: CONTENT}, {}, head, **options)

    def get(self, package: str = "", name: str = NAME, **options: Any) -> str:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # the page is compared
            PackageData(package or self.package(), show_progress=False).get(name, **options)
        return f"{type(caught.value).__module__}.{type(caught.value).__qualname__}: {caught.value}"

    def with_fault(self, fault: Fault, **options: Any) -> str:
        self.server.fault("*", fault)
        return self.get(**options)

    def run(self, *words: Any) -> str:
        result = self.command(*words)
        assert result.exit_code != 0
        return result.stderr

    def config(self, text: str) -> None:
        path = self.home / ".config" / "dataferry" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def unavailable(scene: Scene) -> str:
    return scene.with_fault(Status(404))


def offline(scene: Scene) -> str:
    scene.patch.setenv("DATAFERRY_OFFLINE", "1")
    return scene.get()


def unknown(scene: Scene) -> str:
    return scene.get(name="maps/dust_64.fits")


def other_bytes(scene: Scene) -> str:
    return scene.with_fault(FlippedByte())


def html(scene: Scene) -> str:
    return scene.with_fault(LoginPage())


def lfs(scene: Scene) -> str:
    return scene.with_fault(LfsPointer())


def gzip(scene: Scene) -> str:
    return scene.with_fault(GzipEncoding())


def refused(scene: Scene) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return scene.get(scene.package(f'dataurl = "http://127.0.0.1:{port}/"\n'))


def stalled(scene: Scene) -> str:
    return scene.with_fault(NeverAnswers())


def deadline(scene: Scene) -> str:
    return scene.with_fault(Trickle(rate=500), deadline=1.5)


def certificate(scene: Scene) -> str:
    with RangeServer({NAME: CONTENT}, tls="good") as server:
        return scene.get(scene.package(f'dataurl = "{server.url}"\n'))


def proxy(scene: Scene) -> str:
    text = scene.get(scene.package('dataurl = "http://portal.example.org/mypkg-data/"\n'))
    return text.replace("http://127.0.0.1:9/", "http://proxy.example.org:3128/")


def busy(scene: Scene) -> str:
    return scene.with_fault(Status(429, 7200.0), deadline=1)


def denied(scene: Scene) -> str:
    return scene.with_fault(Status(403))


def no_cache(scene: Scene) -> str:
    blocker = scene.folder / "file"
    blocker.touch()
    scene.patch.delenv("XDG_CACHE_HOME")
    scene.patch.setenv("HOME", str(blocker))
    scene.patch.setenv("TMPDIR", str(blocker))
    return scene.run("get", scene.package(), NAME)


def no_package(scene: Scene) -> str:
    return scene.get("mypackage")


def wrong_key(scene: Scene) -> str:
    return scene.get(scene.package('dataurl = "https://portal.example.org/x/"\nmirror = ["https://m.example.org/"]\n'))


def wrong_config(scene: Scene) -> str:
    scene.config('[packages.mypkg]\nfolder = ["/data/mypkg"]\n')
    return scene.get()


def bad_name(scene: Scene) -> str:
    return scene.get(name="../secret.fits")


def registered_otherwise(scene: Scene) -> str:
    package = scene.package()
    (scene.folder / "dust_064.fits").write_bytes(b"other bytes")
    return scene.run("add", package, scene.folder / "dust_064.fits", "--as", NAME)


def no_token(scene: Scene) -> str:
    package = scene.package()
    (scene.folder / "new.fits").write_bytes(CONTENT)
    scene.patch.setenv("PATH", "/usr/bin:/bin")
    return scene.run("publish", scene.folder / "new.fits", "--to", "zenodo:new", "--package", package)


def wrong_unit(scene: Scene) -> str:
    path = maps.write_map(scene.folder / "dust.fits", np.zeros(12 * 16**2, "f4"), unit="uK_RJ")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the page is compared
        maps.read_map(path, unit="K")
    return f"dataferry.errors.{type(caught.value).__qualname__}: {caught.value}"


def in_a_folder(scene: Scene) -> str:
    folder = scene.folder / "my-data" / "maps"
    folder.mkdir(parents=True)
    (folder / "dust_064.fits").write_bytes(bytes(len(CONTENT)))
    return str(PackageData(scene.package(), folders=[folder.parent], show_progress=False).where(NAME))


SCENES: dict[str, Callable[[Scene], str]] = {
    "not-found": unavailable,
    "offline": offline,
    "unknown-name": unknown,
    "wrong-bytes": other_bytes,
    "html": html,
    "lfs-pointer": lfs,
    "encoded": gzip,
    "deadline": deadline,
    "certificate": certificate,
    "rate-limit": busy,
    "denied": denied,
    "no-cache": no_cache,
    "no-package": no_package,
    "registry": wrong_key,
    "config": wrong_config,
    "bad-name": bad_name,
    "other-bytes-registered": registered_otherwise,
    "no-token": no_token,
    "wrong-unit": wrong_unit,
    "skipped-folder": in_a_folder,
}

#: These wait for several attempts, so they run side by side.
SLOW: dict[str, Callable[[Scene], str]] = {"connection-refused": refused, "stalled": stalled, "proxy": proxy}


@pytest.fixture
def scene(
    make_package: Any, command: Any, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Scene]:
    with RangeServer({NAME: CONTENT}) as server:
        yield Scene(server, make_package, command, home, monkeypatch, tmp_path)


def as_on_the_page(text: str, folder: Path, home: Path) -> str:
    """An error with the names of the page in the place of those of the test."""
    text = re.sub(rf"{re.escape(str(folder))}/packages/made_\w+", "/.../mypkg", text.rstrip())
    text = re.sub(r"made_\w+", "mypkg", text)
    text = re.sub(r"https?://127\.0\.0\.1:\d+/", "https://portal.example.org/mypkg-data/", text)
    text = re.sub(rf"{re.escape(str(home))}|{re.escape(str(folder))}", "/...", text)
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def compare(repository: Path, error: str, got: str, write: bool) -> None:
    path = repository / "docs" / "troubleshooting.rst"
    page = path.read_text(encoding="utf-8")
    section = SECTION.split(page)
    block = TEXT.search(section[section.index(error) + 1])
    assert block is not None
    if write:  # for whoever changes a message: DATAFERRY_WRITE_PAGES=1 writes it into the page
        label = f"_error-{error}:\n\n.. code-block:: text\n\n"
        path.write_text(
            page.replace(f"{label}{block[1]}", f"{label}{textwrap.indent(got, '    ')}\n\n"), encoding="utf-8"
        )
    else:
        assert squeezed(textwrap.dedent(block[1])) == squeezed(got)


@pytest.mark.parametrize("error", SCENES)
def test_the_page_has_the_error(
    repository: Path, scene: Scene, error: str, home: Path, tmp_path: Path, real_environ: dict[str, str]
) -> None:
    got = as_on_the_page(SCENES[error](scene), tmp_path, home)
    compare(repository, error, got, "DATAFERRY_WRITE_PAGES" in real_environ)


def test_the_page_has_the_slow_errors(
    repository: Path, scene: Scene, home: Path, tmp_path: Path, real_environ: dict[str, str]
) -> None:
    for variable, value in {"HTTP_PROXY": "http://127.0.0.1:9/", "NO_PROXY": "127.0.0.1"}.items():
        scene.patch.setenv(variable, value)
    with ThreadPoolExecutor(len(SLOW)) as pool:
        texts = dict(zip(SLOW, pool.map(lambda make: make(scene), SLOW.values()), strict=True))
    for error, text in texts.items():
        compare(repository, error, as_on_the_page(text, tmp_path, home), "DATAFERRY_WRITE_PAGES" in real_environ)


def test_every_error_of_the_page_is_made_here(repository: Path) -> None:
    page = (repository / "docs" / "troubleshooting.rst").read_text(encoding="utf-8")
    assert set(SECTION.findall(page)) == {*SCENES, *SLOW}
    assert len({*SCENES, *SLOW}) >= 20
