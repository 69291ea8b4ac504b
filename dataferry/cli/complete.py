"""Tab completion of packages and of their files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

__all__ = ["complete_name", "complete_package", "packages_with_data"]


def packages_with_data() -> list[str]:
    """The packages that declare data.

    Returns
    -------
    list of str
        Top-level packages on the path with a ``data/dataferry.toml``, sorted; none is imported.
    """
    from pathlib import Path

    from ..registry.packages import REGISTRY_NAME

    found = {path.parts[-3] for place in sys.path for path in Path(place or ".").glob(f"*/data/{REGISTRY_NAME}")}
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):  # setuptools' finder of packages in source trees
            mapping = getattr(module, "MAPPING", {})
            found |= {top for top, folder in mapping.items() if os.path.isfile(f"{folder}/data/{REGISTRY_NAME}")}
    return sorted(name for name in found if name.isidentifier())


def complete_package(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The packages that declare data and begin so."""
    return [name for name in packages_with_data() if name.startswith(incomplete)]


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The registered files of the package that begin so."""
    from ..errors import DataferryError
    from ..registry.packages import find_registry
    from ..registry.registry import Registry

    try:
        path = ctx.params.get("registry") or find_registry(ctx.params.get("package") or "")
        return [name for name in Registry(path).names() if name.startswith(incomplete)]
    except DataferryError:
        return []
