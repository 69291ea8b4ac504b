"""``dataferry get``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..errors import CacheError, FetchErrors
from ..registry.names import redact_url
from . import options
from .output import is_quiet, print_json, print_path

_EXAMPLES = """\b
Examples:
  dataferry get mypkg maps/dust_064.fits
  dataferry get mypkg '*'               all, before a job on nodes without internet
  dataferry get mypkg 'dust_*' -o data  plain files below the folder "data"
  dataferry get https://example.org/map.fits --hash sha256:9f86d0..."""


@click.command("get", cls=options.Command, epilog=_EXAMPLES)
@click.argument("package", metavar="PACKAGE | URL", shell_complete=options.complete_package)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=options.complete_name)
@click.option("-o", "--output", type=click.Path(), metavar="DIR", help="Copy the files into a folder.")
@click.option("--hash", "known_hash", metavar="SHA256:...", help="The hash that the file of a URL must have.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="The number of parallel downloads.")
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
    known_hash: str | None,
    jobs: int | None,
    deadline: float | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Get files and print their paths.

    Each file comes from the nearest place that has it, and is verified. NAME is a name or a quoted glob, such as
    'maps/dust_*'. A URL, or a host and a name such as zenodo:4924875/map.fits, needs no package.
    """
    if ":" in package:
        if names:
            raise click.UsageError("Give a URL without a NAME.")
        _get_url(package, known_hash, output, deadline, as_json)
        return
    if not names or known_hash is not None:
        every = f"Name the files, or '*' for all: 'dataferry list {package}' shows the names."
        raise click.UsageError("--hash is for a URL; a registry has the hashes itself." if names else every)
    data = options.open_data(package, registry)
    wanted = data._resolver.expand(names)
    failed: FetchErrors | None = None
    try:
        with _cache_needed(output is None):
            paths = dict(zip(wanted, data.fetch(wanted, jobs=jobs, deadline=deadline), strict=True))
    except FetchErrors as error:
        failed, paths = error, error.paths
    if output is not None:
        paths = {name: _copy(path, os.path.join(output, name)) for name, path in paths.items()}
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
    with warnings.catch_warnings():
        if needed:
            warnings.filterwarnings("error", "no cache can be written", RuntimeWarning)
        try:
            yield
        except RuntimeWarning:
            raise CacheError(
                "no cache can be written, so the files would be gone when this command ends: set ASTROPY_CACHE_DIR to "
                "an existing folder with space, or copy the files to a folder with -o DIR"
            ) from None


def _get_url(url: str, known_hash: str | None, output: str | None, deadline: float | None, as_json: bool) -> None:
    """One URL, without a package."""
    from ..retrieval import retrieve

    with _cache_needed(output is None):
        path = retrieve(url, known_hash, deadline=deadline, progress=not is_quiet())
    if output is not None:
        is_folder = output.endswith(("/", os.sep)) or os.path.isdir(output)
        path = _copy(path, os.path.join(output, os.path.basename(path)) if is_folder else output)
    if as_json:
        print_json({"url": redact_url(url), "path": path})
    else:
        print_path(path)


def _copy(path: str, target: str) -> str:
    """A copy of a file at a path of the user's; a file that is there stays, and must have the same bytes."""
    from ..files import hash_file, place_files

    target = os.path.abspath(target)
    if os.path.lexists(target):
        if os.path.isfile(target) and hash_file(target).sha256 == hash_file(path).sha256:
            return target
        raise CacheError(f"{target} is there with other bytes: remove it, or name another place with -o")
    try:
        return place_files({os.path.basename(target): path}, os.path.dirname(target), links=False)[0]
    except OSError as error:
        raise CacheError(f"{target} cannot be written: {error.strerror or error}") from error
