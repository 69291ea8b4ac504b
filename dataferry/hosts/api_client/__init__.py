"""The HTTP interface of a provider: questions with JSON, bodies from files, retries, and errors that name the place."""

from __future__ import annotations

from .again import LONGEST_WAIT
from .body import FileBody
from .reply import Response, error_message
from .session import ApiClient

__all__ = ["LONGEST_WAIT", "ApiClient", "FileBody", "Response", "error_message"]
