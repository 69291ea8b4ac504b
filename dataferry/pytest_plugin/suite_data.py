"""The `PackageData` of the fixture: that of the test that runs now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..package_data import PackageData

if TYPE_CHECKING:
    from ..lookup.lookup import Lookup
    from ..lookup.terms import Terms
    from .run import Run

__all__ = ["SuiteData"]


class SuiteData(PackageData):
    """Data of the package that the running test means; a file that cannot be had skips the test, or fails it.

    A run asks for each file once and shows its own progress: ``refresh``, ``jobs``, ``deadline`` and ``progress`` have
    no meaning here.

    Parameters
    ----------
    run : Run
        The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def package(self) -> str:  # type: ignore[override]
        """The package of the test that runs now."""
        from .fixtures import CURRENT

        return self._run.package_of(self._run.config.stash.get(CURRENT, None))

    @property
    def _lookup(self) -> Lookup:  # type: ignore[override]
        return self._run.supply.data(self.package)._lookup

    def _get(self, name: str, terms: Terms, *, refresh: bool) -> str:
        return str(self._run.path(name))

    def _get_many(self, names: str | Iterable[str], terms: Terms) -> list[str]:
        from .needs import Need

        wanted = self._lookup.expand(names)
        self._run.supply.provide([Need(self.package, name) for name in wanted])
        return [self.get(name) for name in wanted]
