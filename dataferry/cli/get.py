"""``dataferry get``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ..errors import CacheError, FetchErrors
from . import options
from .output import print_json, print_path

if TYPE_CHECKING:
    from ..package_data import PackageData

__all__ = ["command"]


_EXAMPLES = """\b
Examples:
  dataferry get mypkg maps/dust_064.fits
  dataferry get mypkg '*'               all, before a job on nodes without internet
  dataferry get mypkg 'dust_*' -o data  plain files below the folder "data\""""


@click.command("get", cls=options.Command, epilog=_EXAMPLES)
@options.package
@options.names
@click.option("-o", "--output", type=click.Path(file_okay=False), metavar="DIR", help="Copy the files into a folder.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="The number of parallel downloads.")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Limit the whole command to this time. The next run continues from there.",
)
@options.from_registry
@options.as_json
def command(
    package: str,
    names: tuple[str, ...],
    output: str | None,
    jobs: int | None,
    deadline: float | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Get files and print their paths.

    Each file comes from the nearest place that has it, and is verified. NAME is a name or a quoted glob, such as
    'maps/dust_*'.
    """
    data = options.open_data(package, registry)
    wanted = options.expand(data, names)
    failed: FetchErrors | None = None
    try:
        with _cache_needed(output is None):
            paths = dict(zip(wanted, data.fetch(wanted, jobs=jobs, deadline=deadline), strict=True))
    except FetchErrors as error:
        failed, paths = error, error.paths
    if output is not None:
        paths = {name: _copy(data, name, path, output) for name, path in paths.items()}
    if as_json:
        reasons = {getattr(e, "name", ""): str(e) for e in failed.exceptions} if failed else {}
        files = [{"name": name, "path": paths.get(name), "error": reasons.get(name)} for name in wanted]
        print_json({"package": package, "files": files})
    else:
        for name in wanted:
            if name in paths:
                print_path(paths[name])
    if failed:
        raise failed.exceptions[0] if len(wanted) == 1 else failed


@contextmanager
def _cache_needed(needed: bool) -> Iterator[None]:
    """Refuse before a download whose file would be gone when this process ends: then a path of it is of no use."""
    if not needed:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "no cache can be written", RuntimeWarning)
        try:
            yield
        except RuntimeWarning:
            raise CacheError(
                "no cache can be written, so the files would be gone when this command ends: set ASTROPY_CACHE_DIR to "
                "an existing folder with room, or copy the files to a folder with -o DIR"
            ) from None


def _copy(data: PackageData, name: str, path: str, folder: str) -> str:
    """A copy of a file in a folder of the user's, of the same bytes; what is there already stays."""
    import shutil

    from ..files import hash_file

    entry, target = data.registry.find(name), os.path.abspath(os.path.join(folder, name))
    sha256 = entry.sha256 if entry is not None else hash_file(path).sha256
    private = f"{target}.{os.getpid()}.part"
    try:
        if os.path.lexists(target):
            if os.path.isfile(target) and hash_file(target).sha256 == sha256:
                return target
            raise CacheError(f"{target} is there with other bytes: remove it, or name another folder with -o")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(path, private)
        if hash_file(private).sha256 != sha256:
            raise CacheError(f"{path} changed while it was copied; run the same command again")
        os.replace(private, target)
    except OSError as error:
        if isinstance(error, CacheError):
            raise
        raise CacheError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        if os.path.exists(private):
            os.unlink(private)
    return target
