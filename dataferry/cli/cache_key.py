"""``dataferry cache key``."""

from __future__ import annotations

import click

from . import command as shared
from .complete import complete_package

__all__ = ["key"]

#: Goes into every key; another number leaves all caches of CI services behind.
_VERSION = 1


@click.command("key", cls=shared.Command)
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...", shell_complete=complete_package)
@click.option(
    "--pytest",
    "arguments",
    metavar="ARGS",
    help="Only the files that the tests need which pytest would run with these arguments.",
)
@shared.from_registry
@shared.as_json
def key(packages: tuple[str, ...], arguments: str | None, registry: str | None, as_json: bool) -> None:
    """Print a key for the cache of a CI service.

    It is made from the hashes of the registered files, so it changes when a file is added or gets other bytes, and
    with nothing else. All keys begin with "dataferry-1-", for a service that restores the nearest one.

    \b
    Examples:
      dataferry cache key mypkg
      dataferry cache key --pytest "-m 'not slow' tests"
    """  # noqa: D301 - click wants the character itself
    import hashlib

    if not packages and arguments is None:
        raise click.UsageError("give a package, or --pytest")
    wanted = dict.fromkeys(packages) if arguments is None else _needed(arguments, packages)
    digest, files, size = hashlib.sha256(), 0, 0
    for package in sorted(wanted):
        data = shared.open_data(package, registry)
        names = wanted[package]
        # astropy's cache is keyed by URL, so the same bytes from another dataurl are another entry
        digest.update(f"{package}\n{data.registry.base}\n".encode())
        entries = data.registry.entries() if names is None else map(data.registry.find, names)
        for entry in sorted(entry for entry in entries if entry is not None):
            digest.update(f"{entry.sha256} {entry.name}\n".encode())
            files, size = files + 1, size + (entry.size or 0)
    text = f"dataferry-{_VERSION}-{digest.hexdigest()[:24]}"
    if as_json:
        shared.print_json({"key": text, "packages": sorted(wanted), "files": files, "bytes": size})
    else:
        click.echo(text)


def _needed(arguments: str, packages: tuple[str, ...]) -> dict[str, list[str] | None]:
    """The files that selected tests need: pytest collects them in a process of its own, and runs none."""
    import json
    import shlex
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="dataferry-") as folder:
        needs = Path(folder, "needs.json")
        command = [sys.executable, "-m", "pytest", "-qq", f"--dataferry-needs={needs}", *shlex.split(arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode not in {0, 5} or not needs.exists():
            said = (done.stdout[-2000:] + done.stderr[-2000:]).strip()
            raise click.UsageError(f"pytest could not collect the tests:\n{said}")
        files = json.loads(needs.read_text(encoding="utf-8"))["files"]
    wanted: dict[str, list[str] | None] = {}
    for file in files:
        if not packages or file["package"] in packages:
            names = wanted.setdefault(file["package"], [])
            if names is not None:
                names.append(file["name"])
    return wanted
