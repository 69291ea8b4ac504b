"""What every test and every example in the docs gets: a home of its own, and no network but loopback."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType

import pytest

#: The environment as the run found it.
_REAL_ENVIRON = dict(os.environ)

#: Variables through which the user's machine would leak into a test.
_LEAKS = ("ASTROPY_", "DATAFERRY_", "LMOD_", "MALLOC_", "SLURM_", "XDG_")
_LEAKS_EXACT = {"NERSC_HOST", "STOCKYARD", "WORK", "FAST", "PUBLIC", "SSL_CERT_FILE", "SSL_CERT_DIR"}
_PROXIES = {"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"}


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test: a run in the background of a shell is started with it ignored."""
    # some containers forbid it, and then each of hundreds of processes compiles the package again
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # the workers of pytest-xdist read this: glibc gives free blocks of a megabyte back at once, and threads share heaps
    os.environ.update({"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1048576"})
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Give neighbouring tests to one worker of pytest-xdist, since they share servers, and help whoever is late."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three workers for each core: more than half of the time of the tests is waiting for servers and processes."""
    return 3 * (os.cpu_count() or 1)


@pytest.fixture(scope="session")
def real_environ() -> dict[str, str]:
    """The environment outside the tests, for subprocesses such as pip that need the user's own settings."""
    return dict(_REAL_ENVIRON)


@pytest.fixture(scope="session")
def _matplotlib_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # matplotlib builds a list of fonts for each new home, which takes seconds
    return tmp_path_factory.mktemp("matplotlib")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, _matplotlib_config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a fresh home; caches and settings of the user and of the machine are out of sight."""
    for variable in list(os.environ):
        if variable.startswith(_LEAKS) or variable in _LEAKS_EXACT or variable.lower() in _PROXIES:
            monkeypatch.delenv(variable)
    home = tmp_path_factory.mktemp("home")
    for variable in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(variable, str(home))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(home / "etc-xdg"))
    monkeypatch.setenv("MPLCONFIGDIR", str(_matplotlib_config))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    return home


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """Leave dataferry's log as it was: older click leaves the contexts of bad usage open, and with them their log."""
    logger = logging.getLogger("dataferry")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def _stays_here(address: object) -> bool:
    if not isinstance(address, tuple):
        return True
    host = address[0]
    if host in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except (AttributeError, ValueError):
        return False


#: Whether the running test may leave the machine, and what it tried all the same through libcurl.
_may_leave = False
_left: list[object] = []


def _guarded(connect: Callable[[socket.socket, object], object]) -> Callable[[socket.socket, object], object]:
    def guarded(self: socket.socket, address: object) -> object:
        if not _may_leave and self.family in {socket.AF_INET, socket.AF_INET6} and not _stays_here(address):
            raise OSError(f"a test without the mark remote_data tried to reach {address!r}")
        return connect(self, address)

    return guarded


class _SocketOfCurl:
    """A socket that libcurl duplicates: closed when it is dropped, since nobody else does."""

    def __init__(self, *kind: int) -> None:
        self._socket = socket.socket(*kind)
        self.fileno = self._socket.fileno

    def __del__(self) -> None:
        self._socket.close()


def _guarded_curl(pycurl: ModuleType) -> type:
    def open_socket(_: int, address: tuple[int, int, int, object]) -> object:
        *kind, there = address
        if _may_leave or kind[0] not in {socket.AF_INET, socket.AF_INET6} or _stays_here(there):
            return _SocketOfCurl(*kind)
        _left.append(there)
        return pycurl.SOCKET_BAD

    class Curl(pycurl.Curl):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.setopt(pycurl.OPENSOCKETFUNCTION, open_socket)

        def reset(self) -> None:
            super().reset()
            self.setopt(pycurl.OPENSOCKETFUNCTION, open_socket)

    return Curl


@pytest.fixture(scope="session", autouse=True)
def _guards() -> Iterator[None]:
    """Watch the connections of Python and of libcurl; a subprocess and a name server are out of their sight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", _guarded(socket.socket.connect_ex))
        try:
            import pycurl
        except ImportError:
            pass  # only downloads need it
        else:
            patch.setattr(pycurl, "Curl", _guarded_curl(pycurl))
        yield


@pytest.fixture(autouse=True)
def loopback_only(request: pytest.FixtureRequest, _guards: None) -> Iterator[None]:
    """Refuse connections that leave the machine, but for a test marked ``remote_data``."""
    global _may_leave  # noqa: PLW0603
    _may_leave = request.node.get_closest_marker("remote_data") is not None
    _left.clear()
    yield
    if _left:
        pytest.fail(f"a test without the mark remote_data tried to reach {_left[0]!r}", pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """After tests that took much, give the memory back, which glibc keeps: a worker had up to 1.2 GB."""
    global _tidy  # noqa: PLW0603
    result = yield
    if _resident() > _tidy + 50_000_000:  # not after each file: a collection takes a quarter of a second of CPU
        gc.collect()
        with contextlib.suppress(AttributeError, OSError, TypeError):  # another libc
            ctypes.CDLL(None).malloc_trim(0)
        _tidy = _resident()
    return result


#: The memory of this process when it was last tidied.
_tidy = 0


def _resident() -> int:
    """The bytes of this process in memory; 0 where there is no such file."""
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
