"""``dataferry publish``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .output import echo, is_quiet, note, print_json, size_text, style
from .packaging import note_how_to_ship
from .targets import find_target, named_files, naming_options, package_name

if TYPE_CHECKING:
    from ..publish import HostPlan, Outcome, Plan


_EXAMPLES = """\b
Examples:
  dataferry publish hosted --to github-release:me/mypkg-data@v1 --dry-run
  dataferry publish hosted --to s3://mypkg-data/v1/ --to zenodo:4924875
  dataferry publish --to figshare:14763051      all registered files that are on this machine"""


@click.command("publish", cls=options.Command, epilog=_EXAMPLES)
@click.argument("files", nargs=-1, type=click.Path(), metavar="[FILES]...")
@click.option(
    "--to", "hosts", multiple=True, required=True, metavar="HOST", help="The host to publish to. Repeat it for mirrors."
)
@click.option(
    "--package",
    "target",
    default=".",
    metavar="PACKAGE_OR_FOLDER",
    shell_complete=options.complete_package,
    help="The package to publish for; by default the one in the current folder.",
)
@naming_options
@options.dry_run("Show what would be done, and change nothing anywhere.")
@click.option("--new-version", is_flag=True, help="Allow new bytes under a name, at hosts that keep the old ones.")
@click.option("--repair", is_flag=True, help="Replace a host's copy that differs from the registered file.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="The number of parallel uploads.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait until users can download the files.",
)
@options.as_json
def command(
    files: tuple[str, ...],
    hosts: tuple[str, ...],
    target: str,
    name: str | None,
    prefix: str,
    dry_run: bool,
    new_version: bool,
    repair: bool,
    jobs: int | None,
    wait: float | None,
    as_json: bool,
) -> None:
    """Upload files, verify that users get them, register them.

    dataferry hashes each file, uploads it unless the host has it, downloads it again without credentials from the
    address that users have, compares it, and only then writes it into dataferry.toml. A published name never gets other
    bytes. If the command is interrupted, run it again: it continues from there. Files get their names as with
    "dataferry add".
    """
    from ..publish import Outcome, plan, run
    from ..publish.state import read_known

    path = find_target(target)
    new = not os.path.lexists(path)
    progress = not is_quiet()
    found = named_files(files, path, name, prefix, read_known(path).list_path) if files else _registered_here(path)
    planned = plan(found, hosts, path, new_version=new_version, repair=repair, progress=progress)
    if dry_run or planned.problems or all(host.failure for host in planned.hosts):
        if as_json:
            print_json(Outcome(planned).as_json())
        elif dry_run:
            _print_plan(planned)
        planned.check(every_host=dry_run)
        return
    for host in planned.hosts:
        _note_host(host)
    _note_remarks(planned.remarks)
    outcome = run(planned, jobs=jobs, wait=wait, progress=progress)
    if as_json:
        print_json(outcome.as_json())
    else:
        _print_outcome(outcome)
    outcome.check()
    if new and outcome.written and not as_json:
        note_how_to_ship(path)


def _registered_here(path: Path) -> dict[str, Path]:
    """All registered files that are on this machine."""
    from ..errors import BadName
    from ..package_data import PackageData

    if not path.is_file():
        raise BadName(f"{path} does not exist, so no file is registered: name the files to publish")
    package = package_name(path)
    data = PackageData(package, registry=path, show_progress=False)
    found: dict[str, Path] = {}
    away = []
    for name in data.names():
        where = data.where(name)
        if where.path is not None:
            found[name] = Path(where.path)
        elif Path(name).is_file():
            found[name] = Path(name)
        else:
            away.append(name)
    if away:
        some = ", ".join(away[:3]) + (", ..." if len(away) > 3 else "")
        note(f"{len(away)} of {len(away) + len(found)} registered files are not on this machine: {some}")
    if not found:
        raise BadName(
            f"none of the files that {path} registers is on this machine: name the files to publish, "
            f"or fetch them first: dataferry get {package} '*' --registry {path}"
        )
    return found


def _print_plan(plan: Plan) -> None:
    from ..publish import Action

    hosts = plan.hosts
    heads = [str(number) if len(hosts) > 1 else "ACTION" for number in range(1, len(hosts) + 1)]
    echo("  ".join([f"{'SIZE':>8}", *(f"{head:<11}" for head in heads), "NAME"]))
    for name, upload in plan.uploads.items():
        actions = [host.files[name].action if name in host.files else "-" for host in hosts]
        cells = ["is there" if action == Action.HOSTED else action for action in actions]
        echo("  ".join([f"{size_text(upload.size):>8}", *(f"{cell:<11}" for cell in cells), name]))
    for number, host in enumerate(hosts, 1):
        _note_host(host, f"{number}: " if len(hosts) > 1 else "")
    _note_remarks(plan.remarks)
    note(f"{plan.registry}: dry run, nothing was changed")


def _note_host(host: HostPlan, number: str = "") -> None:
    from ..publish import Action

    if host.failure is not None:
        note(f"{number}{host.redacted}: it cannot be published to now, see below")
        return
    todo = len(host.to_send)
    parts = [f"{todo} to upload, {size_text(host.bytes_to_go)}{_duration(host.seconds)}"] if todo else []
    parts += [f"{len(there)} there already"] if (there := host.doing(Action.HOSTED, Action.PUBLISHED)) else []
    parts += [host.who] if host.who else []
    note(f"{number}{host.redacted}: {'; '.join(parts) or 'nothing to do'}")
    _note_remarks(host.remarks, "  ")


def _note_remarks(remarks: Sequence[str], indent: str = "") -> None:
    for remark in remarks:
        note(f"{indent}note: {remark}")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f", about {max(1, round(seconds))} s"
    return f", about {round(seconds / 60)} min" if seconds < 5400 else f", about {seconds / 3600:.1f} h"


def _print_outcome(outcome: Outcome) -> None:
    from ..publish import Action

    several = len(outcome.plan.hosts) > 1
    for file in outcome.files:
        if file.error is not None or not file.proven:
            sign, word = style("x", fg="red", bold=True), "failed"
        elif file.sent:
            sign, word = "+", "repaired" if file.action == Action.REPAIR else "published"
        else:
            sign, word = ("=", "unchanged") if file.action == Action.PUBLISHED else ("~", "proven")
        host = f"  {file.host}" if several else ""
        echo(f"{sign} {word:<9}  {size_text(file.size):>8}  {file.name}{host}")
    proven = sum(1 for file in outcome.files if file.proven)
    sent = sum(1 for file in outcome.files if file.sent)
    uploaded = f", {sent} of them uploaded now" if sent else ""
    where = ", ".join(map(str, outcome.written))
    registered = f"{where} written" if where else "nothing to register"
    note(f"{proven} of {len(outcome.files)} published and proven{uploaded}; {registered}")
