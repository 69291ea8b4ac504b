"""``dataferry check``."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from . import options
from .output import FAILED, count, echo, is_quiet, note, print_json, style

if TYPE_CHECKING:
    from ..package_data import PackageData
    from ..publish import Finding


_EXAMPLES = """\b
Examples:
  dataferry check mypkg
  dataferry check mypkg 'maps/dust_*' --deep
  dataferry check mypkg --registry mypkg/data/dataferry.toml --json"""


@options.data_command(
    "check",
    options.pattern,
    click.option("--deep", is_flag=True, help="Download and hash all bytes of every file from every host."),
    click.option("-a", "--all", "everything", is_flag=True, help="List good files too."),
    click.option(
        "-j", "--jobs", type=click.IntRange(1, 64), metavar="N", help="The number of files to check in parallel."
    ),
    epilog=_EXAMPLES,
)
def command(data: PackageData, pattern: str, deep: bool, everything: bool, jobs: int | None, as_json: bool) -> None:
    """Check that users still get every file from every host.

    Uses no credentials and stores nothing. Downloads and hashes files up to 256 kB. Of larger files it compares the
    size, samples, and the digest that the host reports; with --deep, all bytes. The exit code is 1 if users do not get
    a file, or get another one. A host need not have files that are bundled with the package, nor a mirror all files.
    """
    from ..publish import State, check

    wanted = data._resolver.expand(pattern)
    found: list[Finding] = []
    for finding in check(data, wanted, deep=deep, jobs=jobs, progress=not is_quiet()):
        found.append(finding)
        if not as_json and (everything or finding.state in {State.BAD, State.MISSING}):
            uncertain = dict.fromkeys((State.MISSING, State.SIZE_ONLY, State.THERE), "yellow")
            color = {State.BAD: "red", **uncertain}.get(finding.state, "green")
            word = style(f"{finding.state:<9}", fg=color, bold=finding.state is State.BAD or None)
            echo(f"{word}  {finding.name}: {finding.note}\n           {finding.place}")
    bad = sum(finding.state is State.BAD for finding in found)
    if as_json:
        print_json({"package": data.package, "deep": deep, "bad": bad, "files": list(map(asdict, found))})
    else:
        _print_summary(found, len(wanted), deep)
    if bad:
        click.get_current_context().exit(FAILED)


def _print_summary(found: list[Finding], files: int, deep: bool) -> None:
    from ..publish import State

    hosts = list(dict.fromkeys(finding.host for finding in found))
    if not hosts:
        note("no host is declared, so there is nothing to check")
    for host in hosts:
        states = Counter(finding.state for finding in found if finding.host == host)
        counts = ", ".join(f"{states[state]} {state}" for state in State if states[state])
        note(f"{host}: {counts} of {files}")
        for remedy in dict.fromkeys(finding.remedy for finding in found if finding.host == host and finding.remedy):
            note(f"  {remedy}")
    if not deep and (unsure := sum(finding.state in {State.SIZE_ONLY, State.THERE} for finding in found)):
        note(f"the bytes of {count(unsure, 'file')} were not compared with anything; --deep compares all bytes")
