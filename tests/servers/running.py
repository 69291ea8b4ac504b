"""Daemons that run for a while: a free port, a folder of their own, an end for sure."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NOBODY = 65534


@dataclass
class Running:
    """A daemon that answers.

    ``url`` ends with a slash; ``log`` is its access log, where it writes one.
    """

    name: str
    port: int
    home: Path
    process: subprocess.Popen[bytes]
    scheme: str = "http"
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.home / "access.log"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    def stop(self) -> None:
        """End it and its children; nothing happens if it has ended."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def rest(self) -> None:
        """Wait until it is through with all that its clients sent, and has logged it: no connection is left."""
        if not Path("/proc/net/tcp").exists():  # the system does not say
            time.sleep(1)
            return
        mine, end = f"0100007F:{self.port:04X}", time.monotonic() + 30
        while time.monotonic() < end:
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            own = _open_files()
            idle = {row[1] for row in rows if f"socket:[{row[9]}]" in own}  # this process keeps them for its next call
            # established, or the client went
            if not any(row[1] == mine and row[2] not in idle and row[3] in {"01", "08"} for row in rows):
                return
            time.sleep(0.01)
        pytest.fail(f"{self.name}: a client keeps its connection", pytrace=False)

    def signal(self, number: int) -> None:
        """Send a signal to it and its children; the group outlives its leader as long as a child runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def _open_files() -> set[str]:
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return found


class Starter:
    """Starts daemons and ends them all."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self.folders = folders
        self.started: list[Running] = []

    def __call__(
        self,
        name: str,
        command: Callable[[int, Path], list[str]],
        *,
        scheme: str = "http",
        as_nobody: bool = False,
        env: dict[str, str] | None = None,
    ) -> Running:
        """Start ``command(port, home)`` and wait until the port answers.

        ``as_nobody`` is for daemons that refuse to serve as root: they run as another user who may read everything.
        """
        for _ in range(3):  # somebody else may take the port between finding and using it
            home = self.folders.mktemp(name)
            port = free_port()
            words = command(port, home)
            if as_nobody and os.geteuid() == 0:
                for path in (home, *home.rglob("*")):
                    os.chown(path, NOBODY, NOBODY)
                caps = "+dac_override,+dac_read_search"
                user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
                words = ["setpriv", *user, f"--inh-caps={caps}", f"--ambient-caps={caps}", *words]
            with open(home / "output.log", "wb") as output:
                process = subprocess.Popen(
                    words,
                    cwd=home,
                    env={**os.environ, "HOME": str(home), **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            daemon = Running(name, port, home, process, scheme)
            self.started.append(daemon)
            if answers(daemon):
                return daemon
            daemon.stop()
        output_text = (home / "output.log").read_text(errors="replace")
        return pytest.fail(f"{name} did not start: {' '.join(words)}\n{output_text}", pytrace=False)

    def stop_all(self) -> None:
        for daemon in self.started:
            daemon.signal(signal.SIGTERM)
        for daemon in reversed(self.started):
            daemon.stop()
            shutil.rmtree(daemon.home, ignore_errors=True)


_given: set[int] = set()
_claims: list[int] = []  # the descriptor of the file whose n-th byte is locked for who has port n


def free_port() -> int:
    """A port that nobody has, and that no other run of tests is given as long as this process lives.

    It is none of those that the system gives to whoever wants any: it stays free until the daemon binds it.
    """
    import fcntl  # Windows, where no daemon of these tests runs, has none

    try:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except OSError:
        low, high = 32768, 65535
    if not _claims:
        path = Path(tempfile.gettempdir()) / f"dataferry-ports-{os.getuid()}"
        _claims.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    untaken = [port for port in range(12000, 65000) if port not in _given]
    candidates = [port for port in untaken if not low <= port <= high] or untaken  # some systems give any
    for port in random.sample(candidates, len(candidates)):
        try:
            fcntl.lockf(_claims[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", port))
        except OSError:
            continue
        _given.add(port)
        return port
    return pytest.fail("no port is free", pytrace=False)


def answers(daemon: Running) -> bool:
    """True once the port takes connections, False if the daemon ends before or takes too long."""
    end = time.monotonic() + 60
    while time.monotonic() < end and daemon.process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", daemon.port), timeout=1).close()
            if listens(daemon.process.pid, daemon.port):
                return daemon.process.poll() is None
        time.sleep(0.02)
    return False


def listens(pid: int, port: int) -> bool:
    """Whether it is a process or a child of its that listens on a port, and not somebody else.

    True as well where the system does not say.
    """
    sockets = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            rows = [line.split() for line in table.read_text().splitlines()[1:]]
            sockets |= {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    if not sockets:
        return not Path("/proc/net/tcp").exists()
    parents, family = _parents(), [pid]
    for member in family:  # it grows meanwhile
        family += [child for child, parent in parents.items() if parent == member]
    for member in family:
        try:
            if any(os.readlink(file) in sockets for file in Path(f"/proc/{member}/fd").iterdir()):
                return True
        except PermissionError:
            return True
        except OSError:  # it ended, or closed one meanwhile
            continue
    return False


def _parents() -> dict[int, int]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Starts daemons that end with the module."""
    starter = Starter(tmp_path_factory)
    yield starter
    starter.stop_all()
