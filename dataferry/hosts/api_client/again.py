"""How often a question is asked again, and how long an answer may keep us waiting."""

from __future__ import annotations

from typing import Any, Self

import urllib3

__all__ = ["LONGEST_WAIT", "Retry"]

#: Seconds that are waited for a server that says when to come again; beyond it the error says when.
LONGEST_WAIT = 120.0


class Retry(urllib3.Retry):
    """Retries of urllib3, without long waits and only for what is listed."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """What the server asks for, but not for longer than `LONGEST_WAIT`."""
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, LONGEST_WAIT)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        """Count one more try, if it is worth waiting for."""
        if response is not None and (super().get_retry_after(response) or 0) > LONGEST_WAIT:
            raise urllib3.exceptions.MaxRetryError(_pool, url or "")  # the answer itself says when to come again
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Whether an answer is no answer yet."""
        return super().is_retry(method, status_code, False)  # only what is listed, whatever else says Retry-After
