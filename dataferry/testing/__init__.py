"""For tests of packages that ship data: a range server with faults on demand, and contracts for hosts.

`RangeServer` serves files on loopback; `dataferry.testing.faults` lists what can go wrong with it.
`HostContract`, `LookUpContract` and `PublishContract` are the base classes of a host's tests.
`dataferry.testing.fixtures` holds pytest fixtures.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import faults
from .certificates import CertificateAuthority
from .content import Request
from .faults import *  # noqa: F403
from .range_server import RangeServer, Rule

if TYPE_CHECKING:
    from .host_contract import HostContract
    from .look_up_contract import LookUpContract
    from .publish_contract import PublishContract

__all__ = [
    "CertificateAuthority",
    "HostContract",
    "LookUpContract",
    "PublishContract",
    "RangeServer",
    "Request",
    "Rule",
    "faults",
]
__all__ += faults.__all__

#: These alone need pytest.
_CONTRACTS = {
    "HostContract": "host_contract",
    "LookUpContract": "look_up_contract",
    "PublishContract": "publish_contract",
}


def __getattr__(name: str) -> Any:
    if name not in _CONTRACTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_CONTRACTS[name]}", __name__), name)
