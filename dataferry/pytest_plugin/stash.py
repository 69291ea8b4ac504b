"""Where pytest keeps the state of the plugin; light, since every run of pytest imports it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

__all__ = ["CURRENT", "RUN", "needs_file"]

#: The test that runs now: fixtures of a wide scope ask for its package.
CURRENT = pytest.StashKey[pytest.Item]()
#: The plugin that is registered once a test needs a file.
RUN = "dataferry-run"


def needs_file(workerinput: Mapping[str, Any]) -> str:
    """Where a worker of pytest-xdist leaves its needs."""
    return os.path.join(workerinput["dataferry"], f"needs-{workerinput['workerid']}.json")
