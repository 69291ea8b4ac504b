"""`dataferry.retrieve`: one URL, verified, without a package."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import logging
import os
from pathlib import Path

import pytest

import dataferry
from dataferry.errors import BadName, CacheError, FileUnavailable, Offline
from dataferry.testing import Fault, LfsPointer, LoginPage, RangeServer

MAP = bytes(range(256)) * 900
SHA = hashlib.sha256(MAP).hexdigest()


@pytest.fixture
def server():
    with RangeServer({"v1/map.fits": MAP, "other/map.fits": MAP[::-1]}) as server:
        yield server


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5"])
def test_each_hash_verifies(server, algorithm):
    digest = hashlib.new(algorithm, MAP).hexdigest()
    url = server.url_of("v1/map.fits")
    path = dataferry.retrieve(url, f"{algorithm}:{digest}", progress=False)
    assert Path(path).read_bytes() == MAP
    assert Path(path).name == "map.fits"
    asked = len(server.requests)
    assert dataferry.retrieve(url, f"{algorithm}:{digest.upper()}", progress=False) == path
    assert len(server.requests) == asked
    with pytest.raises(FileUnavailable, match=algorithm):
        dataferry.retrieve(url, f"{algorithm}:{'0' * len(digest)}", progress=False)


def test_astropy_finds_it_under_the_url(server):
    from astropy.utils.data import is_url_in_cache

    url = server.url_of("v1/map.fits")
    dataferry.retrieve(url, f"sha256:{SHA}", progress=False)
    assert is_url_in_cache(url)
    dataferry.retrieve(url, f"sha256:{SHA}", cache_key="https://key.example/map.fits", progress=False)
    assert is_url_in_cache("https://key.example/map.fits")


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_mirror_takes_over(server, algorithm):
    digest = hashlib.new(algorithm, MAP).hexdigest()
    wrong, gone = server.url_of("other/map.fits"), server.url_of("v1/gone.fits")
    path = dataferry.retrieve(
        gone, f"{algorithm}:{digest}", mirrors=[wrong, server.url_of("v1/map.fits")], name="map.fits", progress=False
    )
    assert Path(path).read_bytes() == MAP
    with pytest.raises(FileUnavailable) as caught:
        dataferry.retrieve(gone, f"{algorithm}:{digest[::-1]}", mirrors=[wrong], progress=False)
    assert gone in str(caught.value)
    assert wrong in str(caught.value)


def test_the_hash_to_write_down_is_logged_once(server, caplog):
    url = server.url_of("v1/map.fits")
    with caplog.at_level(logging.WARNING, "dataferry"):
        for _ in range(2):
            dataferry.retrieve(url, progress=False)
    assert caplog.text.count(f"sha256:{SHA}") == 1


def test_a_plain_file_in_a_folder(server, tmp_path):
    url = server.url_of("v1/map.fits")
    path = dataferry.retrieve(url, f"sha256:{SHA}", folder=tmp_path / "data", name="a b.fits", progress=False)
    assert path == str(tmp_path / "data/a b.fits")
    assert os.listdir(tmp_path / "data") == ["a b.fits"]
    Path(path).write_bytes(b"another")
    assert Path(dataferry.retrieve(url, f"sha256:{SHA}", folder=tmp_path / "data", name="a b.fits", progress=False))
    assert Path(path).read_bytes() == MAP


def test_a_query_is_sent_and_is_no_part_of_the_name(server):
    with pytest.raises(FileUnavailable, match="404"):
        dataferry.retrieve(server.url_of("v1/none.fits") + "?download=1", f"sha256:{SHA}", progress=False)
    assert server.requests[-1].path.endswith("/v1/none.fits?download=1")


def test_the_remedy_fits_the_reason(server):
    with pytest.raises(FileUnavailable, match="check the URL$"):
        dataferry.retrieve(server.url_of("v1/none.fits"), f"sha256:{SHA}", progress=False)
    with pytest.raises(FileUnavailable, match="check the hash: a file that was changed") as caught:
        dataferry.retrieve(server.url_of("v1/map.fits"), f"sha256:{SHA[::-1]}", progress=False)
    assert f"its sha256 is {SHA}; the hash that you gave is {SHA[::-1]}" in str(caught.value)
    assert "registered" not in str(caught.value)
    with pytest.raises(Offline, match="where there is a network, run the same call"):
        dataferry.retrieve("https://nowhere.invalid/map.fits", f"sha256:{SHA}", progress=False)


@pytest.mark.parametrize("size", [10, 3_000_000], ids=["small", "large"])
def test_an_error_for_a_wrong_sha256_has_the_right_one(size):
    """Who knows that the file was changed on purpose needs its new hash."""
    content = os.urandom(size)
    with RangeServer({"map.fits": content}) as server, pytest.raises(FileUnavailable) as caught:
        dataferry.retrieve(server.url_of("map.fits"), f"sha256:{SHA}", progress=False)
    found = hashlib.sha256(content).hexdigest()
    assert str(caught.value).endswith(f"; the file that arrived has sha256:{found}")
    assert {failure.sha256 for failure in caught.value.failures} == {found}


def test_offline_says_so(server, monkeypatch):
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    with pytest.raises(Offline, match="DATAFERRY_OFFLINE"):
        dataferry.retrieve(server.url_of("v1/map.fits"), f"sha256:{SHA}", progress=False)


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("map.fits", {}, "no scheme"),
        ("https://host.example/map.fits#hdu1", {}, "fragment"),
        ("https://me:secret@host.example/map.fits", {}, "netrc"),
        ("gopher://host.example/map.fits", {}, "gopher"),
        ("https://host.example/", {}, "say name="),
        ("https:///map.fits", {}, "names no host"),
        ("https://host.example/a/%2e%2e", {}, "say name="),
        ("zenodo:4924875", {}, "NAME"),
        ("doi:10.1000/xyz/map.fits", {}, "DOI"),
        ("https://host.example/map.fits", {"known_hash": SHA}, "which hash"),
        ("https://host.example/map.fits", {"known_hash": "crc32:00000000"}, "which hash"),
        ("https://host.example/map.fits", {"known_hash": "sha256:" + SHA[1:]}, "64 hexadecimal digits"),
        ("https://host.example/map.fits", {"known_hash": "md5:" + "x" * 32}, "32 hexadecimal digits"),
        ("https://host.example/map.fits", {"name": "../map.fits"}, "map.fits"),
    ],
)
def test_bad_input(url, options, words):
    with pytest.raises(BadName) as caught:
        dataferry.retrieve(url, **options)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "spec", "name"),
    [
        ("zenodo:4924875/maps/a.fits", "zenodo:4924875", "maps/a.fits"),
        ("doi:10.5281/zenodo.4924875/a.fits", "zenodo:4924875", "a.fits"),
        ("figshare:14763051/a.fits", "figshare:14763051", "a.fits"),
        ("figshare:10.25405/data.ncl.4711/a.fits", "figshare:10.25405/data.ncl.4711", "a.fits"),
        ("doi:10.7910/DVN/ABCDEF/maps/a.fits", "dataverse:doi:10.7910/DVN/ABCDEF", "maps/a.fits"),
        (
            "dataverse:doi:10.5072/FK2/A1/a.fits?server=https://a.example",
            "dataverse:doi:10.5072/FK2/A1?server=https://a.example",
            "a.fits",
        ),
        ("dataverse:doi:10.7910/DVN/ABCDEF/GHIJKL", "dataverse:doi:10.7910/DVN/ABCDEF", "GHIJKL"),
        ("github-release:owner/repo@v1/a.fits", "github-release:owner/repo@v1", "a.fits"),
        ("s3://bucket/v1/a.fits?region=us-west-1", "s3://bucket/?region=us-west-1", "v1/a.fits"),
    ],
)
def test_a_host_in_place_of_a_url(url, spec, name, monkeypatch):
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    from dataferry.retrieval import split_url

    assert split_url(url) == (spec, name)
    with pytest.raises(Offline) as caught:
        dataferry.retrieve(url, f"sha256:{SHA}")
    assert caught.value.name == name.rpartition("/")[2]


@pytest.mark.parametrize("fault", [LoginPage(), LfsPointer()])
def test_a_page_is_no_file_where_no_hash_judges(server, fault):
    server.fault("*", fault)
    with pytest.raises(FileUnavailable, match="instead of the file"):
        dataferry.retrieve(server.url_of("v1/map.fits"), progress=False)


def test_no_answer_follows_another_where_no_hash_judges(tmp_path):
    """What is unread on a kept connection would become the head of the next file's answer."""
    files = {f"{number}.dat": bytes([number]) * 300_000 for number in range(4)}
    with RangeServer(files) as server:
        for name, data in files.items():
            assert Path(dataferry.retrieve(server.url_of(name), progress=False)).read_bytes() == data
        assert len({request.connection for request in server.requests}) == len(server.requests)


def test_an_opener_reads_the_url():
    asked = []

    def opener(url):
        asked.append(url)
        return io.BytesIO(MAP)

    url = "https://private.invalid/v1/map.fits"
    path = dataferry.retrieve(url, f"sha256:{SHA}", opener=opener, progress=None)
    assert Path(path).read_bytes() == MAP and asked == [url]
    assert dataferry.retrieve(url, f"sha256:{SHA}", opener=opener) == path and asked == [url]
    with pytest.raises(FileUnavailable, match="md5"):
        dataferry.retrieve(url, f"md5:{'0' * 32}", cache_key="https://other.invalid/x", opener=opener, progress=False)


@pytest.mark.parametrize("name", ["maps/é.fits", "maps/a b.fits"])
def test_blanks_and_umlauts_are_sent_as_browsers_send_them(name):
    with RangeServer({name: MAP}) as server:
        path = dataferry.retrieve(server.url + name, f"sha256:{SHA}", progress=False)
        assert Path(path).read_bytes() == MAP


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e300])
def test_a_timeout_that_is_none_is_refused(server, timeout):
    with pytest.raises(BadName, match="timeout is a number of seconds"):
        dataferry.retrieve(server.url_of("v1/map.fits"), timeout=timeout, progress=False)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="file/below"):
        dataferry.retrieve(server.url_of("v1/map.fits"), folder=tmp_path / "file/below", progress=False)


class Chunked(Fault):
    """An answer without a length, as of a program; its body may be empty."""

    def __init__(self, empty: bool) -> None:
        self.empty = empty

    def response(self, response, request):
        pieces = () if self.empty else response.pieces
        return dataclasses.replace(response.without("Content-Length"), chunked=True, pieces=pieces)


def test_an_answer_without_a_length(server):
    rule = server.fault("*", Chunked(empty=True))
    with pytest.raises(FileUnavailable, match="the server sent an empty body"):
        dataferry.retrieve(server.url_of("v1/map.fits"), progress=False)
    rule.off()
    server.fault("*", Chunked(empty=False))
    path = dataferry.retrieve(server.url_of("v1/map.fits"), progress=False)
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == SHA


def test_a_packed_stream_in_place_of_a_file():
    with RangeServer({"map.fits": gzip.compress(b"SIMPLE  =" * 100), "map.fits.gz": gzip.compress(b"x")}) as server:
        with pytest.raises(FileUnavailable, match="a gzip stream instead of the file"):
            dataferry.retrieve(server.url_of("map.fits"), progress=False)
        assert dataferry.retrieve(server.url_of("map.fits.gz"), progress=False).endswith("map.fits.gz")


class OldAnswer(Fault):
    """The head is this, and the end of the body the end of the connection."""

    def __init__(self, head):
        self.head = head

    def response(self, response, request):
        return dataclasses.replace(response, head=self.head, ending="close")


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\nContent-Type: text/plain\n\n"])
def test_no_line_of_a_file_is_taken_for_the_head_where_no_hash_judges(head):
    data = b"first\r\n\r\nsecond\n\nthird"
    with RangeServer({"a.dat": data}) as server:
        server.fault("*", OldAnswer(head))
        assert Path(dataferry.retrieve(server.url_of("a.dat"), progress=False)).read_bytes() == data
