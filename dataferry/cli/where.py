"""``dataferry where``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import options
from .output import echo, print_json

if TYPE_CHECKING:
    from ..package_data import PackageData

__all__ = ["command"]


@options.data_command("where", options.names)
def command(data: PackageData, names: tuple[str, ...], as_json: bool) -> None:
    """Explain where files come from.

    Lists every place in the order in which "get" uses them, what is there, and which one "get" would take. Downloads
    nothing.
    """
    found = [data.where(name) for name in data._resolver.expand(names)]
    if as_json:
        print_json({"package": data.package, "files": [where.as_dict() for where in found]})
    else:
        echo("\n\n".join(map(str, found)))
