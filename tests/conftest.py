"""What the tests ask of the machine: `need` for components, `repository` for the source tree."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

_REQUIRED = {part.strip() for part in os.environ.get("DATAFERRY_REQUIRE", "").split(",")} - {""}

#: Debian keeps servers in places that are not on everybody's PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


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
