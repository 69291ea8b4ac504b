"""What holds for every host that dataferry brings, whatever it is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from dataferry.hosts import host_names, make_host
from dataferry.registry import Entry
from dataferry.testing import HostContract

#: A declaration of each kind, and an entry's locators where it needs some to name a source.
SPECS: dict[str, tuple[str, dict[str, str | int]]] = {
    "abfs": ("abfs://maps/v1/?account_name=team", {}),
    "abfss": ("abfss://maps@team.dfs.core.windows.net/v1/", {}),
    "az": ("az://maps/v1/?account_name=team", {}),
    "dataverse": ("dataverse:doi:10.7910/DVN/ABCDEF", {"dataverse:dataverse.harvard.edu": 30123456}),
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
#: Where each kind keeps its contract. Names of one class with one way of working share it: Azure's three, read at their
#: public address from its emulator. The own protocols of Google, of the Hub, of FTP and of SMB have no server here, so
#: theirs is the contract of a public address; what fsspec opens and streams has it with ``sftp`` and ``fsspec``.
CONTRACTS = {
    "abfs": "test_host_fsspec::TestAzureReading",
    "abfss": "test_host_fsspec::TestAzureReading",
    "az": "test_host_fsspec::TestAzureReading",
    "dataverse": "test_host_dataverse::TestDataverseHost",
    "figshare": "test_host_figshare::TestFigshareHost",
    "folder": "test_host_folder::TestFolderHost",
    "fsspec": "test_host_fsspec::TestThroughFsspec",
    "ftp": "test_host_fsspec::TestFtpAtItsPublicAddress",
    "gcs": "test_host_fsspec::TestGcsAtItsPublicAddress",
    "git-lfs": "test_host_git_lfs_server::TestGitLFSHost",
    "github-pages": "test_host_github_pages::TestGitHubPagesHost",
    "github-release": "test_host_github_release::TestReading",
    "gs": "test_host_fsspec::TestGoogleAtItsPublicAddress",
    "hf": "test_host_fsspec::TestHuggingFaceAtItsPublicAddress",
    "http": "test_testing_contract::TestWebHost",
    "https": "test_testing_contract::TestWebHostOverTLS",
    "inveniordm": "test_host_inveniordm::TestInvenioHost",
    "s3": "test_host_s3::TestS3Host",
    "sftp": "test_host_fsspec::TestSftp",
    "smb": "test_host_fsspec::TestSmbAtItsPublicAddress",
    "zenodo": "test_host_inveniordm::TestZenodoHost",
    "zenodo-sandbox": "test_host_inveniordm::TestZenodoSandboxHost",
}
#: What only those who publish, or ask a provider, may wait for.
HEAVY = {
    "astropy",
    "numpy",
    "pycurl",
    "urllib3",
    "requests",
    "boto3",
    "botocore",
    "fsspec",
    "paramiko",
    "keyring",
    "tomlkit",
}


def collected(test: str, repository: Path) -> type[object]:
    """A class of tests, from its file as pytest loads it."""
    file, _, name = test.partition("::")
    spec = importlib.util.spec_from_file_location(f"contracts_{file}", repository / "tests" / "promises" / f"{file}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type[object] = getattr(module, name)
    return found


def test_every_kind_is_tested_here_and_by_the_contract(repository: Path) -> None:
    assert sorted(SPECS) == host_names()
    assert sorted(CONTRACTS) == host_names(), "a kind of host needs a class of HostContract"


@pytest.mark.parametrize("test", sorted(set(CONTRACTS.values())))
def test_the_contracts_are_collected(test: str, repository: Path) -> None:
    found = collected(test, repository)
    assert issubclass(found, HostContract)
    assert found.__name__.startswith("Test")
    assert getattr(found, "__test__", True)
    tests = {name for name in dir(HostContract) if name.startswith("test_")}
    assert tests and all(callable(getattr(found, name)) for name in tests)


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
def test_the_redacted_declaration_still_names_the_host(scheme: str) -> None:
    spec, locators = SPECS[scheme]
    host = make_host(spec)
    assert scheme in host.redacted
    for source in host.sources("a.fits", Entry("a.fits", "0" * 64, 1000, locators)):
        assert source.host in {host.redacted, "https://host.example/data/"}
