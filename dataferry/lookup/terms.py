"""On what terms files are fetched: how many at once, who is told, and until when."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Failure

if TYPE_CHECKING:
    from ..download.progress import Progress

__all__ = ["Terms"]


class Terms(NamedTuple):
    """How files are fetched.

    Parameters
    ----------
    jobs : int or None
        How many files at once; the engine decides by default.
    progress : bool or callable or None
        Bars (True), nothing (False), or who is told a `Progress`; None where the caller did not say.
    deadline : float or None
        The seconds that were given for all files together.
    until : float or None
        The time of the monotonic clock at which they are over.
    """

    jobs: int | None = None
    progress: bool | Callable[[Progress], None] | None = None
    deadline: float | None = None
    until: float | None = None

    @classmethod
    def from_now(
        cls, jobs: int | None, progress: bool | Callable[[Progress], None] | None, deadline: float | None
    ) -> Terms:
        """Terms whose time begins now."""
        return cls(jobs, progress, deadline, None if deadline is None else time.monotonic() + deadline)

    @property
    def told(self) -> bool | Callable[[Progress], None]:
        """Who is told: nobody, where the caller did not say."""
        return False if self.progress is None else self.progress

    @property
    def left(self) -> float | None:
        """Seconds that are left; None without an end."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    @property
    def passed(self) -> Failure:
        """What is said where no time is left."""
        return Failure("hosts", f"the deadline of {self.deadline:g} s has passed", "deadline")
