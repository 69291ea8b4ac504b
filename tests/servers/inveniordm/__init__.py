"""The real InvenioRDM on loopback, with PostgreSQL, Redis and a small search of our own.

``tests/servers/inveniordm/setup FOLDER`` installs it, which takes minutes; ``DATAFERRY_INVENIORDM`` names that folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3
from filelock import FileLock

from ..running import Running, Starter

__all__ = ["InvenioRDM", "inveniordm"]

VARIABLE = "DATAFERRY_INVENIORDM"
#: As the run found it: tests have an environment of their own.
_FOLDER = os.environ.get(VARIABLE, "")
_HERE = Path(__file__).parent
_POSTGRES = Path("/usr/lib/postgresql/15/bin")


class InvenioRDM:
    """A server with the users ann and bob; as `InvenioStandIn`, without faults.

    Attributes
    ----------
    url : str
        With a slash at its end.
    tokens : dict of str to str
        User -> token.
    """

    real = True

    def __init__(self, parts: Parts, tokens: dict[str, str]) -> None:
        self.web, self.tokens = parts.web(), tokens
        self.url = self.web.url

    def lines(self) -> list[str]:
        """A line for each request: method, path, status."""
        return self.web.log.read_text().splitlines()

    def delete(self, record: str) -> None:
        """Take a version away, as an administrator does."""
        answer = urllib3.request("POST", f"{self.url}tests/delete/{record}", retries=False, timeout=60)
        assert answer.status == 204, (self.web.home / "output.log").read_text()[-3000:]


class Parts:
    """The daemons of one server, on a copy of what a new one needs, if there is a copy."""

    def __init__(self, folder: Path, home: Path, start: Starter) -> None:
        self.python = str(folder / "venv/bin/python")
        self.home, self.start = home, start
        template = folder / "template"
        for part in ("files", "search.json") if template.is_dir() else ():
            source = template / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, home / part)
        (home / "files").mkdir(exist_ok=True)
        self.new = not template.is_dir()
        self.postgres = start("postgres", lambda port, own: self._postgres(port, own, template), as_nobody=True)
        self.redis = start("redis", self._redis)
        self.search = start("search", lambda port, _: [self.python, *self._search(port)])
        (home / "instance").mkdir()
        shutil.copy(_HERE / "invenio.cfg", home / "instance")
        ports = {"POSTGRES": self.postgres.port, "REDIS": self.redis.port, "SEARCH": self.search.port}
        self.env = {f"DATAFERRY_RDM_{name}": str(port) for name, port in ports.items()}
        self.env |= {"INVENIO_INSTANCE_PATH": str(home / "instance"), "DATAFERRY_RDM_FILES": str(home / "files")}
        self.env |= {"DATAFERRY_RDM_PORT": "0", "PYTHONWARNINGS": "ignore"}

    def _postgres(self, port: int, own: Path, template: Path) -> list[str]:
        data = own / "data"
        first = ""
        if self.new:
            first = f"{_POSTGRES}/initdb -D {data} -U postgres -A trust --no-sync && "
        else:
            shutil.copytree(template / "postgres", data)
        off = " ".join(f"-c {key}=off" for key in ("fsync", "full_page_writes", "synchronous_commit"))
        serve = f"exec {_POSTGRES}/postgres -D {data} -h 127.0.0.1 -p {port} -c unix_socket_directories= {off}"
        return ["sh", "-c", first + serve]

    @staticmethod
    def _redis(port: int, own: Path) -> list[str]:
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(own)]

    def _search(self, port: int) -> list[str]:
        return [str(_HERE / "search.py"), str(port), str(self.home / "search.json")]

    def web(self) -> Running:
        """Start the server itself. Its port answers at once, the first request waits until all is loaded."""
        if not self.new:
            self.sql("rdm", f"update files_location set uri = 'file://{self.home}/files'")

        def command(port: int, own: Path) -> list[str]:
            site = ["env", f"DATAFERRY_RDM_PORT={port}", self.python, str(_HERE / "serve.py")]
            return [*site, str(port), str(own / "access.log")]

        return self.start("inveniordm", command, env=self.env)

    def sql(self, database: str, words: str) -> None:
        """Tell the database something, as soon as it takes questions."""
        ask = ["psql", "-q", "-h", "127.0.0.1", "-p", str(self.postgres.port), "-U", "postgres", "-c", words, database]
        end = time.monotonic() + 30
        while (done := subprocess.run(ask, capture_output=True, text=True)).returncode:
            assert time.monotonic() < end, done.stderr
            time.sleep(0.1)

    def run(self, *words: str) -> str:
        """Run a program of the server; gives what it prints."""
        env = {**os.environ, **self.env}
        done = subprocess.run([self.python, *words], env=env, capture_output=True, text=True)
        assert not done.returncode, f"{words}: {done.stderr[-3000:]}"
        return done.stdout


def _make_template(folder: Path, home: Path, start: Starter) -> None:
    """Keep what a new server needs, so that others begin with a copy."""
    parts = Parts(folder, home, start)
    parts.sql("postgres", "create database rdm")
    parts.run(str(folder / "venv/bin/invenio"), "db", "init", "create")
    tokens = parts.run(str(_HERE / "seed.py"))
    urllib3.request("POST", f"http://127.0.0.1:{parts.search.port}/_save", retries=False)
    parts.postgres.signal(signal.SIGINT)
    parts.postgres.process.wait(30)
    new = folder / "template.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    (new / "tokens.json").write_text(tokens)
    shutil.copytree(parts.postgres.home / "data", new / "postgres")
    shutil.copytree(home / "files", new / "files")
    shutil.copy(home / "search.json", new)
    new.rename(folder / "template")


@pytest.fixture(scope="module")
def inveniordm(need: Any, running: Starter, tmp_path_factory: pytest.TempPathFactory) -> InvenioRDM:
    """See `InvenioRDM`."""
    need.that("inveniordm", _FOLDER, f"{VARIABLE} names no folder where it is installed")
    folder = Path(_FOLDER)
    need.that("inveniordm", (folder / "venv").is_dir(), f"{folder}/venv is not there: tests/servers/inveniordm/setup")
    for program in ("redis-server", str(_POSTGRES / "postgres")):
        need(program)
    with FileLock(folder / "lock"):
        if not (folder / "template").is_dir():
            _make_template(folder, tmp_path_factory.mktemp("template"), running)
    parts = Parts(folder, tmp_path_factory.mktemp("rdm"), running)
    return InvenioRDM(parts, json.loads((folder / "template" / "tokens.json").read_text()))
