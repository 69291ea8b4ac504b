"""What a provider answered, and what of it people want to know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import TransferError

__all__ = ["Response", "error_message", "seconds_to_wait"]


@dataclass(frozen=True, slots=True)
class Response:
    """What a provider answered.

    Parameters
    ----------
    status : int
        The HTTP status.
    headers : mapping of str to str
        The headers; names in any case.
    body : bytes
        The whole body.
    place : str
        The URL as it may be shown.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    place: str

    def json(self) -> Any:
        """The body as JSON.

        Returns
        -------
        object
            What it holds.

        Raises
        ------
        TransferError
            If it is no JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            start = self.body[:60].decode(errors="replace")
            raise TransferError(self.place, f"answered {start!r} and not JSON", kind="json", final=True) from None


def error_message(reply: Response) -> str:
    """What the provider gives as its reason, in whatever form it does."""
    try:
        told = json.loads(reply.body)
    except ValueError:
        text = reply.body[:200].decode(errors="replace").strip()
        return "" if text.startswith("<") else text
    if not isinstance(told, dict):
        return str(told)[:300]
    words = [str(told[key]) for key in ("message", "error", "code") if told.get(key)][:1]
    several = told.get("errors")
    if isinstance(several, list):
        words += [_item(item) for item in several[:5]]
    return "; ".join(words)[:500]


def _item(told: object) -> str:
    if not isinstance(told, dict):
        return str(told)
    return str(told.get("message") or told.get("code") or json.dumps(told))


def seconds_to_wait(reply: Response) -> float | None:
    """The seconds that the provider asks to wait; None if it does not ask."""
    try:
        return float(reply.headers.get("Retry-After", ""))
    except ValueError:
        return None
