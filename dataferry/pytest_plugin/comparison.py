"""Results compared with registered files, and new files where ``--dataferry-update`` asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry.names import check_name
from .formats import compare, load, save

if TYPE_CHECKING:
    import pytest

    from .run import Run

__all__ = ["assert_matches"]


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
