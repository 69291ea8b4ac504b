"""Asking again until something has happened, with longer and longer pauses."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator

#: Seconds that are waited for a server that says when to come again. A later deadline of the call extends it for files;
#: beyond it the error says when.
LONGEST_WAIT = 120.0
#: The same for a reader of parts of a file, who waits for each of them.
LONGEST_WAIT_FOR_PART = 30.0

_LONGEST = 20.0


def backoff(attempt: float, first: float = 0.25) -> float:
    """The seconds to wait after so many attempts: growing, with jitter, so that not all clients come back at once."""
    return min(_LONGEST, first * math.exp2(attempt)) * random.uniform(0.5, 1.0)  # noqa: S311


def first_pause(timeout: float, longest: float = 0.25) -> float:
    """The seconds to wait before a second attempt: so few that all pauses together are less than a timeout."""
    return min(longest, timeout / 40)


def tries(seconds: float, first: float = 0.1, longest: float = 10.0) -> Iterator[None]:
    """Go round a loop at once and then after growing pauses, at least once; the last round begins when time is over."""
    end, pause = time.monotonic() + seconds, first
    while True:
        yield
        if time.monotonic() > end:
            return
        time.sleep(pause)
        pause = min(pause * 1.6, longest)
