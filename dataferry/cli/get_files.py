"""``dataferry get``."""

from __future__ import annotations

import click

from . import command as shared

__all__ = ["command"]


_EXAMPLES = """\b
Examples:
  dataferry get mypkg maps/dust_064.fits
  dataferry get mypkg '*'        all, before a job on nodes without internet"""


@click.command("get", cls=shared.Command, epilog=_EXAMPLES)
@shared.package
@shared.names
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Files at the same time.")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up after so many seconds in all; what came is kept for the next time.",
)
@shared.from_registry
@shared.as_json
def command(
    package: str,
    names: tuple[str, ...],
    jobs: int | None,
    deadline: float | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Get files and print their paths.

    Each comes from the nearest place that has it, verified. NAME is a name or a quoted glob, such as 'maps/dust_*'.
    """
    from ..errors import FetchErrors

    data = shared.open_data(package, registry)
    wanted = shared.expand(data, names)
    failed: FetchErrors | None = None
    try:
        paths = dict(zip(wanted, data.fetch(wanted, jobs=jobs, deadline=deadline), strict=True))
    except FetchErrors as error:
        failed, paths = error, error.paths
    if as_json:
        reasons = {getattr(e, "name", ""): str(e) for e in failed.exceptions} if failed else {}
        files = [{"name": name, "path": paths.get(name), "error": reasons.get(name)} for name in wanted]
        shared.print_json({"package": package, "files": files})
    else:
        for name in wanted:
            if name in paths:
                click.echo(paths[name])
    if failed:
        raise failed.exceptions[0] if len(wanted) == 1 else failed
