"""Publishing to buckets over TLS, through a proxy, and over a network that is away for some seconds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dataferry.errors import PublishError

pytestmark = pytest.mark.usefixtures("no_aws_keys")

MIB = 1 << 20
#: The parts of files that the fixture ``shop`` has dataferry make.
PART = 5 * MIB


def test_over_tls(shop: Any, tls_ca: Any) -> None:
    author = shop.author(endpoint=shop.radosgw.tls_url)
    files = {"small.dat": b"small", "middle.dat": os.urandom(2 * MIB), "large.bin": os.urandom(PART + MIB)}
    shop.patch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(PublishError, match="CERTIFICATE_VERIFY_FAILED"):
        author.publish(files)
    shop.patch.delenv("AWS_MAX_ATTEMPTS")
    shop.patch.setenv("SSL_CERT_FILE", str(tls_ca.pem))
    author.anonymous["SSL_CERT_FILE"] = str(tls_ca.pem)
    author.publish(files)
    assert author.users_get(list(files)) == files


def test_through_a_proxy(shop: Any, tinyproxy: Callable[..., Any]) -> None:
    author, proxy = shop.author(), tinyproxy()
    shop.patch.setenv("http_proxy", proxy.url)
    files = {"small.dat": b"small", "large.bin": os.urandom(PART + MIB)}
    author.publish(files)
    shop.patch.delenv("http_proxy")
    assert author.users_get(list(files)) == files
    assert f"PUT http://127.0.0.1:{shop.radosgw.port}/{shop.bucket}/v1/small.dat" in proxy.log.read_text()


def test_anonymous_users_may_read_through_another_url(shop: Any, counted_link: Callable[[str], Any]) -> None:
    author = shop.author()
    link = counted_link(shop.radosgw.url)
    author.spec += f"&public={link.url}/{shop.bucket}"
    author.publish({"a.dat": b"a"})
    assert author.users_get(["a.dat"]) == {"a.dat": b"a"}
    assert link.sent > 0
    assert f'mirrors = ["{author.spec}"]' in author.registry.read_text()


def test_a_network_that_is_away_for_three_seconds(shop: Any, counted_link: Callable[[str], Any]) -> None:
    link = counted_link(shop.radosgw.url)
    author = shop.author(endpoint=link.url)
    files = {f"{n:02}.dat": os.urandom(100_000 + n) for n in range(24)} | {"large.bin": os.urandom(2 * PART + MIB)}

    def go_away() -> None:
        link._cut()
        threading.Timer(3.0, link.mend).start()

    link.call_after(4 * MIB, go_away)
    author.publish(files)
    assert author.users_get(list(files)) == files
