"""Where an installed package lies on disk, and which release it is, found without importing it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import RegistryError

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from pathlib import Path


#: The file that declares a package's data, in its ``data`` folder.
REGISTRY_NAME = "dataferry.toml"


def declared_packages() -> list[str]:
    """The top-level packages here that declare data, sorted; none is imported."""
    from pathlib import Path

    found = {path.parts[-3] for folder in sys.path for path in Path(folder or ".").glob(f"*/data/{REGISTRY_NAME}")}
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):  # setuptools' finder of packages in source trees
            mapping = getattr(module, "MAPPING", {})
            found |= {top for top, folder in mapping.items() if os.path.isfile(f"{folder}/data/{REGISTRY_NAME}")}
    return sorted(filter(str.isidentifier, found))


def package_folders(package: str) -> list[str]:
    """The folders of a package, found without importing it: several for a namespace package, none in an archive."""
    spec = _package_spec(package)
    folders = [folder for folder in spec.submodule_search_locations or () if os.path.isdir(folder)]
    return folders or _folders_of_resources(spec)


def _package_spec(package: str) -> ModuleSpec:
    spec = getattr(sys.modules.get(package), "__spec__", None) or _find_spec(package)
    if spec is None:
        imported = "" if package.isidentifier() or "." in package else " Give the name that Python imports."
        raise RegistryError(f"there is no package {package!r} here: is it installed in this environment?{imported}")
    if spec.submodule_search_locations is None:
        raise RegistryError(f"{package!r} is a module, not a package: data lives in a package's folder")
    return spec


def _find_spec(package: str) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, which imports the parents of a package: one that fails would end us as well."""
    import importlib.util

    name, *parts = package.split(".")
    try:
        spec = importlib.util.find_spec(name)
        for part in parts:
            if spec is None or spec.submodule_search_locations is None:
                return None
            name = f"{name}.{part}"
            spec = _find_within(name, list(spec.submodule_search_locations))
    except (ImportError, ValueError, AttributeError):
        return None
    return spec


def _find_within(name: str, folders: list[str]) -> ModuleSpec | None:
    """Ask every finder, as an import does: editable installs bring their own."""
    from importlib.machinery import ModuleSpec

    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, folders, None)
        except KeyError:  # Python computes the path of a nested namespace package from its imported parent
            spec = ModuleSpec(name, None, is_package=True)
            inner = [os.path.join(folder, name.rpartition(".")[2]) for folder in folders]
            spec.submodule_search_locations = [folder for folder in inner if os.path.isdir(folder)]
        if spec is not None:
            return spec
    return None


def _folders_of_resources(spec: ModuleSpec) -> list[str]:
    """The folders of a package whose finder knows the place of each file only: editable installs of meson-python."""
    root = _resources(spec)
    if root is None:
        return []
    folders = dict.fromkeys(
        str(path.parents[len(parts) - 1])
        for path, parts in _files_below(root.joinpath("data"), ("data",))
        if path.parts[-len(parts) :] == parts
    )
    if not folders and spec.origin and os.path.isfile(spec.origin):
        folders = {os.path.dirname(spec.origin): None}
    return list(folders)


def _resources(spec: ModuleSpec) -> Any:
    """The package as `importlib.resources.files` gives it, which would import it; None if its loader has none."""
    get_reader = getattr(spec.loader, "get_resource_reader", None)
    reader: Any = get_reader(spec.name) if get_reader else None
    return reader.files() if hasattr(reader, "files") else None


def _files_below(folder: Any, parts: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    from pathlib import Path

    if not folder.is_dir():
        return
    for item in folder.iterdir():
        inner = (*parts, item.name)
        if item.is_dir():
            yield from _files_below(item, inner)
        elif isinstance(item, Path):
            yield item, inner


def scattered_data(package: str) -> Any:
    """The data of a package that is in no folder, as `importlib.resources` gives them; None for any other."""
    spec = _package_spec(package)
    root = None if any(map(os.path.isdir, spec.submodule_search_locations or ())) else _resources(spec)
    return None if root is None else root.joinpath("data")


def path_in(data: Any, name: str) -> str:
    """The path that a file of `scattered_data` would have, which meson-python may give another name; or nothing."""
    if data is None:
        return ""
    from pathlib import Path

    found = data.joinpath(*name.split("/"))
    return str(found) if isinstance(found, Path) else ""


def refuse_archived(package: str, name: str) -> None:
    """Raise `RegistryError` if a package lies in an archive, a zipapp say, together with this data file."""
    spec = _package_spec(package)
    root = None if package_folders(package) else _resources(spec)
    if root is not None and root.joinpath("data", *name.split("/")).is_file():
        raise _archived(spec, f"its file {name}")


def _archived(spec: ModuleSpec, what: str) -> RegistryError:
    return RegistryError(
        f"package {spec.name!r} is inside an archive, {', '.join(spec.submodule_search_locations or ())}, where {what} "
        "has no path; unpack the archive or install the package into a folder"
    )


def declarations_of(package: str) -> list[str]:
    """Where a package may declare its data: one path for each of its folders, whether or not there is a file."""
    return [os.path.join(folder, "data", REGISTRY_NAME) for folder in package_folders(package)]


def find_registry(package: str) -> str:
    """The ``dataferry.toml`` of an installed package; raises `RegistryError` if there is none."""
    paths = declarations_of(package)
    if not paths:
        raise _archived(_package_spec(package), "its data")
    for path in paths:
        if os.path.isfile(path):
            return path
    looked = ", ".join(paths)
    raise RegistryError(f"package {package!r} declares no data ({looked}); 'dataferry add' writes that file")


def package_at(registry: Path) -> str:
    """The package whose ``data`` folder has a registry, by its place alone."""
    folder = registry.parent.parent
    parts = [folder.name]
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
        parts.insert(0, folder.name)
    return ".".join(parts)


@cache
def _distributions() -> Mapping[str, Sequence[str]]:
    """The distributions of each package; half a second of reading where many are installed."""
    from importlib import metadata

    return metadata.packages_distributions()


def distribution_metadata(package: str) -> Any:
    """The metadata of the distribution that installed a package; None where there is none."""
    from importlib import metadata

    top = package.partition(".")[0]
    try:
        return metadata.metadata(top)
    except FileNotFoundError:  # of importlib_metadata, where it is imported: an interrupted pip left an empty METADATA
        return None
    except metadata.PackageNotFoundError:  # a distribution may have another name than its package
        names = _distributions().get(top, ())
        return metadata.metadata(names[0]) if names else None


#: What versioneer and setuptools_scm add to a commit that is not tagged: ``+3.gabc1234``, ``+d20260101``, ``+dirty``.
_UNTAGGED = r"\.dev|\+(?:.*\bg[0-9a-f]{6,}|.*\bd\d{8}\b|.*\bdirty\b|untagged|unknown)"


def release_of(package: str) -> str:
    """The tag of the installed release; ``main`` for a development version, and for a package that is not installed."""
    found = distribution_metadata(package)
    version = "" if found is None else str(found.get("Version", ""))  # an interrupted pip leaves an empty METADATA
    if not version or re.search(_UNTAGGED, version):
        return "main"
    return version.partition("+")[0]  # "+computecanada" and the like: a release that somebody built again
