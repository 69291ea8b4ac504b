"""Where an author's token is found, and that it is never printed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from dataferry.config import Settings
from dataferry.config.credentials import find_token


def test_each_place_in_its_order(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "hubtool"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\n[ "$1" = token ] && echo from-tool\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    (home / ".netrc").write_text("machine api.hub.example login ann password from-netrc\n")
    keyring = ModuleType("keyring")
    hosted = {("dataferry", "api.hub.example"): "from-keyring"}
    keyring.get_password = lambda service, name: hosted.get((service, name))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    settings = Settings(hosts={"api.hub.example": {"token": "from-config"}})

    def found() -> tuple[str, str]:
        token = find_token("api.hub.example", settings, variables=("HUB_TOKEN",), tool=("hubtool", "token"))
        assert token is not None
        assert token.secret not in repr(token)
        return token.secret, token.origin

    monkeypatch.setenv("HUB_TOKEN", "from-env")
    assert found() == ("from-env", "the variable HUB_TOKEN")
    monkeypatch.setenv("HUB_TOKEN", " ")
    assert found() == ("from-config", '[hosts."api.hub.example"] of config.toml')
    settings.hosts.clear()
    assert found()[0] == "from-keyring"
    hosted.clear()
    assert found() == ("from-tool", "`hubtool token`")
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert found() == ("from-netrc", str(home / ".netrc"))
    (home / ".netrc").unlink()
    assert find_token("api.hub.example", settings, variables=("HUB_TOKEN",), tool=("hubtool", "token")) is None


@pytest.mark.parametrize(
    "text", ["machine other.example login a password b\n", "default login a password b\n", "nonsense {"]
)
def test_a_netrc_gives_nothing_to_other_hosts(home: Path, text: str) -> None:
    (home / ".netrc").write_text(text)
    assert find_token("api.hub.example", Settings()) is None


def test_a_broken_keyring_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = ModuleType("keyring")

    def locked(service: str, name: str) -> str:
        raise RuntimeError("the keyring is locked")

    keyring.get_password = locked  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert find_token("api.hub.example", Settings(), tool=("no-such-tool",)) is None
