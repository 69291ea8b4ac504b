"""What the tests ask of the machine: `need` for components, `repository` for the source tree."""

from __future__ import annotations

import gc
import hashlib
import importlib
import importlib.util
import os
import shutil
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from inspect import signature
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from dataferry.testing import RangeServer


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures of ``tests/servers``, which has no importable name under ``--import-mode=importlib``."""
    folder = Path(__file__).with_name("servers")
    spec = importlib.util.spec_from_file_location("dataferry_test_servers", folder / "__init__.py")
    if spec is None or spec.loader is None or config.pluginmanager.has_plugin(spec.name):
        return
    servers = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(servers)
    config.pluginmanager.register(servers, spec.name)


_REQUIRED = {part.strip() for part in os.environ.get("DATAFERRY_REQUIRE", "").split(",")} - {""}

#: Debian keeps servers in places that are not on everybody's PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
os.environ["PATH"] = _PATH  # so that what `need` finds can also be started by its name


def _missing(component: str, reason: str) -> NoReturn:
    if _REQUIRED & {"all", component}:
        pytest.fail(f"{component}: {reason} (DATAFERRY_REQUIRE asks for it)", pytrace=False)
    pytest.skip(f"{component}: {reason}")


class Need:
    """Ask for a component of the machine.

    Where it is missing the test is skipped with the reason, or fails if ``DATAFERRY_REQUIRE`` is ``all`` or a comma
    list that names it.
    """

    def __call__(self, program: str, reason: str = "it is not installed") -> str:
        """The path of a program, ``need("nginx")``."""
        return shutil.which(program, path=_PATH) or _missing(program, reason)

    def module(self, name: str, reason: str = "") -> ModuleType:
        """A Python module, ``need.module("healpy")``."""
        try:
            return importlib.import_module(name)
        except ImportError as error:
            _missing(name, reason or str(error))

    def that(self, component: str, available: object, reason: str) -> None:
        """Anything else, ``need.that("mount", os.geteuid() == 0, "only root mounts")``."""
        if not available:
            _missing(component, reason)


@pytest.fixture(scope="session")
def need() -> Need:
    """See `Need`."""
    return Need()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top folder of the source tree."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder once for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        with FileLock(base / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture
def source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, bytes]], Path]:
    """A factory of a source tree, ``source_tree({path: bytes})``, which becomes the current directory."""

    def make(files: Mapping[str, bytes]) -> Path:
        tree = tmp_path / "tree"
        for name, content in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(content)
        monkeypatch.chdir(tree)
        return tree

    return make


@pytest.fixture
def make_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A factory of importable packages with data: ``make_package({name: bytes}, {name: bytes}, head="...")``.

    The first files are registered only, the second ones lie in the package (and are registered too unless
    ``register_bundled=False``), ``head`` is the start of ``dataferry.toml``. It returns a new package's name.
    """
    root = tmp_path / "packages"
    monkeypatch.syspath_prepend(str(root))

    def make(
        files: Mapping[str, bytes] = {},
        bundled: Mapping[str, bytes] = {},
        head: str = "",
        register_bundled: bool = True,
    ) -> str:
        name = f"made_{uuid.uuid4().hex[:10]}"
        data = root / name / "data"
        data.mkdir(parents=True)
        (root / name / "__init__.py").touch()
        for file, content in bundled.items():
            (data / file).parent.mkdir(parents=True, exist_ok=True)
            (data / file).write_bytes(content)
        lines = [head]
        for file, content in {**files, **(bundled if register_bundled else {})}.items():
            digest = hashlib.sha256(content).hexdigest()
            lines.append(f'[files."{file}"]\nsize = {len(content)}\nsha256 = "{digest}"\n')
        (data / "dataferry.toml").write_text("\n".join(lines))
        importlib.invalidate_caches()  # an import since then has seen the folder without it
        return name

    return make


@pytest.fixture
def install_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], ModuleType]]:
    """Install a distribution with a host of its own: a scheme, its class and the source of its module."""
    hosts = importlib.import_module("dataferry.hosts")
    names = []

    def forget() -> None:
        hosts._points.cache_clear()
        hosts.make_host.cache_clear()

    def install(scheme: str, kind: str, source: str) -> ModuleType:
        name, site = f"{scheme}_host", tmp_path / "site"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(dedent(source))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {scheme}-host\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[dataferry.hosts]\n{scheme} = {name}:{kind}\n")
        monkeypatch.syspath_prepend(str(site))
        forget()
        names.append(name)
        return importlib.import_module(name)

    yield install
    monkeypatch.undo()
    for name in names:
        sys.modules.pop(name, None)
    forget()


@pytest.fixture
def serve() -> Iterator[Callable[..., RangeServer]]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def start(files: Mapping[str, bytes], **options: Any) -> RangeServer:
            return stack.enter_context(RangeServer(files, **options))

        yield start


@pytest.fixture
def command() -> Callable[..., Result]:
    """Run the command line in this process: ``command("get", package, name)`` gives exit code, stdout and stderr."""
    from dataferry.cli.app import dataferry

    # before click 8.2 stderr was mixed into stdout
    runner = CliRunner(**({"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}))

    def run(*args: str | os.PathLike[str], input: str | None = None) -> Result:  # noqa: A002
        kept = {name: os.environ.get(name) for name in ("DATAFERRY_OFFLINE",)}  # click puts it back: --offline sets it
        result = runner.invoke(dataferry, list(map(os.fspath, args)), input=input, env=kept, prog_name="dataferry")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception  # the user would see a traceback
        return result

    return run


@pytest.fixture(autouse=True)
def home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the test, with its XDG folders in place."""
    for variable, part in {"XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config"}.items():
        (home / part).mkdir()
        monkeypatch.setenv(variable, str(home / part))
    return home


@pytest.fixture
def astropy_leaks() -> Iterator[None]:
    """For tests in which astropy's downloader fails: it leaves open sockets to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()
