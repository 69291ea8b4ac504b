"""Fixtures for pytest, in a ``conftest.py``: ``pytest_plugins = ["dataferry.testing.fixtures"]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .range_server import RangeServer

__all__ = ["range_server"]


@pytest.fixture
def range_server() -> Iterator[Callable[..., RangeServer]]:
    """Start a `~dataferry.testing.RangeServer`, or several; all stop when the test ends.

    ``range_server(files, **options)`` takes what the class takes.
    """
    with ExitStack() as stack:

        def start(*args: Any, **options: Any) -> RangeServer:
            return stack.enter_context(RangeServer(*args, **options))

        yield start
