"""What is a legal name, and what a legal base URL."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataferry import BadName
from dataferry.registry.names import LONGEST_PART, check_name, check_url, close_names, redact_url

GOOD = [
    "a",
    "maps/dust_064.fits",
    "a b/c d.fits",
    "żółw.fits",
    "x-1_2+3=4@5,6.tar.gz",
    "~/x",
    ".hidden",
    "a/.b",
    "n" * LONGEST_PART,
]

BAD = {
    "": "empty",
    "/etc/passwd": "absolute",
    "C:/x": "absolute",
    "../x": "'..'",
    "a/../x": "'..'",
    "a/./x": "'.'",
    ".": "'.'",
    "a//b": "empty part",
    "a/": "empty part",
    "a\\b": "backslash",
    "a\0b": "control",
    "a\nb": "control",
    "a\x7fb": "control",
    "a\u2028b": "control",
    " a": "space",
    "a /b": "space",
    "%2e%2e/x": "percent",
    "a%2Fb": "percent",
    "a?b": "'?'",
    "a#b": "'#'",
    "e\u0301.fits": "NFC",
    "a\ud800": "surrogate",
    "n" * 300: "300 bytes",
    "ü" * 150: "300 bytes",
    "/".join(["n" * 200] * 6): "1024",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_legal_name_is_returned_as_it_is(name):
    assert check_name(name) == name


@pytest.mark.parametrize(("name", "why"), BAD.items(), ids=repr)
def test_a_bad_name_is_refused_with_its_reason(name, why):
    with pytest.raises(BadName, match=why.replace("?", r"\?").replace(".", r"\.")):
        check_name(name)


@pytest.mark.parametrize("name", [None, 3, b"a", ["a"]])
def test_a_name_is_a_string(name):
    with pytest.raises(BadName, match="is a string"):
        check_name(name)


def accepted(name):
    try:
        check_name(name)
    except BadName:
        return False
    return True


@given(st.text(max_size=40))
def test_whatever_is_accepted_stays_below_a_folder(name):
    import posixpath

    if accepted(name):
        assert posixpath.normpath(posixpath.join("/data", name)) == f"/data/{name}"
        assert "\\" not in name and "\0" not in name


@pytest.mark.parametrize("url", ["http://h/", "https://h.example:8080/a/b/", "https://user:pw@h/a/"])
def test_a_base_url_is_returned_as_it_is(url):
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    {
        "https://h/a": "must end with a slash",
        "https://h/a/?x=1": "query",
        "https://h/a/#x": "fragment",
        "ftp://h/a/": "http",
        "h/a/": "http",
        "https:///a/": "host",
        "https://h:port/": "not a URL",
        "https://h/a b/": "space",
    }.items(),
)
def test_a_bad_base_url_is_refused_with_its_reason(url, why):
    with pytest.raises(BadName, match=why):
        check_url(url)


def test_credentials_and_signatures_are_never_printed():
    with pytest.raises(BadName) as caught:
        check_url("https://me:secret@h/a")
    assert "secret" not in str(caught.value)
    assert redact_url("https://me:secret@h:80/a?X-Sig=abc&t=1") == "https://h:80/a?X-Sig=...&t=..."


@pytest.mark.parametrize("password", ["s3cr/et", "s3?cr", "s3#cr", "s3@cr", "s3://cr", "12/34", "[s3cr", "a/b?c@d#e"])
def test_a_password_that_should_have_been_quoted_is_not_printed(password):
    for url in (f"https://me:{password}@data.example:80/a/", f"webdav:https://me:{password}@data.example:80/a/"):
        assert redact_url(url) == url.replace(f"me:{password}@", "")
    with pytest.raises(BadName) as caught:
        check_url(f"https://me:{password}@data.example/a")
    assert not {"me", "s3", "cr", "12", "34", "b"} & set(re.split(r"\W+", str(caught.value)))


@pytest.mark.parametrize(
    ("url", "redacted"),
    {
        "http://first.last:12/34@host/a": "http://...@host/a",
        "http://first.last:/s3@host/a": "http://...@host/a",
        "http://me:s3@cr.et:12/34@host/a": "http://...@host/a",
        "webdav:https://first.last:12/34@host/a": "webdav:https://...@host/a",
        "http://first.last:12/3?s3@host/a": "http://...",
        "http://data.example:80/a?sig=s3@cr": "http://...",
        "http://nas/a?sig=s3@cr": "http://...",
        "http://nas/a?sig=s3@c.r&t=s3": "http://...",
        "http://nas:80/a?sig=s3@cr": "http://...",
    }.items(),
)
def test_what_may_be_a_password_or_a_path_is_not_printed(url, redacted):
    assert redact_url(url) == redacted


@pytest.mark.parametrize(
    "url",
    [
        "https://data.example/pkg@1.0/a",
        "http://localhost:80/a@b",
        "http://127.0.0.1:80/a@b",
        "http://[::1]:80/a@b",
        "file:///a/b@c",
    ],
)
def test_an_at_sign_in_a_path_is_printed(url):
    assert redact_url(url) == url
    assert redact_url(url.replace("://", "://me:secret@")) == url


def test_close_names_prefer_the_same_file_in_another_folder():
    names = ["maps/dust_064.fits", "maps/dust_128.fits", "spectra/cl.txt"]
    assert close_names("dust_064.fits", names)[0] == "maps/dust_064.fits"
    assert close_names("map/dust_64.fits", names)[0] == "maps/dust_064.fits"
    assert close_names("zzz", names) == []
