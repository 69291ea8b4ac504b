"""What the kinds of hosts lack on this machine, and where the user's credentials are; no host is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import DataferryError

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..hosts.base import HostStatus

__all__ = ["by_reason", "lacking", "login", "providers"]


def lacking() -> dict[str, str]:
    """Scheme -> what has to be installed for it, with the command; only those that lack something."""
    from ..hosts import host_kind, host_names

    found = {}
    for scheme in host_names():
        try:
            reason = host_kind(scheme).missing(scheme)
        except ImportError as error:  # of a third party
            reason = f"it cannot be loaded: {error}"
        if reason:
            found[scheme] = reason
    return found


def by_reason(lacks: Mapping[str, str]) -> dict[str, list[str]]:
    """Turn what `lacking` gives around: reason -> schemes."""
    return {reason: [s for s, other in lacks.items() if other == reason] for reason in lacks.values()}


def providers(settings: Settings) -> list[HostStatus]:
    """Where the user's credentials for each provider are."""
    from ..hosts import host_kind, host_names, make_host

    found: dict[str, HostStatus] = {}
    for scheme in host_names():
        try:
            example = host_kind(scheme).example
        except ImportError:
            continue
        if example:
            status = make_host(example).status(settings)
            found.setdefault(status.provider, status)
    return list(found.values())


def login(spec: str, settings: Settings) -> str | None:
    """Where the user's credentials to publish to a host are; None for hosts of which only they themselves can tell."""
    from ..hosts import make_host

    try:
        return make_host(spec).status(settings).origin
    except DataferryError:
        return None
