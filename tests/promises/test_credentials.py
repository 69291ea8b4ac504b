"""A login goes to the host it was meant for, and is seen nowhere else: not at another host, not in any text."""

from __future__ import annotations

import copy
import logging
import os
import pickle
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataferry import PackageData
from dataferry.errors import FetchErrors, RegistryError
from dataferry.testing import Cut, RangeServer, RedirectTo, Status

NAME, BYTES = "maps/a.fits", b"some bytes\n" * 1000
SECRET = "s3cr3t-9f2c"
BASIC = "Basic " + b64encode(f"ann:{SECRET}".encode()).decode()


def config(text: str) -> None:
    path = Path(os.environ["XDG_CONFIG_HOME"], "dataferry", "config.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def token(server: RangeServer, patch: pytest.MonkeyPatch) -> str:
    config(f'[hosts."127.0.0.1:{server.port}"]\ntoken = "{SECRET}"\n')
    return server.url


def password(server: RangeServer, patch: pytest.MonkeyPatch) -> str:
    config(f'[hosts."127.0.0.1:{server.port}"]\nuser = "ann"\npassword = "{SECRET}"\n')
    return server.url


def netrc(server: RangeServer, patch: pytest.MonkeyPatch) -> str:
    """A `.netrc` knows no ports; the other server has another name."""
    path = Path.home() / ".netrc"
    path.write_text(f"machine 127.0.0.1 login ann password {SECRET}\n")
    path.chmod(0o600)
    return server.url


def in_the_url(server: RangeServer, patch: pytest.MonkeyPatch) -> str:
    return server.url.replace("//", f"//ann:{SECRET}@")


LOGINS = [token, password, netrc, in_the_url]


@pytest.fixture
def first() -> Iterator[RangeServer]:
    with RangeServer({NAME: BYTES}, basic=("ann", SECRET), bearer=SECRET) as server:
        yield server


@pytest.fixture
def other() -> Iterator[RangeServer]:
    with RangeServer({NAME: BYTES}) as server:
        yield server


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("login", LOGINS)
def test_a_redirect_takes_no_login_along(
    login: Callable[..., str],
    code: int,
    first: RangeServer,
    other: RangeServer,
    make_package: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first.fault("*", RedirectTo(other.url_of(NAME).replace("127.0.0.1", "localhost"), code))
    package = make_package({NAME: BYTES}, head=f'dataurl = "{login(first, monkeypatch)}"')
    assert Path(PackageData(package, show_progress=False).get(NAME)).read_bytes() == BYTES
    assert all(request.status == code for request in first.requests)  # the login was accepted there
    assert other.requests
    for request in other.requests:
        assert "authorization" not in request.headers
        assert SECRET not in repr(request)


@pytest.mark.parametrize("login", LOGINS)
def test_a_mirror_gets_no_login_of_another_host(
    login: Callable[..., str],
    first: RangeServer,
    other: RangeServer,
    make_package: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first.fault("*", Status(404))
    mirror = other.url.replace("127.0.0.1", "localhost")
    head = f'dataurl = "{login(first, monkeypatch)}"\nmirrors = ["{mirror}"]'
    package = make_package({NAME: BYTES}, head=head)
    assert Path(PackageData(package, show_progress=False).get(NAME)).read_bytes() == BYTES
    assert not [request for request in other.requests if "authorization" in request.headers]


FAULTS = {
    "404.fits": Status(404),
    "500.fits": Status(500),
    "cut.fits": Cut(after=100),
    "signed.fits": RedirectTo(f"http://127.0.0.1:9/a?sig={SECRET}&Signature={SECRET}"),
}


@pytest.mark.parametrize("login", LOGINS)
def test_nothing_secret_is_printed(
    login: Callable[..., str],
    make_package: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with RangeServer(dict.fromkeys(FAULTS, BYTES), basic=("ann", SECRET), bearer=SECRET) as server:
        for name, fault in FAULTS.items():
            server.fault(name, fault)
        package = make_package(dict.fromkeys(FAULTS, BYTES), head=f'dataurl = "{login(server, monkeypatch)}"')
        data = PackageData(package)
        with pytest.raises(FetchErrors) as caught:
            data.fetch("*", deadline=1)
        texts = [str(data.where(name)) + repr(data.where(name)) for name in FAULTS]
    assert len(caught.value.exceptions) == len(FAULTS)
    for error in (caught.value, *caught.value.exceptions):
        texts += [str(error), repr(error), repr(error.args), repr(vars(error)), repr(copy.copy(error))]
        texts += [pickle.dumps(error).decode("latin-1"), *map(str, getattr(error, "__notes__", ()))]
    texts += [repr(data), repr(data.arrivals), *capfd.readouterr()]
    texts += [record.getMessage() for record in caplog.records]
    texts += [path.read_text(errors="replace") for path in Path.home().glob(".cache/**/*") if path.is_file()]
    for text in texts:
        assert SECRET not in text
        assert BASIC.split()[1] not in text


SECRET_VARIABLES = ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "https_proxy", "SMTP_PWD", "GH_PAT"]


@pytest.mark.parametrize("variable", SECRET_VARIABLES)
@pytest.mark.parametrize("line", ['env = "{}"', 'cache_env = "{}"', '[folders]\nany = ["/data/$HOME", "/a/${{{}}}"]'])
def test_no_folder_is_a_secret(
    line: str, variable: str, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, SECRET)
    package = make_package({NAME: BYTES}, head=f'dataurl = "http://127.0.0.1:9/"\n{line.format(variable)}')
    for ask in ("where", "get"):
        with pytest.raises(RegistryError, match=f"the variable {variable} may hold a secret") as caught:
            getattr(PackageData(package), ask)(NAME)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("variable", ["MYPKG_DATA", "PWD", "TOKENIZERS_DATA", "DATA_PATH", "KEYBOARD", "PASSBAND_DATA"])
def test_variables_of_folders(
    variable: str, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / NAME).parent.mkdir()
    (tmp_path / NAME).write_bytes(BYTES)
    monkeypatch.setenv(variable, str(tmp_path))
    package = make_package({NAME: BYTES}, head=f'dataurl = "http://127.0.0.1:9/"\nenv = "{variable}"')
    assert PackageData(package).get(NAME) == str(tmp_path / NAME)


@pytest.mark.parametrize("words", ["get -vv PKG NAME", "where -vv PKG NAME", "check -vv PKG", "doctor -vv PKG"])
@pytest.mark.parametrize("login", LOGINS)
def test_no_command_shows_it(
    login: Callable[..., str],
    words: str,
    first: RangeServer,
    make_package: Callable[..., str],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first.fault("*", Status(404))
    package = make_package({NAME: BYTES}, head=f'dataurl = "{login(first, monkeypatch)}"')
    result = command(*words.replace("PKG", package).replace("NAME", NAME).split())
    assert SECRET not in result.stdout + result.stderr
    assert BASIC.split()[1] not in result.stdout + result.stderr


@pytest.mark.parametrize("kept", ["netrc", "token", "password"])
def test_a_login_is_for_tls_and_this_machine(
    kept: str, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over plain HTTP anybody on the way would read the login; the proxy here sees what is sent."""
    path = Path.home() / ".netrc"
    path.write_text(f"machine data.example login ann password {SECRET}\n" if kept == "netrc" else "")
    path.chmod(0o600)
    words = {"token": f'token = "{SECRET}"', "password": f'user = "ann"\npassword = "{SECRET}"', "netrc": ""}
    config(f'[hosts."data.example"]\n{words[kept]}\n')
    with RangeServer({NAME: BYTES}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        package = make_package({NAME: BYTES}, head='dataurl = "http://data.example/"')
        assert Path(PackageData(package, show_progress=False).get(NAME)).read_bytes() == BYTES
        assert proxy.requests
        assert not [request for request in proxy.requests if "authorization" in request.headers]


def test_a_netrc_that_is_no_text_stops_no_download(
    make_package: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    (Path.home() / ".netrc").write_bytes(b"\xff\xfe\x00")
    with RangeServer({NAME: BYTES}) as server:
        package = make_package({NAME: BYTES}, head=f'dataurl = "{server.url}"')
        assert Path(PackageData(package, show_progress=False).get(NAME)).read_bytes() == BYTES
    assert "no login in this file is used" in caplog.text
