"""Maps read in part through what users have set up: proxies, authorities, tokens, passwords, offline, buckets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataferry import PackageData, maps
from dataferry.errors import MapError, Offline
from dataferry.hosts.base import Part, Source
from dataferry.testing import NeverAnswers, RangeServer, RedirectTo, Status

NSIDE = 64
SKY = np.random.default_rng(0).standard_normal((3, 12 * NSIDE**2)).astype("f4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    maps.write_map(folder / "ring.fits", SKY, unit="uK_CMB")
    return folder


@pytest.fixture
def config(home: Path) -> Path:
    (home / ".config" / "dataferry").mkdir(exist_ok=True)
    return home / ".config" / "dataferry" / "config.toml"


def piece(url: str | Source) -> np.ndarray:
    return maps.read_map(url, None, pixels=range(40_000, 40_100), remote=True).value


def is_right(values: np.ndarray) -> bool:
    return bool((values == SKY[:, 40_000:40_100]).all())


def test_through_a_proxy_that_wants_a_login(
    folder: Path, tinyproxy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = tinyproxy(("ann", "pass-word"))
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with RangeServer(folder) as server:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//ann:pass%2Dword@"))
        assert is_right(piece(server.url_of("ring.fits")))
        assert "via" in {name for request in server.requests for name in request.headers}
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(MapError, match="407.*the proxy wants a login"):
            piece(server.url_of("ring.fits"))


def test_an_own_authority(folder: Path, config: Path) -> None:
    with RangeServer(folder, tls="good") as server:
        with pytest.raises(MapError, match="certificate is not trusted"):
            piece(server.url_of("ring.fits"))
        config.write_text(f'[hosts."127.0.0.1:{server.port}"]\nca_bundle = "{server.ca.pem}"\n')
        assert is_right(piece(server.url_of("ring.fits")))


def test_a_token_of_one_host(folder: Path, config: Path) -> None:
    with RangeServer(folder, bearer="s3cret") as server, RangeServer(folder, bearer="s3cret") as other:
        config.write_text(f'[hosts."127.0.0.1:{server.port}"]\ntoken = "s3cret"\n')
        assert is_right(piece(server.url_of("ring.fits")))
        with pytest.raises(MapError, match="401.*a login is needed: put a token") as caught:
            piece(other.url_of("ring.fits"))
        assert "s3cret" not in str(caught.value)
        assert not any("authorization" in request.headers for request in other.requests)


def test_a_password_in_netrc_or_in_the_url(folder: Path, home: Path) -> None:
    with RangeServer(folder, basic=("ann", "s3cret")) as server:
        url = server.url_of("ring.fits")
        with pytest.raises(MapError, match="401"):
            piece(url)
        assert is_right(piece(url.replace("//", "//ann:s3cret@")))
        (home / ".netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
        (home / ".netrc").chmod(0o600)
        assert is_right(piece(url))


def test_offline_asks_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    with RangeServer(folder) as server:
        with pytest.raises(Offline, match="offline"):
            piece(server.url_of("ring.fits"))
        assert server.connections == 0


def test_one_connection_and_where_a_redirect_led_are_kept(folder: Path) -> None:
    with RangeServer(folder) as server, RangeServer({}) as front:
        front.fault("ring.fits", RedirectTo(server.url_of("ring.fits")))
        assert is_right(piece(front.url_of("ring.fits")))
        assert len(front.requests) == 1
        assert server.connections <= 8


def test_a_signed_place_that_expires_is_asked_for_again(folder: Path) -> None:
    with RangeServer(folder) as server, RangeServer({}) as front:
        front.fault("ring.fits", RedirectTo(server.url_of("ring.fits")))
        server.fault("ring.fits", Status(403), skip=1, first=1)
        assert is_right(piece(front.url_of("ring.fits")))
        assert len(front.requests) == 2


def test_a_busy_server_is_asked_again(folder: Path) -> None:
    with RangeServer(folder) as server:
        server.fault("ring.fits", Status(503, retry_after=0), first=2)
        assert is_right(piece(server.url_of("ring.fits")))


def test_a_file_kept_in_parts(folder: Path) -> None:
    whole = (folder / "ring.fits").read_bytes()
    cuts = [0, 5000, 100_000, len(whole)]
    names = ["a", "b", "c"]
    files = {name: whole[start:stop] for name, start, stop in zip(names, cuts, cuts[1:], strict=False)}
    with RangeServer(files) as server:
        parts = tuple(Part(server.url_of(name), len(files[name])) for name in names)
        source = Source(parts[0].url, server.url, parts=parts)
        assert is_right(piece(source))
        assert (maps.read_map(source, 0, remote=True).value == SKY[0]).all()


def test_buckets(radosgw: Any, folder: Path) -> None:
    for public in (True, False):
        bucket, client = radosgw.bucket(public=public), radosgw.client()
        client.put_object(Bucket=bucket, Key="v 1/ring.fits", Body=(folder / "ring.fits").read_bytes())
        url = f"{radosgw.url}/{bucket}/v%201/ring.fits"
        if not public:
            with pytest.raises(MapError, match="403.*not allowed, or not there"):
                piece(url)
            url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "v 1/ring.fits"})
        got = maps.read_map(url, None, pixels=range(40_000, 40_100), remote=True)
        assert is_right(got.value)
        assert got.info.meta["moved_bytes"] < 65536
        assert radosgw.owner.key not in got.info.meta["file"]


@pytest.mark.timeout(60)
def test_a_server_that_does_not_answer_gets_the_packages_timeout(make_package: Callable[..., str]) -> None:
    with RangeServer({}) as server:
        server.fault("*", NeverAnswers())
        package = make_package({"ring.fits": b"SIMPLE"}, head=f'dataurl = "{server.url}"\ntimeout = 0.25')
        for read in (PackageData(package).read_map, PackageData(package).header):
            with pytest.raises(MapError, match=r"no answer in 0\.25 s"):
                read("ring.fits", remote=True)
