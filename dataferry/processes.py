"""Whether a process of this machine still runs."""

from __future__ import annotations

import os

__all__ = ["is_alive"]


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs, whosever it is.

    Parameters
    ----------
    pid : int
        Its number.

    Returns
    -------
    bool
        False only if it has ended for sure.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # somebody else's, or no number of a process
    return True
