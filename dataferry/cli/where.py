"""``dataferry where``."""

from __future__ import annotations

import click

from . import options
from .output import echo, print_json

__all__ = ["command"]


@click.command("where", cls=options.Command)
@options.package
@options.names
@options.from_registry
@options.as_json
def command(package: str, names: tuple[str, ...], registry: str | None, as_json: bool) -> None:
    """Explain where files come from.

    Lists every place in the order in which "get" uses them, what is there, and which one "get" would take. Downloads
    nothing.
    """
    data = options.open_data(package, registry)
    found = [data.where(name) for name in options.expand(data, names)]
    if as_json:
        print_json({"package": package, "files": [where.as_dict() for where in found]})
    else:
        echo("\n\n".join(map(str, found)))
