"""The contract that every host keeps, as a class of tests."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn
from urllib.parse import urlsplit

import pytest

from ..errors import DataferryError, FileUnavailable
from .range_server import RangeServer

if TYPE_CHECKING:
    from ..download.source import Arrived, Source, Wanted
    from ..hosts.base import Host
    from ..registry.entry import Entry

__all__ = ["HostContract"]


def content(name: str) -> bytes:
    """Some bytes that no other name has, as many as two blocks of FITS."""
    return hashlib.sha256(name.encode()).digest() * 180


@contextmanager
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that opens a connection, through Python or through libcurl."""

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        pytest.fail("a host must not use the network to name its sources")

    with monkeypatch.context() as patch:
        for name in ("socket.socket", "socket.create_connection", "socket.getaddrinfo"):
            patch.setattr(name, refuse)
        for name in ("pycurl.Curl", "pycurl.CurlMulti"):
            with suppress(ImportError):  # only downloads need it
                patch.setattr(name, refuse)
        yield


class HostContract:
    """The tests that every host passes: subclass it, say how a host is made, and pytest runs them.

    A host whose files lie below a base URL needs `host_at` alone. One with an interface of its own overrides `serving`
    and starts whatever plays its server. `LookUpContract` is for a host whose interface is needed to find files.

    Attributes
    ----------
    names : sequence of str
        Names that the host must be able to serve; shorter for a host that cannot have some of them.
    secrets : sequence of (str, str)
        Declarations with credentials in them, each with the part that must stay secret. A host may also refuse
        to be made from one.

    Examples
    --------
    ::

        from dataferry.hosts.web import WebHost
        from dataferry.testing import HostContract

        class TestWebHost(HostContract):
            secrets = [("https://ann:s3cret@host.example/data/", "s3cret")]

            def host_at(self, url):
                return WebHost(url)
    """

    names: ClassVar[Sequence[str]] = (
        "plain.fits",
        "maps/deep/er/dust_064.fits.gz",
        "with space.fits",
        "a+b&c=d;e,f@g!$'(~).fits",
        "50%.fits",
        "%41.fits",
        "what?.fits",
        "no#1.fits",
        "colon: [brackets] {braces} ^`|.fits",
        "Übersicht Σ 日本.fits",
        "U\u0308bersicht.fits",
        ".hidden",
        "_private/file",
    )
    secrets: ClassVar[Sequence[tuple[str, str]]] = ()

    def host_at(self, url: str) -> Host:
        """Make the host, for files below a base URL with a slash at its end, or from one of the `secrets`."""
        raise NotImplementedError(f"{type(self).__name__} needs host_at()")

    def serving(self, files: Mapping[str, bytes]) -> AbstractContextManager[Host]:
        """Serve files, by name, and give the host that reads them; at the end the server is gone."""

        @contextmanager  # a decorated method would have a narrower type, which an override could not have
        def serve() -> Iterator[Host]:
            with RangeServer(files) as server:
                yield self.host_at(server.url)

        return serve()

    def entry(self, name: str, data: bytes) -> Entry | None:
        """What the registry holds of a file, its size and sha256; override it to add the host's locator."""
        from ..registry.entry import Entry

        return Entry(name, hashlib.sha256(data).hexdigest(), len(data))

    def sources(self, host: Host, name: str, data: bytes) -> Sequence[Source]:
        """The host's sources of one file, in its order."""
        return list(host.sources(name, self.entry(name, data)))

    def fetched(self, host: Host, files: Mapping[str, bytes], folder: Path) -> list[Arrived | FileUnavailable]:
        """What the engine gets from the host for each of these registered files, in an empty folder."""
        from ..config.settings import Settings
        from ..download.fetch import fetch
        from ..download.source import Wanted
        from ..files import put_content

        def store(wanted: Wanted, content: Path | bytes) -> Path:
            return put_content(content, folder / hashlib.sha256(wanted.name.encode()).hexdigest())

        wanted = []
        for name, data in files.items():
            sources = tuple(self.sources(host, name, data))
            wanted.append(Wanted(name, sources[0].url, len(data), hashlib.sha256(data).hexdigest(), sources))
        work = folder / "incoming"
        settings = Settings(timeout=5)
        return fetch(
            wanted, find=lambda _: None, store=store, workdir=work, settings=settings, deadline=30, progress=False
        )

    def test_asking_for_sources_opens_no_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sources come from the declaration and the registry alone, and are the same each time."""
        with self.serving({name: content(name) for name in self.names}) as host, no_network(monkeypatch):
            for name in self.names:
                first, second = (self.sources(host, name, content(name)) for _ in range(2))
                assert first, f"no source for {name!r}"
                assert first == second

    def test_urls_are_quoted(self) -> None:
        """Each URL can be sent as it is: ASCII, nothing to quote, no fragment; each name has its own."""
        with self.serving({name: content(name) for name in self.names}) as host:
            urls = {name: self.sources(host, name, content(name))[0].url for name in self.names}
        for name, url in urls.items():
            parts = urlsplit(url)
            assert url.isascii(), f"{name!r}: {url} is not ASCII"
            assert not set(' "<>\\^`{|}') & set(url), f"{name!r}: {url} holds characters that must be quoted"
            assert parts.scheme in ("http", "https"), f"{name!r}: {url} is no web address"
            assert parts.netloc, f"{name!r}: {url} has no host"
            assert not parts.fragment, f"{name!r}: the end of {url} is a fragment, which is never sent"
        assert len(set(urls.values())) == len(urls), "two names share a URL"

    def test_credentials_stay_secret(self) -> None:
        """A user's password, token or signature is in no text that is printed."""
        for declared, secret in self.secrets:
            try:
                host = self.host_at(declared)
            except DataferryError as error:
                texts = [repr(error), str(error)]
            else:
                texts = [host.redacted]
                for source in self.sources(host, "maps/a.fits", b"data"):
                    texts += [source.redacted, source.host]
            assert not [text for text in texts if secret in text]

    def test_bytes_come_back(self, tmp_path: Path) -> None:
        """The engine gets every file, odd names included, with the right bytes."""
        files = {name: content(name) for name in self.names}
        with self.serving(files) as host:
            results = self.fetched(host, files, tmp_path)
        for (name, data), result in zip(files.items(), results, strict=True):
            if isinstance(result, FileUnavailable):
                pytest.fail(f"{name!r}: {result}")
            assert result.path.read_bytes() == data, f"{name!r} has other bytes"

    def test_missing_file_is_an_error_that_names_the_place(self, tmp_path: Path) -> None:
        """A file that the host does not have does not keep another from coming."""
        there, gone = "plain.fits", "not/there.fits"
        files = {gone: content(gone), there: content(there)}
        with self.serving({there: files[there]}) as host:
            place = self.sources(host, gone, files[gone])[0].redacted
            missing, found = self.fetched(host, files, tmp_path)
        assert isinstance(missing, FileUnavailable), f"{gone!r} came from nowhere"
        assert missing.name == gone
        assert any(place in redacted for redacted, _ in missing.tried), f"{place} is not named in {missing}"
        assert not isinstance(found, FileUnavailable), str(found)

    def test_other_bytes_are_refused(self, tmp_path: Path) -> None:
        """A host that has another file under the name gives an error and no file."""
        name = "plain.fits"
        with self.serving({name: content("another")}) as host:
            (result,) = self.fetched(host, {name: content(name)}, tmp_path)
        assert isinstance(result, FileUnavailable), "other bytes were taken for the file"
        assert [path for path in tmp_path.iterdir() if path.is_file()] == []
