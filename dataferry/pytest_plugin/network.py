"""Whether a run may use the network, and the peace with pytest-remotedata."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from ..config.settings import load_settings

__all__ = ["closed", "lift_remote_data"]

#: Hosts that ``--remote-data=astropy`` and ``--remote-data=github`` allow.
_TIERS = {
    "github": {"www.github.io"},
    "astropy": {"data.astropy.org", "astropy.stsci.edu", "www.astropy.org", "www.github.io"},
}


def closed(config: pytest.Config, dataurl: str) -> str:
    """Why the network is not to be used.

    Parameters
    ----------
    config : pytest.Config
        The session's configuration.
    dataurl : str
        Where the files are.

    Returns
    -------
    str
        Empty where it may be used.
    """
    if config.option.dataferry == "offline":
        return "--dataferry=offline"
    offline = load_settings().offline
    if offline:
        return offline
    allowed = config.getoption("remote_data", None)  # None without pytest-remotedata
    if allowed in {None, "any"} or urlsplit(dataurl).hostname in _TIERS.get(str(allowed), ()):
        return ""
    return f"--remote-data={allowed}"


def lift_remote_data(item: pytest.Item) -> None:
    """Let a test run that pytest-remotedata would skip although its files are here.

    Parameters
    ----------
    item : pytest.Item
        A test all of whose files are on this machine.
    """
    if item.config.getoption("remote_data", None) in {None, "any"}:
        return
    closest = item.get_closest_marker
    if closest("remote_data") is None:
        return

    def without(name: str, default: Any = None) -> Any:
        return default if name == "remote_data" else closest(name, default)

    item.get_closest_marker = without  # type: ignore[method-assign]
