"""Editing a registry: only the entries change, at once or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataferry.errors import BadName, CacheError, DataferryError, RegistryError, UnknownFile, WrongBytes
from dataferry.registry import Entry, Registry
from dataferry.registry.checksum_lists import read_list
from dataferry.registry.editor import RegistryEditor
from dataferry.registry.names import check_name

A, B, C = "a" * 64, "b" * 64, "c" * 64

WRITTEN = f"""\
# Data of mypkg (CC-BY 4.0)
dataurl = "https://h.example/x/"   # the portal

[folders]
any = ["/shared/mypkg"]            # ask Ada before this changes

[files."maps/z.fits"]   # the old one
sha256 = "{A}"
size   = 10
# checked by hand

# who made it
[about]
title = "My data"
"""


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "data" / "dataferry.toml"
    path.parent.mkdir()
    path.write_text(WRITTEN)
    return path


def edit(path: Path, *entries: Entry, **options) -> list[str]:
    editor = RegistryEditor(path)
    changes = editor.put(entries, **options)
    editor.save()
    return [change.action for change in changes]


def known(path: Path) -> dict[str, Entry]:
    return {entry.name: entry for entry in Registry(path).entries()}


def folder_of(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_comments_and_order_stay_and_new_entries_end_the_files(toml):
    assert edit(toml, Entry("maps/b.fits", B, 2), Entry("a.fits", C, 1)) == ["added", "added"]
    before, about = WRITTEN.split("\n# who made it")
    new = f"""
[files."a.fits"]
size = 1
sha256 = "{C}"

[files."maps/b.fits"]
size = 2
sha256 = "{B}"
"""
    assert toml.read_text() == before + new + "\n# who made it" + about


def test_an_update_touches_one_line(toml):
    assert edit(toml, Entry("maps/z.fits", A, 10, {"figshare": 12})) == ["updated"]
    assert toml.read_text() == WRITTEN.replace("# checked by hand\n", "# checked by hand\nfigshare = 12\n")


def test_nothing_to_change_writes_nothing(toml):
    before = toml.stat()
    assert edit(toml, Entry("maps/z.fits", A, None)) == ["unchanged"]
    assert (toml.stat().st_ino, toml.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_published_name_keeps_its_bytes(toml):
    editor = RegistryEditor(toml)
    with pytest.raises(WrongBytes, match=r"(?s)maps/z\.fits.*aaaaaaaaaaaa.*bbbbbbbbbbbb.*--replace"):
        editor.put([Entry("new.fits", C, 1), Entry("maps/z.fits", B, 10)])
    assert editor.save() == []
    assert toml.read_text() == WRITTEN
    assert edit(toml, Entry("maps/z.fits", B, 11), replace=True) == ["replaced"]
    assert known(toml)["maps/z.fits"] == Entry("maps/z.fits", B, 11)


def test_other_bytes_have_other_locators(toml):
    edit(toml, Entry("maps/z.fits", A, 10, {"figshare": 12, "osf": "q1"}))
    edit(toml, Entry("maps/z.fits", A, 10, {"figshare": 13}))
    assert known(toml)["maps/z.fits"].locators == {"figshare": 13, "osf": "q1"}
    edit(toml, Entry("maps/z.fits", B, 10), replace=True)
    assert known(toml)["maps/z.fits"].locators == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f'[files."n.fits"]\nsize = 3\nsha256 = "{B}"\n'),
        ("# only a comment", f'# only a comment\n\n[files."n.fits"]\nsize = 3\nsha256 = "{B}"\n'),
        ("files = {}\n", f'files = {{"n.fits" = {{size = 3, sha256 = "{B}"}}}}\n'),
        (
            f'[files]\nm = {{ size = 1, sha256 = "{A}" }}\n\n[about]\nx = 1\n',
            f'[files]\nm = {{ size = 1, sha256 = "{A}" }}\n"n.fits" = {{size = 3, sha256 = "{B}"}}\n\n[about]\nx = 1\n',
        ),
        ("[about]\r\nx = 1\r\n", f'[about]\r\nx = 1\r\n\r\n[files."n.fits"]\r\nsize = 3\r\nsha256 = "{B}"\r\n'),
    ],
    ids=["empty", "comment", "empty inline table", "inline entries", "windows"],
)
def test_the_style_of_the_file_is_kept(tmp_path, text, expected):
    path = tmp_path / "dataferry.toml"
    path.write_bytes(text.encode())
    edit(path, Entry("n.fits", B, 3))
    assert path.read_bytes().decode() == expected


def test_a_new_registry_is_made_with_its_folder(tmp_path):
    path = tmp_path / "mypkg" / "data" / "dataferry.toml"
    editor = RegistryEditor(path)
    assert editor.created
    editor.set_dataurl("https://h.example/x/")
    editor.put([Entry("n.fits", B, 3)])
    assert editor.save() == [path]
    assert Registry(path).dataurl == "https://h.example/x/"
    assert known(path) == {"n.fits": Entry("n.fits", B, 3)}
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert folder_of(path) == ["dataferry.toml"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("text", ["[about]\nx = 1\n", "# comment\n\n[files]\n", "timeout = 3\n", WRITTEN])
def test_dataurl_is_set_where_it_means_the_same(tmp_path, text):
    path = tmp_path / "dataferry.toml"
    path.write_text(text)
    editor = RegistryEditor(path)
    assert editor.set_dataurl("https://new.example/y/")
    editor.save()
    assert Registry(path).dataurl == "https://new.example/y/"
    assert "# the portal" in path.read_text() or text != WRITTEN
    assert not RegistryEditor(path).set_dataurl("https://new.example/y/")


def test_mode_and_link_are_kept(toml, tmp_path):
    toml.chmod(0o640)
    link = tmp_path / "dataferry.toml"
    link.symlink_to("data/dataferry.toml")
    edit(link, Entry("n.fits", B, 3))
    assert link.is_symlink()
    assert "n.fits" in known(toml)
    assert toml.stat().st_mode & 0o777 == 0o640
    assert folder_of(toml) == ["dataferry.toml"]


def test_a_change_by_someone_else_is_not_lost(toml):
    editor = RegistryEditor(toml)
    editor.put([Entry("n.fits", B, 3)])
    toml.write_text(WRITTEN + "# someone else\n")
    with pytest.raises(RegistryError, match="someone else changed it"):
        editor.save()
    assert toml.read_text() == WRITTEN + "# someone else\n"
    assert folder_of(toml) == ["dataferry.toml"]


def test_dotted_keys_mean_the_same_afterwards(tmp_path):
    path = tmp_path / "dataferry.toml"
    path.write_text(f'files."a".size = 1\nfiles."a".sha256 = "{A}"\n')
    edit(path, Entry("a", A, 1, {"osf": "x"}), Entry("n.fits", B, 3))
    assert known(path) == {"a": Entry("a", A, 1, {"osf": "x"}), "n.fits": Entry("n.fits", B, 3)}


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises((CacheError, RegistryError), match="dataferry.toml"):
        edit(tmp_path / "data" / "dataferry.toml", Entry("n.fits", B, 3))


def test_what_cannot_be_read_is_left_alone(toml):
    toml.write_text("dataurl = \n")
    with pytest.raises(RegistryError, match=r"dataferry\.toml: .*line 1"):
        RegistryEditor(toml)
    assert toml.read_text() == "dataurl = \n"


def test_one_name_with_two_hashes_is_refused(toml):
    with pytest.raises(BadName, match="twice"):
        RegistryEditor(toml).put([Entry("n.fits", B, 3), Entry("n.fits", C, 3)])


# -- the text registry -------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "dataferry.toml"
    path.write_text('registry = "files.txt"\n')
    (tmp_path / "files.txt").write_text(f"# made by a script\n{A}  10  maps/z.fits\nold.fits sha256:{A}\n")
    return path


def test_entries_go_to_the_text_registry(listed):
    text = listed.read_text()
    assert edit(listed, Entry("n b.fits", B, 3), Entry("maps/z.fits", A, 10)) == ["added", "unchanged"]
    assert edit(listed, Entry("old.fits", A, 7)) == ["updated"]
    wanted = f"# made by a script\n{A}  10  maps/z.fits\n{A}  7  old.fits\n{B}  3  n b.fits\n"
    assert listed.with_name("files.txt").read_text() == wanted
    assert listed.read_text() == text
    with pytest.raises(WrongBytes):
        edit(listed, Entry("old.fits", C, 7))


def test_a_declared_list_that_is_not_there_is_made(listed):
    listed.with_name("files.txt").unlink()
    edit(listed, Entry("n.fits", B, 3))
    assert listed.with_name("files.txt").read_text() == f"{B}  3  n.fits\n"


def test_a_text_registry_takes_neither_locators_nor_names_that_read_as_sizes(listed):
    with pytest.raises(RegistryError, match=r"files\.txt.*no locators"):
        edit(listed, Entry("n.fits", B, 3, {"figshare": 1}))
    with pytest.raises(RegistryError, match="looks like a size"):
        edit(listed, Entry("12  n.fits", B, None))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=6, unique=True),
    locator=st.one_of(st.none(), st.text(max_size=10), st.integers(-(2**40), 2**40)),
    in_list=st.booleans(),
)
def test_any_legal_name_comes_back(tmp_path, names, locator, in_list):
    path = tmp_path / "dataferry.toml"
    path.with_name("files.txt").unlink(missing_ok=True)
    path.write_text('registry = "files.txt"\n' if in_list else "# nothing yet\n")
    locators = {} if locator is None or in_list else {"osf": locator}
    entries = [Entry(name, A, 5, locators) for name in names if _legal(name)]
    edit(path, *entries)
    edit(path, Entry("last", B, 1))
    assert known(path) == {e.name: e for e in [*entries, Entry("last", B, 1)]}


def _legal(name: str) -> bool:
    try:
        check_name(name)
    except DataferryError:
        return False
    return name != "last"


# -- lists of other tools ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"{A}  maps/a b.fits\n{B} *c.fits\n",
        f"{A}  ./maps/a b.fits\n{B}  ./c.fits\n",
        f"SHA256 (maps/a b.fits) = {A}\nSHA256 (c.fits) = {B}\n",
        f"# comment\r\n{A.upper()}  maps/a b.fits\r\n\r\nc.fits sha256:{B}\r\n",
        f"\ufeff{A}  maps/a b.fits\nc.fits {B} https://elsewhere.example/c.fits\n",
    ],
    ids=["gnu", "find", "bsd", "mixed", "pooch"],
)
def test_lists_of_other_tools(text):
    locators = {"url": "https://elsewhere.example/c.fits"} if "elsewhere" in text else {}
    assert read_list(text, "LIST") == [Entry("maps/a b.fits", A), Entry("c.fits", B, None, locators)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{'a' * 32}  c.fits", "md5"),
        (f"{'a' * 40}  c.fits", "sha1"),
        ("c.fits md5:" + "a" * 32, "md5"),
        ("MD5 (c.fits) = " + "a" * 32, "md5"),
        (f"{B}  ../c.fits", r"'\.\.'"),
        (f"{B}  maps/a.fits", "twice"),
        ("hello", "neither"),
    ],
)
def test_a_wrong_line_is_named(line, reason):
    with pytest.raises(RegistryError, match=rf"LIST: line 3: .*{reason}"):
        read_list(f"# checksums\n{A}  maps/a.fits\n{line}\n", "LIST")


def test_an_empty_list_is_no_list():
    with pytest.raises(RegistryError, match="no entry"):
        read_list("# nothing\n", "LIST")


def test_entries_are_removed_with_their_comments(toml):
    editor = RegistryEditor(toml)
    editor.put([Entry("a.fits", C, 1)])
    editor.save()
    assert [entry.name for entry in editor.remove(["maps/z.fits"])] == ["maps/z.fits"]
    editor.save()
    assert list(known(toml)) == ["a.fits"]
    assert "# who made it" in toml.read_text() and "checked by hand" not in toml.read_text()
    with pytest.raises(UnknownFile, match="did you mean 'a.fits'"):
        editor.remove(["b.fits"])


def test_a_large_registry_moves_to_the_text_form(toml):
    entries = [Entry(f"d/{i}.fits", C, i) for i in range(2100)]
    editor = RegistryEditor(toml)
    editor.put([*entries, Entry("maps/z.fits", A, 10)])
    assert sorted(path.name for path in editor.save()) == ["dataferry.toml", "files.txt"]
    assert len(known(toml)) == 2101 and Registry(toml).list_path is not None
    assert "# who made it" in toml.read_text() and "[files" not in toml.read_text()
    edit(toml, Entry("last.fits", B, 3))
    assert known(toml)["last.fits"].size == 3


@pytest.mark.parametrize("url", ["https://me:pw@h.example/x/", "https://me@h.example/x/"])
def test_a_login_is_not_written_into_a_registry(toml, url):
    with pytest.raises(BadName, match=r'\[hosts\."h\.example"\] of config\.toml') as caught:
        RegistryEditor(toml).set_dataurl(url)
    assert "pw" not in str(caught.value)
    with pytest.raises(BadName, match="secret"):
        RegistryEditor(toml).add_mirror("s3://b/x/?X-Amz-Signature=0123")
    RegistryEditor(toml).add_mirror("s3://b/x/?region=us-west-1")
