"""Any web server: a base URL to which names are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..names import check_url, quoted_name, shown_url
from .base import Host, Source

if TYPE_CHECKING:
    from ..registry import Entry
    from ..settings import Settings
    from .publisher import Held

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
        return [Source(self.spec + quoted_name(name), self.shown)]

    def held(self, settings: Settings) -> Mapping[str, Held]:
        """The files that ``SHA256SUMS`` at the base URL lists, if there is one."""
        from ..errors import HostRefused, RegistryError, TransferError
        from ..registry_text import read_list
        from ..service import Service
        from ..transport.access import authorization
        from .publisher import Held

        url = self.spec + "SHA256SUMS"
        login = authorization(urlsplit(url), settings)
        try:
            with Service(settings, self.spec, headers={"Authorization": login} if login else {}) as service:
                text = service.call("GET", url, headers={"Accept": "*/*"}).body.decode()
            return {entry.name: Held(entry.size, entry.sha256) for entry in read_list(text, shown_url(url))}
        except HostRefused as error:
            reason = f"{error.reason}; a web server tells its files by a SHA256SUMS, which sha256sum writes"
            raise TransferError(shown_url(url), reason, kind="list", final=True) from error
        except (RegistryError, UnicodeDecodeError) as error:
            raise TransferError(shown_url(url), f"no list of checksums: {error}", kind="list", final=True) from error
