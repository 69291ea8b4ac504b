"""Reading through fsspec, and by plain HTTPS where the store serves strangers that way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, urlsplit

from ...download.source import Source
from ...errors import BadName
from ...registry.names import check_url, quoted_name, redact_url
from ..base import Host
from .public import public_base

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...registry.registry import Entry
    from ..publisher import HostedFile, Publisher
    from .session import Session

__all__ = ["FsspecHost"]

#: Words in the names of options that hold a secret, which a registry must not.
_SECRET = ("key", "password", "secret", "token", "connection_string", "sas", "credential")


class FsspecHost(Host):
    """Files below a URL that some implementation of fsspec understands.

    Parameters
    ----------
    spec : str
        ``gs://bucket/path/``, ``abfs://container/path/?account_name=NAME``, ``sftp://host/path/``,
        ``hf://datasets/owner/repo/``, or any other behind ``fsspec:``. The query holds options for the
        implementation, and ``public``: a base URL at which the same files are served to strangers.

    Raises
    ------
    BadName
        If it is no such URL, or holds a secret.
    """

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        url = spec.partition(":")[2] if spec.lower().startswith("fsspec:") else spec
        self.url, _, query = url.partition("?")
        self.url = self.url.rstrip("/") + "/"
        parts, redacted = urlsplit(self.url), redact_url(spec)
        if not parts.scheme or not parts.netloc:
            raise BadName(f"{redacted!r} is no URL for fsspec: write PROTOCOL://place/folder/")
        self.protocol = parts.scheme.lower()
        if parts.password is not None:
            raise BadName(f"{redacted!r} holds a password; a registry is public: use the protocol's own login")
        options = dict(parse_qsl(query, keep_blank_values=True))
        public = options.pop("public", "")
        for key in options:
            if any(word in key.lower() for word in _SECRET):
                raise BadName(f"{redacted!r}: {key} is a secret; a registry is public: use the protocol's own login")
        self.options: dict[str, Any] = {key: _typed(value) for key, value in options.items()}
        self.stated = check_url(public, "public") if public else ""
        self.public = self.stated or public_base(self.protocol, parts, self.options)
        self._sessions: dict[bool, Session] = {}

    @property
    def redacted(self) -> str:
        """The declaration as it is: one that holds a secret is refused."""
        return self.spec

    def session(self, *, publishing: bool = False) -> Session:
        """The connection, made at its first use; see `Session` for what publishing means."""
        if publishing not in self._sessions:
            from .session import Session

            self._sessions[publishing] = Session(self, publishing=publishing)
        return self._sessions[publishing]

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The public URL where there is one, else through fsspec."""
        if self.public:
            return [Source(self.public + quoted_name(name), self.redacted)]
        return [self._through(name)]

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """What the public URL did not give comes with the user's login, if there may be one."""
        from .session import is_stranger

        if not self.public or settings.anonymous or is_stranger(self.protocol):
            return {}
        return {name: [self._through(name)] for name in wanted}

    def _through(self, name: str) -> Source:
        return Source(self.url + quoted_name(name), self.redacted, opener=_Opener(self, name))

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """All files below the URL; md5 where the store tells it."""
        from ...errors import TransferError

        try:
            return self.session().listing()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise TransferError(self.redacted, str(error), kind="list") from error

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """See `FsspecPublisher`."""
        from .publisher import FsspecPublisher

        return FsspecPublisher(self, settings, about)


@dataclass(frozen=True, slots=True)
class _Opener:
    host: FsspecHost
    name: str

    def __call__(self, start: int) -> BinaryIO:
        return self.host.session().open(self.name, start)


def _typed(value: str) -> Any:
    if value.lower() in {"true", "false"}:
        return value.lower() == "true"
    return int(value) if value.isdigit() else value
