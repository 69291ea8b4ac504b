"""One source of one file in one run: how often it was tried, which version it has, where its bytes are."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..errors import Reason, TransferError
from .host_limiter import HostLimiter
from .segmented_file import RangeTransfer
from .source import Source

_ROUNDS = 4
_REFUSALS = frozenset({Reason.ABSENT, Reason.DENIED})
_SLOWER = 3.0  # a host that is so many times slower than another is asked after it


@dataclass(slots=True, eq=False)
class SourceState:
    """One source of one file."""

    source: Source
    host: HostLimiter
    tries: float = 0
    wrong: int = 0
    final: bool = False
    reused: bool = False  # an answer came over a kept connection
    fresh: bool = False  # it is asked over new connections only
    validator: str | None = None  # what says that later bytes are of the same version
    etag: str | None = None
    last: str = ""
    layout: list[tuple[int, Source, int | None]] = field(default_factory=list)  # start, URL, stop
    targets: dict[str, str] = field(default_factory=dict)  # URL -> where it redirects to

    @property
    def plain(self) -> bool:
        """Whether one GET brings the whole file."""
        return not self.source.parts and self.source.opener is None

    def at(self, position: int) -> tuple[int, Source, int | None]:
        """The object that has a byte of the file, where the host keeps it in several: its start, source and stop."""
        if not self.layout:
            start = 0
            for part in self.source.parts:
                if part.size:
                    # What a source brings along for its host is not for another host that has a part.
                    near = urlsplit(part.url)[:2] == urlsplit(self.source.url)[:2]
                    source = Source(part.url, self.source.host, self.source.headers if near else {})
                    self.layout.append((start, source, start + part.size))
                    start += part.size
            self.layout = self.layout or [(0, self.source, None)]
        return self.layout[max(0, bisect_right(self.layout, position, key=lambda part: part[0]) - 1)]

    def address(self, transfer: RangeTransfer, source: Source) -> None:
        """Let a request go straight to where an earlier one was redirected; headers for the source stay with it."""
        target = self.targets.get(source.url)
        if target is not None:
            transfer.url, transfer.hops, transfer.shortcut = target, 1, True
        if source.headers and (target is None or urlsplit(target)[:2] == urlsplit(source.url)[:2]):
            transfer.private = tuple(source.headers.items())

    def doubtful(self, kind: Reason) -> bool:
        """Whether an answer may have been left unread on a kept connection: then the next ones come over new ones."""
        sure = self.fresh or not self.reused
        if kind in _REFUSALS:  # a mirror without any of 1,000 files is not asked twice for each
            self.host.refuses = self.host.refuses or sure
            sure = self.host.refuses
        if sure:
            return False
        self.fresh = True
        self.targets.clear()
        return True

    def total(self, size: int | None) -> int | None:
        """The size of a file in parts, which must be `size`; that itself for a file in one object."""
        parts = self.source.parts
        if not parts:
            return size
        total = sum(part.size for part in parts)
        if size is not None and total != size:
            reason = f"its {len(parts)} parts have {total} bytes together, {size} are registered"
            raise TransferError(self.source.redacted, reason, kind=Reason.SIZE, final=True)
        return total


def choose(states: Sequence[SourceState]) -> SourceState | None:
    """The source to ask next; None if no source is worth asking any more."""
    left = [state for state in states if not (state.final or state.host.aside or state.tries >= _ROUNDS)]
    if len(left) < 2:
        return left[0] if left else None
    now = time.monotonic()
    fastest = max(state.host.per_connection for state in left)

    def cost(state: SourceState) -> tuple[bool, bool, float, bool]:
        host = state.host
        failing = host.failures > 0 or host.doubtful
        return host.paused_until > now, failing, state.tries, 0 < host.per_connection * _SLOWER < fastest

    return min(left, key=cost)
