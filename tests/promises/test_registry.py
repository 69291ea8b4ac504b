"""``dataferry.toml`` and its text form: what is read, and what each mistake says."""

from __future__ import annotations

import hashlib

import pytest

from dataferry import PackageData, Registry, RegistryError, UnknownFile

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
        'dataurl = "https://h/a b/"': r"line 1: dataurl contains a space or a control character",
        'dataurl = "https://h/\\u0001/"': r"line 1: dataurl contains a space or a control character",
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


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (f"{SHA}  12  a b.fits", ("a b.fits", SHA, 12, {})),
        (f"{SHA}  12  two  blanks.fits", ("two  blanks.fits", SHA, 12, {})),
        (f"{SHA}  12  a b.fits  https://h/a", ("a b.fits", SHA, 12, {"url": "https://h/a"})),
        (f"{SHA}  a.fits", ("a.fits", SHA, None, {})),
        (f"{SHA} *a.fits", ("a.fits", SHA, None, {})),
        (f"a.fits sha256:{SHA}", ("a.fits", SHA, None, {})),
        (f"a.fits {SHA} https://h/a.fits", ("a.fits", SHA, None, {"url": "https://h/a.fits"})),
        (f"SHA256 (a.fits) = {SHA.upper()}", ("a.fits", SHA, None, {})),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_text_form_and_the_lists_of_others(line, entry, end, tmp_path):
    (tmp_path / "files.txt").write_bytes(f"\ufeff# comment{end}{line}{end}  {end}".encode())
    path = write(tmp_path, 'registry = "files.txt"\n')
    assert list(Registry(path).entries()) == [entry]
    assert Registry(path).find(entry[0]) == entry


BAD = ["what", "a.fits md5:0123", f"{SHA}  ../x", f"{SHA[:-1]}  12  a", f"{SHA}  {'9' * 100_000}  a"]


@pytest.mark.parametrize("line", BAD, ids=["word", "md5", "name", "digits", "size"])
def test_a_line_that_is_none_of_these(line, tmp_path):
    (tmp_path / "files.txt").write_text(f"{SHA}  1  b\n{line}\n")
    registry = Registry(write(tmp_path, 'registry = "files.txt"\n'))
    assert registry.find("b").size == 1
    for ask in (registry.names, lambda: registry.find("a")):
        with pytest.raises(RegistryError, match=r"files\.txt: line 2: "):
            ask()


def listed(tmp_path, lines):
    write(tmp_path, "\n".join(lines), "files.txt")
    return Registry(write(tmp_path, f'registry = "files.txt"\n{FILE}'))


def test_the_text_registry_is_searched(tmp_path):
    registry = listed(tmp_path, ["# all", *(f"{SHA}  {i}  d/{i}.fits" for i in range(1000)), f"{SHA}  7  x 5.fits"])
    assert registry.find("d/5.fits").size == 5
    assert registry.find("5.fits") is None
    assert registry.find("x 5.fits").size == 7
    assert listed(tmp_path, [f"{SHA}  5  5", f"{SHA}  5  6"]).find("5") == (("5", SHA, 5, {}))
    assert registry.find("a").size == 1
    assert len(registry.names()) == 1002


def test_a_mistyped_name_of_a_large_registry(tmp_path):
    registry = listed(tmp_path, [f"{SHA}  {i}  d/{i}.fits" for i in range(6000)]).path
    data = PackageData("x", registry=registry, strict=True)
    with pytest.raises(UnknownFile, match=r"did you mean 'd/5999\.fits'"):
        data.get("d/5999.fit")


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


def test_the_package_of_a_registry_is_the_folder_around_it(make_package):
    package = make_package({"a.txt": b"a"})
    path = PackageData(package).registry.path
    assert Registry(path).package == package
    inner = path.parent.parent / "inner"
    (inner / "data").mkdir(parents=True)
    (inner / "__init__.py").touch()
    assert Registry(write(inner / "data", "")).package == f"{package}.inner"


@pytest.mark.parametrize("package", ["csv.data", "csv.data.more", "no_such_package.data"])
def test_what_is_in_no_package_is_no_package(package):
    with pytest.raises(RegistryError, match=f"there is no package '{package}' here"):
        PackageData(package).names()


def test_a_package_is_found_without_importing_it(make_package, tmp_path):
    import sys

    name = make_package({"a": b"x"})
    assert PackageData(name).registry.path.parent.name == "data"
    assert name not in sys.modules
    with pytest.raises(RegistryError, match="no package 'no_such_package'"):
        PackageData("no_such_package").names()
    with pytest.raises(RegistryError, match="is a module"):
        PackageData("this").names()
    (tmp_path / "packages" / name / "data" / "dataferry.toml").unlink()
    with pytest.raises(RegistryError, match=f"{name}/data/dataferry.toml.*dataferry add"):
        PackageData(name).names()


NESTED = 2000


@pytest.mark.parametrize(
    ("text", "says"),
    {
        f"mirrors = {'[' * NESTED}{']' * NESTED}": "nested too deeply",
        f"about = {'{a = ' * NESTED}1{'}' * NESTED}": "nested too deeply",
        f"timeout = {'9' * 100_000}": "Exceeds the limit",
        f'[files."a"]\nsha256 = "{SHA}"\nsize = {"9" * 100_000}': "Exceeds the limit",
        f'[files."a"]\nsha256 = "{SHA}"\nsize = {2**64}': "size of 'a' is a number of bytes, not so large a number",
    }.items(),
    ids=["arrays", "tables", "integer", "size", "size of 20 digits"],
)
def test_no_text_brings_an_error_of_python(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(RegistryError, match=says) as caught:
        Registry(path)
    assert str(caught.value).startswith(str(path)) and len(str(caught.value)) < 1000


def test_a_search_is_linear(tmp_path):
    """300,000 lines end with the name that is asked for: it took minutes."""
    registry = listed(tmp_path, [*(f"{SHA}  {i}  x{i}  last.fits" for i in range(300_000)), f"{SHA}  7  last.fits"])
    assert registry.find("last.fits").size == 7


def canonical(count):
    blocks = [f'[files."d/{i}.fits"]\nsize = {i}\nsha256 = "{SHA}"\n' for i in range(count)]
    blocks[7] = blocks[7] + 'figshare = 77\ns3 = "v1"\n'
    return 'dataurl = "https://h/d/"\n\n' + "\n".join(blocks)


#: Changes of a long registry that must mean the same, or the same mistake, as in a short one.
CHANGES = {
    "as add writes it": ("", ""),
    "a table behind": ("", '\n[about]\ntitle = "T"\n'),
    "a comment between": ('[files."d/5.fits"]', '# five\n[files."d/5.fits"]'),
    "another order": (f'size = 9\nsha256 = "{SHA}"', f'sha256 = "{SHA}"\nsize = 9'),
    "a name in quotes": ('[files."d/5.fits"]', "[files.'d/5.fits']"),
    "a string before": ('dataurl = "https://h/d/"', 'dataurl = "https://h/d/"\nenv = """\n[files."d/x"]\n"""'),
    "windows": ("\n", "\r\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_long_registry_means_what_its_toml_means(tmp_path, change):
    import tomllib

    old, new = CHANGES[change]
    text = canonical(3000).replace(old, new) if old else canonical(3000) + new
    path = tmp_path / "dataferry.toml"
    path.write_bytes(text.encode())
    registry = Registry(path)
    expected = tomllib.loads(text)["files"]
    assert registry.names() == list(expected)
    for entry in registry.entries():
        size = {} if entry.size is None else {"size": entry.size}
        assert {**size, "sha256": entry.sha256, **entry.locators} == expected[entry.name]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('[files."d/5.fits"]', '[files."d/4.fits"]', "not valid TOML"),
        ('[files."d/5.fits"]', '[files."../5.fits"]', r"line 23: '\.\./5\.fits' is not a legal name"),
        ('[files."d/5.fits"]', "[files.d/5.fits]", "not valid TOML"),
        ("size = 5\n", "size = 5\nsize = 5\n", "not valid TOML"),
        ("size = 5\n", "size = 05\n", "not valid TOML"),
    ],
)
def test_a_mistake_in_a_long_registry_is_named_as_in_a_short_one(tmp_path, old, new, says):
    path = write(tmp_path, canonical(3000).replace(old, new, 1))
    with pytest.raises(RegistryError, match=says):
        Registry(path)
