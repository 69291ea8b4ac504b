"""The order of hosts: as declared, or by how fast they were."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dataferry import PackageData
from dataferry.errors import SettingsError
from dataferry.testing import RangeServer, Trickle

FILES = {f"map{number}.fits": os.urandom(600_000) for number in range(4)}


def config(home: Path, text: str) -> None:
    (home / ".config" / "dataferry").mkdir(exist_ok=True)
    (home / ".config" / "dataferry" / "config.toml").write_text(text)


@pytest.mark.parametrize(("order", "from_fast"), [("declared", False), ("speed", True)])
def test_order(make_package: Callable[..., str], home: Path, order: str, from_fast: bool) -> None:
    config(home, f'order = "{order}"\n')
    with RangeServer(FILES) as slow, RangeServer(FILES) as fast:
        slow.fault("*", Trickle(2_000_000))
        package = make_package(FILES, head=f'dataurl = "{slow.url}"\nmirrors = ["{fast.url}"]')
        for name in ("map0.fits", "map1.fits"):  # each host is measured once
            PackageData(package, show_progress=False).get(name)
        slow.forget()
        fast.forget()
        data = PackageData(package, show_progress=False)
        for name in ("map2.fits", "map3.fits"):
            assert Path(data.get(name)).read_bytes() == FILES[name]
        assert (fast.requests[:1] != []) is from_fast
        assert (slow.requests == []) is from_fast


def test_a_broken_note_and_a_wrong_setting(make_package: Callable[..., str], home: Path) -> None:
    config(home, 'order = "speed"\n')
    with RangeServer(FILES) as server:
        package = make_package(FILES, head=f'dataurl = "{server.url}"')
        data = PackageData(package, show_progress=False)
        data.get("map0.fits")
        (note,) = home.rglob("speeds.json")
        note.write_text("[nonsense")
        data.get("map1.fits")
        assert server.url in note.read_text()
    config(home, 'order = "random"\n')
    with pytest.raises(SettingsError, match="order is"):
        PackageData(package).get("map2.fits")
