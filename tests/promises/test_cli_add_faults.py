"""`dataferry add` and `dataferry remove`: what is taken along, what a registry must not have, and the way back."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result

from dataferry import PackageData
from dataferry.registry import Registry
from dataferry.testing import RangeServer

Command = Callable[..., Result]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def tree(source_tree: Callable[[dict[str, bytes]], Path]) -> Path:
    """A source tree with one package, a folder of files, and something outside of it; the current folder."""
    return source_tree(
        {
            "mypkg/__init__.py": b"",
            "mypkg/data/small.txt": b"small\n",
            "hosted/a.fits": b"a" * 3000,
            "hosted/maps/b.fits": b"b",
            "../outside/passwd": b"secret",
            "../outside/folder/c.fits": b"c",
        }
    )


REGISTRY = Path("mypkg/data/dataferry.toml")


def commands(tree: Path) -> list[list[str]]:
    return [
        ["add", "mypkg", "hosted"],
        ["publish", "hosted", "--to", f"folder:{tree}/www?url=https://h.example/x/", "--package", "mypkg", "--dry-run"],
    ]


def test_hundreds_of_files_that_cannot_be_taken_are_a_short_error(command: Command, tree: Path) -> None:
    for number in range(200):
        (tree / "hosted" / f"link{number:03}").symlink_to(tree.parent / "outside" / "passwd")
    for args in commands(tree):
        lines = command(*args).stderr.splitlines()
        assert lines[0] == "error: 200 files cannot be taken:" and "link000" in lines[1]
        assert lines[-1].strip() == "... and 190 more" and len(lines) == 12


def test_what_leads_out_of_a_folder_is_refused_by_name(command: Command, tree: Path) -> None:
    (tree / "hosted" / "inside.fits").symlink_to("a.fits")
    (tree / "hosted" / "passwd").symlink_to(tree.parent / "outside" / "passwd")
    (tree / "hosted" / "more").symlink_to(tree.parent / "outside" / "folder")
    (tree / "hosted" / "gone.fits").symlink_to("nowhere")
    os.mkfifo(tree / "hosted" / "maps" / "fifo")
    (tree / "hosted" / "what?.fits").touch()
    for args in commands(tree):
        done = command(*args)
        assert done.exit_code == 2
        for said in (
            f"hosted/passwd: a link to {tree.parent}/outside/passwd, outside of {tree}/hosted",
            f"hosted/more: a link to the folder {tree.parent}/outside/folder",
            "hosted/gone.fits: a link to nowhere: No such file",
            "hosted/maps/fifo: not a regular file",
            "hosted/what?.fits: 'what?.fits' is not a legal name",
        ):
            assert said in done.stderr
        assert "error: 5 files cannot be taken" in done.stderr, "all at once"
    assert not REGISTRY.exists()


def test_a_link_that_stays_inside_or_is_named_is_taken(command: Command, tree: Path) -> None:
    (tree / "hosted" / "inside.fits").symlink_to("a.fits")
    (tree / "named.fits").symlink_to(tree.parent / "outside" / "folder" / "c.fits")
    assert command("add", "mypkg", "hosted", "named.fits").exit_code == 0
    assert Registry(REGISTRY).names() == ["a.fits", "inside.fits", "maps/b.fits", "named.fits"]


@pytest.mark.parametrize("name", ["fifo", "/dev/zero"])
def test_a_special_file_is_not_waited_for(command: Command, tree: Path, name: str) -> None:
    os.mkfifo(tree / "fifo")
    done = command("add", "mypkg", name)
    assert (done.exit_code, done.stderr) == (2, f"error: {name}: not a regular file\n")


@pytest.mark.parametrize(
    "args",
    [
        ["--dataurl", "https://ann:s3cret@h.example/x/"],
        ["--dataurl", "https://ann@h.example/x/"],
        ["--from", "https://ann:s3cret@h.example/x/"],
        ["--from", "s3://bucket/x/?secret=s3cret"],
    ],
    ids=" ".join,
)
def test_a_secret_does_not_get_into_the_registry(command: Command, tree: Path, args: list[str]) -> None:
    done = command("add", "mypkg", "hosted", *args)
    assert done.exit_code == 2
    assert "s3cret" not in done.output + done.stderr
    if "secret=" not in args[1]:  # which S3 refuses itself
        assert '[hosts."h.example"] of config.toml' in done.stderr, "where a login belongs"
    assert not REGISTRY.exists()


def test_the_path_of_a_published_folder_stays_the_authors(command: Command, tree: Path) -> None:
    """Users get the URL, which is declared once."""
    (tree / "hosted" / "SHA256SUMS").write_text(f"{sha(b'a' * 3000)}  a.fits\n{sha(b'b')}  maps/b.fits\n")
    with RangeServer(tree / "hosted") as server:
        spec = f"folder:{tree}/hosted?url={server.url}"
        done = command("add", "mypkg", "--from", spec)
        assert done.exit_code == 0, done.stderr
        assert "2 added, mirror declared" in done.stdout
        text = REGISTRY.read_text()
        assert str(tree) not in text
        assert tomllib.loads(text)["mirrors"] == [server.url]
        assert command("add", "mypkg", "--from", spec, "--from", server.url).stdout.endswith("nothing to change\n")
        data = PackageData("mypkg", registry=REGISTRY, show_progress=False)
        assert Path(data.get("maps/b.fits")).read_bytes() == b"b"
        REGISTRY.unlink()
        command("add", "mypkg", "--dataurl", server.url)
        command("add", "mypkg", "--from", spec)
        assert "mirrors" not in tomllib.loads(REGISTRY.read_text())


def test_what_a_host_lists_is_checked_as_what_an_author_writes(
    command: Command, tree: Path, nginx: Callable[..., SimpleNamespace]
) -> None:
    catalog = {"format": "dataferry-catalog/1", "files": {"../up.fits": {"size": 1, "sha256": "0" * 64}}}
    catalog["files"]["a.fits"] = {"size": -1, "sha256": sha(b"a" * 3000)}  # type: ignore[index]
    (tree / "hosted" / "dataferry-catalog.json").write_text(json.dumps(catalog))
    done = command("add", "mypkg", "--from", nginx(tree / "hosted").url)
    assert done.exit_code != 0
    assert not REGISTRY.exists()
    catalog["files"]["maps/b.fits"] = {"size": 1, "sha256": sha(b"b")}
    catalog["files"]["b.fits"] = {"sha256": sha(b"b")}  # type: ignore[dict-item]
    (tree / "hosted" / "dataferry-catalog.json").write_text(json.dumps(catalog))
    assert command("add", "mypkg", "--from", f"folder:{tree}/gone?url={nginx(tree / 'hosted').url}").exit_code == 0
    assert list(tomllib.loads(REGISTRY.read_text())["files"]) == ["maps/b.fits"]
    (tree / "hosted" / "dataferry-catalog.json").write_text("[" * 100_000)
    done = command("add", "mypkg", "--from", f"folder:{tree}/gone?url={nginx(tree / 'hosted').url}")
    assert done.exit_code == 1
    assert "cannot be read: too many nested arrays" in done.stderr


def test_a_typing_mistake_is_no_data(command: Command, tree: Path) -> None:
    """A new registry knows its files; a name that it does not list is not asked for at the host."""
    with RangeServer({}) as server:
        command("add", "mypkg", "hosted", "--dataurl", server.url)
        done = command("get", "mypkg", "maps/c.fits", "--registry", REGISTRY)
        assert done.exit_code == 2
        assert "did you mean 'maps/b.fits'" in done.stderr
        assert server.requests == []


def test_names_that_are_one_file_on_some_disks_are_warned_of(command: Command, tree: Path) -> None:
    command("add", "mypkg", "hosted")
    done = command("add", "mypkg", "hosted/a.fits", "--as", "A.fits")
    assert (done.exit_code, sorted(Registry(REGISTRY).names())) == (0, ["A.fits", "a.fits", "maps/b.fits"])
    assert done.stderr.startswith("warning: 'A.fits' and 'a.fits' are one file on disks that ignore case")


# -- remove ------------------------------------------------------------------------------------------------------------


def test_remove_takes_files_out_and_leaves_the_rest(command: Command, tree: Path) -> None:
    command("add", "mypkg", "hosted", "mypkg/data")
    text = REGISTRY.read_text()
    REGISTRY.write_text("# ours\n" + text.replace('[files."small.txt"]', '[files."small.txt"] # mine'))
    dry = command("remove", "mypkg", "maps/*", "--dry-run")
    assert dry.stdout == (
        f"- removed        1 B  {sha(b'b')[:12]}  maps/b.fits\n{REGISTRY}: 1 removed (dry run, nothing was written)\n"
    )
    assert "maps/b.fits" in REGISTRY.read_text()
    done = command("remove", "mypkg", "maps/*", "a.fits")
    assert done.stdout.endswith(f"{REGISTRY}: 2 removed (changed)\n")
    assert "hosts keep 2 files" in done.stderr
    assert REGISTRY.read_text().startswith("# ours\n")
    assert '[files."small.txt"] # mine' in REGISTRY.read_text()
    assert Registry(REGISTRY).names() == ["small.txt"]
    assert (tree / "hosted" / "a.fits").exists()
    assert command("add", "mypkg", "hosted").exit_code == 0, "the way back and forth"


def test_remove_from_a_text_registry_as_json(command: Command, tree: Path) -> None:
    REGISTRY.write_text('registry = "files.txt"\n')
    command("add", "mypkg", "hosted")
    told: dict[str, Any] = json.loads(command("remove", "mypkg", "a.fits", "--json").stdout)
    assert [Path(path).name for path in told.pop("written")] == ["files.txt"]
    assert told == {
        "registry": str(REGISTRY),
        "dry_run": False,
        "removed": [{"name": "a.fits", "size": 3000, "sha256": sha(b"a" * 3000)}],
    }
    assert Registry(REGISTRY).names() == ["maps/b.fits"]


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (["mypkg", "a.fit"], 2, "did you mean 'a.fits'"),
        (["mypkg", "nope*"], 2, "'nope*' is not registered"),
        (["mypkg"], 2, "Missing argument"),
        (["no_such_package", "a.fits"], 4, "there is no package"),
    ],
    ids=str,
)
def test_what_cannot_be_removed(command: Command, tree: Path, args: list[str], code: int, reason: str) -> None:
    command("add", "mypkg", "hosted")
    text = REGISTRY.read_text()
    done = command("remove", *args)
    assert done.exit_code == code
    assert reason in done.stderr
    assert REGISTRY.read_text() == text


def test_nothing_can_be_removed_where_nothing_is_registered(command: Command, tree: Path) -> None:
    done = command("remove", "mypkg", "a.fits")
    assert (done.exit_code, "no file is registered" in done.stderr) == (4, True)


def test_many_names_go_to_the_text_form_by_themselves(command: Command, tree: Path) -> None:
    """It is read a hundred times as fast."""
    lines = "".join(f"{sha(str(n).encode())}  maps/{n:05}.fits\n" for n in range(2001))
    done = command("add", "mypkg", "--from", "-", input=lines)
    assert done.exit_code == 0
    assert tomllib.loads(REGISTRY.read_text())["registry"] == "files.txt"
    assert "files" not in tomllib.loads(REGISTRY.read_text())
    assert len(Registry(REGISTRY).names()) == 2001
    command("remove", "mypkg", "maps/00000.fits")
    assert len(Registry(REGISTRY).names()) == 2000
