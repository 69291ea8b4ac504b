"""The command line ``dataferry``: one module a command, loaded when the command runs."""

from __future__ import annotations

import contextlib

__all__ = ["main"]


def main() -> None:
    """Run the command line. Leaves the process with the exit code that `dataferry.cli.outcome` documents."""
    from .app import dataferry
    from .outcome import INTERRUPTED

    try:
        dataferry(prog_name="dataferry")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _leave_at_once(INTERRUPTED)
        raise


def _leave_at_once(code: int) -> None:
    """After Ctrl-C do not wait for threads of a library that still wait for a host."""
    import os
    import sys
    import threading

    # Daemons count as well: those of a pool that a daemon made are daemons, and Python waits for every pool.
    if any(thread is not threading.main_thread() for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
