"""``docs/write_a_host.rst``: whoever types its files has a host that passes the contract and that dataferry knows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

FILE = re.compile(r"^\.\. code-block:: \w+\n    :caption: (\S+)\n\n((?:    .*\n|\n)+)", re.MULTILINE)


def test_the_host_of_the_page(repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs" / "write_a_host.rst").read_text(encoding="utf-8")
    files = {name: textwrap.dedent(body).strip() + "\n" for name, body in FILE.findall(page)}
    assert sorted(files) == ["dataferry_cas.py", "pyproject.toml", "test_cas.py"]
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    installed = tmp_path / "dataferry_cas-0.1.dist-info"  # what pip leaves
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    points = [f"{scheme} = {place}" for scheme, place in project["entry-points"]["dataferry.hosts"].items()]
    (installed / "entry_points.txt").write_text("\n".join(["[dataferry.hosts]", *points]))

    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    for words in (["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_cas.py"], ["-m", "dataferry", "host", "list"]):
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "cas" in done.stdout.split()
