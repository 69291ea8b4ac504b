"""What packages, authors and users write: registries, lists of checksums, configuration, declarations."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from urllib.parse import urlsplit

from answers import INTERFACES
from damage import NAMES, ODD_TEXTS, ODD_TOML, SHA256, Dice, changed_json, changed_text, json_bytes

from dataferry import PackageData, retrieve
from dataferry.config.credentials import find_token, netrc_login
from dataferry.config.settings import Settings, load_settings
from dataferry.download.origin import proxy_for, trusted_roots
from dataferry.errors import BadName, DataferryError
from dataferry.hosts import host_names, make_host
from dataferry.hosts.about import authors, read_about, require
from dataferry.registry.catalog import read_catalog, read_sums, sums_with
from dataferry.registry.checksum_lists import read_rows
from dataferry.registry.editor import RegistryEditor
from dataferry.registry.entry import Entry
from dataferry.registry.names import check_public, check_url, redact_url
from dataferry.registry.registry import Registry

TABLE = f"""# a comment
dataurl = "https://h.example/data/"
mirrors = ["github-release:o/r@v1", "zenodo:4924875", "https://m.example/"]
timeout = 30
env = "MYPKG_DATA"
cache_env = "MYPKG_CACHE"
strict = true

[folders]
nersc = "/global/cfs/data"
any = ["/shared/data", "${{WORK}}/data"]

[about]
title = "Maps"
authors = ["A. Author"]

[files."maps/dust_064.fits"]
size = 596160
sha256 = "{SHA256}"
figshare = 30123456

[files."a.bin"]
size = 0
sha256 = "{SHA256}"
url = ["https://h.example/a.bin"]
"""
LISTS = (
    f"{SHA256}  596160  maps/dust_064.fits\n{SHA256}  0  a.bin  https://h.example/a.bin\n# c\n{SHA256}  7  other.dat\n",
    f"{SHA256}  maps/dust_064.fits\n{SHA256} *a.bin\n{SHA256}  ./other.dat\n",
    f"SHA256 (maps/dust_064.fits) = {SHA256}\nMD5 (a.bin) = {SHA256[:32]}\nSHA512(other.dat)= {SHA256 * 2}\n",
    f'maps/dust_064.fits sha256:{SHA256}\n"a b.bin" {SHA256} https://h.example/a\nother.dat md5:{SHA256[:32]}\n',
)


def use(registry: Registry) -> None:
    """Ask a registry all that it can be asked."""
    registry.base, registry.package, registry.mirrors, registry.timeout, registry._repr_html_()
    for name in NAMES:
        registry.find(name)
    for entry in registry.entries():
        entry.urls, repr(entry)


def registry_toml(dice: Dice, folder: Path) -> None:
    text = TABLE
    if dice.random() < 0.05:  # long ones have a reader of their own
        text += "".join(f'\n[files."{i}.bin"]\nsize = {i}\nsha256 = "{SHA256}"\n' for i in range(1000))
    (folder / "dataferry.toml").write_bytes(changed_text(dice, text, ODD_TOML))
    use(Registry(folder / "dataferry.toml"))


def registry_editor(dice: Dice, folder: Path) -> None:
    path = folder / "dataferry.toml"
    path.write_bytes(changed_text(dice, TABLE, ODD_TOML))
    editor = RegistryEditor(path)
    editor.set_dataurl("https://h.example/")
    editor.add_mirror("https://m.example/")
    editor.put([Entry("new.bin", SHA256, 5), Entry("a.bin", SHA256, 0)], replace=True)
    editor.save()
    use(Registry(path))  # what was written can be read


def registry_text(dice: Dice, folder: Path) -> None:
    (folder / "dataferry.toml").write_text('dataurl = "https://h.example/data/"\nregistry = "files.txt"\n')
    (folder / "files.txt").write_bytes(changed_text(dice, dice.choice(LISTS)))
    registry = Registry(folder / "dataferry.toml")
    with contextlib.suppress(DataferryError):
        registry.find(dice.choice(NAMES))
    use(registry)


def registry_in_python(dice: Dice, folder: Path) -> None:
    files = {name: {"size": 5, "sha256": SHA256, "url": "https://h.example/a"} for name in NAMES}
    declared = {"dataurl": "https://h.example/", "mirrors": ["zenodo:1"], "files": files}
    values = changed_json(dice, declared)
    if isinstance(values, dict) and all(isinstance(values.get(key, {}), dict) for key in ("files",)):
        use(Registry.from_files("mypkg", values.pop("files", {}), **{str(key): item for key, item in values.items()}))


def checksum_lists(dice: Dice, folder: Path) -> None:
    data = changed_text(dice, dice.choice(LISTS))
    with contextlib.suppress(UnicodeDecodeError):  # the caller names the file
        for row in read_rows(data.decode(), "SHA256SUMS"):
            with contextlib.suppress(DataferryError):
                repr(row.entry)


def catalogs(dice: Dice, folder: Path) -> None:
    files = {name: {"size": 5, "sha256": SHA256} for name in NAMES}
    with contextlib.suppress(ValueError):  # documented: it is no catalog
        read_catalog(json_bytes(dice, {"format": "dataferry-catalog/1", "title": "t", "files": files}))
    data = changed_text(dice, dice.choice(LISTS))
    read_sums(data)
    read_sums(sums_with(data, {"a.bin": SHA256}))


CONFIG = """offline = false
verify = "always"
site = "nersc"
folder_timeout = 0.5
cache = "/var/cache"
fsspec_protocols = ["dask"]
folders = ["/shared", "~/data"]

[packages.mypkg]
folders = { any = "/x", nersc = ["/y"] }
mirrors = ["https://m.example/"]
strict = true
[packages.mypkg.files."a.bin"]
path = "/data/a.bin"

[sites.mine]
env = { MY_SITE = "here" }
hostname = [".mine.example"]

[hosts."h.example"]
token = "secret"
connections = 3
rate = 1e6
client_cert = ["c.pem", "k.pem"]
"""
NETRC = (
    "machine h.example login me password secret\nmachine api.github.com\n  login x\n  password y\n"
    'default login d password "q w"\nmacdef init\ncd /\n\nmachine 127.0.0.1 login a account b password c # d\n'
)


def config(dice: Dice, folder: Path) -> None:
    (folder / "dataferry").mkdir()
    (folder / "dataferry" / "config.toml").write_bytes(changed_text(dice, CONFIG, ODD_TOML))
    os.environ["XDG_CONFIG_HOME"] = str(folder)
    settings = load_settings()
    settings.as_anonymous(), settings.package("mypkg"), find_token("h.example", settings)
    files = {"a.bin": SHA256}
    str(PackageData("mypkg", files=files, dataurl="https://h.example/", show_progress=False).where("a.bin"))


def netrc(dice: Dice, folder: Path) -> None:
    (folder / "netrc").write_bytes(changed_text(dice, NETRC))
    os.environ["NETRC"] = str(folder / "netrc")
    for host in ("h.example", "api.github.com", "127.0.0.1", ""):
        netrc_login(host)
    find_token("h.example", Settings())


def host_lines(dice: Dice, folder: Path) -> None:
    """Declarations of hosts, and URLs."""
    specs = [
        *INTERFACES,
        "s3://bucket/v1/?region=us-west-1",
        "github-pages:o/r",
        "fsspec:sftp://h/x",
        "webdav:https://h/",
    ]
    line = changed_text(dice, dice.choice(specs)).decode(errors="replace")
    scheme = dice.choice(host_names())
    line = f"{scheme}:{line.partition(':')[2]}" if dice.random() < 0.3 else line
    redact_url(line)
    for check in (check_url, check_public):
        with contextlib.suppress(BadName):
            check(line)
    host = make_host(line)
    str(host.redacted), list(host.sources("a.bin", None))


AUTHOR = {"name": "Author, Ann", "affiliation": "A University", "orcid": "https://orcid.org/0000-0002-1825-0097"}
ABOUT = {
    "title": "Maps",
    "description": "d",
    "keywords": ["dust"],
    "license": {"id": "CC-BY-4.0"},
    "creators": [AUTHOR],
}
CITATION = """cff-version: 1.2.0
title: Maps
version: 1.0
abstract: Maps of the dust.
license: BSD-3-Clause
keywords: [dust, cosmology]
authors:
  - family-names: Author
    given-names: Ann
    name-particle: van
    orcid: https://orcid.org/0000-0002-1825-0097
  - name: A Team
    affiliation: &a A University
  - {name: B Team, affiliation: [*a, *a]}
"""
ODD_YAML = (
    *ODD_TEXTS,
    *(
        "!!python/object/apply:os.system [x]",
        "!!binary x",
        "*a",
        "&a [*a]",
        "<<: *a",
        "- - - - - x",
        "? x",
        "%YAML 9.9",
    ),
    *(
        "x: " * 900,
        "[" * 900,
        "{a: " * 900,
        "a: &a [x,x]\nb: &b [*a,*a]\nauthors: [*b,*b]",
        "2001-99-99",
        "1:2:3",
        ".inf",
    ),
)


def citations(dice: Dice, folder: Path) -> None:
    """What a project says about itself, for archives."""
    if dice.random() < 0.5:
        (folder / ".zenodo.json").write_bytes(json_bytes(dice, ABOUT))
    if dice.random() < 0.8:
        (folder / "CITATION.cff").write_bytes(changed_text(dice, CITATION, ODD_YAML))
    about = read_about(folder / "mypkg" / "dataferry.toml", {})
    require(about, ["title", "authors"], "Zenodo", "zenodo:new")
    for author in authors(about, "zenodo:new"):
        author.full_name, author.name_parts, list(author.affiliations)


VARIABLES = {
    "HTTPS_PROXY": "http://user:secret@proxy.example:3128",
    "ALL_PROXY": "socks5h://127.0.0.1:1080",
    "NO_PROXY": "localhost,.example.org,10.0.0.0/8,[::1]",
    "DATAFERRY_DATA": "/shared/data:~/data:${HOME}/x",
    "DATAFERRY_CACHE": "/scratch/cache",
    "DATAFERRY_OFFLINE": "no",
    "MYPKG_DATA": "/global/data",
    "MYPKG_CACHE": "${HOME}/cache",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    "ASTROPY_CACHE_DIR": "/tmp",
    "AWS_MAX_ATTEMPTS": "3",
}


def variables(dice: Dice, folder: Path) -> None:
    """Environment variables: proxies, folders, switches."""
    for name, value in VARIABLES.items():
        os.environ.pop(name, None)
        if dice.random() < 0.5:
            text = changed_text(dice, value).replace(b"\0", b"").decode(errors="surrogateescape")
            os.environ[name] = text[:5000].replace("${HOME}", str(folder)).replace("/scratch", str(folder))
    make_host.cache_clear()
    data = PackageData("mypkg", files={"a.bin": SHA256}, dataurl="https://h.example/", show_progress=False)
    str(data.where("a.bin"))
    for url in ("https://h.example/a", "http://127.0.0.1/", "http://[::1]:80/a"):
        proxy_for(urlsplit(url))
    trusted_roots()


FILE_URLS = (
    *("https://h.example/maps/a.bin?x=1", "zenodo:4924875/map.fits", "doi:10.5281/zenodo.4924875/map.fits"),
    *("doi:10.7910/DVN/ABCDEF/a.tab", "figshare:14763051.v2/map.fits", "doi:10.6084/m9.figshare.14763051.v2/map.fits"),
    *("github-release:owner/repo@v1/maps/a.fits", "s3://bucket/v1/map.fits?region=us-west-1", "sftp://h/x/a.fits"),
    *("dataverse:doi:10.7910/DVN/ABCDEF/a.tab?server=https://d.example/", "git-lfs:https://h.example/o/r.git/a.bin"),
)
PATTERNS = ("*", "maps/*", "maps/dust_0??.fits", "[a-m]*", "**/*.fits", "[!a]*[0-9]", "a.bin")


def typed(dice: Dice, folder: Path) -> None:
    """What users type: URLs of files with their hashes, and patterns of names."""
    os.environ["DATAFERRY_OFFLINE"] = "1"
    word = changed_text(dice, dice.choice(PATTERNS)).decode(errors="replace")[:200]  # fnmatch keeps 32,768 patterns
    data = PackageData("mypkg", files=dict.fromkeys(NAMES, SHA256), dataurl="https://h.example/", show_progress=False)
    data.names(word)
    url = changed_text(dice, dice.choice(FILE_URLS)).decode(errors="replace")
    known = changed_text(dice, dice.choice([f"sha256:{SHA256}", f"md5:{SHA256[:32]}"])).decode(errors="replace")
    if dice.random() < 0.5:
        data.fetch([word])
    else:
        retrieve(url, dice.choice([known, None, f"sha256:{SHA256}"]), progress=False)
