"""What a notebook shows for the objects that people look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataferry_test_servers.downloads import Make

from dataferry import PackageData, maps

FILES = {f"maps/{number:02}.<dat>": bytes(100) for number in range(70)}


def test_the_registry_is_a_table(make_package: Make) -> None:
    package = make_package(FILES)
    html = PackageData(package).registry._repr_html_()
    assert html.startswith(f"<b>{package}</b> (70 files, ")
    assert html.count("<tr>") == 52  # a long one is cut
    assert "maps/00.&lt;dat&gt;" in html and "and 20 more" in html and "<dat>" not in html


def test_where_is_a_table(make_package: Make) -> None:
    html = PackageData(make_package(FILES), show_progress=False).where("maps/00.<dat>")._repr_html_()
    assert html.count("<table>") == 1 and "maps/00.&lt;dat&gt;" in html and "<dat>" not in html


def test_the_summary_of_a_map_has_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    maps.write_map("<i>.fits", np.zeros(12))
    text = maps.info("<i>.fits")
    assert text._repr_html_() == "<pre>" + str(text).replace("<i>", "&lt;i&gt;") + "</pre>"  # type: ignore[attr-defined]
    assert text.count("\n") > 2
