"""Where an installed package lies on disk, found without importing it."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import RegistryError

__all__ = ["REGISTRY_NAME", "find_registry", "package_folders"]

#: The file that declares a package's data, in its ``data`` folder.
REGISTRY_NAME = "dataferry.toml"


def package_folders(package: str) -> list[Path]:
    """The folders of a package, found without importing it.

    Parameters
    ----------
    package : str
        The package's dotted name.

    Returns
    -------
    list of Path
        One, or several for a namespace package; folders inside a zip archive are left out.

    Raises
    ------
    RegistryError
        If there is no such package.
    """
    import sys

    module = sys.modules.get(package)
    spec = getattr(module, "__spec__", None)
    if spec is None:
        import importlib.util

        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError, AttributeError):
            spec = None
    if spec is None:
        raise RegistryError(f"there is no package {package!r} here: is it installed in this environment?")
    places = spec.submodule_search_locations
    if places is None:
        raise RegistryError(f"{package!r} is a module, not a package: data lives in a package's folder")
    return [Path(place) for place in places if os.path.isdir(place)]


def find_registry(package: str) -> Path:
    """The ``dataferry.toml`` of an installed package.

    Parameters
    ----------
    package : str
        The package's dotted name.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RegistryError
        If there is no such package, or it has no such file.
    """
    folders = package_folders(package)
    for folder in folders:
        path = folder / "data" / REGISTRY_NAME
        if path.is_file():
            return path
    looked = ", ".join(str(f / "data" / REGISTRY_NAME) for f in folders) or "its folder is inside an archive"
    raise RegistryError(f"package {package!r} declares no data ({looked}); 'dataferry add' writes that file")
