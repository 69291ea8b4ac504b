"""How files are fetched, and until when; whether the network is used at all, and with which settings."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..cache import astropy_cache
from ..config.settings import Settings, load_settings
from ..errors import Failure, Reason

if TYPE_CHECKING:
    from ..download.progress import Progress
    from ..download.source import Source


def offline_reason() -> str:
    """Why the network is not to be used; empty where it may be."""
    return load_settings().offline or ("" if astropy_cache.internet_allowed() else "astropy's allow_internet is False")


def engine_settings(timeout: float | None = None) -> Settings:
    """The settings for a transfer: the timeout of a package or call, and what astropy's configuration adds."""
    settings = load_settings()
    timeout = timeout or astropy_cache.astropy_timeout() or settings.timeout
    return settings._replace(agent=astropy_cache.astropy_user_agent(), timeout=timeout)


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

    def as_given(self, failure: Failure) -> Failure:
        """A failure of a download, which had what was left of the deadline, with the deadline as it was given."""
        late = self.deadline is not None and failure.kind == Reason.DEADLINE
        return failure._replace(reason=self.passed.reason) if late else failure

    def opened(self, sources: Iterable[Source]) -> tuple[Source, ...]:
        """The sources, opened by the caller's function if there is one."""
        if self.opener is None:
            return tuple(sources)
        from ..download.source import Source

        return tuple(Source(s.url, s.host, opener=partial(_open_at, self.opener, s.url)) for s in sources)


def _open_at(opener: Callable[[str], BinaryIO], url: str, start: int) -> BinaryIO:
    file = opener(url)
    if start and getattr(file, "seekable", lambda: False)():
        file.seek(start)
    else:  # a stream that can only be read on
        while start > 0 and (block := file.read(min(start, 1 << 20))):
            start -= len(block)
    return file
