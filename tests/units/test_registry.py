"""``dataferry.toml`` and its text form: what is read, and what each mistake says."""

from __future__ import annotations

import hashlib

import pytest

from dataferry import Registry, RegistryError
from dataferry.registry.checksum_lists import parse_line
from dataferry.registry.packages import find_registry

SHA = hashlib.sha256(b"x").hexdigest()


def write(tmp_path, text, name="dataferry.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_everything_is_read(tmp_path):
    registry = Registry(
        write(
            tmp_path,
            f"""
            dataurl = "https://h/d/"
            mirrors = ["figshare:1", "https://m/"]
            timeout = 30
            env = "MY_DATA"
            [folders]
            nersc = "/a"
            any = ["/b", "${{WORK}}/c"]
            [about]
            title = "T"
            [files."maps/a.fits"]
            size = 1
            sha256 = "{SHA.upper()}"
            figshare = 30123456
            """,
        )
    )
    assert (registry.dataurl, registry.timeout, registry.env) == ("https://h/d/", 30, "MY_DATA")
    assert registry.mirrors == ("figshare:1", "https://m/")
    assert registry.folders == {"nersc": ("/a",), "any": ("/b", "${WORK}/c")}
    entry = registry.find("maps/a.fits")
    assert entry is not None
    assert (entry.size, entry.sha256, dict(entry.locators)) == (1, SHA, {"figshare": 30123456})
    assert registry.find("maps/b.fits") is None
    assert registry.names() == ["maps/a.fits"]


FILE = f'[files."a"]\nsize = 1\nsha256 = "{SHA}"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    {
        "dataurl = x": r"not valid TOML.*line 1",
        f"{FILE}\n{FILE}": r"not valid TOML.*line 5",
        'dataurl = "https://h/d"': r"line 1: dataurl .* must end with a slash",
        "\ndataurl = 3": r"line 2: dataurl is a string, not 3",
        'dataurls = "https://h/d/"': r"line 1: unknown key 'dataurls'; did you mean 'dataurl'\?",
        "mirrors = [1]": r"line 1: mirrors is a string or a list of strings",
        "timeout = -1": r"line 1: timeout is a number of seconds above 0",
        "timeout = true": r"line 1: timeout",
        'strict = "yes"': r"line 1: strict is true or false",
        "folders = 3": r"line 1: folders is a table",
        "[folders]\nany = 3": r"line 2: folders.any",
        "files = 3": r"line 1: files is a table",
        'files = { "a" = 3 }': r"line 1: the entry of 'a' is a table",
        f'\n[files."../a"]\nsha256 = "{SHA}"': r"line 2: '../a' is not a legal name",
        f'[files."a"]\nsha256 = "{SHA[:-1]}"': r"line 1: sha256 of 'a' is 64 hexadecimal digits",
        '[files."a"]\nsize = 3': r"line 1: sha256 of 'a'",
        f'[files."a"]\nsize = -3\nsha256 = "{SHA}"': r"line 1: size of 'a' is a number of bytes, not -3",
        f'[files."a"]\nsize = 1.5\nsha256 = "{SHA}"': r"size of 'a'",
        f'[files."a"]\nsize = 1\nsha256 = "{SHA}"\ns3 = [1]': r"s3 of 'a' is a string or an integer",
        'registry = "../x"': r"line 1: '../x' is not a legal name",
    }.items(),
)
def test_a_mistake_is_named_with_file_and_line(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(RegistryError, match=f"(?s){says}") as caught:
        Registry(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "dataferry.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RegistryError, match="byte 0 is not UTF-8"):
        Registry(path)
    with pytest.raises(RegistryError, match="No such file"):
        Registry(tmp_path / "none.toml")


def test_the_text_form_and_the_lists_of_others():
    assert parse_line(f"{SHA}  12  a b.fits\n") == ("a b.fits", SHA, 12, {})
    assert parse_line(f"{SHA}  a.fits") == ("a.fits", SHA, None, {})
    assert parse_line(f"{SHA} *a.fits") == ("a.fits", SHA, None, {})
    assert parse_line(f"a.fits sha256:{SHA}") == ("a.fits", SHA, None, {})
    assert parse_line(f"a.fits {SHA} https://h/a.fits") == ("a.fits", SHA, None, {})
    assert parse_line("# nothing") is None and parse_line("  ") is None
    for bad in ("what", "a.fits md5:0123", f"{SHA}  ../x", f"{SHA[:-1]}  12  a"):
        with pytest.raises(ValueError, match="."):
            parse_line(bad)


def listed(tmp_path, lines):
    write(tmp_path, "\n".join(lines), "files.txt")
    return Registry(write(tmp_path, f'registry = "files.txt"\n{FILE}'))


def test_the_text_registry_is_searched(tmp_path):
    registry = listed(tmp_path, ["# all", *(f"{SHA}  {i}  d/{i}.fits" for i in range(1000)), f"{SHA}  7  x 5.fits"])
    assert registry.find("d/5.fits").size == 5
    assert registry.find("5.fits") is None
    assert registry.find("x 5.fits").size == 7
    assert registry.find("a").size == 1
    assert len(registry.names()) == 1002


def test_mistakes_in_the_text_registry(tmp_path):
    twice = listed(tmp_path, [f"{SHA}  1  b", f"{SHA}  1  c", f"{SHA}  2  b"])
    with pytest.raises(RegistryError, match=r"files\.txt: line 3: 'b' is registered twice"):
        twice.find("b")
    assert twice.find("c").size == 1
    with pytest.raises(RegistryError, match=r"files\.txt: line 3: 'b' is registered twice"):
        twice.names()
    with pytest.raises(RegistryError, match=r"files\.txt: line 2: neither"):
        listed(tmp_path, [f"{SHA}  1  b", "nonsense"]).names()
    with pytest.raises(RegistryError, match="'a' is registered in .*dataferry.toml as well"):
        listed(tmp_path, [f"{SHA}  1  a"]).names()


def test_a_package_is_found_without_importing_it(make_package, tmp_path):
    import sys

    name = make_package({"a": b"x"})
    assert find_registry(name).parent.name == "data"
    assert name not in sys.modules
    with pytest.raises(RegistryError, match="no package 'no_such_package'"):
        find_registry("no_such_package")
    with pytest.raises(RegistryError, match="is a module"):
        find_registry("this")
    (tmp_path / "packages" / name / "data" / "dataferry.toml").unlink()
    with pytest.raises(RegistryError, match=f"{name}/data/dataferry.toml.*dataferry add"):
        find_registry(name)
