"""The command line ``dataferry``: one module a command, loaded when the command runs."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line. Leaves the process with the exit code that `dataferry.cli.outcome` documents."""
    from .app import dataferry

    dataferry(prog_name="dataferry")
