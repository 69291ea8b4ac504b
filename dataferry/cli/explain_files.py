"""``dataferry where``."""

from __future__ import annotations

import click

from . import command as shared

__all__ = ["command"]


@click.command("where", cls=shared.Command)
@shared.package
@shared.names
@shared.from_registry
@shared.as_json
def command(package: str, names: tuple[str, ...], registry: str | None, as_json: bool) -> None:
    """Explain where files would come from.

    Shows every place in the order in which "get" asks them, what is there, and which one answers. Nothing is fetched.
    """
    data = shared.open_data(package, registry)
    found = [data.where(name) for name in shared.expand(data, names)]
    if as_json:
        shared.print_json({"package": package, "files": [where.as_dict() for where in found]})
    else:
        click.echo("\n\n".join(map(str, found)))
