"""The examples in these pages run as tests: ``mypkg`` is ``examples/mypkg``, ``dataurl`` a server that has its data."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataferry.testing import RangeServer

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "mypkg"


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RangeServer]:
    """A web server on loopback with all data of mypkg."""
    folder = tmp_path_factory.mktemp("portal")
    runpy.run_path(str(EXAMPLE / "tools" / "make_data.py"))["main"](folder)
    with RangeServer(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def example(
    portal: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doctest_namespace: dict[str, object]
) -> None:
    """Let a page import mypkg, and run in an empty folder."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.chdir(tmp_path)
    doctest_namespace["dataurl"] = portal.url
