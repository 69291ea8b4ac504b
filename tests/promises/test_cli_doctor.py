"""`dataferry doctor`: what is found on this machine, and nothing written or asked."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest
from astropy.config import get_cache_dir_path

from dataferry.errors import MissingExtra
from dataferry.testing import RangeServer


@pytest.fixture
def package(make_package, tmp_path):
    with RangeServer({}) as server:
        (tmp_path / "shared").mkdir()
        head = f'dataurl = "{server.url}"\nmirrors = ["https://ann:secret@mirror.example/x/"]\nenv = "MADE_DATA"\n'
        folders = f'[folders]\nany = ["{tmp_path}/shared", "/no/such/folder", "$NOT_SET/x"]\n'
        yield make_package({"a.fits": b"aa"}, {"b.fits": b"b"}, head + folders)
        assert server.requests == []


def test_doctor_reads_well(command, package, home, monkeypatch, tmp_path):
    monkeypatch.setenv("https_proxy", "http://ann:secret@proxy.example:3128")
    monkeypatch.setenv("NERSC_HOST", "perlmutter")
    before = {str(path) for path in home.rglob("*")}
    result = command("doctor", package)
    assert result.exit_code == 0
    text = result.stdout
    assert re.match(r"dataferry \S+\n  with      python 3\.\d+\.\d+, astropy \d", text)
    for line in (
        f"  astropy's {get_cache_dir_path()} (writable, ",
        f"  spare     {home}/.cache/dataferry (writable, ",
        "  offline   no\n",
        "  proxy     https_proxy=http://proxy.example:3128\n",
        f"  file      {home}/.config/dataferry/config.toml (not there)\n",
        "  site      nersc, perlmutter\n",
        f"Package {package}\n",
        "  files     2, 3 B\n",
        "  mirror    https://mirror.example/x/\n",
        "  variable  MADE_DATA\n",
        f"  folder    {tmp_path}/shared (there; dataferry.toml, any)\n",
        "  folder    /no/such/folder (no such file or directory; dataferry.toml, any)\n",
        "  folder    $NOT_SET/x ($NOT_SET is not set; dataferry.toml, any)\n",
    ):
        assert line in text
    assert "secret" not in text
    after = {str(path) for path in home.rglob("*") if not {"astropy", ".astropy"} & set(path.parts)}
    assert after <= before  # but for the folders that astropy makes for itself


@pytest.mark.parametrize("password", ["s3cr/et", "12/34", "s3cr?et", "s3cr#et", "s3://cr"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_doctor_shows_no_part_of_the_login_of_a_proxy(command, home, monkeypatch, password, scheme):
    monkeypatch.setenv("http_proxy", f"{scheme}ann:{password}@proxy.example:3128")
    found = json.loads(command("doctor", "--json").stdout)
    assert found["proxies"] == {"http_proxy": f"{scheme}proxy.example:3128"}


def test_doctor_reads_a_configuration_whose_folder_has_another_spelling(command, package, home, monkeypatch):
    (home / "own/dataferry").mkdir(parents=True)
    (home / "own/dataferry/config.toml").write_text("offline = true\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{home}//own/.")
    assert json.loads(command("doctor", "--json", package).stdout)["config_files"][0]["read"] is True


def test_doctor_as_json(command, package, home):
    (home / ".config/dataferry").mkdir()
    (home / ".config/dataferry/config.toml").write_text("offline = true\n")
    found = json.loads(command("doctor", "--json", package).stdout)
    assert set(found) == {
        *("versions", "extras", "caches", "offline", "proxies", "hosts", "lacking", "tokens"),
        *("config_files", "environment", "sites", "package", "problems"),
    }
    assert found["offline"] == f"offline = true in {home}/.config/dataferry/config.toml"
    assert found["config_files"][0] == {"path": f"{home}/.config/dataferry/config.toml", "read": True}
    assert set(found["extras"]) >= {"demo", "maps"}
    assert found["package"]["files"] == 2
    assert found["problems"] == []


def test_doctor_names_problems(command, home, monkeypatch):
    monkeypatch.setenv("DATAFERRY_OFFLINE", "maybe")
    result = command("doctor", "no_such_package")
    assert result.exit_code == 4
    assert "problem: DATAFERRY_OFFLINE is 1 or 0, not 'maybe'" in result.stdout
    assert "problem: there is no package 'no_such_package' here" in result.stdout


@pytest.mark.filterwarnings("ignore:XDG_CACHE_HOME is set")
def test_doctor_says_that_no_cache_can_be_written(command, home, monkeypatch):
    (home / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file" / "x"))
    monkeypatch.setenv("HOME", str(home / "file"))
    result = command("doctor")
    assert result.exit_code == 5
    assert "no cache can be written" in result.stdout
    assert "ASTROPY_CACHE_DIR" in result.stdout


def test_doctor_says_where_tokens_are(command, make_package, home, monkeypatch):
    """Their places, never the tokens."""
    mirrors = '["github-release:a/b@v1", "zenodo-sandbox:1", "figshare:1", "https://mirror.example/x/"]'
    package = make_package({"a.fits": b"a"}, head=f"mirrors = {mirrors}\n")
    for variable in ("GH_TOKEN", "GITHUB_TOKEN", "FIGSHARE_TOKEN", "ZENODO_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    text = command("doctor").stdout
    assert "  token     Figshare: none found; set FIGSHARE_TOKEN\n" in text
    assert "  token     Amazon S3: none found; set AWS_ACCESS_KEY_ID\n" in text
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    (home / ".netrc").write_text("machine api.figshare.com login ann password s3cret\n")
    (home / ".netrc").chmod(0o600)
    (home / ".config/dataferry").mkdir()
    (home / ".config/dataferry/config.toml").write_text('[hosts."zenodo.org"]\ntoken = "s3cret"\n')
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text("[default]\naws_secret_access_key = s3cret\n")
    done = command("doctor", package)
    for line in (
        "  token     GitHub: the variable GITHUB_TOKEN\n",
        f"  token     Figshare: {home}/.netrc\n",
        '  token     Zenodo: [hosts."zenodo.org"] of config.toml\n',
        f"  token     Amazon S3: {home}/.aws/credentials\n",
        "  mirror    github-release:a/b@v1 (to publish: the variable GITHUB_TOKEN)\n",
        "  mirror    zenodo-sandbox:1 (to publish: no token found)\n",
        "  mirror    https://mirror.example/x/\n",
    ):
        assert line in done.stdout
    told = json.loads(command("doctor", package, "--json").stdout)
    assert told["tokens"]["GitHub"] == "the variable GITHUB_TOKEN"
    assert told["package"]["tokens"]["zenodo-sandbox:1"] == ""
    assert "s3cret" not in done.output + json.dumps(told)


def test_hosts_that_lack_a_library(command, monkeypatch):
    real = importlib.util.find_spec
    away = {"gcsfs", "paramiko", "boto3"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in away else real(name, *more))
    text = command("doctor").stdout
    assert "  lacking   gcs, gs: gcsfs: pip install 'dataferry[fsspec]' gcsfs\n" in text
    assert "  lacking   sftp: paramiko: pip install 'dataferry[fsspec]'\n" in text
    assert "  lacking   s3: boto3, to publish and for private buckets: pip install 'dataferry[s3]'\n" in text
    (usable,) = re.findall(r"  usable    (.*)", text)
    assert {"figshare", "https", "az"} <= set(usable.split(", "))
    assert not {"gs", "s3", "sftp"} & set(usable.split(", "))
    listed = command("host", "list")
    assert "gcs, gs: lacking gcsfs: pip install 'dataferry[fsspec]' gcsfs\n" in listed.stderr
    kinds = json.loads(command("host", "list", "--json").stdout)["hosts"]
    assert next(k for k in kinds if "s3" in k["schemes"])["lacking"]["s3"].startswith("boto3")


def test_a_missing_library_is_named_with_what_brings_it(monkeypatch):
    """The extra alone does not bring gcsfs."""
    from dataferry.hosts import fsspec

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gcsfs" else object())
    library, package = fsspec.lacking("gs")
    said = str(MissingExtra("fsspec", f"{library} for gs://", package))
    assert said == "this needs gcsfs for gs://, which is not installed: pip install 'dataferry[fsspec]' gcsfs"
