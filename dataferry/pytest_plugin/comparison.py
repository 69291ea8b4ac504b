"""Results compared with registered files, and new files where ``--dataferry-update`` asks for them."""

from __future__ import annotations

import difflib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataferryError
from ..files import hash_file
from ..package_data import PackageData
from ..registry.editor import RegistryEditor
from ..registry.names import check_name
from ..registry.registry import Entry

if TYPE_CHECKING:
    import pytest

    from .run import Run

__all__ = ["Comparison", "explain_updates"]


class Comparison:
    """What the fixture ``assert_matches_data`` calls."""

    def __init__(self, run: Run, item: pytest.Item) -> None:
        self._run = run
        self._item = item

    def check(
        self, actual: Any, name: str, *, rtol: float = 1e-7, atol: float = 0.0, package: str | None = None
    ) -> None:
        """Compare a result with a registered file.

        Parameters
        ----------
        actual : array, Quantity, Table, or HDU
            The result; NaN equals NaN. A quantity is compared in the unit of the file.
        name : str
            The file: ``.fits``, ``.npy`` or ``.ecsv``.
        rtol, atol : float
            Relative and absolute tolerance, as `numpy.testing.assert_allclose` has them; of integers, strings and
            booleans none is tolerated unless given.
        package : str, optional
            The package, if it is not that of the test.

        Raises
        ------
        AssertionError
            If they differ; the message says where and by how much.
        """
        from .formats import compare, load

        __tracebackhide__ = True
        package = package or self._run.package_of(self._item)
        update = self._run.config.option.dataferry_update
        if update and self._is_new(package, name):
            self._write(actual, package, name)
            return
        expected = load(self._run.path(name, package))
        try:
            compare(actual, expected, rtol, atol)
        except AssertionError as error:
            if update:
                self._write(actual, package, name)
                return
            raise AssertionError(
                f"the result differs from {name!r} of {package}\n{error}\nif the new result is right: "
                f"pytest --dataferry-update {self._item.nodeid}"
            ) from None

    def _is_new(self, package: str, name: str) -> bool:
        check_name(name)
        return self._run.files.data(package).registry.find(name) is None

    def _write(self, actual: Any, package: str, name: str) -> None:
        from .formats import save

        folder = self._run.config.rootpath / self._run.config.getini("dataferry_update_dir")
        path = folder / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save(actual, path)
        self._run.report.updated.append((package, name, str(path)))
        self._item.user_properties.append(("dataferry.updated", f"{package}:{name}"))


def explain_updates(updated: list[tuple[str, str, str]]) -> Iterator[str]:
    """Lines for the terminal: what the new files, (package, name, path), mean for the registry."""
    for package in dict.fromkeys(item[0] for item in updated):
        files = {name: Path(path) for p, name, path in updated if p == package}
        folder = next(iter(files.values())).parents[next(iter(files)).count("/")]
        count = f"{len(files)} new file{'s' * (len(files) != 1)}"
        yield f"{count} of {package} in {folder}; the registry would change like this:"
        try:
            yield from _difference(PackageData(package), files)
        except (DataferryError, OSError) as error:
            yield f"  {error}"
        yield f"nothing was uploaded. To register them: dataferry add --replace {package} {folder}"
        yield "a published name keeps its bytes: give files that are already published a new name"


def _difference(data: PackageData, files: dict[str, Path]) -> Iterator[str]:
    registry = data.registry
    with tempfile.TemporaryDirectory(prefix="dataferry-") as scratch:
        copies = {Path(scratch, registry.path.name): registry.path}
        if registry.list_path is not None:
            copies[Path(scratch, registry.list_path.relative_to(registry.path.parent))] = registry.list_path
        for copy, original in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, copy)
        editor = RegistryEditor(Path(scratch, registry.path.name))
        editor.put(
            [Entry(name, hash_file(path).sha256, path.stat().st_size) for name, path in files.items()], replace=True
        )
        editor.save()
        for copy, original in copies.items():
            old, new = (p.read_text(encoding="utf-8").splitlines() for p in (original, copy))
            yield from difflib.unified_diff(old, new, str(original), str(original), lineterm="", n=1)
