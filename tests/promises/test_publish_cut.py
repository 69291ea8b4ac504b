"""The network goes for good at each step of a publication, and comes back for the next run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataferry import PackageData
from dataferry.errors import DataferryError
from dataferry.publish import publish

FILES = {"maps/a.fits": os.urandom(2_000_000), "maps/b.fits": b"b" * 300, "c.fits": b"c" * 70_000}
STEPS = {
    "rights": (b"DELETE ", 1, False),
    "what is there": (b"HEAD ", 2, False),
    "an upload": (b"PUT ", 2, False),
    "the end of an upload": (b"PUT ", 2, True),
    "a name is given": (b"MOVE ", 2, False),
    "a name was given": (b"MOVE ", 2, True),
    "all names were given": (b"MOVE ", 3, True),
    "a file is fetched back": (b"GET ", 1, False),
    "a file was fetched back": (b"GET ", 2, True),
}


@pytest.mark.parametrize("step", STEPS)
def test_the_network_goes_at(webdav, mark_link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setenv("WEBDAV_TOKEN", "tok-5up3r53cr3t")
    monkeypatch.setattr("dataferry.hosts.api_client.FIRST_PAUSE", 0.01)
    paths = {name: tmp_path / name.replace("/", "-") for name in FILES}
    for name, path in paths.items():
        path.write_bytes(FILES[name])
    registry = tmp_path / "mypkg" / "data" / "dataferry.toml"
    with webdav() as dav:
        link = mark_link(dav.server.port)
        link.cut_at(*STEPS[step])
        with pytest.raises(DataferryError) as caught:
            publish(paths, f"webdav:{link.url}", registry, progress=False)
        assert link.cut.is_set()
        assert f"127.0.0.1:{link.port}" in str(caught.value)
        if registry.exists():  # what came back before the cut may be registered, and users get it
            link.mend()
            data = PackageData("mypkg", registry=registry, show_progress=False)
            assert 0 < len(data.names()) < len(FILES)
            assert [Path(path).read_bytes() for path in data.fetch(data.names())] == [FILES[n] for n in data.names()]
        link.mend()
        publish(paths, f"webdav:{link.url}", registry, progress=False)
        assert dav.stored() == len(FILES)
        assert dav.files() == FILES
        data = PackageData("mypkg", registry=registry, show_progress=False)
        assert {n: Path(p).read_bytes() for n, p in zip(FILES, data.fetch(list(FILES)), strict=True)} == FILES
