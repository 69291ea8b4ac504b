"""Any web server: a base URL to which names are joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..names import check_url
from .base import Host, Source

if TYPE_CHECKING:
    from ..registry import Entry

__all__ = ["WebHost"]


class WebHost(Host):
    """Files below a base URL, as NGINX, Apache or Caddy publish a folder.

    Parameters
    ----------
    spec : str
        ``https://host/path/``, with a slash at its end.

    Raises
    ------
    BadName
        If it is no such URL.
    """

    def __init__(self, spec: str) -> None:
        super().__init__(check_url(spec, "the host's URL"))

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """One URL: the base URL and the quoted name."""
        return [Source(self.spec + quote(name, safe="/~!$&'()*,;=:@+"), self.shown)]
