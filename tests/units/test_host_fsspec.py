"""What no server here does: two uploads that make one folder in the same moment."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_uploads_that_make_the_same_folders(tmp_path: Path) -> None:
    """An SFTP server says only "Failure" of a folder that another upload has made between look and mkdir."""
    from dataferry.hosts.fsspec import _make_folder

    class Racing:
        def __init__(self) -> None:
            self.made = 0

        def makedirs(self, path: str, exist_ok: bool) -> None:
            self.made += 1
            if self.made < 3:
                raise OSError("Failure")

        def isdir(self, path: str) -> bool:
            return False

    racing = Racing()
    _make_folder(racing, "/data/v1/maps")
    assert racing.made == 3
    racing.made = -9
    with pytest.raises(OSError, match="Failure"):
        _make_folder(racing, "/data/v1/maps")
