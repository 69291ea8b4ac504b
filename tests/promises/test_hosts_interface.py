"""What a host declares about itself, and what is believed of what it lists."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from dataferry import PackageData
from dataferry.config.settings import Settings
from dataferry.errors import BadName, FileUnavailable
from dataferry.hosts import host_kind, host_names, make_host
from dataferry.hosts.base import Host, HostedFile, checked_files


@pytest.mark.parametrize("scheme", host_names())
def test_a_class_declares_the_schemes_that_it_is_registered_for(scheme: str) -> None:
    kind = host_kind(scheme)
    ours = [p.name for p in entry_points(group="dataferry.hosts") if p.value.startswith("dataferry.")]
    if scheme in ours:
        assert scheme in kind.schemes
        assert set(kind.schemes) <= set(ours)


def test_built_in_hosts_are_there_without_metadata(tmp_path: Path, repository: Path) -> None:
    """A frozen program, or a package that was copied: no .dist-info, so no entry points."""
    (tmp_path / "dataferry").symlink_to(repository / "dataferry")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from dataferry.hosts import host_names, make_host\n"
        "print(*host_names(), type(make_host('zenodo:1')).__name__, make_host('https://a.example/b/').redacted)"
    )
    done = subprocess.run([sys.executable, "-S", "-P", "-B", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    *names, kind, url = done.stdout.split()
    assert names == sorted(p.name for p in entry_points(group="dataferry.hosts") if p.value.startswith("dataferry."))
    assert (kind, url) == ("ZenodoHost", "https://a.example/b/")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("zenod:1", "no host is installed for zenod:...; did you mean zenodo:?"),
        ("figsare:1", "no host is installed for figsare:...; did you mean figshare:?"),
    ],
)
def test_an_unknown_scheme_is_one_short_line(spec: str, reason: str) -> None:
    with pytest.raises(BadName) as caught:
        make_host(spec)
    assert str(caught.value).startswith(reason[:-1])
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("spec", ["nosuch:1", "zenodo:x", "fsspec:file:///x/", "https://[::1/"])
def test_a_declaration_that_is_wrong_is_one_line_of_an_error(spec: str, make_package: Callable[..., str]) -> None:
    package = make_package({"a.bin": b"a"}, head=f'mirrors = ["{spec}"]')
    with pytest.raises(FileUnavailable) as caught:
        PackageData(package, show_progress=False).get("a.bin")
    assert str(caught.value).count(f"host {spec}: ") == 1


def test_credentials_are_declared_and_found_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENODO_TOKEN", "s3cret")
    host = make_host("zenodo:4924875")
    [credential] = host.credentials
    assert (credential.provider, credential.server) == ("Zenodo", "zenodo.org")
    assert "account/settings/applications" in credential.remedy
    assert "ZENODO_TOKEN" in credential.remedy
    status = host.status(Settings())
    assert (status.provider, status.origin) == ("Zenodo", "the variable ZENODO_TOKEN")
    assert "s3cret" not in repr(status)
    assert host.token(Settings(anonymous=True)) is None
    assert make_host("https://host.example/data/").status(Settings()).origin is None


@pytest.mark.parametrize("scheme", [name for name in host_names() if host_kind(name).example])
def test_an_example_tells_whose_credentials_a_kind_takes(scheme: str) -> None:
    status = make_host(host_kind(scheme).example).status(Settings(anonymous=True))
    assert status.provider
    assert status.variable.isupper()


def test_what_a_host_lists_is_checked_as_what_an_author_writes() -> None:
    good = HostedFile(3, "a" * 64, locators={"figshare": 7})
    listed = {
        "good.fits": good,
        "none.fits": HostedFile(),
        "../up.fits": good,
        "a\x1b]52;c;x\x07.fits": good,
        "minus.fits": HostedFile(-1),
        "text.fits": HostedFile("12"),  # type: ignore[arg-type]
        "true.fits": HostedFile(True),
        "large.fits": HostedFile(10**30),
        "short.fits": HostedFile(3, "abc"),
        "id.fits": HostedFile(3, locators={"figshare": "7\n[files]"}),
        "list.fits": HostedFile(3, locators={"figshare": [7]}),  # type: ignore[dict-item]
        "key.fits": HostedFile(3, locators={"sha256": "b" * 64}),
    }
    kept, skipped = checked_files("host.example", listed)
    assert sorted(kept) == ["good.fits", "none.fits"]
    assert len(skipped) == len(listed) - 2
    assert not [reason for reason in skipped if not reason.isprintable()]
    assert "'minus.fits': host.example reports the size -1" in skipped


def test_a_host_without_a_list_is_an_error(make_package: Callable[..., str]) -> None:
    assert Host.series == ""
    assert make_host("github-release:o/r@v1").series == make_host("github-release:O/r@v2").series != ""
