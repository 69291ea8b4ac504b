"""Stamps of verified files: the ledgers on the disk do not grow for ever."""

from __future__ import annotations

from pathlib import Path

from dataferry.cache.stamps import Stamps
from dataferry.files import Stamp


def test_a_ledger_keeps_the_last_stamp_of_each_file_and_is_bounded(tmp_path: Path) -> None:
    writer, reader, sha256 = Stamps(str(tmp_path)), Stamps(str(tmp_path)), "a" * 64
    keys = [f"{number:032x}" for number in range(32_000)]
    for turn in range(12):
        assert writer.keep({key: Stamp(1, turn, turn, 1, sha256) for key in keys})
        assert reader.read(keys[0]) == Stamp(1, turn, turn, 1, sha256)
    writer.forget(keys[:1])
    assert writer.keep({"0" * 31 + "x": Stamp(2, 2, 2, 2, sha256)})
    # twelve times the stamps are 48 MB
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 20_000_000
    for stamps in (writer, reader, Stamps(str(tmp_path))):
        assert stamps.read(keys[0]) is None
        assert all(stamps.read(key) == Stamp(1, 11, 11, 1, sha256) for key in keys[1:])
