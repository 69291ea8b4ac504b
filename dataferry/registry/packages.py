"""Where an installed package lies on disk, found without importing it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RegistryError

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["REGISTRY_NAME", "find_registry", "package_folders"]

#: The file that declares a package's data, in its ``data`` folder.
REGISTRY_NAME = "dataferry.toml"


def package_folders(package: str) -> list[Path]:
    """The folders of a package, found without importing it: several for a namespace package, none in an archive."""
    import sys

    module = sys.modules.get(package)
    spec = getattr(module, "__spec__", None)
    if spec is None:
        spec = _find_spec(package)
    if spec is None:
        raise RegistryError(f"there is no package {package!r} here: is it installed in this environment?")
    places = spec.submodule_search_locations
    if places is None:
        raise RegistryError(f"{package!r} is a module, not a package: data lives in a package's folder")
    return [Path(place) for place in places if os.path.isdir(place)]


def _find_spec(package: str) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, which imports the parents of a package: one that fails would end us as well."""
    import importlib.util
    from importlib.machinery import PathFinder

    name, *parts = package.split(".")
    try:
        spec = importlib.util.find_spec(name)
        for part in parts:
            if spec is None or spec.submodule_search_locations is None:
                return None
            name = f"{name}.{part}"
            spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec


def find_registry(package: str) -> Path:
    """The ``dataferry.toml`` of an installed package; raises `RegistryError` if there is none."""
    folders = package_folders(package)
    for folder in folders:
        path = folder / "data" / REGISTRY_NAME
        if path.is_file():
            return path
    looked = ", ".join(str(f / "data" / REGISTRY_NAME) for f in folders) or "its folder is inside an archive"
    raise RegistryError(f"package {package!r} declares no data ({looked}); 'dataferry add' writes that file")
