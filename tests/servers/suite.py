"""A test suite of a package with data, run by pytest in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from dataferry.testing import RangeServer

from .fork_server import ForkServer

__all__ = ["Ran", "Suite", "forks", "suite"]


#: Names under which the plugins are registered.
_POINTS = {
    "dataferry": "dataferry",
    "xdist": "xdist",
    "doctestplus": "pytest_doctestplus",
    "remotedata": "pytest_remotedata",
}


@dataclass
class Ran:
    """What a run of pytest left."""

    code: int
    text: str
    counts: dict[str, int]
    report: dict[str, Any]
    requests: dict[str, int]


class Suite:
    """A package ``mypkg`` with four files at a server, and its tests."""

    def __init__(self, folder: Path, server: RangeServer, served: dict[str, bytes], forks: ForkServer | None) -> None:
        self.folder, self.server, self.served, self.forks = folder, server, served, forks
        self.write("pytest.ini", "[pytest]\npythonpath = .\ndataferry_package = mypkg\n")
        self.write("mypkg/__init__.py", "")
        self.files = {f"maps/{name}.dat": name.encode() * 1000 for name in "abcd"}
        self.serve(self.files)
        self.declare(self.files)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def serve(self, files: Mapping[str, bytes]) -> None:
        self.served.clear()
        self.served.update(files)

    def declare(self, files: Mapping[str, bytes], package: str = "mypkg", head: str = "") -> None:
        lines = [f'dataurl = "{self.server.url}"\n{head}\n']
        for name, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            lines.append(f'[files."{name}"]\nsize = {len(content)}\nsha256 = "{digest}"\n')
        self.write(f"{package}/data/dataferry.toml", "\n".join(lines))

    def python(
        self, module: str, *args: str, env: Mapping[str, str] = {}, cwd: Path | None = None, fresh: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -m``; `fresh` for a Python that has imported nothing, and is started with its variables."""
        env, cwd = {**os.environ, **env}, cwd or self.folder
        env.pop("TOX_ENV_DIR", None)  # in it pytest keeps the last failures, of all suites that run at the same time
        if self.forks is not None and not fresh:
            return self.forks.run(module, *args, cwd=cwd, env=env)
        command = [sys.executable, "-m", module, *args]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)

    def run(
        self,
        *args: str,
        remotedata: bool = False,
        env: Mapping[str, str] = {},
        cwd: Path | None = None,
        fresh: bool = False,
    ) -> Ran:
        """Run pytest; see `python`."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        self.server.forget()
        # only the plugins that a test is about: most of the time of a run is their import
        wanted = {"xdist": "-n" in args, "doctestplus": "--doctest-plus" in args, "remotedata": remotedata}
        plugins = [word for name in ["dataferry", *filter(wanted.get, wanted)] for word in ("-p", _POINTS[name])]
        words = ["-rsfE", *plugins, f"--dataferry-report={report}", *args]
        env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "", **env}
        done = self.python("pytest", *words, env=env, cwd=cwd, fresh=fresh)
        text = done.stdout + done.stderr
        last = next((line for line in reversed(done.stdout.splitlines()) if " in " in line), "")
        found = re.findall(r"(\d+) (passed|failed|skipped|error|deselected)", last)
        return Ran(
            done.returncode,
            text,
            {word: int(number) for number, word in found},
            json.loads(report.read_text()) if report.exists() else {},
            dict(Counter(request.name for request in self.server.requests)),
        )


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer | None]:
    """Forks of a Python that has imported what suites import; None where there is no fork."""
    if not hasattr(os, "fork"):
        yield None
        return
    server = ForkServer("pytest", "astropy.table", "astropy.utils.data", "pycurl")
    yield server
    server.close()


@pytest.fixture
def suite(tmp_path: Path, forks: ForkServer | None) -> Iterator[Suite]:
    """A suite of tests; its server stops with the test."""
    if not any(point.name == "dataferry" for point in entry_points(group="pytest11")):
        pytest.fail("the plugin is not registered: install dataferry again")
    served: dict[str, bytes] = {}
    with RangeServer(served) as server:
        (tmp_path / "suite").mkdir()
        yield Suite(tmp_path / "suite", server, served, forks)
