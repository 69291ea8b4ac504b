"""Scratch environments: the released package from the index, its tests, and measured runs of it."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from port import Port
from tree import Tree

from dataferry import retrieve

REPOSITORY = Path(__file__).resolve().parents[2]
TIMED = """
import json, time
start = time.process_time(), time.perf_counter()
{imports}
imported = time.process_time(), time.perf_counter()
{first}
got = time.process_time(), time.perf_counter()
print(json.dumps([imported[0] - start[0], got[0] - imported[0], got[1] - imported[1]]))
"""


def uv(*arguments: str | Path, given: str | None = None) -> str:
    """Run uv, which is beside this Python or on the path."""
    program = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if program is None:
        raise SystemExit("uv is missing: pip install uv")
    done = subprocess.run([program, *arguments], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"uv {' '.join(map(str, arguments))}:\n{done.stderr}")
    return done.stdout


def source_archive(requirement: str, folder: Path) -> Path:
    """The released source archive, unpacked: many packages install no tests. Nothing is built."""
    lock = tomllib.loads(uv("pip", "compile", "-q", "--no-deps", "--format", "pylock.toml", "-", given=requirement))
    [package] = lock["packages"]
    archive = package["sdist"]
    path = retrieve(archive["url"], f"sha256:{archive['hashes']['sha256']}", progress=False)
    with tarfile.open(path) as file:
        file.extractall(folder, filter="data")
    [unpacked] = folder.iterdir()
    return unpacked


@dataclass(frozen=True)
class Environment:
    """One virtual environment with the package, and caches of its own."""

    root: Path
    port: Port

    @classmethod
    def create(cls, root: Path, port: Port, *, with_dataferry: bool) -> Environment:
        python = root / "bin" / "python"
        uv("venv", "-q", "--python", sys.executable, root)
        install = ("pip", "install", "-q", "--python", python)
        uv(*install, *(("--no-deps",) if port.without_dependencies else ()), port.requirement)
        uv(*install, "pytest", *port.also)
        if with_dataferry:
            uv(*install, "--reinstall-package", "dataferry", str(REPOSITORY))
        return cls(root, port)

    @property
    def site(self) -> Path:
        [site] = (self.root / "lib").glob("python*/site-packages")
        return site

    def tree(self) -> Tree:
        return Tree(self.site, self.port.package)

    def run(self, *command: str | Path, cache: Path, folder: Path, check: bool = True) -> str:
        """The output of one command that sees an empty cache, this machine, and no other network."""
        (cache / "astropy").mkdir(parents=True, exist_ok=True)
        env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        env |= {"HOME": str(cache), "XDG_CACHE_HOME": str(cache), "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore"}
        env.pop("PYTHONPATH", None)
        done = subprocess.run(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if check and done.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}:\n{done.stdout[-3000:]}")
        return done.stdout

    def dataferry(self, *arguments: str) -> None:
        with tempfile.TemporaryDirectory() as cache:
            self.run(self.root / "bin" / "dataferry", *arguments, cache=Path(cache), folder=self.site)

    def tests(self, source: Path) -> tuple[int, frozenset[str]]:
        """How many of the package's own tests pass, and which do not; some packages release none."""
        if not self.port.tests:
            return 0, frozenset()
        report = self.root / "report.xml"
        places = [
            str(self.site / name.removeprefix("site:")) if name.startswith("site:") else str(source / name)
            for name in self.port.tests
        ]
        options = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}", *self.port.pytest_options)
        with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as folder:
            python = self.root / "bin" / "python"
            output = self.run(
                python, "-m", "pytest", *options, *places, cache=Path(cache), folder=Path(folder), check=False
            )
        if not report.exists():
            raise SystemExit(f"{self.port.title}: the tests do not run:\n{output[-3000:]}")
        passed, failed = 0, set()
        for case in ET.parse(report).iter("testcase"):
            failure = next((found for kind in ("failure", "error") if (found := case.find(kind)) is not None), None)
            if failure is not None:
                module = str(case.get("classname")).rpartition("site-packages.")[2]
                reason = str(failure.get("message")).partition(":")[0].split()[0]  # the type of the exception
                failed.add(f"{module}::{case.get('name')}: {reason}")
            elif case.find("skipped") is None:
                passed += 1
        (self.root / "tests.txt").write_text(output, encoding="utf-8")
        return passed, frozenset(failed)

    def timed(self) -> list[float]:
        """CPU seconds of the import, CPU seconds of the first get, and its seconds; the cache is empty."""
        code = TIMED.format(imports=self.port.imports, first=self.port.first)
        with tempfile.TemporaryDirectory() as cache:
            output = self.run(self.root / "bin" / "python", "-c", code, cache=Path(cache), folder=Path(cache))
        seconds: list[float] = json.loads(output.splitlines()[-1])
        return seconds


def medians(environments: list[Environment], runs: int) -> list[list[float]]:
    """The medians of all of them, in turns: what else the machine does slows all alike."""
    for environment in environments:
        environment.timed()  # writes the byte code
    rounds = [[environment.timed() for environment in environments] for _ in range(runs)]
    return [[statistics.median(column) for column in zip(*each, strict=True)] for each in zip(*rounds, strict=True)]
