"""For tests of packages that ship data: a range server with faults on demand, and a contract for hosts.

`RangeServer` serves files on loopback; `dataferry.testing.faults` lists what can go wrong with it.
`HostContract`, `LookUpContract` and `PublishContract` are the base classes of a host's tests.
`dataferry.testing.fixtures` holds pytest fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .certificates import CertificateAuthority
from .faults import (
    ChangingETag,
    Cut,
    Empty,
    Fault,
    Flaky,
    FlippedByte,
    Garbage,
    GzipEncoding,
    HeaderFlood,
    IgnoresIfRange,
    IgnoresRange,
    LfsPointer,
    LoginPage,
    NeverAnswers,
    OtherFile,
    OtherRange,
    RedirectLoop,
    RedirectTo,
    RedirectToLogin,
    Reset,
    Stall,
    Status,
    Trickle,
    Truncated,
    WrongContentLength,
    WrongContentRange,
    WrongETag,
    WrongLength,
)
from .log import Request
from .rules import Rule
from .server import RangeServer

if TYPE_CHECKING:
    from .host_contract import HostContract
    from .look_up_contract import LookUpContract
    from .publish_contract import PublishContract

__all__ = [
    "CertificateAuthority",
    "ChangingETag",
    "Cut",
    "Empty",
    "Fault",
    "Flaky",
    "FlippedByte",
    "Garbage",
    "GzipEncoding",
    "HeaderFlood",
    "HostContract",
    "IgnoresIfRange",
    "IgnoresRange",
    "LfsPointer",
    "LoginPage",
    "LookUpContract",
    "NeverAnswers",
    "OtherFile",
    "OtherRange",
    "PublishContract",
    "RangeServer",
    "RedirectLoop",
    "RedirectTo",
    "RedirectToLogin",
    "Request",
    "Reset",
    "Rule",
    "Stall",
    "Status",
    "Trickle",
    "Truncated",
    "WrongContentLength",
    "WrongContentRange",
    "WrongETag",
    "WrongLength",
    "faults",
]


def __getattr__(name: str) -> Any:
    if name == "HostContract":  # the contracts alone need pytest
        from .host_contract import HostContract

        return HostContract
    if name == "LookUpContract":
        from .look_up_contract import LookUpContract

        return LookUpContract
    if name == "PublishContract":
        from .publish_contract import PublishContract

        return PublishContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
