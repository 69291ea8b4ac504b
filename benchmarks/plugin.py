"""The pytest plugin: requests and seconds of one suite, beside pytest-remotedata and pooch, and what the plugin costs.

Run with ``python benchmarks/plugin.py`` in an environment with ``pip install -e '.[test,bench]'``; everything
happens on loopback. The suite has 200 tests that need 40 files of 100 kB; the server answers after 50 ms.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from pathlib import Path

from dataferry.testing import RangeServer

FILES = {f"maps/f{n:02}.dat": hashlib.sha256(b"%d" % n).digest() * 3125 for n in range(40)}
PLUGIN = """
    import pytest
    params = [pytest.param(n, marks=pytest.mark.package_data(f"maps/f{n // 5:02}.dat")) for n in range(200)]
    @pytest.mark.parametrize("n", params)
    def test_one(n, data_path):
        assert data_path(f"maps/f{n // 5:02}.dat").stat().st_size == 100_000
"""
REMOTEDATA = """
    import os
    import pytest
    from astropy.utils.data import download_file
    @pytest.mark.remote_data
    @pytest.mark.parametrize("n", range(200))
    def test_one(n):
        path = download_file(f"URLmaps/f{n // 5:02}.dat", cache=True, show_progress=False)
        assert os.path.getsize(path) == 100_000
"""
POOCH = """
    import os
    import pytest
    import pooch
    DATA = pooch.create(os.environ["POOCH"], "URL", registry=REGISTRY)
    @pytest.mark.parametrize("n", range(200))
    def test_one(n):
        assert os.path.getsize(DATA.fetch(f"maps/f{n // 5:02}.dat")) == 100_000
"""


def run(folder: Path, *args: str, env: dict[str, str]) -> tuple[str, float]:
    """The last line of a run of pytest, and its seconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov", *args]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    last = next((line for line in reversed(done.stdout.splitlines()) if " in " in line), done.stdout + done.stderr)
    return re.sub(r" in .*", "", last.strip("= ")), time.perf_counter() - began


def suites(root: Path, server: RangeServer) -> None:
    """Requests and seconds of the suite in three ways, then of the plugin offline."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    data = root / "plugin/mypkg/data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    (data / "dataferry.toml").write_text(
        f'dataurl = "{server.url}"\n'
        + "".join(f'[files."{name}"]\nsize = 100000\nsha256 = "{digest}"\n' for name, digest in digests.items())
    )
    tests = {"plugin": PLUGIN, "remotedata": REMOTEDATA, "pooch": POOCH}
    options = {"plugin": ["-p", "no:remotedata"], "remotedata": ["--remote-data=any"], "pooch": ["-p", "no:remotedata"]}
    print(f"{'':<36} {'requests':>8} {'twice':>6} {'seconds':>8}  outcome")

    def row(label: str, which: str, *args: str, **env: str) -> None:
        server.forget()
        variables = {**os.environ, "XDG_CACHE_HOME": str(root / "cache"), "POOCH": str(root / "pooch"), **env}
        outcome, seconds = run(root / which, *options[which], *args, env=variables)
        asked = Counter(request.name for request in server.requests)
        twice = sum(count > 1 for count in asked.values())
        print(f"{label:<36} {sum(asked.values()):>8} {twice:>6} {seconds:>8.1f}  {outcome}")

    for which, text in tests.items():
        (root / which).mkdir(exist_ok=True)
        (root / "cache").rename(root / f"cache-{which}-before") if (root / "cache").exists() else None
        (root / "cache" / "astropy").mkdir(parents=True)
        (root / which / "pytest.ini").write_text("[pytest]\npythonpath = .\ndataferry_package = mypkg\n")
        body = textwrap.dedent(text).replace("URL", server.url).replace("REGISTRY", repr(digests))
        (root / which / "test_it.py").write_text(body)
        row(f"{which}, -n 4, cold", which, "-n", "4")
        row(f"{which}, -n 4, warm", which, "-n", "4")
        if which == "plugin":
            row("plugin, one process, warm, offline", which, "--dataferry=offline")
            cold = {"XDG_CACHE_HOME": str(root / "empty")}
            (root / "empty" / "astropy").mkdir(parents=True)
            row("plugin, cold, offline", which, "--dataferry=offline", **cold)
            row("plugin, cold, require, no network", which, "--dataferry=require", DATAFERRY_OFFLINE="1", **cold)


def slowest(root: Path) -> None:
    """How long tests take that are skipped or fail because their files are not here."""
    env = {**os.environ, "XDG_CACHE_HOME": str(root / "empty"), "DATAFERRY_OFFLINE": "1"}
    for mode in ("auto", "require"):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:remotedata", "-p", "no:cov", f"--dataferry={mode}"]
        command += ["--durations=0", "--durations-min=0", "-vv"]
        done = subprocess.run(command, cwd=root / "plugin", env=env, capture_output=True, text=True, check=False)
        phases = re.findall(r"^([\d.]+)s (?:setup|call|teardown) +(\S+)", done.stdout, re.MULTILINE)
        tests: Counter[str] = Counter()
        for seconds, test in phases:
            tests[test] += round(float(seconds) * 1e3)
        slow = sum(milliseconds > 10 for milliseconds in tests.values())
        print(f"{mode}: {len(tests)} tests without files, {slow} of them took over 10 ms")


def start(root: Path, rounds: int) -> None:
    """What the plugin adds to the start of pytest: runs with and without it in turn."""
    (root / "empty-suite").mkdir()
    (root / "empty-suite/test_it.py").write_text("def test_it(): pass\n")
    others = ["cov", "randomly", "remotedata", "doctestplus", "xdist", "hypothesispytest", "timeout", "rerunfailures"]
    block = [word for name in others for word in ("-p", f"no:{name}")]
    times: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(rounds):
        for label, plugin in (("without", ["-p", "no:dataferry"]), ("with", [])):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            run(root / "empty-suite", *block, *plugin, env=dict(os.environ))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times[label].append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3)
    for what, of in (("median", statistics.median), ("fastest", min)):
        without, with_it = of(times["without"]), of(times["with"])
        print(f"one empty test, CPU, {what} of {rounds}: {without:.1f} ms, with the plugin {with_it - without:+.1f} ms")
    code = "import pytest, time; t = time.time(); import dataferry.pytest_plugin; print(time.time() - t)"
    loads = [float(subprocess.check_output([sys.executable, "-c", code], text=True)) * 1e3 for _ in range(9)]
    print(f"the import of the plugin alone: {statistics.median(loads):.1f} ms")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, RangeServer(dict(FILES), delay=0.05) as server:
        root = Path(folder)
        os.environ["XDG_CONFIG_HOME"] = str(root)
        suites(root, server)
        slowest(root)
        start(root, 30)


if __name__ == "__main__":
    main()
