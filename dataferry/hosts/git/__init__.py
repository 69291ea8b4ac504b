"""The git command line: run it with a token that is written nowhere, and say what went wrong."""

from __future__ import annotations

from .program import Done, find_git
from .run import Git
from .tip import Branch

__all__ = ["Branch", "Done", "Git", "find_git"]
