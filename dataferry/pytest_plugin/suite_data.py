"""The `PackageData` of the fixture: that of the test that runs now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..package_data import PackageData

if TYPE_CHECKING:
    from ..lookup import Lookup
    from ..progress import Progress
    from .run import Run

__all__ = ["SuiteData"]


class SuiteData(PackageData):
    """Data of the package that the running test means; a file that cannot be had ends the test.

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

    def get(
        self,
        name: str,
        *,
        refresh: bool = False,
        deadline: float | None = None,
        progress: bool | Callable[[Progress], None] | None = None,
    ) -> str:
        """Get a file; see `PackageData.get`. One that cannot be had skips the test, or fails it.

        Parameters
        ----------
        name : str
            The file's name.
        refresh, deadline, progress : optional
            Have no meaning here: a run asks for each file once, and shows its own progress.

        Returns
        -------
        str
            Its path.
        """
        return str(self._run.path(name))

    def fetch(
        self,
        names: str | Iterable[str] = "*",
        *,
        jobs: int | None = None,
        deadline: float | None = None,
        progress: bool | Callable[[Progress], None] | None = None,
    ) -> list[str]:
        """Get many files; see `PackageData.fetch`.

        Parameters
        ----------
        names : str or iterable of str
            Names and globs.
        jobs, deadline, progress : optional
            Have no meaning here.

        Returns
        -------
        list of str
            Paths, in the order of the names.
        """
        from .needs import Need

        wanted = self._lookup.expand(names)
        self._run.supply.provide([Need(self.package, name) for name in wanted])
        return [self.get(name) for name in wanted]
