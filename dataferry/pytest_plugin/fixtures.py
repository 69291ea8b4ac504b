"""The fixtures, and the run that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .stash import RUN

if TYPE_CHECKING:
    from ..package_data import PackageData
    from .run import Run

__all__ = [
    "assert_matches_data",
    "data_path",
    "isolated_cache",
    "package_data",
    "run_of",
]


def run_of(config: pytest.Config) -> Run:
    """The state of this run: a plugin that is registered at its first use."""
    run: Any = config.pluginmanager.get_plugin(RUN)
    if run is None:
        from .run import Run

        run = Run(config)
        config.pluginmanager.register(run, RUN)
    return run  # type: ignore[no-any-return]


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
    from .markers import find_package

    return isolate(tmp_path_factory.mktemp("cache"), find_package(request.node), monkeypatch)


@pytest.fixture
def assert_matches_data(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compare a result with a registered file: ``assert_matches_data(array, "baseline/x.fits", rtol=1e-6)``.

    ``--dataferry-update`` writes what differs into a folder that is ready to be published.
    """
    from .comparison import assert_matches

    return partial(assert_matches, run_of(request.config), request.node)
