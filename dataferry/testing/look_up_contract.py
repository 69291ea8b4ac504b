"""The contract of hosts whose interface is needed to find files, as a class of tests."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..errors import FileUnavailable, TransferError
from .host_contract import HostContract, content, no_network

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..download.source import Arrived, Source
    from ..hosts.base import Host

__all__ = ["LookUpContract"]


class LookUpContract(HostContract):
    """`HostContract` for a host whose files only ``Host.look_up`` finds: override `serving`, and `settings` if need be.

    Examples
    --------
    ::

        class TestPrivateHost(LookUpContract):
            @contextmanager
            def serving(self, files):
                with my_server(files, token="t0ken") as self.server:
                    yield PrivateHost(f"private:{self.server.url}")

            def settings(self):
                return Settings(hosts={self.server.name: {"token": "t0ken"}})
    """

    def settings(self) -> Settings:
        """The settings for the host's requests: by default without any credentials."""
        from ..config.settings import Settings

        return Settings().as_anonymous()

    def sources(self, host: Host, name: str, data: bytes) -> Sequence[Source]:
        """The sources of one file; see `HostContract.sources`."""
        return self.found(host, {name: data}).get(name, ())

    def found(self, host: Host, files: Mapping[str, bytes]) -> Mapping[str, Sequence[Source]]:
        """The sources of several registered files at once, by name."""
        return host.look_up({name: self.entry(name, data) for name, data in files.items()}, self.settings())

    def test_asking_for_sources_opens_no_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the declaration tells comes without the network; one question finds all files, and no others."""
        files = {name: content(name) for name in self.names}
        with self.serving(files) as host:
            with no_network(monkeypatch):
                for name, data in files.items():
                    host.sources(name, self.entry(name, data))
                    host.sources(name, None)
            found = self.found(host, {**files, "not/there.fits": content("not/there.fits")})
        assert {name for name, sources in found.items() if sources} == set(files)

    def test_an_unregistered_file_has_no_source(self) -> None:
        """A file of which nothing is known is no error."""
        with self.serving({"plain.fits": content("plain.fits")}) as host:
            found = host.look_up({"unknown.fits": None}, self.settings())
        assert not found.get("unknown.fits")

    def test_a_server_that_is_gone_is_an_error_of_ours(self) -> None:
        """It names the host."""
        files = {"plain.fits": content("plain.fits")}
        for _ in range(3):  # another program's server may get the port that has become free
            with self.serving(files) as host:
                pass
            errors: list[TransferError] = []
            try:
                self.found(host, files)
            except TransferError as error:
                errors.append(error)
                break
        assert errors, "no TransferError comes of a server that is gone"
        assert errors[0].place

    def test_credentials_stay_secret(self) -> None:
        """A user's password, token or signature is in no text that is printed."""
        for declared, secret in self.secrets:
            assert secret not in self.host_at(declared).redacted
        name = "plain.fits"
        with self.serving({name: content(name)}) as host:
            sources = self.sources(host, name, content(name))
        mine = [options["token"] for options in self.settings().hosts.values() if "token" in options]
        for source in sources:
            redacted = [source.redacted, source.host, host.redacted]
            assert not [text for text in redacted for secret in mine if str(secret) in text]
            assert "Signature" not in source.redacted

    def test_missing_file_is_an_error_that_names_the_place(self, tmp_path: Path) -> None:
        """A file that the host does not have has no source, and does not keep another from coming."""
        there, gone = "plain.fits", "not/there.fits"
        with self.serving({there: content(there)}) as host:
            found = self.found(host, {gone: content(gone), there: content(there)})
            (result,) = self.fetched(host, {there: content(there)}, tmp_path)
        assert not found.get(gone), f"{gone!r} came from nowhere"
        assert not isinstance(result, FileUnavailable), str(result)

    def test_other_bytes_are_refused(self, tmp_path: Path) -> None:
        """A host that has another file under the name does not say that it has this one, or an error comes of it."""
        name = "plain.fits"
        with self.serving({name: content("another")}) as host:
            results: list[Arrived | FileUnavailable] = []
            with suppress(TransferError):  # it may as well be an error to ask for what is not there
                if self.sources(host, name, content(name)):
                    results = self.fetched(host, {name: content(name)}, tmp_path)
        assert all(isinstance(result, FileUnavailable) for result in results), "other bytes were taken for the file"
        assert [path for path in tmp_path.iterdir() if path.is_file()] == []
