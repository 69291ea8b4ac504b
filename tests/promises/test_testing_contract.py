"""HostContract: a good host passes all of it, and each bad habit is caught; the fixture for users."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pycurl
import pytest

from dataferry.errors import SettingsError
from dataferry.hosts.base import Host, Source
from dataferry.hosts.web import WebHost
from dataferry.testing import HostContract, RangeServer


class TestWebHost(HostContract):
    secrets = (
        ("https://ann:s3cret@host.example/data/", "s3cret"),
        ("https://s3cret@host.example/data/", "s3cret"),
    )

    def host_at(self, url: str) -> Host:
        return WebHost(url)


class TestWebHostOverTLS(TestWebHost):
    @pytest.fixture(autouse=True)
    def _trust(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch

    @contextmanager
    def serving(self, files: Mapping[str, bytes]) -> Iterator[Host]:
        with RangeServer(files, tls="good") as server:
            assert server.ca is not None
            self.patch.setenv("SSL_CERT_FILE", str(server.ca.pem))
            yield self.host_at(server.url)


class Bad(Host):
    """A host with one bad habit."""

    habit = ""

    def sources(self, name: str, entry: Any) -> Sequence[Source]:
        if self.habit == "asks the server":
            urlopen(self.spec + "index").close()
        if self.habit == "asks the server through libcurl":
            curl = pycurl.Curl()
            curl.setopt(pycurl.URL, self.spec)
        if self.habit == "does not quote":
            return [Source(self.spec + name, self.redacted)]
        if self.habit == "quotes the percent sign away":
            return [Source(self.spec + quote(name, safe="/%"), self.redacted)]
        if self.habit == "shows the login":
            return [Source(self.spec + quote(name), self.spec)]
        if self.habit == "has no source":
            return []
        if self.habit == "takes the base name":
            return [Source(self.spec + quote(name.rpartition("/")[2]), self.redacted)]
        return [Source(self.spec + quote(name), self.redacted)]


def contract(habit: str) -> HostContract:
    class Checked(HostContract):
        secrets = (("https://ann:s3cret@host.example/data/", "s3cret"),)

        def host_at(self, url: str) -> Host:
            if "refuses a login" in habit and "@" in url:
                raise SettingsError(f"a login belongs into .netrc{url if 'shows' in habit else ''}")
            host = Bad(url)
            host.habit = habit
            return host

    return Checked()


CHECKS = [name for name in dir(HostContract) if name.startswith("test_")]


@pytest.mark.parametrize(
    ("habit", "caught"),
    [
        ("", set()),
        ("asks the server", {"test_asking_for_sources_opens_no_socket"}),
        ("asks the server through libcurl", {"test_asking_for_sources_opens_no_socket"}),
        ("does not quote", {"test_urls_are_quoted", "test_bytes_come_back"}),
        ("quotes the percent sign away", {"test_bytes_come_back"}),
        ("shows the login", {"test_credentials_stay_secret"}),
        ("refuses a login", set()),
        ("refuses a login and shows it", {"test_credentials_stay_secret"}),
        ("has no source", {"test_asking_for_sources_opens_no_socket"}),
        ("takes the base name", {"test_bytes_come_back"}),
    ],
)
def test_each_bad_habit_is_caught(habit: str, caught: set[str], tmp_path: Path, monkeypatch: Any) -> None:
    found = set()
    for number, name in enumerate(sorted(caught) or CHECKS):
        folder = tmp_path / str(number)
        folder.mkdir()
        given = {"tmp_path": folder, "monkeypatch": monkeypatch}
        check = getattr(contract(habit), name)
        try:
            check(**{key: given[key] for key in inspect.signature(check).parameters})
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever it raises, it has caught the habit
            found.add(name)
    assert found == caught


def test_a_subclass_must_say_how_a_host_is_made() -> None:
    with pytest.raises(NotImplementedError, match=r"HostContract needs host_at\(\)"):
        HostContract().host_at("http://127.0.0.1/")


def test_fixture_for_users(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["dataferry.testing.fixtures"]\n')
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
        import threading
        from urllib.request import urlopen
        from dataferry.testing import FlippedByte

        def test_two_servers(range_server):
            one, two = range_server({"a.fits": b"12"}), range_server({"a.fits": b"12"}, delay=0.01)
            two.fault("*", FlippedByte(0))
            assert urlopen(one.url_of("a.fits")).read() == b"12"
            assert urlopen(two.url_of("a.fits")).read() == b"\\xce2"

        def test_they_are_gone():
            assert threading.active_count() == 1
        """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_server_needs_neither_pytest_nor_astropy() -> None:
    code = (
        "import sys; from dataferry.testing import RangeServer, Reset\n"
        "with RangeServer({}): pass\n"
        "print(sorted({'pytest', 'astropy', 'numpy', 'urllib3', 'trustme'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_contract_is_in_the_public_interface() -> None:
    from dataferry import testing

    assert all(hasattr(testing, name) for name in testing.__all__)
    assert RangeServer.__module__.startswith("dataferry.testing")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        testing.nonsense  # noqa: B018
