"""``dataferry add --from HOST``: what a host has already becomes registered."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result

from dataferry import PackageData

DUST, BEAM = os.urandom(400_000), os.urandom(3000)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source tree of a package without data."""
    tree = tmp_path / "tree" / "adoptpkg"
    tree.mkdir(parents=True)
    (tree / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tree.parent))
    return tree


def test_a_published_folder_with_its_sha256sums(
    sources: Path, nginx: Callable[..., SimpleNamespace], command: Callable[..., Result], tmp_path: Path
) -> None:
    www = tmp_path / "www"
    (www / "maps").mkdir(parents=True)
    (www / "maps" / "dust.fits").write_bytes(DUST)
    (www / "beam.fits").write_bytes(BEAM)
    sums = {"maps/dust.fits": DUST, "beam.fits": BEAM}
    (www / "SHA256SUMS").write_text(
        "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sums.items())
    )
    server = nginx(www)
    done = command("add", sources, "--from", server.url)
    assert done.exit_code == 0, done.stderr
    assert "2 added, mirror declared (new file)" in done.stdout
    told = tomllib.loads((sources / "data" / "dataferry.toml").read_text())
    assert told["mirrors"] == [server.url]
    assert Path(PackageData("adoptpkg", show_progress=False).get("maps/dust.fits")).read_bytes() == DUST
    again = command("add", sources, "--from", server.url, "--only", "maps/*")
    assert "nothing to change" in again.stdout
    assert command("add", sources, "--from", server.url, "--only", "x*").exit_code == 2


def test_a_server_without_a_list(
    sources: Path, nginx: Callable[..., SimpleNamespace], command: Callable[..., Result], tmp_path: Path
) -> None:
    done = command("add", sources, "--from", nginx(tmp_path).url)
    assert done.exit_code == 1
    assert "SHA256SUMS" in done.stderr
    assert not (sources / "data").exists()
    assert command("--offline", "add", sources, "--from", "https://host.example/").exit_code == 3
