"""Archives of more members than any data set has, with a limit that a test can reach."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from dataferry.cache.archive import Limits, unpack
from dataferry.errors import ArchiveError


@pytest.mark.parametrize("limit", [29, 3], ids=["counted", "in the directory of a zip"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_of_too_many_members(tmp_path: Path, kind: str, limit: int) -> None:
    archive = tmp_path / "x"
    names = [f"{number:02}" for number in range(30)]
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name in names:
                packed.writestr(name, b"")
    else:
        with tarfile.open(archive, "w") as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(ArchiveError, match=f"more than {limit} members"):
        unpack(str(archive), str(tmp_path / "y"), limits=Limits(members=limit))
    unpack(str(archive), str(tmp_path / "y"), limits=Limits(members=30))
