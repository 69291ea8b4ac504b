"""How files are fetched, and until when."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..errors import Failure, Reason

if TYPE_CHECKING:
    from ..download.progress import Progress


def in_terminal() -> bool:
    """Whether somebody can see a progress bar."""
    return bool(sys.stderr and sys.stderr.isatty())


class FetchOptions(NamedTuple):
    """How files are fetched, and until when."""

    #: How many files at once; the engine decides by default.
    jobs: int | None = None
    #: Bars (True), nothing (False), or a callback; None where the caller leaves it to others.
    progress: bool | Callable[[Progress], None] | None = None
    #: The seconds that were given for all files together.
    deadline: float | None = None
    #: The time of the monotonic clock at which they are over.
    until: float | None = None
    #: What opens the URL of a file in place of dataferry.
    opener: Callable[[str], BinaryIO] | None = None

    @classmethod
    def from_now(
        cls, jobs: int | None, progress: bool | Callable[[Progress], None] | None, deadline: float | None
    ) -> FetchOptions:
        """Options whose time begins now."""
        return cls(jobs, progress, deadline, None if deadline is None else time.monotonic() + deadline)

    @property
    def left(self) -> float | None:
        """Seconds that are left; None without an end."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    @property
    def passed(self) -> Failure:
        """The reason where no time is left."""
        return Failure("hosts", f"the deadline of {self.deadline:g} s has passed", Reason.DEADLINE)
