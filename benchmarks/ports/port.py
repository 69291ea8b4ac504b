"""What the port of one package consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tree import Tree

#: Path on the server -> content.
Files = dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Port:
    """A released package, the stand-in for its data, and the edits that ``docs/migrate.rst`` describes."""

    title: str
    requirement: str
    package: str
    #: Tests of the data module: below the source archive, or ``site:`` and a path below ``site-packages``.
    tests: tuple[str, ...]
    #: What a user imports, and the expression that gets a hosted file for the first time.
    imports: str
    first: str
    #: Point the package to a server of this machine, and return what that has to serve. Not a part of the patch.
    stand_in: Callable[[Tree, str], Files]
    port: Callable[[Tree, str], None]
    #: ``dataferry`` commands, run where ``PACKAGE/`` is below the current folder; ``{url}`` is the server.
    commands: tuple[tuple[str, ...], ...] = ()
    also: tuple[str, ...] = ()
    without_dependencies: bool = False
    pytest_options: tuple[str, ...] = ()
