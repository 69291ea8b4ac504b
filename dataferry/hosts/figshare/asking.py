"""Questions on the way to a publication: what goes wrong becomes an error that says which rights are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ...errors import AccessDenied, HostRefused, PublishError, TransferError
from .interface import VARIABLE

__all__ = ["RIGHTS", "asked"]

RIGHTS = (
    "make a personal token at https://figshare.com/account/applications (it may do what you may), put it into "
    f"{VARIABLE}, or into the keyring: keyring set dataferry api.figshare.com"
)

T = TypeVar("T")


def asked(place: str, question: Callable[[], T]) -> T:
    """The answer to a question; what goes wrong becomes an error of publishing.

    Parameters
    ----------
    place : str
        What it is about, as it may be shown.
    question : callable
        Asks.

    Returns
    -------
    object
        The answer.

    Raises
    ------
    AccessDenied
        If Figshare says that this account may not.
    PublishError
        If there is no answer, or another refusal.
    """
    try:
        return question()
    except TransferError as failed:
        said = f"{failed.place}: {failed.reason}"
        if isinstance(failed, HostRefused) and failed.status in {401, 403}:
            raise AccessDenied(place, said, RIGHTS) from None
        raise PublishError(place, said, "" if failed.final else "run it again to go on") from None
