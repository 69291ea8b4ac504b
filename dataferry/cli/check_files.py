"""``dataferry check``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from . import command as shared
from .complete import complete_name
from .outcome import FAILED

if TYPE_CHECKING:
    from ..package_data import PackageData
    from ..publish.check import Finding

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  dataferry check mypkg
  dataferry check mypkg 'maps/dust_*' --deep
  dataferry check mypkg --registry mypkg/data/dataferry.toml --json"""


@click.command("check", cls=shared.Command, epilog=_EXAMPLES)
@shared.package
@click.argument("pattern", metavar="[GLOB]", default="*", shell_complete=complete_name)
@click.option("--deep", is_flag=True, help="Fetch every file whole from every host, and hash it.")
@click.option("-a", "--all", "everything", is_flag=True, help="Show good files as well.")
@click.option("-j", "--jobs", type=click.IntRange(1, 64), help="How many files at once.")
@shared.from_registry
@shared.as_json
def command(
    package: str,
    pattern: str,
    deep: bool,
    everything: bool,
    jobs: int | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Check that strangers still get every file from every host.

    Asks without any login or token. Files up to 256 kB are fetched and hashed; of larger ones the size, samples and the
    digest that the host tells are compared, or with --deep all bytes. Nothing is kept. Exit code 1 if a file cannot be
    had from a host, or is not the registered one there.
    """
    from ..publish.check import State

    data = shared.open_data(package, registry)
    wanted = shared.expand(data, (pattern,)) if pattern != "*" else data.names()
    found: list[Finding] = []
    for finding in _watched(data, wanted, deep, jobs):
        found.append(finding)
        if not as_json and (everything or finding.state is State.BAD):
            color = {State.BAD: "red", State.SIZE_ONLY: "yellow", State.THERE: "yellow"}.get(finding.state, "green")
            word = click.style(f"{finding.state:<9}", fg=color, bold=finding.state is State.BAD)
            click.echo(f"{word}  {finding.name}: {finding.note}\n           {finding.place}")
    bad = sum(finding.state is State.BAD for finding in found)
    if as_json:
        files = [
            {"name": f.name, "host": f.host, "place": f.place, "state": f.state, "note": f.note, "kind": f.kind}
            for f in found
        ]
        shared.print_json({"package": package, "deep": deep, "bad": bad, "files": files})
    else:
        _summary(found, len(wanted))
    if bad:
        click.get_current_context().exit(FAILED)


def _watched(data: PackageData, wanted: list[str], deep: bool, jobs: int | None) -> Iterator[Finding]:
    """The findings as they come, with a bar where a terminal watches."""
    from tqdm import tqdm

    from ..lookup.declared import host_specs
    from ..publish.check import check

    total = len(wanted) * len(host_specs(data._lookup.places()))
    hidden = None if sys.stderr.isatty() and not deep else True  # fetching has bars of its own
    findings = check(data, wanted, deep=deep, jobs=jobs)
    yield from tqdm(findings, total=total, unit="file", desc="checking", leave=False, delay=0.5, disable=hidden)


def _summary(found: list[Finding], files: int) -> None:
    from ..publish.check import State

    hosts = list(dict.fromkeys(finding.host for finding in found))
    if not hosts:
        click.echo("no host is declared, so there is nothing to check", err=True)
    for host in hosts:
        states = Counter(finding.state for finding in found if finding.host == host)
        told = ", ".join(f"{states[state]} {state}" for state in State if states[state])
        click.echo(f"{host}: {told} of {files}", err=True)
