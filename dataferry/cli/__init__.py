"""The command line ``dataferry``: one module a command, loaded when the command runs."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line. Leaves the process with the exit code that `dataferry.cli.output` documents."""
    import contextlib
    import logging
    import os
    import sys
    import threading

    from .app import dataferry
    from .output import INTERRUPTED, MACHINE

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # who started this has closed it, as some daemons do
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    # What fails in a thread of a library, as paramiko's do where a connection ends, reaches the command, which says so.
    threading.excepthook = lambda failed: logging.getLogger("dataferry").debug("in a thread: %r", failed.exc_value)
    try:
        dataferry(prog_name="dataferry")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
        # Do not wait for threads of a library that still wait for a host. Daemons count as well: those of a pool that
        # a daemon made are daemons, and Python waits for every pool.
        if code == INTERRUPTED and any(thread is not threading.main_thread() for thread in threading.enumerate()):
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(code)
        try:
            sys.stdout.flush()
        except OSError:  # Python would try again, print a traceback and leave with 120
            os._exit(code or MACHINE)
        raise
