"""Results compared with registered files, and new files where ``--dataferry-update`` asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataferryError
from ..files import hash_file
from ..package_data import PackageData
from ..registry.names import check_name
from .formats import compare, load, save

if TYPE_CHECKING:
    import pytest

    from .run import Run

__all__ = ["assert_matches", "explain_updates"]


def assert_matches(
    run: Run,
    item: pytest.Item,
    actual: Any,
    name: str,
    *,
    rtol: float = 1e-7,
    atol: float = 0.0,
    package: str | None = None,
) -> None:
    """Compare an array, Quantity, Table or HDU with a registered ``.fits``, ``.npy`` or ``.ecsv`` file.

    NaN equals NaN. A quantity is compared in the unit of the file. Integers, strings and booleans must be equal.
    """
    __tracebackhide__ = True
    package = package or run.package_of(item)
    update = run.config.option.dataferry_update
    if update and run.files.data(package).registry.find(check_name(name)) is None:
        _write(run, item, actual, package, name)
        return
    expected = load(run.path(name, package))
    try:
        compare(actual, expected, rtol, atol)
    except AssertionError as error:
        if update:
            _write(run, item, actual, package, name)
            return
        raise AssertionError(
            f"the result differs from {name!r} of {package}\n{error}\nif the new result is right: "
            f"pytest --dataferry-update {item.nodeid}"
        ) from None


def _write(run: Run, item: pytest.Item, actual: Any, package: str, name: str) -> None:
    path = run.config.rootpath / run.config.getini("dataferry_update_dir") / package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save(actual, path)
    run.report.updated.append((package, name, str(path)))
    item.user_properties.append(("dataferry.updated", f"{package}:{name}"))


def explain_updates(updated: list[tuple[str, str, str]]) -> Iterator[str]:
    """Lines for the terminal: what the new files, (package, name, path), mean for the registry."""
    for package in dict.fromkeys(item[0] for item in updated):
        files = {name: Path(path) for p, name, path in updated if p == package}
        folder = next(iter(files.values())).parents[next(iter(files)).count("/")]
        count = f"{len(files)} new file{'s' * (len(files) != 1)}"
        yield f"{count} of {package} in {folder}; the registry would change like this:"
        try:
            registry = PackageData(package).registry
            for name, path in files.items():
                old, new = registry.find(name), hash_file(path)
                yield f'{"+" if old is None else " "}[files."{name}"]'
                if old is not None:
                    yield f'-size = {old.size}\n-sha256 = "{old.sha256}"'
                yield f'+size = {new.size}\n+sha256 = "{new.sha256}"'
        except (DataferryError, OSError) as error:
            yield f"  {error}"
        yield f"nothing was uploaded. To register them: dataferry add --replace {package} {folder}"
        yield "a published name keeps its bytes: give files that are already published a new name"
