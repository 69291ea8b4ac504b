"""Files with URLs of their own, registries of other tools, registries from Python, and ``{version}``."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from dataferry_test_servers.inveniordm.people import By

from dataferry import Entry, FileUnavailable, PackageData, Registry, RegistryError, UnknownFile
from dataferry.testing import RangeServer

FILES = {"a.txt": b"first file\n", "maps/b c.txt": b"second file\n"}


def sha(data, algorithm="sha256"):
    return hashlib.new(algorithm, data).hexdigest()


@pytest.fixture
def server():
    with RangeServer(FILES) as running:
        yield running


def table(name, data, *lines):
    return f'[files."{name}"]\nsize = {len(data)}\nsha256 = "{sha(data)}"\n' + "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("several", [False, True])
def test_a_file_has_a_url_of_its_own(tmp_path, server, several):
    urls = f'["http://127.0.0.1:1/a.txt", "{server.url}a.txt"]' if several else f'"{server.url}a.txt"'
    path = tmp_path / "dataferry.toml"
    path.write_text(table("data/renamed.txt", FILES["a.txt"], f"url = {urls}"))
    data = PackageData("mypkg", registry=path, show_progress=False)
    assert Path(data.get("data/renamed.txt")).read_bytes() == FILES["a.txt"]
    assert data.url("data/renamed.txt") == ("http://127.0.0.1:1/a.txt" if several else f"{server.url}a.txt")
    assert data.is_available("data/renamed.txt")


def test_its_url_is_asked_before_dataurl(tmp_path, server):
    path = tmp_path / "dataferry.toml"
    url = f'url = "{server.url}a.txt"'
    path.write_text(f'dataurl = "http://127.0.0.1:1/"\n{table("x.txt", FILES["a.txt"], url)}')
    data = PackageData("mypkg", registry=path, show_progress=False)
    hosts = [step for step in data.where("x.txt").steps if step.kind == "host"]
    assert [(step.origin, step.place) for step in hosts] == [
        ("url", f"{server.url}a.txt"),
        ("dataurl", "http://127.0.0.1:1/x.txt"),
    ]
    assert Path(data.get("x.txt")).read_bytes() == FILES["a.txt"]


def test_the_text_form_has_a_column_for_urls(tmp_path, server):
    rows = [
        f"{sha(data)}  {len(data)}  new/{name}  {server.url}{name.replace(' ', '%20')}" for name, data in FILES.items()
    ]
    rows += [f"{sha(b'x')}  1  new/a.txt.old", f"{sha(b'x')}  new/a  http://127.0.0.1:1/a  {server.url}a"]
    (tmp_path / "files.txt").write_text("\n".join(rows) + "\n")
    path = tmp_path / "dataferry.toml"
    path.write_text('registry = "files.txt"\n')
    data = PackageData("mypkg", registry=path, show_progress=False)
    assert data.registry.find("new/maps/b c.txt").urls == (f"{server.url}maps/b%20c.txt",)
    assert data.registry.find("new/a").urls == ("http://127.0.0.1:1/a", f"{server.url}a")
    assert data.registry.find("new/a.txt.old").urls == ()
    found = data.fetch(["new/a.txt", "new/maps/b c.txt"])
    assert [Path(path).read_bytes() for path in found] == list(FILES.values())


def test_a_host_with_an_id_for_one_file(tmp_path):
    path = tmp_path / "dataferry.toml"
    path.write_text(table("x.fits", b"x", 'url = "zenodo:1481190/x.fits"'))
    [step] = [s for s in PackageData("mypkg", registry=path).where("x.fits").steps if s.kind == "host"]
    assert "zenodo.org/" in step.place and "1481190" in step.place


@pytest.mark.parametrize("url", ["3", '""', "[]", '["a b"]', '"no-scheme/x"', "[1]"])
def test_a_url_that_is_none(tmp_path, url):
    path = tmp_path / "dataferry.toml"
    path.write_text(table("x", b"x", f"url = {url}"))
    with pytest.raises(RegistryError, match="line 1: url of 'x' is a URL or a list of URLs"):
        Registry(path)


@pytest.mark.parametrize("url", ["nothing:1/x", "https://user:secret@127.0.0.1:1/x", "https://127.0.0.1:1/x#y"])
def test_a_url_that_cannot_be_used_is_a_reason(tmp_path, url):
    path = tmp_path / "dataferry.toml"
    path.write_text(table("x", b"x", f'url = "{url}"'))
    with pytest.raises(FileUnavailable) as caught:
        PackageData("mypkg", registry=path, show_progress=False).get("x")
    assert caught.value.failures and "secret" not in str(caught.value)


# -- registries of pooch


def test_a_pooch_registry_is_added(tmp_path, server, command):
    listed = tmp_path / "registry.txt"
    listed.write_text(
        "# name hash url\n"
        f"a.txt md5:{sha(FILES['a.txt'], 'md5')}\n"
        f'"maps/b c.txt" sha512:{sha(FILES["maps/b c.txt"], "sha512")}\n'
        f"elsewhere.txt sha1:{sha(FILES['a.txt'], 'sha1')} {server.url}a.txt\n"
        f"known.txt {sha(b'k')} https://127.0.0.1:1/known.txt\n"
    )
    path = tmp_path / "dataferry.toml"
    result = command("add", str(path), "--from", str(listed), "--dataurl", server.url)
    assert result.exit_code == 0, result.output
    registry = Registry(path)
    assert {name: (entry.sha256, entry.size, entry.urls) for name, entry in registry.items()} == {
        "a.txt": (sha(FILES["a.txt"]), 11, ()),
        "maps/b c.txt": (sha(FILES["maps/b c.txt"]), 12, ()),
        "elsewhere.txt": (sha(FILES["a.txt"]), 11, (f"{server.url}a.txt",)),
        "known.txt": (sha(b"k"), None, ("https://127.0.0.1:1/known.txt",)),
    }


def test_without_a_place_to_download_from_add_says_which_file(tmp_path, command):
    (tmp_path / "registry.txt").write_text(f"b.txt {sha(b'b')}\na.txt md5:{sha(b'a', 'md5')}\n")
    result = command("add", str(tmp_path / "dataferry.toml"), "--from", str(tmp_path / "registry.txt"))
    assert result.exit_code != 0
    assert "registry.txt: line 2: it has the md5 of 'a.txt'" in result.stderr and "--dataurl" in result.stderr
    assert not (tmp_path / "dataferry.toml").exists()


def test_a_file_with_another_md5_is_refused(tmp_path, server, command):
    (tmp_path / "registry.txt").write_text(f"a.txt md5:{'0' * 32}\n")
    result = command(
        "add", str(tmp_path / "dataferry.toml"), "--from", str(tmp_path / "registry.txt"), "--dataurl", server.url
    )
    assert result.exit_code != 0
    assert f"'a.txt': its md5 is {sha(FILES['a.txt'], 'md5')}, not {'0' * 32}" in result.stderr
    assert not (tmp_path / "dataferry.toml").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a.txt", "neither"),
        ("a b c d", "neither"),
        ("a.txt blake2:0123", "blake2' is none of sha256"),
        ("a.txt md5:0123", "md5 of 'a.txt' is 32 hexadecimal digits"),
        (f"a.txt {'0' * 64} relative/path", "is not a URL"),
        (f'"a.txt {"0" * 64}', "No closing quotation"),
        (f"../a.txt {'0' * 64}", "could leave"),
    ],
)
def test_no_line_is_dropped_silently(tmp_path, command, line, says):
    (tmp_path / "registry.txt").write_text(f"ok.txt {'1' * 64}\n{line}\n")
    result = command("add", str(tmp_path / "dataferry.toml"), "--from", str(tmp_path / "registry.txt"))
    assert result.exit_code != 0
    assert "registry.txt: line 2: " in result.stderr and says in result.stderr


def test_urls_survive_an_edit(tmp_path, server, command):
    path = tmp_path / "dataferry.toml"
    path.write_text(table("a.txt", FILES["a.txt"], f'url = ["{server.url}a.txt", "{server.url}again.txt"]'))
    (tmp_path / "list").write_text(f"{sha(FILES['a.txt'])}  11  a.txt  {server.url}moved.txt\n{sha(b'n')}  1  n.txt\n")
    assert command("add", str(path), "--from", str(tmp_path / "list")).exit_code == 0
    assert Registry(path)["a.txt"].urls == (f"{server.url}moved.txt",)


# -- declared in Python


def test_a_registry_from_python(server):
    files = {
        "a.txt": {"size": 11, "sha256": sha(FILES["a.txt"])},
        "b.txt": {"sha256": sha(FILES["maps/b c.txt"]), "url": f"{server.url}maps/b%20c.txt"},
        "c.txt": f"sha256:{sha(FILES['a.txt'])}",
        "d.txt": Entry("a.txt", sha(FILES["a.txt"]), 11, {"url": f"{server.url}a.txt"}),
    }
    data = PackageData("computed", files=files, dataurl=server.url, show_progress=False)
    for each in (data, copy.copy(data), pickle.loads(pickle.dumps(data))):
        assert each.names() == list(files)
        assert Path(each.get("a.txt")).read_bytes() == FILES["a.txt"]
        assert Path(each.get("b.txt")).read_bytes() == FILES["maps/b c.txt"]
        assert Path(each.get("d.txt")).read_bytes() == FILES["a.txt"]
    with pytest.raises(UnknownFile, match=r"not registered in PackageData\('computed', files=...\)"):
        data.get("x.txt")
    with pytest.raises(FileUnavailable, match=r"PackageData\('computed', files=...\).where\('c.txt'\)"):
        data.get("c.txt")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a": "md5:" + "0" * 32}, "sha256 of 'a' is 64 hexadecimal digits"),
        ({"a": "md5:" + "0" * 32}, "'dataferry add PACKAGE --from LIST' reads other hashes"),
        ({"a": {"hash": "0" * 64}}, "sha256 of 'a' is missing"),
        ({"./a": "0" * 64}, "it holds '.'; a file has one name"),
        ({"../a": "0" * 64}, "not a legal name"),
        ({"a": 3}, "entry of 'a' is a table"),
        ({"a": {"sha256": "0" * 64, "size": -1}}, "size of 'a'"),
        ({"a": {"sha256": "0" * 64, "url": "x"}}, "url of 'a'"),
    ],
)
def test_mistakes_in_python_are_named(files, says):
    with pytest.raises(RegistryError, match=rf"(?s)^PackageData\('computed', files=\.\.\.\): .*{says}"):
        PackageData("computed", files=files).names()


def test_two_declarations_are_refused(tmp_path):
    with pytest.raises(RegistryError, match="give one of them"):
        PackageData("computed", files={}, registry=tmp_path / "dataferry.toml")
    with pytest.raises(RegistryError, match="belong to files="):
        PackageData("computed", dataurl="https://h/")


# -- registries of single projects, as docs/toml.rst converts them


def test_the_manager_of_sunpy_and_the_module_of_scikit_image(server):
    required = [("first", [f"{server.url}none.txt", f"{server.url}a.txt"], sha(FILES["a.txt"]))]
    data = PackageData(
        "sunny", files={name: {"sha256": sha256, "url": urls} for name, urls, sha256 in required}, show_progress=False
    )
    assert Path(data.get("first")).read_bytes() == FILES["a.txt"]
    registry = {"data/a.txt": sha(FILES["a.txt"])}
    registry_urls = {"data/a.txt": f"{server.url}a.txt"}
    files = {name: {"sha256": digest, "url": registry_urls[name]} for name, digest in registry.items()}
    assert (
        Path(PackageData("skpicture", files=files, show_progress=False).get("data/a.txt")).read_bytes()
        == FILES["a.txt"]
    )


def test_the_index_of_gammapy(repository, tmp_path, server, command):
    """Data sets with files, of which each has a path, a URL and an md5; some data sets have none."""
    index = [
        {"name": "cta-1dc", "description": "First data challenge", "files": []},
        {"name": "hess", "files": [{"path": f"hess/{name}", "url": server.url_of(name)} for name in FILES]},
        {"name": "tests"},
    ]
    for file, content in zip(index[1]["files"], FILES.values(), strict=True):
        file |= {"hashmd5": sha(content, "md5"), "filesize": len(content)}
    (tmp_path / "gammapy-data-index.json").write_text(json.dumps(index))
    page = (repository / "docs" / "toml.rst").read_text(encoding="utf-8")
    script = textwrap.dedent(page.split(":caption: convert.py\n")[1].split("\nAnd")[0])
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    result = command("add", tmp_path / "dataferry.toml", "--from", "-", input=done.stdout)
    assert result.exit_code == 0, result.output
    registry = Registry(tmp_path / "dataferry.toml")
    assert {name: (entry.sha256, entry.size) for name, entry in registry.items()} == {
        f"hess/{name}": (sha(content), len(content)) for name, content in FILES.items()
    }
    data = PackageData("gamma", registry=tmp_path / "dataferry.toml", show_progress=False)
    assert data.contents("hess/maps/b c.txt") == FILES["maps/b c.txt"]


def test_the_records_of_specutils(invenio_standin, tmp_path, command):
    """Its tests name a record of Zenodo and a file for each, ``{"id": "1481190", "filename": "L5g_0355+11.fits"}``."""
    ann = By(invenio_standin)
    spectra = {"L5g_0355+11_Cruz09.fits": b"brown dwarf", "00000_spectrum.fits": b"star"}
    arguments = [
        {"id": ann.record({name: content, "notes.txt": b"not wanted"})[0], "filename": name}
        for name, content in spectra.items()
    ]
    path = tmp_path / "dataferry.toml"
    for each in arguments:
        host = f"inveniordm:{invenio_standin.url}{each['id']}"
        result = command("add", path, "--from", host, "--only", each["filename"])
        assert result.exit_code == 0, result.output
    data = PackageData("spectra", registry=path, show_progress=False)
    assert {name: data.contents(name) for name in data.names()} == spectra


# -- {version}


@pytest.mark.parametrize(
    ("version", "plain", "tag"),
    [
        ("1.2.0", "1.2.0", "v1.2.0"),
        ("1.3.0rc1", "1.3.0rc1", "v1.3.0rc1"),
        ("1.2.0+computecanada", "1.2.0", "v1.2.0"),
        ("1.3.0.dev4+g0a1b2c3", "main", "main"),
        ("1.2.0+3.g0a1b2c3", "main", "main"),
        ("1.2.0+d20260101", "main", "main"),
        ("", "main", "main"),
        (None, "main", "main"),
    ],
)
def test_version_in_dataurl(tmp_path, make_package, version, plain, tag):
    name = make_package({"a": b"x"}, head='dataurl = "https://h/{version}/v{version}/"\n')
    if version is not None:
        metadata = tmp_path / "packages" / f"{name}-{version}.dist-info"
        metadata.mkdir()
        lines = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" if version else ""
        (metadata / "METADATA").write_text(lines)
    assert PackageData(name).registry.dataurl == f"https://h/{plain}/{tag}/"
    assert PackageData(name).url("a") == f"https://h/{plain}/{tag}/a"


def test_two_releases_have_their_own_files(tmp_path, make_package):
    with RangeServer({"1.0/a": b"old", "1.1/a": b"new!"}) as server:
        for version, content in (("1.0", b"old"), ("1.1", b"new!")):
            name = make_package({"a": content}, head=f'dataurl = "{server.url}{{version}}/"\n')
            metadata = tmp_path / "packages" / f"{name}-{version}.dist-info"
            metadata.mkdir()
            (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            assert Path(PackageData(name, show_progress=False).get("a")).read_bytes() == content


def test_version_belongs_to_dataurl_alone(tmp_path):
    (tmp_path / "dataferry.toml").write_text('mirrors = ["https://h/{version}/"]\n')
    with pytest.raises(RegistryError, match="is for dataurl alone"):
        Registry(tmp_path / "dataferry.toml")


# -- small ones


def test_a_registry_is_a_mapping(tmp_path):
    path = tmp_path / "dataferry.toml"
    path.write_text(table("a", b"a") + table("d/b", b"bb"))
    registry = Registry(path)
    assert isinstance(registry, Mapping)
    assert (len(registry), list(registry), "a" in registry, "x" in registry) == (2, ["a", "d/b"], True, False)
    assert registry["d/b"].size == 2 and registry.get("x") is None
    assert dict(registry) == {entry.name: entry for entry in registry.entries()}
    with pytest.raises(KeyError, match="x"):
        registry["x"]


def test_names_are_paths_too(tmp_path, server):
    files = {name: f"sha256:{sha(data)}" for name, data in FILES.items()}
    data = PackageData("paths", files=files, dataurl=server.url, show_progress=False)
    name = Path("maps") / "b c.txt"
    assert data.get(name) == data.get("maps/b c.txt") == data.fetch(name)[0] == data.fetch([name])[0]
    assert data.contents(name) == FILES["maps/b c.txt"] and data.is_available(name)
    assert data.where(name).path == data.get(name) and data.url(name).endswith("maps/b c.txt")
    assert data.copy([name], tmp_path / "copy") == [str(tmp_path / "copy" / "maps" / "b c.txt")]
    with data.open(name) as file:
        assert file.read() == FILES["maps/b c.txt"]


def test_the_folder_of_readable_paths(server):
    files = {name: f"sha256:{sha(data)}" for name, data in FILES.items()}
    data = PackageData("paths", files=files, dataurl=server.url, show_progress=False)
    assert [os.path.join(data.path, name) for name in FILES] == data.fetch()


class Unseekable(io.RawIOBase):
    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.content.readinto(buffer)


def test_an_opener_for_one_file():
    asked = []

    def opener(url):
        asked.append(url)
        return Unseekable(b"behind a login")

    files = {"secret.txt": f"sha256:{sha(b'behind a login')}", "wrong.txt": f"sha256:{sha(b'else')}"}
    data = PackageData("opened", files=files, dataurl="https://private.invalid/d/", show_progress=False)
    assert Path(data.get("secret.txt", opener=opener)).read_bytes() == b"behind a login"
    assert asked == ["https://private.invalid/d/secret.txt"]
    with pytest.raises(FileUnavailable, match="sha256"):
        data.get("wrong.txt", opener=opener)

    def broken(url):
        raise PermissionError("the token has expired")

    with pytest.raises(FileUnavailable, match="the token has expired"):
        data.get("wrong.txt", opener=broken)


def test_nothing_is_printed_where_there_is_no_terminal(server, tmp_path):
    """Neither progress with ``show_progress=None`` nor a log that nobody asked for."""
    files = {"a.txt": f"sha256:{sha(FILES['a.txt'])}"}
    program = (
        "from dataferry import PackageData\n"
        f"data = PackageData('quiet', files={files}, dataurl={server.url!r}, show_progress=None)\n"
        "data.get('a.txt')\n"
    )
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("wrap", [io.BytesIO, Unseekable], ids=["seekable", "a stream"])
def test_an_opener_goes_on_where_a_stream_was_cut(wrap):
    content = os.urandom(3_000_000)
    asked = []

    class Cut(Unseekable):
        def readinto(self, buffer):
            if self.content.tell() >= 2_000_000:
                raise ConnectionResetError("the connection was reset")
            return super().readinto(buffer)

    def opener(url):
        asked.append(url)
        return wrap(content) if len(asked) > 1 else Cut(content)

    files = {"a.bin": {"size": len(content), "sha256": sha(content)}}
    data = PackageData("opened", files=files, dataurl="https://private.invalid/d/", show_progress=False)
    assert Path(data.get("a.bin", opener=opener)).read_bytes() == content
    assert len(asked) == 2
    assert data.arrivals["a.bin"].moved_bytes <= len(content) + 200_000
