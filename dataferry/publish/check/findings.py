"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "State"]


class State(StrEnum):
    """How sure it is that a host has a file."""

    #: All of its bytes came and have the registered sha256.
    PROVEN = "proven"
    #: The host tells the registered sha256, or samples are the same as in a verified file here.
    LIKELY = "likely"
    #: It can be had and its size is right; nothing tells whether its bytes are.
    SIZE_ONLY = "size only"
    #: It can be had; neither its size nor its bytes could be compared with anything.
    THERE = "there"
    #: A user would not get it there.
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One file at one host.

    Parameters
    ----------
    name : str
        The file.
    host : str
        The host as declared, as it may be shown.
    place : str
        Where at the host, as it may be shown.
    state : State
        How sure it is.
    note : str
        What was compared, or what is wrong.
    kind : str
        Of a bad one: a short word for programs, as in `dataferry.errors.TransferError`.
    """

    name: str
    host: str
    place: str
    state: State
    note: str
    kind: str = ""
