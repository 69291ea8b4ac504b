"""What holds for every host that dataferry brings, whatever it is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from dataferry.hosts import host_names, make_host
from dataferry.registry import Entry

#: A declaration of each kind, and an entry's locators where it needs some to name a source.
SPECS: dict[str, tuple[str, dict[str, str | int]]] = {
    "abfs": ("abfs://maps/v1/?account_name=team", {}),
    "abfss": ("abfss://maps@team.dfs.core.windows.net/v1/", {}),
    "az": ("az://maps/v1/?account_name=team", {}),
    "figshare": ("figshare:14763051", {"figshare": 30123456}),
    "folder": ("folder:/srv/www/data?url=https://host.example/data/", {}),
    "fsspec": ("fsspec:dropbox://folder/", {}),
    "ftp": ("ftp://host.example/data/", {}),
    "gcs": ("gcs://bucket/v1/", {}),
    "git-lfs": ("git-lfs:https://git.example.org/team/data.git", {}),
    "github-pages": ("github-pages:owner/repo", {}),
    "github-release": ("github-release:owner/repo@v1", {}),
    "gs": ("gs://bucket/v1/", {}),
    "hf": ("hf://datasets/owner/repo/", {}),
    "http": ("http://host.example/data/", {}),
    "https": ("https://host.example/data/", {}),
    "inveniordm": ("inveniordm:https://rdm.example.org/abcde-12345", {}),
    "s3": ("s3://bucket/v1/?region=us-west-1", {}),
    "sftp": ("sftp://host.example/data/", {}),
    "smb": ("smb://host.example/share/", {}),
    "zenodo": ("zenodo:4924875", {}),
    "zenodo-sandbox": ("zenodo-sandbox:4924", {}),
}
#: What only those who publish, or ask a provider, may wait for.
HEAVY = {"astropy", "numpy", "urllib3", "requests", "boto3", "botocore", "fsspec", "paramiko", "keyring", "tomlkit"}


def test_every_kind_is_tested_here_and_by_the_contract(repository: Path) -> None:
    assert sorted(SPECS) == host_names()
    tests = "".join(path.read_text() for path in (repository / "tests").glob("test_*.py"))
    contracts = {
        base.id
        for node in ast.walk(ast.parse(tests.replace("from __future__ import annotations", "")))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if isinstance(base, ast.Name)
    }
    assert {"HostContract", "PublishContract"} <= contracts


@pytest.mark.parametrize("scheme", sorted(SPECS))
def test_sources_are_named_without_any_work(scheme: str) -> None:
    """In a fresh process: no heavy import, no socket, no file that is written."""
    spec, locators = SPECS[scheme]
    code = f"""
import sys
def audit(event, args):
    if event.startswith("socket.") or (event == "open" and args[1] and set(str(args[1])) & set("wax+")):
        raise RuntimeError(event + repr(args))
from dataferry.hosts import make_host
from dataferry.registry import Entry
host = make_host({spec!r})
sys.addaudithook(audit)
sources = host.sources("maps/a b.fits", Entry("maps/a b.fits", "0" * 64, 1000, {locators!r}))
host.sources("maps/a b.fits", None)
assert sources or type(host).look_up.__qualname__ != "Host.look_up", "neither sources nor a way to look them up"
print(sorted({HEAVY!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("scheme", sorted(SPECS))
def test_what_is_shown_says_which_host_it_is(scheme: str) -> None:
    spec, locators = SPECS[scheme]
    host = make_host(spec)
    assert scheme in host.shown
    for source in host.sources("a.fits", Entry("a.fits", "0" * 64, 1000, locators)):
        assert source.host in {host.shown, "https://host.example/data/"}
