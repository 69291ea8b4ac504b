"""``docs/tutorial.rst`` works as it stands: its files are written, its commands run, their output is on the page."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import sysconfig
import textwrap
from importlib import metadata
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n((?:    :\w+:.*\n)*)\n((?:    .*\n|\n)+)", re.MULTILINE)
SET_UP = "pip install dataferry build pytest"


def new_enough(name: str, major: int) -> bool:
    try:
        return int(metadata.version(name).partition(".")[0]) >= major
    except metadata.PackageNotFoundError:
        return False


def offline_form(command: str) -> str:
    """The same command with pip and the build tools of this environment, and without dependencies from an index."""
    command = re.sub(r"-m venv\b", "-m venv --without-pip", command)  # which takes most of the time
    isolated = not new_enough("setuptools", 77)
    command = re.sub(
        r"\bpip install\b", "pip install --no-deps" + ("" if isolated else " --no-build-isolation"), command
    )
    return re.sub(r"-m build\b", "-m build" + ("" if isolated else " --no-isolation"), command)


def pattern(expected: str) -> str:
    """What a page has for an output: any white space is as good as another, and ``...`` stands for anything."""
    pieces = [r"\s+".join(map(re.escape, piece.split())) for piece in expected.split("...")]
    return r"\s*.*?\s*".join(pieces)


class Shell:
    """One bash that runs the page's commands one after the other, as a reader's terminal does."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        command = ["bash", "--norc", "--noprofile"]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> str:
        mark = f"--- {os.urandom(8).hex()}"
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\necho; echo '{mark}' $?\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line.startswith(mark):
                assert line.split()[-1] == "0", f"{command}\n{''.join(lines)}"
                break
            lines.append(line)
        return "".join(lines).rstrip("\n") + "\n"

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("kill $(jobs -p); exit\n")
        self.process.stdin.close()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


def share_packages(environment: Path) -> None:
    """Give a virtual environment the packages of this one, as ``pip install`` from an index would."""
    [site] = environment.glob("lib/python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (site / "tests-environment.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    for name in "dataferry", "pip", "pytest":
        script = environment / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(environment / "bin" / "python"))} -m {name} "$@"\n')
        script.chmod(0o755)


def test_tutorial(repository: Path, tmp_path: Path, need: Any, real_environ: dict[str, str]) -> None:
    need.module("build")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    page = (repository / "docs" / "tutorial.rst").read_text(encoding="utf-8").replace("8000", port)
    home = tmp_path / "home"
    home.mkdir()
    leaks = ("ASTROPY_", "DATAFERRY_", "XDG_", "PYTHON", "VIRTUAL_ENV")
    env = {key: value for key, value in real_environ.items() if not key.startswith(leaks)}
    env |= {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "no_proxy": "127.0.0.1"}
    env |= {
        "TERM": "dumb",
        "COLUMNS": "120",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
    shell = Shell(tmp_path, env)
    try:
        for language, options, body in BLOCK.findall(page):
            text = textwrap.dedent(body).strip("\n") + "\n"
            caption = re.search(r":caption: (\S+)", options)
            if caption:
                path = tmp_path / "tutorial" / caption.group(1)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                continue
            assert language == "console"
            for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                if command == SET_UP:
                    share_packages(tmp_path / "tutorial" / ".venv")
                    continue
                got = shell.run(offline_form(command))
                if "-m venv ../elsewhere" in command:
                    share_packages(tmp_path / "elsewhere")
                if command.endswith("&"):
                    wait_for(int(port))
                elif expected.strip() or not got.strip():
                    assert re.fullmatch(pattern(expected), got.strip(), re.DOTALL), (
                        f"$ {command}\n{got}\nthe page has:\n{expected}"
                    )
                else:
                    raise AssertionError(f"$ {command}\nprints what the page does not have:\n{got}")
    finally:
        shell.close()


def wait_for(port: int) -> None:
    """Return once the reader's web server answers."""
    for _ in range(1000):
        with socket.socket() as probe:
            probe.settimeout(20)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        subprocess.run([sys.executable, "-c", ""], check=False)  # a moment, as long as this machine needs
    raise AssertionError("the web server of the tutorial does not answer")
