"""Any web server: a base URL to which names are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..download.source import Source
from ..errors import HostRefused, PublishError, RegistryError, TransferError
from ..registry.catalog import SUMS
from ..registry.checksum_lists import read_list
from ..registry.names import check_url, quoted_name, redact_url
from .base import Host, HostedFile, Publisher

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.entry import Entry


class WebHost(Host):
    """Files below a base URL, as NGINX, Apache or Caddy publish a folder.

    It is declared as ``https://host/path/``, with a slash at its end.
    """

    schemes = ("http", "https")

    def __init__(self, spec: str) -> None:
        super().__init__(check_url(spec, "the host's URL"))

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """None; the error names the folder behind the server."""
        remedy = f"on the machine that has the folder of this server: --to 'folder:/path/to/it?url={self.redacted}'"
        raise PublishError(self.redacted, "dataferry can read from a web server, but not publish to it", remedy)

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """One URL: the base URL and the quoted name."""
        return [Source(self.spec + quoted_name(name), self.redacted)]

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """The files that ``SHA256SUMS`` at the base URL lists, if there is one."""
        from ..download.origin import authorization
        from .api_client import ApiClient

        url = self.spec + SUMS
        login = authorization(urlsplit(url), settings)
        try:
            service = ApiClient(settings, self.spec, headers={"Authorization": login} if login else {})
            text = service.call("GET", url, headers={"Accept": "*/*"}).body.decode()
            return {entry.name: HostedFile(entry.size, entry.sha256) for entry in read_list(text, redact_url(url))}
        except HostRefused as error:
            reason = f"{error.reason}; a web server lists its files in a SHA256SUMS, which sha256sum writes"
            raise TransferError(redact_url(url), reason, kind="list", final=True) from error
        except (RegistryError, UnicodeDecodeError) as error:
            raise TransferError(redact_url(url), f"no list of checksums: {error}", kind="list", final=True) from error
