"""What scripts rely on: the exit code of each command in each case, and the keys of what ``--json`` prints."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataferry.testing import FlippedByte, RangeServer, Status

A, B, SMALL = b"a" * 5000, b"b" * 300, b"small\n"


class Case:
    """A package with two hosted files and a bundled one, its source tree, and a folder that a web server shows."""

    def __init__(self, package: str, server: RangeServer, folder: Path, public: RangeServer) -> None:
        self.package, self.server, self.folder, self.public = package, server, folder, public
        self.tree = folder / "tree"
        (self.tree / "mypkg" / "data").mkdir(parents=True)
        (self.tree / "mypkg" / "__init__.py").touch()
        (self.tree / "hosted").mkdir()
        (self.tree / "hosted" / "new.fits").write_bytes(B)
        with zipfile.ZipFile(folder / "small-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("small/data/a.txt", "a")

    def fill(self, words: str) -> list[str]:
        host = f"folder:{self.folder}/host?url={self.public.url}"
        places = {"PKG": self.package, "HOST": host, "TREE": self.tree, "DIR": self.folder, "URL": self.server.url}
        filled = []
        for word in words.split():
            for key, value in places.items():
                word = word.replace(key, str(value))  # noqa: PLW2901
            filled.append(word)
        return filled


@pytest.fixture
def case(make_package: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    (tmp_path / "host").mkdir()
    with RangeServer({"maps/a.fits": A, "maps/b.fits": B}) as server, RangeServer(tmp_path / "host") as public:
        head = f'dataurl = "{server.url}"\n'
        package = make_package({"maps/a.fits": A, "maps/b.fits": B}, {"small.txt": SMALL}, head)
        made = Case(package, server, tmp_path, public)
        monkeypatch.chdir(made.tree)
        yield made


def refuse(case: Case) -> None:
    case.server.fault("maps/b.fits", Status(404))


def damage(case: Case) -> None:
    case.server.fault("maps/b.fits", FlippedByte())


def bad_settings(case: Case) -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"], "dataferry", "config.toml")
    config.parent.mkdir(parents=True)
    config.write_text("folder_timeout = 'long'\n")


def bad_registry(case: Case) -> None:
    (case.folder / "packages" / case.package / "data" / "dataferry.toml").write_text("dataurl = [")


def published(case: Case) -> None:
    (case.folder / "host" / "new.fits").write_bytes(A)


def nothing(case: Case) -> None:
    pass


#: command, what is wrong, exit code
CODES: list[tuple[str, Callable[[Case], None], int]] = [
    ("get PKG maps/a.fits small.txt", nothing, 0),
    ("get PKG maps/*", refuse, 1),
    ("get PKG maps/b.fits", damage, 1),
    ("get PKG none*", nothing, 2),
    ("get PKG ../escape", nothing, 2),
    ("get PKG", nothing, 2),
    ("get PKG maps/a.fits --offline", nothing, 3),
    ("get PKG small.txt --offline", nothing, 0),
    ("get no_such_package_here a", nothing, 4),
    ("get PKG maps/a.fits", bad_registry, 4),
    ("get PKG maps/a.fits", bad_settings, 4),
    ("where PKG maps/a.fits", nothing, 0),
    ("where PKG none*", nothing, 2),
    ("list PKG", nothing, 0),
    ("list no_such_package_here", nothing, 4),
    ("verify PKG", nothing, 0),
    ("check PKG maps/*", nothing, 0),
    ("check PKG maps/*", refuse, 1),
    ("check PKG maps/*", damage, 1),
    ("check PKG --offline", nothing, 3),
    ("add mypkg hosted/new.fits", nothing, 0),
    ("add mypkg hosted/none.fits", nothing, 2),
    ("publish hosted --to HOST --wait 0", nothing, 0),
    ("publish hosted --to HOST --dry-run", nothing, 0),
    ("publish hosted --to HOST", published, 7),
    ("publish hosted --to nosuchhost:x", nothing, 2),
    ("publish hosted --to HOST --offline", nothing, 3),
    ("check-dist DIR/small-1.0-py3-none-any.whl", nothing, 0),
    ("check-dist DIR/small-1.0-py3-none-any.whl --max-total 0", nothing, 1),
    ("check-dist DIR/none.whl", nothing, 2),
    ("cache list", nothing, 0),
    ("cache size", nothing, 0),
    ("cache clear --yes", nothing, 0),
    ("cache prune --yes", nothing, 0),
    ("cache key PKG", nothing, 0),
    ("doctor PKG", nothing, 0),
    ("doctor", bad_settings, 4),
    ("host list", nothing, 0),
    ("nosuchcommand", nothing, 2),
    ("get --nosuchoption", nothing, 2),
]


@pytest.mark.parametrize(
    ("words", "wrong", "code"), CODES, ids=[f"{words} ({wrong.__name__})" for words, wrong, _ in CODES]
)
def test_exit_code(
    words: str, wrong: Callable[[Case], None], code: int, case: Case, command: Callable[..., Any]
) -> None:
    wrong(case)
    result = command(*case.fill(words))
    assert result.exit_code == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    if code not in {0, 1}:
        assert (result.stdout + result.stderr).strip()


#: command -> keys of the answer, and of each item of its list
KEYS: dict[str, tuple[set[str], dict[str, set[str]]]] = {
    "get PKG maps/a.fits maps/b.fits": ({"package", "files"}, {"files": {"name", "path", "error"}}),
    "where PKG maps/a.fits": (
        {"package", "files"},
        {"files": {"name", "path", "registered", "sha256", "size", "steps"}},
    ),
    "list PKG": ({"package", "registry", "files"}, {"files": {"name", "size", "sha256", "here", "path"}}),
    "check PKG maps/*": (
        {"package", "deep", "bad", "files"},
        {"files": {"name", "host", "state", "kind", "note", "place"}},
    ),
    "add mypkg hosted/new.fits": (
        {"registry", "written", "dry_run", "files"},
        {"files": {"name", "size", "sha256", "action"}},
    ),
    "publish hosted --to HOST --dry-run": (
        {"registry", "written", "hosts", "files", "remarks", "problems"},
        {
            "hosts": {"host", "declared", "who", "upload_files", "upload_bytes", "seconds", "remarks", "error"},
            "files": {"name", "size", "sha256", "host", "action"},
        },
    ),
    "publish hosted --to HOST": (
        {"registry", "written", "hosts", "files", "remarks", "problems"},
        {
            "hosts": {"host", "declared", "who", "upload_files", "upload_bytes", "seconds", "remarks", "error"},
            "files": {"name", "size", "sha256", "host", "action", "uploaded", "published", "error"},
        },
    ),
    "check-dist DIR/small-1.0-py3-none-any.whl": (
        {"ok", "checked"},
        {"checked": {"path", "ok", "bytes", "largest"}},
    ),
    "cache list": ({"files"}, {"files": {"package", "name", "path", "size", "state"}}),
    "cache size": (
        {"folders", "packages", "unfinished", "left_over"},
        {"packages": {"package", "files", "bytes"}},
    ),
    "cache key PKG": ({"key", "packages", "files", "bytes"}, {}),
    "doctor PKG": (
        {
            "versions",
            "extras",
            "caches",
            "offline",
            "proxies",
            "hosts",
            "tokens",
            "config_files",
            "environment",
            "sites",
            "package",
            "problems",
        },
        {"caches": {"role", "path", "writable", "free"}, "config_files": {"path", "read"}},
    ),
    "host list": ({"hosts"}, {"hosts": {"schemes", "class", "about", "lists", "publishes", "lacking"}}),
}


@pytest.mark.parametrize("words", KEYS)
def test_json_keys(words: str, case: Case, command: Callable[..., Any]) -> None:
    """Scripts read these: one may be added, none may go."""
    refuse(case)
    command("get", case.package, "maps/a.fits")
    result = command(*case.fill(words), "--json")
    answer = json.loads(result.stdout)
    keys, lists = KEYS[words]
    assert keys <= set(answer)
    for name, wanted in lists.items():
        assert answer[name], f"{name} is empty"
        for item in answer[name]:
            assert wanted <= set(item)
