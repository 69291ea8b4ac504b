"""The contract that every publisher keeps, as a class of tests."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import pytest

from ..errors import AccessDenied, Conflict, DataferryError
from .author import Author, empty_home
from .host_contract import HostContract, content

__all__ = ["PublishContract"]

_FILES = {name: content(name) for name in ("plain.fits", "maps/deep/dust_064.fits", "maps/dust_128.fits")}


class PublishContract:
    """The tests that every publisher passes: subclass it, start a server, and pytest runs them.

    Attributes
    ----------
    names : sequence of str
        Names that are published, or refused by the plan with a reason.
    refused_names : sequence of str
        Names of these that the host cannot have, so the plan must refuse them.
    secret : str
        A part of the author's credentials, which must stay secret. Empty for a host without any.

    Examples
    --------
    ::

        class TestPublishWebdav(PublishContract):
            secret = "s3cret"

            @contextmanager
            def publishing(self, folder):
                with server(folder, token="s3cret") as self.server, pytest.MonkeyPatch.context() as patch:
                    patch.setenv("WEBDAV_TOKEN", "s3cret")
                    yield f"webdav:{self.server.url}"

            def writes(self):
                return len(self.server.requests("PUT"))
    """

    names: ClassVar[Sequence[str]] = HostContract.names
    refused_names: ClassVar[Sequence[str]] = ()
    secret: ClassVar[str] = ""

    def publishing(self, folder: Path) -> AbstractContextManager[str]:
        """Start a server where nothing is published yet, and give the host to publish to.

        The folder is empty. Set credentials in the environment, or write them below ``HOME``, which is the author's.
        """
        raise NotImplementedError(f"{type(self).__name__} needs publishing()")

    def writes(self) -> int:
        """How often something was changed at the host so far: uploads, drafts, releases, commits."""
        raise NotImplementedError(f"{type(self).__name__} needs writes()")

    def without_rights(self) -> AbstractContextManager[None] | None:
        """Credentials that are wrong or too weak, in the environment; None if there is no such thing."""
        return None

    @pytest.fixture
    def author(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Author]:
        """See `Author`."""
        empty_home(tmp_path / "author", monkeypatch)
        anonymous = dict(os.environ)
        (tmp_path / "host").mkdir()
        with self.publishing(tmp_path / "host") as spec:
            yield Author(spec, tmp_path, anonymous)

    def test_users_get_what_an_author_publishes(self, author: Author) -> None:
        """From an empty home to another empty home, all bytes right, and the registry is written."""
        from ..registry.registry import Registry

        outcome = author.publish(_FILES)
        assert all(file.proven for file in outcome.files)
        assert sorted(Registry(author.registry).names()) == sorted(_FILES)
        assert author.users_get(list(_FILES)) == _FILES

    def test_published_files_are_not_uploaded_again(self, author: Author) -> None:
        """The same files again change nothing, whether this author publishes them or another."""
        author.publish(_FILES)
        before, text = self.writes(), author.registry.read_bytes()
        again = author.publish(_FILES)
        assert not any(file.sent for file in again.files)
        assert self.writes() == before, "the host was changed"
        assert author.registry.read_bytes() == text
        other = author.folder / "other" / "data" / "dataferry.toml"
        with author.elsewhere(dict(os.environ)):
            outcome = author.publish(_FILES, registry=other)
        assert not any(file.sent for file in outcome.files)
        assert author.users_get(list(_FILES), other) == _FILES

    def test_a_published_name_keeps_its_bytes(self, author: Author) -> None:
        """Other bytes under a name are refused, and neither the registry nor the host changes."""
        name, *_ = _FILES
        author.publish(_FILES)
        before, text = self.writes(), author.registry.read_bytes()
        for changed in (b"other" + _FILES[name][5:], _FILES[name] + b"more"):
            with pytest.raises(Conflict, match=name):
                author.publish({name: changed})
            with pytest.raises(Conflict, match=name):
                author.publish({name: changed}, registry=author.folder / "new" / "dataferry.toml")
        assert not (author.folder / "new").exists()
        assert self.writes() == before, "the host was changed"
        assert author.registry.read_bytes() == text
        assert author.users_get(list(_FILES)) == _FILES

    def test_a_dry_run_changes_nothing(self, author: Author) -> None:
        """Neither the host nor the registry."""
        before = self.writes()
        outcome = author.publish(_FILES, dry_run=True)
        assert [step.action for _, step in outcome.plan] == ["upload"] * len(_FILES)
        assert self.writes() == before, "the host was changed"
        assert not author.registry.exists()

    def test_credentials_stay_secret(
        self, author: Author, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not in what is printed, logged, raised, registered or noted."""
        if not self.secret:
            pytest.skip("this host has no credentials")
        caplog.set_level(logging.DEBUG)
        outcome = author.publish(_FILES)
        texts = [str(outcome), repr(outcome.as_json()), author.registry.read_text()]
        with pytest.raises(DataferryError) as caught:
            author.publish({name: data + b"more" for name, data in _FILES.items()})
        texts += [str(caught.value), repr(caught.value), *map(str, getattr(caught.value, "exceptions", ()))]
        texts += [*capfd.readouterr(), *(record.getMessage() for record in caplog.records)]
        texts += [p.read_text() for p in author.folder.glob("author/.cache/**/publish/**/*") if p.is_file()]
        assert not [text for text in texts if self.secret in text]

    def test_without_rights_nothing_is_sent(self, author: Author) -> None:
        """Without a token, or with a wrong one, the plan says so before the first byte goes."""
        if not self.secret:
            pytest.skip("this host has no credentials")
        before = self.writes()
        with author.elsewhere(), pytest.raises(AccessDenied) as caught:
            author.publish(_FILES)
        assert caught.value.remedy, "the error names neither the rights that are needed nor where to get them"
        weak = self.without_rights()
        if weak is not None:
            with weak, pytest.raises(AccessDenied) as caught:
                author.publish(_FILES)
            assert self.secret not in str(caught.value)
        assert self.writes() == before, "the host was changed"
        assert not author.registry.exists()

    def test_odd_names_are_refused_or_come_back(self, author: Author) -> None:
        """What the host cannot store is refused before anything is sent; users get all else, and it is found again."""
        files = {name: content(name) for name in self.names}
        refused = self._refused(author, files)
        assert set(self.refused_names) <= set(refused)
        kept = {name: data for name, data in files.items() if name not in refused}
        assert kept, f"no name can be published: {refused}"
        author.publish(kept)
        assert author.users_get(list(kept)) == kept
        before = self.writes()
        with author.elsewhere(dict(os.environ)):
            author.publish(kept, registry=author.folder / "other" / "data" / "dataferry.toml")
        assert self.writes() == before, "the host does not find what it has under these names"

    def test_an_empty_file_is_refused_or_comes_back(self, author: Author) -> None:
        """A file without bytes."""
        files = {"empty.dat": b"", "plain.fits": content("plain.fits")}
        refused = self._refused(author, files)
        assert set(refused) <= {"empty.dat"}
        kept = {name: data for name, data in files.items() if name not in refused}
        author.publish(kept)
        assert author.users_get(list(kept)) == kept

    def test_an_old_release_keeps_its_bytes(self, author: Author) -> None:
        """After a new version of the data, an old release of the package gets what it always got."""
        from ..config.settings import load_settings
        from ..hosts import make_host

        if not make_host(author.spec).publisher(load_settings(), {}).versioned:
            pytest.skip("this host keeps one version of a file only")
        name, *_ = _FILES
        new = {name: b"new" + _FILES[name]}
        author.publish(_FILES)
        old = author.folder / "old.toml"
        shutil.copy(author.registry, old)
        with pytest.raises(Conflict, match="--new-version"):
            author.publish(new)
        author.publish(new, new_version=True)
        assert author.users_get(list(_FILES), old) == _FILES
        assert author.users_get(list(_FILES)) == {**_FILES, **new}
        before = self.writes()
        author.publish({**_FILES, **new}, new_version=True)
        assert self.writes() == before, "a version that is published was published again"

    def _refused(self, author: Author, files: Mapping[str, bytes]) -> dict[str, str]:
        """The names that the plan refuses, with the reason."""
        before = self.writes()
        refused = {name: reason for name, data in files.items() if (reason := self._reason(author, {name: data}))}
        assert bool(self._reason(author, files)) == bool(refused), "together the names are judged differently"
        assert self.writes() == before, "a plan changed the host"
        for name, reason in refused.items():
            assert name in reason or repr(name)[1:-1] in reason, f"{name!r} is not named in: {reason}"
        return refused

    @staticmethod
    def _reason(author: Author, files: Mapping[str, bytes]) -> str:
        try:
            author.publish(files, dry_run=True)
        except DataferryError as error:
            return str(error)
        return ""
