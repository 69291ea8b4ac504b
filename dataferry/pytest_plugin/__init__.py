"""The pytest plugin: tests that say which data files they need.

Every session of everybody who has dataferry installed loads it, so it imports nothing but pytest; the other modules
are imported once a test is marked ``package_data`` or uses one of the fixtures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..package_data import PackageData
    from .run import Run

__all__ = ["assert_matches_data", "data_path", "isolated_cache", "package_data"]

_MARKER = (
    "package_data(*names, package=None): the registered data files that the test needs, as names and globs. It runs "
    "if they are on this machine or can be fetched; else it is skipped. (dataferry)"
)
_RUN = "dataferry-run"
_FOLDER = pytest.StashKey[str]()
#: The test that runs now: fixtures of a wide scope ask for its package.
CURRENT = pytest.StashKey[pytest.Item]()


def needs_file(workerinput: Mapping[str, Any]) -> str:
    """Where a worker of pytest-xdist leaves its needs."""
    return os.path.join(workerinput["dataferry"], f"needs-{workerinput['workerid']}.json")


def run_of(config: pytest.Config) -> Run:
    """The state of this run: a plugin that is registered at its first use."""
    run: Any = config.pluginmanager.get_plugin(_RUN)
    if run is None:
        from .run import Run

        run = Run(config)
        config.pluginmanager.register(run, _RUN)
    return run  # type: ignore[no-any-return]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, none of them short."""
    group = parser.getgroup("dataferry", "data files of packages (dataferry)")
    group.addoption(
        "--dataferry",
        choices=["auto", "offline", "require"],
        help="auto: fetch what tests need if the network is allowed, skip tests whose files are not available; "
        "offline: fetch nothing; require: as auto, but such a test fails. Default: the ini option dataferry_mode, or "
        "auto.",
    )
    group.addoption("--dataferry-report", metavar="FILE", help="write the summary as JSON to FILE")
    group.addoption(
        "--dataferry-needs",
        metavar="FILE",
        help="collect only, and write the files that the selected tests need as JSON to FILE",
    )
    group.addoption(
        "--dataferry-update",
        action="store_true",
        help="assert_matches_data writes new files to the folder dataferry_update_dir instead of failing",
    )
    parser.addini("dataferry_mode", "default of --dataferry: auto, offline or require", default="auto")
    parser.addini("dataferry_package", "the package of tests that name no package", default="")
    parser.addini(
        "dataferry_update_dir",
        "where --dataferry-update writes, below the rootdir (default: dataferry-update)",
        default="dataferry-update",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Listing what tests need runs none of them."""
    if config.option.dataferry_needs:
        config.option.collectonly = True


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; ``offline`` holds for all that runs in this session."""
    config.addinivalue_line("markers", _MARKER)
    mode = config.option.dataferry or config.getini("dataferry_mode")
    if mode not in {"auto", "offline", "require"}:
        raise pytest.UsageError(f"dataferry_mode is auto, offline or require, not {mode!r}")
    config.option.dataferry = mode
    if mode == "offline":
        environment = pytest.MonkeyPatch()
        environment.setenv("DATAFERRY_OFFLINE", "1")
        config.add_cleanup(environment.undo)
    if config.option.dataferry_report:
        run_of(config)


def _is_ours(marker: str) -> bool:
    """Whether a marker is ours, or may be ours with a typing mistake; difflib decides that later."""
    return marker == "package_data" or ("data" in marker and "pa" in marker)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Gather what the selected tests need, and fetch it once."""
    marked = [item for item in session.items if any(_is_ours(mark.name) for mark in item.iter_markers())]
    if marked or session.config.option.dataferry_needs:
        run_of(session.config).collected(marked)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail a test whose files are not here, before any fixture of it is made."""
    item.config.stash[CURRENT] = item
    run: Any = item.config.pluginmanager.get_plugin(_RUN)
    if run is not None:
        run.before(item)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist the folder for its needs."""
    if _FOLDER not in node.config.stash:
        import tempfile

        folder = tempfile.TemporaryDirectory(prefix="dataferry-pytest-", ignore_cleanup_errors=True)
        node.config.add_cleanup(folder.cleanup)
        node.config.stash[_FOLDER] = folder.name
    node.workerinput["dataferry"] = node.config.stash[_FOLDER]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Fetch in the controller what the workers' tests need; none of them has started yet."""
    if os.path.exists(needs_file(node.workerinput)):
        run_of(node.config).supply_worker(node.workerinput)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker has to report."""
    output = getattr(node, "workeroutput", {}).get("dataferry")
    if output:
        run_of(node.config).report.merge(output)


# -- fixtures ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def package_data(request: pytest.FixtureRequest) -> PackageData:
    """The `dataferry.PackageData` of the test's package.

    The package is the one of the marker ``package_data``, else that of the ini option ``dataferry_package``, else the
    nearest one around the test that has a ``data/dataferry.toml``. A file that is not available skips the test.
    """
    return run_of(request.config).data


@pytest.fixture(scope="session")
def data_path(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """The path of a registered file: ``data_path("maps/dust_064.fits")``, of another package with ``package=``.

    A file that is not available skips the test, or fails it under ``--dataferry=require``. A name that is not
    registered fails it.
    """
    return run_of(request.config).registered_path


@pytest.fixture
def isolated_cache(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A temporary cache for this test, in which the verified files of the user's cache are found.

    What the test caches, changes or clears stays in the temporary cache. The fixture is astropy's cache folder; both
    dataferry and `astropy.utils.data` use it, in this process and in those that it starts.
    """
    from .isolation import isolate
    from .needs import find_package

    return isolate(tmp_path_factory.mktemp("cache"), find_package(request.node), monkeypatch)


@pytest.fixture
def assert_matches_data(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compare a result with a registered file: ``assert_matches_data(array, "baseline/x.fits", rtol=1e-6)``.

    ``--dataferry-update`` writes what differs into a folder that is ready to be published.
    """
    from .comparison import assert_matches

    return partial(assert_matches, run_of(request.config), request.node)
