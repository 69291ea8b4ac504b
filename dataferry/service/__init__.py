"""The HTTP interface of a provider: questions with JSON, bodies from files, retries, and errors that name the place."""

from __future__ import annotations

from .again import LONGEST_WAIT
from .body import FileBody
from .reply import Reply, what_it_says
from .session import Service

__all__ = ["LONGEST_WAIT", "FileBody", "Reply", "Service", "what_it_says"]
