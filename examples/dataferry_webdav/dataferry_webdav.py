"""A folder of a WebDAV server as a host: ``webdav:https://host/path/``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from dataferry.errors import AccessDenied, Conflict, HostRefused
from dataferry.hosts.base import Credential, Host, HostedFile, Publisher, Source, Upload
from dataferry.registry.names import check_url

if TYPE_CHECKING:
    from dataferry.config.settings import Settings
    from dataferry.hosts.api_client import ApiClient, Response
    from dataferry.registry.entry import Entry

__all__ = ["WebdavHost", "WebdavPublisher"]

VARIABLE = "WEBDAV_TOKEN"
REMEDY = f"It needs a token with write permission: set {VARIABLE}, or token under [hosts] in config.toml"


class WebdavHost(Host):
    """Files below a URL that everybody can GET, and that the author can PUT, MKCOL, MOVE and DELETE."""

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.url = check_url(spec.partition(":")[2], "the folder's URL")

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """A token for the declared server. It is not ``own``: a package must not send the variable's token anywhere."""
        return (Credential("WebDAV", urlsplit(self.url).netloc, (VARIABLE,)),)

    def url_of(self, name: str) -> str:
        """The URL of a file or, with a slash at the end, of a folder."""
        return self.url + quote(name, safe="/~!$'()*,;=:@+")

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """One URL: the folder's, and the quoted name."""
        return [Source(self.url_of(name), self.redacted)]

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> WebdavPublisher:
        """The publisher of this host."""
        return WebdavPublisher(self, settings, about)


class WebdavPublisher(Publisher):
    """Uploads a file under a temporary name; a MOVE that overwrites nothing gives the file its own name."""

    host: WebdavHost
    origin = ""
    tells_digests = False

    @cached_property
    def service(self) -> ApiClient:
        """The client with the author's token; created by `check_rights`, before there are threads."""
        from dataferry.hosts.api_client import ApiClient

        token = self.host.token(self.settings, publishing=True)  # the author named the server
        if token is None:
            raise AccessDenied(self.host.redacted, "there is no token", REMEDY)
        self.origin = token.origin
        return ApiClient(self.settings, self.host.url, headers={"Authorization": f"Bearer {token.secret}"})

    def call(self, method: str, url: str, **options: Any) -> Response:
        """Send a request; a token without write permission is an `AccessDenied`."""
        try:
            return self.service.call(method, url, **options)
        except HostRefused as error:
            if error.status in {401, 403}:
                raise AccessDenied(self.host.redacted, error.reason, REMEDY) from error
            raise

    def check_rights(self) -> str:
        """Delete a name that does not exist: this changes nothing, and only a token that may write gets a 404."""
        self.call("DELETE", self.host.url_of(f".{os.urandom(16).hex()}"), accept={404})
        return f"with the token in {self.origin}"

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """Report sizes. The server has no digests, so dataferry downloads files of the right size and compares."""
        with ThreadPoolExecutor(self.parallel) as pool:
            replies = list(pool.map(lambda u: self.call("HEAD", self.host.url_of(u.name), accept={404}), uploads))
        found = {u.name: reply for u, reply in zip(uploads, replies, strict=True) if reply.status != 404}
        return {name: HostedFile(int(reply.headers["content-length"])) for name, reply in found.items()}

    def upload(
        self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]
    ) -> Mapping[str, str | int]:
        """PUT and MOVE. If killed between the two, the next run finds the temporary name in the notes and moves it."""
        from dataferry.hosts.api_client import FileBody

        if "private" not in notes:
            notes["private"] = f".{upload.sha256}.{os.urandom(8).hex()}"
        private = self.host.url_of(notes["private"])
        there = self.call("HEAD", private, accept={404})
        if there.status == 404 or int(there.headers["content-length"]) != upload.size:
            with FileBody(upload.path, 0, upload.size, moved) as body:
                self.call("PUT", private, body=body)
        for at in (at for at, c in enumerate(upload.name) if c == "/"):
            self.call("MKCOL", self.host.url_of(upload.name[: at + 1]), accept={405})
        target = self.host.url_of(upload.name)
        try:
            self.call("MOVE", private, headers={"Destination": target, "Overwrite": "F"}, again=False)
        except HostRefused as error:
            if error.status == 412:
                self.call("DELETE", private, accept={404})
                raise Conflict(target, "somebody else has just published a file under this name") from error
            raise
        return {}
